"""
One shard, replayed cut by cut: every promise that its cuts, snapshots and history can break.

The checks of a cut come in this order, and the audit of a shard ends with the first cut that breaks
one: what follows is built on it, and would only repeat the story.
    1. its owner was not fenced (P6)
    2. it is whole: entry, history, letters and offsets agree (P5)
    3. its history: one outcome a record (P1, P2), in order (P4), as the machine says (P2, P3, P7)
    4. its snapshots: never back (P6), as the history says, and none left out (P5)
    5. its counters and what waits (P1)

`audit` makes one for each shard. `audit_whole` has step 2, `audit_life` most of 3 and 4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from event_center.machine import Machine
from event_center.model import Position
from event_center.testing import audit_formats as formats
from event_center.testing.audit_events import Events
from event_center.testing.audit_evidence import Complaint, Evidence, KeptCut, Promise, Violation
from event_center.testing.audit_formats import ShardState, Shot, Told, WaitingEntry
from event_center.testing.audit_ids import Ids
from event_center.testing.audit_life import Life
from event_center.testing.audit_order import Order
from event_center.testing.audit_whole import Written, read_written, unwhole

Machines = Mapping[tuple[str, int], Machine]


class ShardAudit:
    """What one shard has done so far, as its cuts tell it."""

    def __init__(self, shard: int, evidence: Evidence, events: Events, machines: Machines) -> None:
        self.shard = shard
        self.broken: list[Violation] = []
        self.lives: dict[str, Life] = {}
        self.past: list[Life] = []
        """Of workflows that were removed."""
        self._removed: set[str] = set()
        """Those that the history of this cut says to be removed."""
        self.state: ShardState = formats.EMPTY
        self.waiting: dict[str, dict[int, WaitingEntry]] = {}
        self.shots: dict[str, Shot] = {}
        self.outcomes: dict[Position, Told] = {}
        self.entries: dict[bytes, bytes] = {}
        self._evidence = evidence
        self._events = events
        self._machines = machines
        self._orders: dict[tuple[str, str, int], Order] = {}
        self._ids: dict[str, Ids] = {}
        self._broken_for: set[str] = set()
        self._epoch = 0
        self._jobs = 0
        """Jobs of all snapshots so far."""
        self._places: dict[tuple[str, int, str, str], int] = {}
        """How many workflows its snapshots have in each place; where there is none, nothing."""

    def take(self, cut: KeptCut) -> None:
        """Check one cut; nothing after the first broken one."""
        if self.broken:
            return
        written = read_written(cut, self._evidence)
        if cut.epoch < self._epoch:
            self._complain("", f"{cut} has epoch {cut.epoch}, after one of epoch {self._epoch}")
            return
        self._epoch = cut.epoch
        for promise, story in unwhole(cut, written, self.state, self._evidence):
            self.broken.append(Violation(promise, "", story))
        if self.broken or written.state is None:
            return
        before, self.state = self.state, written.state
        self._removed = set()
        for told in written.history:
            self._live(cut, told, written)
        if not self.broken:
            self._keep(cut)
            self._snapshots(cut, written)
        if not self.broken:
            self._counters(cut, written, before)

    def _complain(
        self, workflow_id: str, story: str, promise: Promise = Promise.NEVER_BACK
    ) -> None:
        """Note a broken promise; of one workflow the first, which the others may follow from."""
        if workflow_id not in self._broken_for:
            self.broken.append(Violation(promise, workflow_id, story))
        if workflow_id:
            self._broken_for.add(workflow_id)

    def _hear(self, workflow_id: str, cut: KeptCut, complaints: Iterator[Complaint]) -> None:
        for promise, story in complaints:
            self._complain(workflow_id, f"{story} ({cut})", promise)

    # -- history -------------------------------------------------------------------------------

    def _live(self, cut: KeptCut, told: Told, written: Written) -> None:
        workflow_id = told.workflow_id
        life = self.lives.get(workflow_id)
        position = told.position
        deferred = self._deferred(position)
        if position is not None and self._outcome(cut, told, position):
            self._hear(workflow_id, cut, self._ordered(told, position, life))
        if told.kind == "created":
            self._create(cut, told)
            return
        if told.kind == "removed":
            self._remove(cut, told)
            return
        if life is None:
            if "machine" in told.data or told.kind == "run":
                self._complain(
                    workflow_id, f"history tells of it before it was created ({cut})", Promise.ONCE
                )
            return
        if "machine" not in told.data and told.kind != "run":
            return  # a record that reached no workflow, though one of this id exists
        if told.kind == "migrated":
            newer = self._machines.get((str(told.get("machine")), int(told.get("version"))))
            self._hear(workflow_id, cut, life.upgrade(newer, told))
            return
        life.cut_at_ms = cut.at_ms
        self._pass_over(life, told)
        event = self._events.of(position, told.origin)
        self._hear(workflow_id, cut, life.take(told, event, deferred=deferred))
        ids = self._ids.setdefault(workflow_id, Ids())
        self._hear(workflow_id, cut, ids.take(told, event))
        number = written.numbers.get(str(position)) if told.kind == "dead_lettered" else None
        if number is not None and position is not None:
            self._hear(workflow_id, cut, life.letter(number, position))

    def _create(self, cut: KeptCut, told: Told) -> None:
        workflow_id = told.workflow_id
        machine = self._machines.get((str(told.get("machine")), int(told.get("version"))))
        if workflow_id in self.lives:
            self._complain(workflow_id, f"it was created a second time ({cut})", Promise.ONCE)
        elif machine is None:
            story = f"it is of machine {told.get('machine')} version {told.get('version')}"
            self._complain(workflow_id, f"{story}, which the audit was not given", Promise.ONCE)
        else:
            event = self._events.event(formats.position_of(str(told.get("origin"))))
            back_ms = self._evidence.set_back_ms
            life = Life(machine, told, cut.at_ms, event, set_back_ms=back_ms)
            self.lives[workflow_id] = life
            self._hold(machine, told)

    def _hold(self, machine: Machine, told: Told) -> None:
        """What came before the event that makes a workflow may be decided after it, if it was held."""
        topic, partition, offset = formats.position_of(str(told.get("origin")))
        order = self._order(told.workflow_id, topic, partition)

        def held(earlier: int) -> bool:
            event = self._events.event(Position(topic, partition, earlier))
            return event is not None and machine.hold(event.name) is not None

        order.pass_over(held, offset)

    def _remove(self, cut: KeptCut, told: Told) -> None:
        """There is no such workflow any more: with nothing left to do, if nobody asked for it."""
        workflow_id = told.workflow_id
        life = self.lives.pop(workflow_id, None)
        self._ids.pop(workflow_id, None)
        self._removed.add(workflow_id)
        if life is None:
            if workflow_id not in self.shots:
                self._complain(workflow_id, f"it was removed, and never was ({cut})", Promise.ONCE)
            return
        self.past.append(life)
        if told.get("reason") == "retention":
            self._hear(workflow_id, cut, life.ends())

    def _outcome(self, cut: KeptCut, told: Told, position: Position) -> bool:
        """Note the outcome of a record; whether it is its first."""
        former = self.outcomes.get(position)
        self.outcomes[position] = told
        if former is None:
            return True
        again = former.get("outcome") == told.get("outcome") == "applied"
        story = f"{position} has two outcomes: {former.kind}, and {told.kind} in {cut}"
        promise = Promise.ONCE if again else Promise.ONE_OUTCOME
        self._complain(told.workflow_id, story, promise)
        return False

    # -- order ---------------------------------------------------------------------------------

    def _order(self, workflow_id: str, topic: str, partition: int) -> Order:
        key = workflow_id, topic, partition
        order = self._orders.get(key)
        if order is None:
            offsets = self._events.order(workflow_id, (topic, partition))
            order = self._orders[key] = Order(offsets)
        return order

    def _deferred(self, position: Position | None) -> bool:
        written = None if position is None else self._events.written(position)
        if position is None or written is None:
            return False
        topic, partition, offset = position
        return self._order(written.workflow_id, topic, partition).deferred(offset)

    def _ordered(self, told: Told, position: Position, life: Life | None) -> Iterator[Complaint]:
        written = self._events.written(position)
        if written is None:
            return
        topic, partition, _ = position

        def may(offset: int) -> bool:
            return self._may(life, told, Position(topic, partition, offset))

        def accepted(offset: int) -> bool:
            event = self._events.event(Position(topic, partition, offset))
            if life is None or event is None or life.origin == str(position):
                return False
            snapshot, at_ms = life.snapshot, told.at_ms
            if snapshot.result is not None or not life.machine.has(snapshot.state, event.name):
                return False
            return not life.defers(event, at_ms)

        order = self._order(written.workflow_id, topic, partition)
        yield from order.take(position, told, may, accepted)

    def _may(self, life: Life | None, told: Told, position: Position) -> bool:
        """Whether the event at this position may be passed over at this moment."""
        topic, partition, offset = position
        source = topic if partition == self.shard else f"{topic}/{partition}"
        if life is None or offset >= self.state.offsets.get(source, 0):
            return False
        event = self._events.event(position)
        return event is not None and life.defers(event, told.at_ms)

    def _pass_over(self, life: Life, told: Told) -> None:
        """Before it is moved by something else than the next event: what it has set aside by then."""
        here = None if told.position is None else told.position[:2]
        for topic, partition in self._events.places(told.workflow_id):
            if (topic, partition) == here:
                continue

            def may(offset: int, at: tuple[str, int] = (topic, partition)) -> bool:
                return self._may(life, told, Position(*at, offset))

            self._order(told.workflow_id, topic, partition).pass_over(may)

    # -- entries -------------------------------------------------------------------------------

    def _keep(self, cut: KeptCut) -> None:
        """Put and remove what the cut puts and removes; what left must have its outcome."""
        gone: list[tuple[str, Position]] = []
        for key, value in cut.entries:
            if value is None:
                self.entries.pop(key, None)
            else:
                self.entries[key] = value
            named = formats.waiting_of(key)
            if named is None:
                continue
            workflow_id, number = named
            entries = self.waiting.setdefault(workflow_id, {})
            if value is not None:
                entries[number] = entry = formats.read_waiting(value, cut, workflow_id)
                if entry.position in self.outcomes:
                    story = f"{entry.position} waits and has an outcome ({cut})"
                    self._complain(workflow_id, story, Promise.ONE_OUTCOME)
                continue
            former = entries.pop(number, None)
            if former is not None and former.position not in self.outcomes:
                gone.append((workflow_id, former.position))
        for workflow_id, left in gone:  # or it waits on behind others, under another number
            if left not in {entry.position for entry in self.waiting[workflow_id].values()}:
                story = f"{left} waits no more and has no outcome ({cut})"
                self._complain(workflow_id, story, Promise.ONE_OUTCOME)

    def _snapshots(self, cut: KeptCut, written: Written) -> None:
        for workflow_id, value in written.snapshots:
            former = self.shots.get(workflow_id)
            if former is not None:
                self._count(former, -1)
            if value is None:
                self.shots.pop(workflow_id, None)
                silent = workflow_id not in self._removed
                if former is not None and former.status != "expected" and silent:
                    story = f"its snapshot was removed, and no history says why ({cut})"
                    self._complain(workflow_id, story)
                continue
            shot = formats.read_snapshot(value, cut, workflow_id)
            self.shots[workflow_id] = shot
            self._count(shot, 1)
            self._compare(cut, workflow_id, former, shot)
        put = {workflow_id for workflow_id, _ in written.snapshots}
        for told in written.history:
            if (
                told.workflow_id in self.lives
                and told.workflow_id not in put
                and ("machine" in told.data or told.kind == "run")
            ):
                story = f"{cut} tells of {told.origin} and has no snapshot of it"
                self._complain(told.workflow_id, story, Promise.WHOLE_CUTS)

    def _count(self, shot: Shot, by: int) -> None:
        """A snapshot is there from now on, or no more."""
        place = shot.machine, shot.version, shot.state, shot.status
        self._places[place] = left = self._places.get(place, 0) + by
        if not left:
            del self._places[place]
        self._jobs += by * len(shot.jobs)

    def _compare(self, cut: KeptCut, workflow_id: str, former: Shot | None, shot: Shot) -> None:
        life = self.lives.get(workflow_id)
        if shot.status == "expected":
            if life is not None:
                story = f"its snapshot says that it is expected, and it was created ({cut})"
                self._complain(workflow_id, story)
            return
        if former is not None and workflow_id not in self._removed and shot.seq < former.seq:
            story = f"its snapshot went back from seq {former.seq} to {shot.seq} ({cut})"
            self._complain(workflow_id, story)
        elif life is None:
            story = f"{cut} has a snapshot of it, and no history says that it was created"
            self._complain(workflow_id, story, Promise.WHOLE_CUTS)
        else:
            self._hear(workflow_id, cut, life.compare(shot))

    # -- counters ------------------------------------------------------------------------------

    def _counters(self, cut: KeptCut, written: Written, before: ShardState) -> None:
        """What the shard entry says, compared with a recount."""
        state = self.state
        for promise, story in self._miscounts(before, state):
            self._complain("", f"{cut}: {story}", promise)
        for workflow_id, _ in written.snapshots:
            entries = self.waiting.get(workflow_id, {})
            shot = self.shots.get(workflow_id)
            said = 0 if shot is None else shot.waiting
            if said != len(entries):
                story = (
                    f"{cut}: {said} events of it wait, and it has {len(entries)} waiting entries"
                )
                self._complain(workflow_id, story, Promise.ONE_OUTCOME)

    def _miscounts(self, before: ShardState, state: ShardState) -> Iterator[Complaint]:
        outcomes, waiting = sum(state.outcomes.values()), sum(state.waiting.values())
        if state.read != outcomes + waiting:
            yield (
                Promise.ONE_OUTCOME,
                f"read {state.read} is not outcomes {outcomes} + waiting {waiting}",
            )
        recount = sum(len(entries) for entries in self.waiting.values())
        if waiting != recount:
            yield (
                Promise.ONE_OUTCOME,
                f"it says that {waiting} events wait, and there are {recount} waiting entries",
            )
        taken = 0
        for source, following in state.offsets.items():
            topic = source.partition("/")[0]
            anew = state.renewed.get(topic) != before.renewed.get(topic)
            since = 0 if anew else before.offsets.get(source, 0)
            if following < since:
                yield Promise.ONE_OUTCOME, f"{source} went back from offset {since} to {following}"
            place = self._evidence.place(source, self.shard)
            taken += self._evidence.between(place, since, following)
        for source in before.offsets.keys() - state.offsets.keys():
            if source.partition("/")[0] not in state.renewed:
                yield Promise.ONE_OUTCOME, f"it has no offset of {source} any more"
        read = state.read - before.read
        if read + state.lost - before.lost != taken:
            yield (
                Promise.ONE_OUTCOME,
                f"it has read {read} records more, its offsets passed {taken}",
            )
        if self._places != {place: n for place, n in state.counts.items() if n}:
            yield (
                Promise.WHOLE_CUTS,
                f"it counts {dict(state.counts)}, its snapshots {self._places}",
            )
        if state.jobs != self._jobs:
            story = f"it counts {state.jobs} jobs, its snapshots have {self._jobs}"
            yield Promise.WHOLE_CUTS, story
