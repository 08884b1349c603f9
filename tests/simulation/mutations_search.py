"""Mistakes of the search for who spoils cuts, and of what a takeover lets go on in it; see `mutation`."""

from __future__ import annotations

from typing import Any

from event_center.engine.isolation import Isolation
from event_center.engine.jobs import PACED_MS, Jobs
from event_center.engine.parts import Parts
from event_center.testing import Promise
from tests.simulation.mutation import Patch, breaks


@breaks(Promise.QUIET, first=205)
def spoiler_not_searched(patch: Patch) -> None:
    """Nobody thinks of the cut, however often it fails."""
    patch.setattr(Isolation, "failed", lambda self, cut, records, **_: None)


@breaks(Promise.QUIET, first=205)
def found_spoiler_among_others(patch: Patch) -> None:
    """All that a takeover has found goes on in one cut, also who is apart."""
    resume = Parts.resume

    def together(self: Parts, *, crashed: bool) -> None:
        apart = self.workflows.apart
        whom, apart.whom = apart.whom, ()
        resume(self, crashed=crashed)
        apart.whom = whom

    patch.setattr(Parts, "resume", together)


@breaks(Promise.WHOLE_CUTS, first=4828)
def found_paced_in_memory(patch: Patch) -> None:
    """That a job has lasted is noted in memory, and in no cut until its event is decided."""
    asked = Jobs._asked

    def quietly(self: Jobs, run: Any, event: Any, snapshot: Any) -> bool:
        if self._ledger.now_ms - run.submitted_ms >= PACED_MS:
            snapshot.loop = 0
        return asked(self, run, event, snapshot)

    patch.setattr(Jobs, "_asked", quietly)
