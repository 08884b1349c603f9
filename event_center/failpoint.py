"""
The numbered steps of a cut, a takeover and a run, as points at which a test may kill the process.

The docstrings of `engine/takeover.py`, `engine/ledger.py` and `engine/run.py` number the same steps. A
crash test installs a hook; without one a step costs one comparison. Nothing outside tests sets it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class Step(StrEnum):
    """Every step after which the process may die; a test fails if one of them was never reached."""

    TAKEOVER_ASSIGNED = "takeover.1.assigned"
    TAKEOVER_FENCED = "takeover.2.fenced"
    TAKEOVER_RESTORED = "takeover.3.restored"
    TAKEOVER_OPENED = "takeover.4.opened"
    CUT_TAKEN_IN = "cut.1.taken_in"
    CUT_BUILT = "cut.2.built"
    LOG_BEGUN = "cut.3.begun"
    LOG_WRITTEN = "cut.4.written"
    LOG_COMMITTED = "cut.5.committed"
    CUT_SETTLED = "cut.6.settled"
    RUN_STARTED = "run.1.started"
    RUN_RETURNED = "run.2.returned"
    RUN_DECIDED = "run.3.decided"


hook: Callable[[Step], None] | None = None
"""What `install` has set; who reaches steps once per run looks here, and calls only if there is one."""


def reach(step: Step) -> None:
    """Tell the hook, if there is one, that this step is done."""
    if hook is not None:
        hook(step)


def install(new: Callable[[Step], None] | None) -> None:
    """Set the hook that crash tests use; None takes it away."""
    global hook  # noqa: PLW0603 - one process, one hook: a test kills the whole process
    hook = new
