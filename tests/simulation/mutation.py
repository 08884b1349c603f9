"""
What a mutation is: a mistake made on purpose in engine or log, and the promise that it breaks.

`mutations_log` and `mutations_turn` have them, `mutations` all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from event_center.testing import Promise

Patch = pytest.MonkeyPatch


class Mutation(NamedTuple):
    """One mistake."""

    name: str
    promises: frozenset[Promise]
    """A violation of one of these is asked for."""
    apply: Callable[[Patch], None]
    first: int
    """The seed that is played first; most are found at once, some need a rare meeting of faults."""

    @contextmanager
    def made(self) -> Iterator[None]:
        """The mistake is made in here."""
        with pytest.MonkeyPatch.context() as patch:
            self.apply(patch)
            yield


MUTATIONS: list[Mutation] = []


def breaks(
    *promises: Promise, first: int = 0
) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    """Note a mutation, what it breaks, and from which seed on it is looked for."""

    def note(apply: Callable[[Patch], None]) -> Callable[[Patch], None]:
        MUTATIONS.append(Mutation(apply.__name__, frozenset(promises), apply, first))
        return apply

    return note
