"""
The ledger of one shard: all that its next cut will make durable, and the counters that must add up.

Whoever did something calls the verb for it here; nothing leaves the process by another way, and nobody
else writes what a cut will hold. A cut holds every record taken in so far: decided, or put as a waiting
entry. So its offsets are the intake's positions, and no callback holds them. Two parts have files of
their own: `waiting_entries.py`, and `dumping.py` with the snapshots.

Numbered steps of a cut (3 to 5 are the log's):
    1. taken in: waiting events that no cut has written yet get their entries
    2. built: one snapshot per workflow that changed, dumped now; the shard entry comes last
    3. begun   4. written   5. committed
    6. settled: runs that this cut made durable may start
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from event_center.engine.dumping import Dumping
from event_center.engine.standing import Standing, Stations, Track
from event_center.engine.waiting_entries import WaitingEntries
from event_center.engine.workflow import Mailbox, Waiting, Workflows, refused
from event_center.errors import InvariantError
from event_center.failpoint import Step, reach
from event_center.log.port import Cut
from event_center.machine.step import Machine
from event_center.model import (
    Event,
    Outcome,
    OutgoingParts,
    Owed,
    Position,
    Reason,
    Record,
    Refusal,
    Snapshot,
    Status,
    size_of,
)
from event_center.wire import history, letter
from event_center.wire.entries import SHARD_KEY, ShardEntry, snapshot_key

SMALL_BYTES = 2_000
"""Bytes of a record of history that is not weighed: a cut has room for as many as it may take in."""


class Ledger:
    """What the next cut of one shard will hold."""

    def __init__(
        self,
        entry: ShardEntry,
        workflows: Workflows,
        *,
        writer: history.HistoryWriter,
        letters: tuple[str, int],
        clock: Callable[[], int],
        warm: int,
        machines: Mapping[str, Machine],
        everything: bool = True,
    ) -> None:
        self.entry = entry
        self.clock = clock
        self.now_ms = clock()
        """The time at which what is being decided counts as decided; see `tick`."""
        self.dirty: dict[str, Snapshot | Standing | bytes] = {}
        """Workflows that changed since the last cut; of one of which only a run is done, its new bytes."""
        self._records: list[OutgoingParts] = []
        self._owing: dict[str, Snapshot] = {}
        """Workflows whose owed runs become durable with the next cut."""
        self._in_flight: dict[str, Snapshot] = {}
        """The same of the cut that is being committed."""
        self.wake: Callable[[], None] = lambda: None
        """Called when something happened outside the intake: there is something to cut."""
        self.on_end: Callable[[Snapshot], None] = lambda _: None
        """Called when all of a finished workflow is over."""
        self.waiting = WaitingEntries(entry)
        self.taken = 0
        """Records taken in that no committed cut covers yet."""
        self.cut_bytes = 0
        """Bytes at most of what no committed cut holds yet, beside small history; counted as it comes."""
        self._workflows = workflows
        self._writer = writer
        self._letters = letters
        self._everything = everything
        self.stations = Stations(machines, writer)
        self._tracks: list[Track] = []
        """Those that workflows were taken along since `took` has counted, which it does once a batch."""
        self._dumping = Dumping(entry, workflows, self.stations, warm=warm, end=self._end)
        self._removed: list[bytes] = []
        self._touched = False
        self._building = self._building_bytes = 0

    def tick(self) -> int:
        """Look at the clock: once per batch, run or command, not once per record of history."""
        self.now_ms = now = self.clock()
        return now

    # -- what was read -------------------------------------------------------------------------

    def took(self, source: str, records: int, following: int, *, redelivered: int = 0) -> None:
        """So many records of a source were taken in: each has its outcome, or waits."""
        entry = self.entry
        entry.read += records - redelivered
        entry.redelivered += redelivered
        entry.offsets[source] = following
        self.taken += records
        for track in self._tracks:
            moved, track.taken = track.taken, 0
            entry.transitions += moved
            entry.outcomes["applied"] += moved
            entry.counts[track.start.where] -= moved
            entry.counts[track.to.where] = entry.counts.get(track.to.where, 0) + moved
        self._tracks.clear()

    def repeated(self, records: int) -> None:
        """Records came that a cut covers already: they were not taken in."""
        self.entry.redelivered += records
        self._touched = True

    def passed_over(self, source: str, following: int, lost: int) -> None:
        """The log has removed what was to be read next; `lost` of it should have been read."""
        if lost:
            self.entry.lost[source] = self.entry.lost.get(source, 0) + lost
        self.entry.offsets[source] = following
        self._touched = True

    def made_anew(self, topic: str, topic_id: str, sources: Iterable[str]) -> None:
        """A topic counts its offsets from the start again, in all these sources."""
        for source in sources:
            del self.entry.offsets[source]
        self.entry.topic_ids[topic] = topic_id
        self.entry.renewed[topic] = self.entry.renewed.get(topic, 0) + 1
        self._touched = True

    def asked(self) -> None:
        """A cut is wanted, if only of the shard entry."""
        self._touched = True

    # -- what happened -------------------------------------------------------------------------

    def changed(self, snapshot: Snapshot) -> None:
        """The workflow is not as its snapshot in the log says: the next cut has it anew, whole."""
        if snapshot.workflow_id not in self.dirty:
            self.cut_bytes += snapshot.size
        self.dirty[snapshot.workflow_id] = snapshot

    def grew(self, snapshot: Snapshot, size: int, added: int) -> None:
        """The workflow may have so many bytes now, of which these are new; it weighs them if it changed."""
        snapshot.size = size
        if snapshot.workflow_id in self.dirty:  # else `changed` counts all of it
            self.cut_bytes += added

    def owes(self, snapshot: Snapshot) -> None:
        """What the workflow owes now is durable with the next cut, and starts after it."""
        self._owing[snapshot.workflow_id] = snapshot

    def ran(self, snapshot: Snapshot, *, only: bool = False) -> None:
        """An attempt at a run has ended, and `only` that: nothing else of its workflow is otherwise now."""
        self.entry.runs += 1
        known = snapshot.relieved if only and snapshot.workflow_id not in self.dirty else None
        self.changed(snapshot)
        if known is not None:
            self.dirty[snapshot.workflow_id] = known

    def done(self, snapshot: Snapshot, owed: Owed) -> None:
        """An entry callback of the workflow is done, and has returned nothing to decide."""
        self._records.append(self._writer.done(snapshot, owed, self.now_ms))

    def count_jobs(self, more: int) -> None:
        """So many more jobs are owed, or fewer."""
        self.entry.jobs += more

    def send(self, records: Sequence[OutgoingParts]) -> None:
        """These records leave with the next cut."""
        self._records += records
        for _, key, value, headers, _, _ in records:
            self.cut_bytes += size_of(key, value, headers)

    def outcome(
        self,
        snapshot: Snapshot,
        event: Event,
        outcome: Outcome,
        reason: Reason | None = None,
        *,
        detail: str = "",
    ) -> None:
        """An event that did not move its workflow got its outcome; a record is counted."""
        self.changed(snapshot)
        if snapshot.status is Status.EXPECTED:  # it was held: there is no workflow to tell of
            told = {"workflow_id": snapshot.workflow_id, "event": event.name, "reason": reason}
            position = Position(event.topic, event.partition, event.offset)
            self.stray(outcome, position, told | ({"detail": detail} if detail else {}))
            return
        if event.offset >= 0:
            self.entry.outcomes[outcome] += 1
        if outcome is Outcome.REJECTED:
            refused(snapshot, Refusal(self.now_ms, event.name, str(reason), detail))
        if self._everything:
            data = history.about(snapshot, event)
            data |= {"outcome": outcome, "reason": reason} | ({"detail": detail} if detail else {})
            self.tell(outcome, snapshot.workflow_id, event.origin, data)

    def applied(self, snapshot: Snapshot, event: Event, before: str, kind: str) -> None:
        """An event moved its workflow, which is already as it is afterwards."""
        entry, writer, workflow_id = self.entry, self._writer, snapshot.workflow_id
        entry.transitions += 1
        self.changed(snapshot)
        if event.offset >= 0:
            entry.outcomes["applied"] += 1
            form = writer.form_of(snapshot, event, before)
            seq, at_ms, result = snapshot.seq, self.now_ms, snapshot.result
            record = writer.applied(form, workflow_id, seq, event.offset, at_ms, event.id, result)
        else:
            entry.timers += kind == history.TIMER
            record = writer.internal(snapshot, event, before, kind, self.now_ms)
        self._told(record)

    def moved(  # noqa: PLR0917 - called per event: positional arguments are cheaper
        self, workflow_id: str, standing: Standing, track: Track, offset: int, event_id: str | None
    ) -> None:
        """An event took a workflow that only stands in a state along this track; `took` counts it."""
        standing.station, standing.offset = track.to, offset
        standing.seq = seq = standing.seq + 1
        standing.at_ms = self.now_ms if track.enters else standing.at_ms
        if workflow_id not in self.dirty:
            self.cut_bytes += len(standing.data) + len(standing.ids) + len(track.form)
            self.dirty[workflow_id] = standing
        if not track.taken:
            self._tracks.append(track)
        track.taken += 1
        record = self._writer.applied(track.form, workflow_id, seq, offset, self.now_ms, event_id)
        tell = self._records.append if event_id is None else self._told  # without one it is small
        tell(record)

    def tell(self, kind: str, workflow_id: str, origin: str, data: dict[str, Any]) -> None:
        """One history record."""
        self._told(self._writer.record(kind, workflow_id, origin, self.now_ms, data))

    def _told(self, record: OutgoingParts) -> None:
        if len(value := record[2] or b"") > SMALL_BYTES:
            self.cut_bytes += len(value)
        self._records.append(record)

    def commanded(
        self, snapshot: Snapshot, outcome: Outcome, position: Position, data: dict[str, Any]
    ) -> None:
        """A command got its outcome from the workflow that it is for."""
        self.entry.outcomes[outcome] += 1
        self.changed(snapshot)
        self.tell(history.COMMAND, snapshot.workflow_id, str(position), data)

    def stray(self, outcome: Outcome, position: Position, data: dict[str, Any]) -> None:
        """A record that reached no workflow of this shard got its outcome."""
        self.entry.outcomes[outcome] += 1
        self._touched = True
        if self._everything:
            workflow_id = data.pop("workflow_id", "")
            data |= position._asdict() | {"outcome": outcome}
            self.tell(outcome, workflow_id, str(position), data)

    def letter(self, record: Record | None, origin: str, why: dict[str, str]) -> None:
        """A dead letter of this record."""
        if record is None:
            raise InvariantError(f"only a record can become a letter, {origin} is none")
        self.cut_bytes += size_of(record.key, record.value, record.headers)
        self._records.append(letter.write(*self._letters, record, origin, why=why))

    def remove(self, snapshot: Snapshot) -> None:
        """There is no such workflow any more: its snapshot becomes a tombstone. Nothing of it waits."""
        workflow_id = snapshot.workflow_id
        if snapshot.counted is not None:
            self.entry.counts[snapshot.counted] -= 1
            snapshot.counted = None
        for noted in (self.dirty, self._owing, self._in_flight):
            noted.pop(workflow_id, None)
        self._removed.append(snapshot_key(workflow_id))
        self._workflows.remove(workflow_id)
        self._touched = True

    # -- what waits ----------------------------------------------------------------------------

    def wait(self, snapshot: Snapshot, item: Waiting) -> None:
        """A record waits from now on; the next cut writes it if it still does."""
        self.waiting.add(snapshot, item)
        self.cut_bytes += item.weight
        self.changed(snapshot)

    def decided(self, snapshot: Snapshot, item: Waiting) -> None:
        """A record waits no more: its outcome is counted next."""
        if item.record is None or item.gone:
            return
        self.waiting.remove(snapshot, item)
        self.changed(snapshot)

    def behind(self, snapshot: Snapshot, item: Waiting) -> Waiting:
        """A waiting record waits on, behind what came later: it has a new entry from the next cut on."""
        self.decided(snapshot, item)
        again = Waiting(item.event, item.record, item.topic, item.partition)
        self.wait(snapshot, again)
        return again

    def defer(self, snapshot: Snapshot, item: Waiting) -> None:
        """A waiting record is set aside by its machine: the entry says so from the next cut on."""
        self.waiting.defer(snapshot, item)
        self.changed(snapshot)

    def status(self, snapshot: Snapshot, status: Status, mailbox: Mailbox | None) -> None:
        """Change the status; what waits for the workflow is counted under its new cause."""
        self.waiting.status(snapshot, status, () if mailbox is None else mailbox.items())
        self.changed(snapshot)

    # -- the cut -------------------------------------------------------------------------------

    @property
    def clean(self) -> bool:
        """Nothing happened since the last cut."""
        return not (self.dirty or self._records or self.taken - self._building or self._touched)

    def build(self) -> Cut:
        """Everything since the last cut, to be committed as it is; the next cut starts empty."""
        self.waiting.number()
        reach(Step.CUT_TAKEN_IN)
        entries: dict[bytes, bytes | None] = dict.fromkeys(self._removed)
        cut = Cut(entries=entries, records=self._records, offsets=dict(self.entry.offsets))
        self.waiting.write(entries)
        self._dumping.dump(self.dirty, entries)
        self._in_flight, self._owing = self._owing, {}
        self.entry.check()
        self.entry.cut += 1
        entries[SHARD_KEY] = self.entry.encode()
        self._building = self.taken
        self._building_bytes = self.cut_bytes
        self.dirty, self._records = {}, []
        self._removed, self._touched = [], False
        reach(Step.CUT_BUILT)
        return cut

    def committed(self) -> list[Snapshot]:
        """The last cut is durable: returns the workflows whose runs may start now."""
        self.taken -= self._building
        self.cut_bytes -= self._building_bytes
        self._building = self._building_bytes = 0
        durable, self._in_flight = self._in_flight, {}
        return list(durable.values())

    def promised(self, workflow_id: str) -> bool:
        """Whether what the workflow owes is not durable yet: its runs may not start."""
        return workflow_id in self._owing or workflow_id in self._in_flight

    def _end(self, snapshot: Snapshot) -> None:
        """Note since when all of a finished workflow is over, as it is once this cut is made."""
        waits = snapshot.waiting or snapshot.letters_next < snapshot.letters_last
        if snapshot.owed or waits or snapshot.status is not Status.FINAL:
            snapshot.over_ms = 0
        elif not snapshot.over_ms:
            snapshot.over_ms = self.now_ms
            self.on_end(snapshot)
