"""A command that shows its progress, in a process that gets a signal at a step of it."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from typing import Any

from rich.progress import Progress

from event_center.cli import dealing, keeping, main, migrating, operating, publishing_lines
from event_center.client import moving
from event_center.log.sqlite import copying


class _Signalling(Progress):
    """A bar without a terminal, which sends its own process a signal when it has moved so often."""

    def __init__(self, at: int, number: signal.Signals) -> None:
        super().__init__(disable=True)
        self._steps = itertools.count(1)
        self._at = at
        self._number = number

    def update(self, *_about: Any, **_moved: Any) -> None:
        """One step."""
        self._step()

    def advance(self, *_about: Any, **_moved: Any) -> None:
        """One step too."""
        self._step()

    def _step(self) -> None:
        if next(self._steps) == self._at:
            os.kill(os.getpid(), self._number)


def interrupted() -> None:
    """The work of such a process: its last arguments say at which step, and the signal's name."""
    number = signal.Signals[sys.argv.pop()]
    at = int(sys.argv.pop())

    def bar() -> Progress:
        return _Signalling(at, number)

    copying.PAGES = moving.CUT_PARTS = 5  # so few that there are many steps to be stopped at
    for module in (keeping, migrating, operating, dealing, publishing_lines):
        setattr(module, "bar", bar)  # noqa: B010 - mypy knows no other way
    main()
