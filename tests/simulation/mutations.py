"""
Mistakes that the engine and the log do not make, each made on purpose: the simulation must find it.

A mutation is a small patch, and the promise that it breaks. `test_mutations` plays seeds with it until
a violation of that promise is found; without it the same seeds are clean. Four of them, marked `found`, are
mistakes that this project did make, and that the simulation found.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

from event_center.engine import intake, jobs, restoring, turn
from event_center.engine.commands import Commands
from event_center.engine.effect import Effects
from event_center.engine.intake import Intake
from event_center.engine.jobs import Jobs
from event_center.engine.ledger import Ledger
from event_center.engine.letters import Letters
from event_center.engine.parts import Parts
from event_center.engine.removal import Removal
from event_center.engine.shard import Owner
from event_center.engine.timers import Timers
from event_center.engine.turn import Turn
from event_center.engine.waiting import WaitingRoom, timer_item
from event_center.errors import Fenced, NotCommitted, Unknown
from event_center.log.memory.broker import MemoryBroker
from event_center.log.memory.faults import Ending
from event_center.log.memory.lease import MemoryLease
from event_center.log.port import Batch, Cut, Kept
from event_center.model import Snapshot, Timer
from event_center.plugins.context import Context
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


# -- the log -----------------------------------------------------------------------------------


@breaks(Promise.WHOLE_CUTS)
def torn_cut(patch: Patch) -> None:
    """The entries of a cut are committed before its records."""
    commit = MemoryLease.commit

    async def in_pieces(self: MemoryLease, cut: Cut) -> None:
        await commit(self, Cut(entries=cut.entries, offsets=cut.offsets))
        await commit(self, Cut(records=cut.records, offsets=cut.offsets))

    patch.setattr(MemoryLease, "commit", in_pieces)


@breaks(Promise.NEVER_BACK, Promise.WHOLE_CUTS, first=30)
def fencing_off(patch: Patch) -> None:
    """Whoever once had a lease can write for ever."""
    patch.setattr(MemoryBroker, "check", lambda self, shard, epoch: None)


@breaks(Promise.WHOLE_CUTS, Promise.NEVER_BACK)
def restore_before_fencing(patch: Patch) -> None:
    """What is restored was read before the former owner was shut out."""
    fence = MemoryBroker.fence
    seen: dict[Any, dict[bytes, bytes]] = {}

    def late(self: MemoryBroker, shard: Any) -> int:
        cuts = [cut for cut in self.cuts if cut.shard == shard][:-1]
        store: dict[bytes, bytes] = {}
        for cut in cuts:
            store.update({k: v for k, v in cut.entries.items() if v is not None})
            for gone in (k for k, v in cut.entries.items() if v is None):
                store.pop(gone, None)
        seen[self, shard] = store
        return fence(self, shard)

    def entries(self: MemoryLease, kept: Kept | None) -> dict[bytes, bytes]:
        return seen[self._broker, self.shard]

    patch.setattr(MemoryBroker, "fence", late)
    patch.setattr(MemoryLease, "_entries", entries)


@breaks(Promise.WHOLE_CUTS, first=476)
def found_mark_of_now(patch: Patch) -> None:
    """A lease that was lost says that it knows what its successors wrote."""
    patch.setattr(
        MemoryLease,
        "mark",
        property(lambda self: len(self._broker.cuts), lambda self, value: None),
        raising=False,
    )


@breaks(Promise.WHOLE_CUTS)
def unknown_is_success(patch: Patch) -> None:
    """A cut that may have been lost counts as written."""
    fail = MemoryLease._fail

    def quietly(self: MemoryLease, cut: Cut, ending: Ending) -> None:
        if ending not in {Ending.LOST, Ending.LOST_LATER}:
            fail(self, cut, ending)

    patch.setattr(MemoryLease, "_fail", quietly)


@breaks(Promise.WHOLE_CUTS, first=3)
def unknown_is_failure(patch: Patch) -> None:
    """A cut that may have been written is tried again."""
    fail = MemoryLease._fail

    def again(self: MemoryLease, cut: Cut, ending: Ending) -> None:
        if ending is Ending.WRITTEN:
            self._apply(cut)
            raise NotCommitted("it may have been")
        fail(self, cut, ending)

    patch.setattr(MemoryLease, "_fail", again)


@breaks(Promise.WHOLE_CUTS, first=3)
def failure_is_success(patch: Patch) -> None:
    """A cut that was certainly not committed is forgotten."""
    commit = MemoryLease.commit

    async def anyhow(self: MemoryLease, cut: Cut) -> None:
        try:
            await commit(self, cut)
        except NotCommitted:
            return

    patch.setattr(MemoryLease, "commit", anyhow)


# -- what is read ------------------------------------------------------------------------------


@breaks(Promise.ONCE, first=6)
def dedupe_off(patch: Patch) -> None:
    """The ids of events are not looked at."""
    patch.setattr(Intake, "_duplicate", lambda self, snapshot, event: False)


@breaks(Promise.ONE_OUTCOME, Promise.WHOLE_CUTS)
def offsets_not_in_the_entry(patch: Patch) -> None:
    """The shard entry has the offsets of the cut before."""
    build = Ledger.build
    former: dict[Ledger, dict[str, int]] = {}

    def stale(self: Ledger) -> Cut:
        now = dict(self.entry.offsets)
        self.entry.offsets = former.get(self, dict(now))
        cut = build(self)
        self.entry.offsets, former[self] = now, dict(now)
        return cut

    patch.setattr(Ledger, "build", stale)


@breaks(Promise.ONE_OUTCOME)
def poison_dropped(patch: Patch) -> None:
    """A record that can not be read is passed over."""

    def drop(self: Intake, *_: Any) -> None:
        self._ledger.entry.read -= 1

    patch.setattr(Intake, "_unread", drop)


@breaks(Promise.ONCE, Promise.ONE_OUTCOME)
def records_read_twice(patch: Patch) -> None:
    """The log delivers every batch twice, and nobody remembers what was read."""
    take = Owner.take

    def twice(self: Owner, batch: Batch) -> None:
        for _ in range(2):
            parts = self._parts
            for workflow in [] if parts is None else parts.workflows.by_id.values():
                if isinstance(workflow, Snapshot):
                    workflow.seen = {}
                    workflow.ids = ()
            take(self, batch)

    patch.setattr(Owner, "take", twice)
    patch.setattr(Parts, "_without_repeated", lambda self, batch, following: batch)


@breaks(Promise.WHOLE_CUTS, first=3)
def found_held_and_forgotten(patch: Patch) -> None:
    """What a workflow that is only expected has seen is in no cut."""
    expected = Intake._expected

    def clean(self: Intake, snapshot: Snapshot, *args: Any) -> None:
        was = snapshot.workflow_id in self._ledger.dirty
        outcomes = dict(self._ledger.entry.outcomes)
        expected(self, snapshot, *args)
        if not was and self._ledger.entry.outcomes != outcomes and snapshot.state == "":
            self._ledger.dirty.pop(snapshot.workflow_id, None)

    patch.setattr(Intake, "_expected", clean)


# -- what waits --------------------------------------------------------------------------------


@breaks(Promise.ONE_OUTCOME, Promise.WHOLE_CUTS)
def waiting_events_lost(patch: Patch) -> None:
    """A cut leaves the waiting entries out."""
    build = Ledger.build

    def without(self: Ledger) -> Cut:
        cut = build(self)
        for key in [key for key, value in cut.entries.items() if key[:2] == b"w:" and value]:
            del cut.entries[key]
        return cut

    patch.setattr(Ledger, "build", without)


@breaks(Promise.ORDER)
def newest_first(patch: Patch) -> None:
    """What came last is decided first."""
    following = WaitingRoom.next

    def last(self: WaitingRoom, snapshot: Snapshot, mailbox: Any) -> Any:
        mailbox.queue.rotate(1)
        return following(self, snapshot, mailbox)

    patch.setattr(WaitingRoom, "next", last)


@breaks(Promise.ORDER, first=32)
def parked_overtaken(patch: Patch) -> None:
    """The event that parked its workflow is put behind all others."""
    park = Turn.park

    def behind(self: Turn, snapshot: Snapshot, why: str, item: Any) -> None:
        park(self, snapshot, why, None)
        mailbox = self._workflows.mailbox(snapshot.workflow_id)
        if item is not None:
            mailbox.queue.append(item)
        elif mailbox.queue:
            mailbox.queue.rotate(-1)

    patch.setattr(Turn, "park", behind)


@breaks(Promise.ORDER)
def letters_overtaken(patch: Patch) -> None:
    """Later events do not follow the open letters of their workflow."""
    patch.setattr(turn, "open_letters", lambda snapshot: False)
    patch.setattr(intake, "open_letters", lambda snapshot: False)
    patch.setattr(Letters, "follow_all", lambda self, snapshot, mailbox: None)


@breaks(Promise.ONE_OUTCOME, Promise.WHOLE_CUTS, Promise.QUIET)
def waiting_lost_at_a_takeover(patch: Patch) -> None:
    """A takeover does not take up what waits."""
    patch.setattr(restoring, "_fill", lambda mailbox, items: None)


# -- what is decided ---------------------------------------------------------------------------


@breaks(Promise.ONCE)
def seq_not_raised(patch: Patch) -> None:
    """A transition that enters nothing has no number of its own."""
    accept = Turn.accept

    def same(self: Turn, snapshot: Snapshot, event: Any, item: Any, decision: Any) -> None:
        if not decision.entered:
            snapshot.seq -= 1
        accept(self, snapshot, event, item, decision)

    patch.setattr(Turn, "accept", same)


@breaks(Promise.ONCE)
def data_not_kept(patch: Patch) -> None:
    """What a transition assigns is forgotten."""
    accept = Turn.accept

    def without(self: Turn, snapshot: Snapshot, event: Any, item: Any, decision: Any) -> None:
        data = snapshot.data
        accept(self, snapshot, event, item, decision)
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


@breaks(Promise.NEVER_BACK)
def tombstone_too_early(patch: Patch) -> None:
    """A workflow is removed as soon as it is finished, whatever it still owes."""
    accept = Turn.accept

    def soon(self: Turn, snapshot: Snapshot, event: Any, item: Any, decision: Any) -> None:
        accept(self, snapshot, event, item, decision)
        if snapshot.jobs or snapshot.owed:
            snapshot.over_ms = 1
            self._timers.due(snapshot.workflow_id, 1)

    patch.setattr(Turn, "accept", soon)
    patch.setattr(Removal, "due", lambda self, snapshot, now_ms: bool(snapshot.over_ms))


# -- callbacks ---------------------------------------------------------------------------------


@breaks(Promise.CALLBACKS)
def unstable_key(patch: Patch) -> None:
    """Each attempt has an idempotency key of its own."""
    init = Context.__init__

    def keyed(self: Context, *args: Any, **named: Any) -> None:
        init(self, *args, **named)
        if self.attempt > 1:
            place, _, name = self.idempotency_key.rpartition("/")
            self.idempotency_key = f"{place}{self.attempt}/{name}"

    patch.setattr(Context, "__init__", keyed)


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


@breaks(Promise.CALLBACKS, first=205)
def found_left_job_begins_again(patch: Patch) -> None:
    """A job that is left before it began is begun again by its own end, and counted as done."""
    ended = Jobs.ended

    def again(self: Jobs, run: Any, value: Any, error: Any) -> None:
        if run.left and run.task is None and self._workflows.jobs.get(run.place) is run:
            del self._workflows.jobs[run.place]
            snapshot = self._workflows.live(run.place[0])
            if snapshot is not None:
                self.start(snapshot)
            return
        ended(self, run, value, error)

    patch.setattr(jobs.Jobs, "ended", again)


@breaks(Promise.CALLBACKS, Promise.WHOLE_CUTS)
def owed_run_forgotten(patch: Patch) -> None:
    """The state that is entered owes its runs, and its snapshot does not say so."""
    enter = Turn.enter

    def without(self: Turn, snapshot: Snapshot, event: Any, decision: Any) -> None:
        enter(self, snapshot, event, decision)
        snapshot.owed = snapshot.owed[:1]

    patch.setattr(Turn, "enter", without)


# -- timers ------------------------------------------------------------------------------------


@breaks(Promise.TIMERS)
def timer_early(patch: Patch) -> None:
    """A timer fires some seconds before it is due."""
    due = Parts.due

    def early(self: Parts, now_ms: int) -> list[str]:
        found = due(self, now_ms)
        for workflow in list(self.workflows.by_id.values()):
            if isinstance(workflow, Snapshot) and workflow.state:
                for timer in workflow.timers:
                    if timer in workflow.timers and timer.due_ms < now_ms + 2_500:
                        self.turn.fire(workflow, timer)
        return found

    patch.setattr(Parts, "due", early)


@breaks(Promise.TIMERS)
def timer_twice(patch: Patch) -> None:
    """A timer that has fired fires once more."""
    fire = Turn.fire

    def twice(self: Turn, snapshot: Snapshot, timer: Timer) -> None:
        fire(self, snapshot, timer)
        if not self._waiting.busy(snapshot):
            item = timer_item(timer)
            assert item.event is not None
            self.decide(snapshot, item.event, item)

    patch.setattr(Turn, "fire", twice)


@breaks(Promise.TIMERS)
def timer_lost_at_a_takeover(patch: Patch) -> None:
    """A takeover does not arm the timers that it finds."""
    look = restoring._look_at

    def without(workflow_id: str, parts: Parts, waiting: Any) -> None:
        timers, parts.timers = parts.timers, Timers(lambda: None)
        try:
            look(workflow_id, parts, waiting)
        finally:
            parts.timers = timers

    patch.setattr(restoring, "_look_at", without)


@breaks(Promise.TIMERS)
def stale_timer(patch: Patch) -> None:
    """A timer of a state that was left fires all the same."""
    enter = Turn.enter

    def keep(self: Turn, snapshot: Snapshot, event: Any, decision: Any) -> None:
        old = snapshot.timers
        enter(self, snapshot, event, decision)
        if snapshot.result is None and snapshot.state:
            snapshot.timers = (*snapshot.timers, *(t for t in old if t not in snapshot.timers))

    patch.setattr(Turn, "enter", keep)


@breaks(Promise.TIMERS)
def found_time_goes_on_in_a_step(patch: Patch) -> None:
    """A job that is dropped looks at the clock in the middle of a step."""
    ended = Jobs.ended

    def ticking(self: Jobs, run: Any, value: Any, error: Any) -> None:
        self._ledger.tick()
        ended(self, run, value, error)

    patch.setattr(Jobs, "ended", ticking)


# -- rest --------------------------------------------------------------------------------------


@breaks(Promise.QUIET, first=6)
def retry_never_comes(patch: Patch) -> None:
    """What waits for its next attempt is not woken."""
    patch.setattr(Parts, "_retry", lambda self, workflow_id, now_ms: None)


@breaks(Promise.QUIET)
def owed_runs_not_started(patch: Patch) -> None:
    """A takeover does not start what is owed."""
    patch.setattr(Parts, "resume", lambda self, *, crashed: self.ledger.tick())


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
