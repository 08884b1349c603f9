"""Mistakes in what is decided, run, timed and taken over; see `mutation`."""

from __future__ import annotations

import asyncio
from typing import Any

from event_center.engine import jobs, restoring
from event_center.engine.commands import Commands
from event_center.engine.effect import Effects
from event_center.engine.entering import Entering
from event_center.engine.jobs import Jobs
from event_center.engine.ledger import Ledger
from event_center.engine.parts import Parts
from event_center.engine.removal import Removal
from event_center.engine.shard import Owner
from event_center.engine.timers import Timers
from event_center.engine.turn import Turn
from event_center.engine.upgrading import Upgrading
from event_center.engine.waiting import timer_item
from event_center.errors import Fenced, NotCommitted, Unknown
from event_center.log.port import Cut
from event_center.machine import Machine
from event_center.model import Snapshot, Timer
from event_center.plugins.context import Context
from event_center.testing import Promise
from event_center.wire.entries import snapshot_key
from tests.simulation.mutation import Patch, breaks

# -- what is decided ---------------------------------------------------------------------------


@breaks(Promise.ONCE)
def seq_not_raised(patch: Patch) -> None:
    """A transition that enters nothing has no number of its own."""
    accept = Turn.accept

    def same(self: Turn, snapshot: Snapshot, *of: Any) -> None:
        if not of[2].entered:
            snapshot.seq -= 1
        accept(self, snapshot, *of)

    patch.setattr(Turn, "accept", same)


@breaks(Promise.ONCE)
def data_not_kept(patch: Patch) -> None:
    """What a transition assigns is forgotten."""
    accept = Turn.accept

    def without(self: Turn, snapshot: Snapshot, *of: Any) -> None:
        data = snapshot.data
        accept(self, snapshot, *of)
        snapshot.data = data

    patch.setattr(Turn, "accept", without)


@breaks(Promise.WHOLE_CUTS)
def snapshot_left_out(patch: Patch) -> None:
    """A cut tells of a workflow and does not hold it."""
    build = Ledger.build

    def without(self: Ledger) -> Cut:
        if len(self.dirty) > 1:
            self.dirty.popitem()
        return build(self)

    patch.setattr(Ledger, "build", without)


@breaks(Promise.WHOLE_CUTS)
def another_changed_beside(patch: Patch) -> None:
    """With each cut the other workflows change, in memory alone: only who looks at those sees it."""
    build = Ledger.build

    def beside(self: Ledger) -> Cut:
        cut = build(self)
        for workflow_id, workflow in self._workflows.by_id.items():
            if isinstance(workflow, Snapshot) and snapshot_key(workflow_id) not in cut.entries:
                workflow.entered_at_ms += 1
        return cut

    patch.setattr(Ledger, "build", beside)


@breaks(Promise.NEVER_BACK)
def tombstone_too_early(patch: Patch) -> None:
    """A workflow is removed as soon as it is finished, whatever it still owes."""
    accept = Turn.accept

    def soon(self: Turn, snapshot: Snapshot, *of: Any) -> None:
        accept(self, snapshot, *of)
        if snapshot.jobs or snapshot.owed:
            snapshot.over_ms = 1
            self._timers.look_at(snapshot.workflow_id, 1)

    patch.setattr(Turn, "accept", soon)
    patch.setattr(Removal, "outlived", lambda self, snapshot, now_ms: bool(snapshot.over_ms))


# -- callbacks ---------------------------------------------------------------------------------


@breaks(Promise.CALLBACKS)
def unstable_key(patch: Patch) -> None:
    """Each attempt has an idempotency key of its own."""
    stable = vars(Context)["idempotency_key"].fget

    def keyed(self: Context) -> str:
        place, slash, name = stable(self).rpartition("/")
        return f"{place}{self.attempt if self.attempt > 1 else ''}{slash}{name}"

    patch.setattr(Context, "idempotency_key", property(keyed))


@breaks(Promise.CALLBACKS)
def callback_before_its_cut(patch: Patch) -> None:
    """Runs start with the accept."""
    patch.setattr(Ledger, "promised", lambda self, workflow_id: False)
    patch.setattr(Effects, "start_eager", lambda self, snapshot: self.start(snapshot))


@breaks(Promise.CALLBACKS)
def done_without_a_start(patch: Patch) -> None:
    """A run counts as done without being called."""
    patch.setattr(
        Effects,
        "start_eager",
        lambda self, snapshot: None,
    )
    submit = Effects._submit

    def skip(self: Effects, snapshot: Snapshot, owed: Any, *args: Any, **named: Any) -> None:
        runners = self._runners

        class Ends:
            def submit(self, run: Any) -> None:
                run.task = asyncio.current_task()
                asyncio.get_running_loop().call_soon(run.end, None, None)

            cancel = runners.cancel

        if owed.name == "work":
            self._runners = Ends()
        try:
            submit(self, snapshot, owed, *args, **named)
        finally:
            self._runners = runners

    patch.setattr(Effects, "_submit", skip)


@breaks(Promise.CALLBACKS, first=61)
def found_left_job_begins_again(patch: Patch) -> None:
    """A job that is left before it began is begun again by its own end, and counted as done."""
    ended = Jobs.ended

    def again(self: Jobs, run: Any, value: Any, error: Any) -> None:
        held: Any = self._workflows.jobs.get(run.job_key)
        if run.left and run.task is None and held is run:
            del self._workflows.jobs[run.job_key]
            snapshot = self._workflows.live(run.job_key[0])
            if snapshot is not None:
                self.start(snapshot)
            return
        ended(self, run, value, error)

    patch.setattr(jobs.Jobs, "ended", again)


@breaks(Promise.CALLBACKS, Promise.WHOLE_CUTS)
def owed_run_forgotten(patch: Patch) -> None:
    """The state that is entered owes its runs, and its snapshot does not say so."""
    enter = Entering.enter

    def without(self: Entering, snapshot: Snapshot, event: Any, decision: Any) -> None:
        enter(self, snapshot, event, decision)
        snapshot.owed = snapshot.owed[:1]

    patch.setattr(Entering, "enter", without)


# -- timers ------------------------------------------------------------------------------------


@breaks(Promise.TIMERS, first=1)
def timer_early(patch: Patch) -> None:
    """A timer fires some seconds before it is due."""
    due = Parts.start_due

    def early(self: Parts, now_ms: int) -> Any:
        found = due(self, now_ms)
        for workflow in list(self.workflows.by_id.values()):
            if isinstance(workflow, Snapshot) and workflow.state:
                for timer in workflow.timers:
                    if timer in workflow.timers and timer.due_ms < now_ms + 2_500:
                        self.turn.fire(workflow, timer)
        return found

    patch.setattr(Parts, "start_due", early)


@breaks(Promise.TIMERS, first=6)
def timer_twice(patch: Patch) -> None:
    """A timer that has fired fires once more."""
    fire = Turn.fire

    def twice(self: Turn, snapshot: Snapshot, timer: Timer) -> None:
        fire(self, snapshot, timer)
        if self._freedom.decides(snapshot):
            item = timer_item(timer)
            assert item.event is not None
            self.decide(snapshot, item.event, item)

    patch.setattr(Turn, "fire", twice)


@breaks(Promise.TIMERS, first=1)
def timer_lost_at_a_takeover(patch: Patch) -> None:
    """A takeover does not arm the timers that it finds."""
    look = restoring._look_at

    def without(workflow_id: str, parts: Parts, *of: Any) -> None:
        timers, parts.timers = parts.timers, Timers(lambda: None)
        try:
            look(workflow_id, parts, *of)
        finally:
            parts.timers = timers

    patch.setattr(restoring, "_look_at", without)


@breaks(Promise.TIMERS)
def stale_timer(patch: Patch) -> None:
    """A timer of a state that was left fires all the same."""
    enter = Entering.enter

    def keep(self: Entering, snapshot: Snapshot, event: Any, decision: Any) -> None:
        old = snapshot.timers
        enter(self, snapshot, event, decision)
        if snapshot.result is None and snapshot.state:
            snapshot.timers = (*snapshot.timers, *(t for t in old if t not in snapshot.timers))

    patch.setattr(Entering, "enter", keep)


@breaks(Promise.TIMERS)
def found_time_goes_on_in_a_step(patch: Patch) -> None:
    """A job that is dropped looks at the clock in the middle of a step."""
    ended = Jobs.ended

    def ticking(self: Jobs, run: Any, value: Any, error: Any) -> None:
        self._ledger.tick()
        ended(self, run, value, error)

    patch.setattr(Jobs, "ended", ticking)


@breaks(Promise.TIMERS, first=41405)
def found_set_back_before_it_fires(patch: Patch) -> None:
    """What was due is looked at again, by the clock as it is when the log has said what it holds."""
    fire = Parts._fire

    def late(self: Parts, workflow_id: str, now: int) -> None:
        fire(self, workflow_id, self.ledger.now_ms)

    patch.setattr(Parts, "_fire", late)


# -- rest --------------------------------------------------------------------------------------


@breaks(Promise.QUIET, first=6)
def retry_never_comes(patch: Patch) -> None:
    """What waits for its next attempt is not woken."""
    patch.setattr(Parts, "_retry", lambda self, workflow_id, now_ms: None)


@breaks(Promise.QUIET)
def owed_runs_not_started(patch: Patch) -> None:
    """A takeover does not start what is owed."""
    patch.setattr(Parts, "resume", lambda self, **_: self.ledger.tick())


@breaks(Promise.QUIET)
def lost_lease_is_the_end(patch: Patch) -> None:
    """Whoever loses a lease does not take the shard over again."""

    async def never(self: Owner, error: Exception) -> None:
        assert isinstance(error, Fenced | Unknown | NotCommitted | Exception)
        await asyncio.Event().wait()

    patch.setattr(Owner, "_begin_again", never)


@breaks(Promise.QUIET, Promise.ONE_OUTCOME)
def paused_for_ever(patch: Patch) -> None:
    """A workflow that was paused can not be resumed."""
    patch.setattr(Commands, "_go_on", lambda self, snapshot: None)


@breaks(Promise.QUIET, first=280)
def found_woken_for_ever(patch: Patch) -> None:
    """Who was woken by a takeover weighs from then on, also when there is nothing to cut."""

    def weight(self: Ledger) -> int:
        workflows = self._workflows.by_id.values()
        awake = (one for one in workflows if isinstance(one, Snapshot))
        known: int = self.__dict__["weight"]
        return known + sum(one.size for one in awake if one.workflow_id not in self.dirty)

    def weigh(self: Ledger, weight: int) -> None:
        self.__dict__["weight"] = weight

    patch.setattr(Ledger, "cut_bytes", property(weight, weigh), raising=False)


@breaks(Promise.ONCE, first=10)
def found_moved_back(patch: Patch) -> None:
    """A center of the old version moves whoever has moved already back, so that `migrate` comes twice."""
    now = Upgrading.machine_for

    def backwards(self: Upgrading, snapshot: Snapshot) -> Machine | None:
        machine = self._plan.machine_of(snapshot)
        if machine is not None and machine.version < snapshot.version and not machine.pins:
            snapshot.version = machine.version
        return now(self, snapshot)

    patch.setattr(Upgrading, "machine_for", backwards)
