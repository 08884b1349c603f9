"""The checker itself: a mistake that is made on purpose in engine or log is found, by its promise."""

from __future__ import annotations

import pytest

from event_center.testing.simulation import play
from tests.simulation.mutations import MUTATIONS, Mutation
from tests.simulation.workload import scenery_of

WITHIN = 200
"""Seeds in which a mistake has to be found."""


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_a_mistake_is_found(mutation: Mutation) -> None:
    """Some seed breaks one of the promises of the mutation, and the same seed is clean without it."""
    with mutation.made():
        seed = next(
            seed
            for seed in range(mutation.first, mutation.first + WITHIN)
            if not mutation.promises.isdisjoint(
                violation.promise for violation in play(seed, scenery_of(seed)).violations
            )
        )
    assert play(seed, scenery_of(seed)).violations == []


def test_there_are_enough() -> None:
    """Every promise is broken by some mutation, and there are many of them."""
    assert len(MUTATIONS) >= 25
    assert len({promise for one in MUTATIONS for promise in one.promises}) == 8
