"""Mistakes of the log, and in what is read from it and waits; see `mutation`."""

from __future__ import annotations

from typing import Any

from event_center.engine import intake, restoring, turn
from event_center.engine.intake import Intake
from event_center.engine.ledger import Ledger
from event_center.engine.letters import Letters
from event_center.engine.parts import Parts
from event_center.engine.shard import Owner
from event_center.engine.turn import Turn
from event_center.engine.waiting import WaitingRoom
from event_center.errors import NotCommitted
from event_center.log.memory.broker import MemoryBroker
from event_center.log.memory.faults import Ending
from event_center.log.memory.lease import MemoryLease
from event_center.log.port import Batch, Cut, Kept
from event_center.model import Snapshot
from event_center.testing import Promise
from tests.simulation.mutation import Patch, breaks

# -- the log -----------------------------------------------------------------------------------


@breaks(Promise.WHOLE_CUTS)
def torn_cut(patch: Patch) -> None:
    """The entries of a cut are committed before its records."""
    commit = MemoryLease.commit

    async def in_pieces(self: MemoryLease, cut: Cut) -> None:
        await commit(self, Cut(entries=cut.entries, offsets=cut.offsets))
        await commit(self, Cut(records=cut.records, offsets=cut.offsets))

    patch.setattr(MemoryLease, "commit", in_pieces)


@breaks(Promise.NEVER_BACK, Promise.WHOLE_CUTS, first=24)
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


@breaks(Promise.WHOLE_CUTS, first=1)
def unknown_is_success(patch: Patch) -> None:
    """A cut that may have been lost counts as written."""
    fail = MemoryLease._fail

    def quietly(self: MemoryLease, cut: Cut, ending: Ending, target: str) -> None:
        if ending not in {Ending.LOST, Ending.LOST_LATER}:
            fail(self, cut, ending, target)

    patch.setattr(MemoryLease, "_fail", quietly)


@breaks(Promise.WHOLE_CUTS, first=3)
def unknown_is_failure(patch: Patch) -> None:
    """A cut that may have been written is tried again."""
    fail = MemoryLease._fail

    def again(self: MemoryLease, cut: Cut, ending: Ending, target: str) -> None:
        if ending is Ending.WRITTEN:
            self._apply(cut)
            raise NotCommitted("it may have been")
        fail(self, cut, ending, target)

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


@breaks(Promise.ONCE, first=5)
def dedupe_off(patch: Patch) -> None:
    """The ids of events are not looked at."""
    patch.setattr(intake, "knows", lambda snapshot, event_id: False)


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


@breaks(Promise.ORDER, first=1)
def letters_overtaken(patch: Patch) -> None:
    """Later events do not follow the open letters of their workflow."""
    patch.setattr(turn, "open_letters", lambda snapshot: False)
    patch.setattr(intake, "open_letters", lambda snapshot: False)
    patch.setattr(Letters, "follow_all", lambda self, snapshot, mailbox: None)


@breaks(Promise.ONE_OUTCOME, Promise.WHOLE_CUTS, Promise.QUIET)
def waiting_lost_at_a_takeover(patch: Patch) -> None:
    """A takeover does not take up what waits."""
    patch.setattr(restoring, "_fill", lambda mailbox, items: None)
