"""
The intake of one shard: a batch of records in, each with an outcome or a place in a mailbox.

The order of checks: decodable; a name and an id that are not too long; if the shard has no such workflow:
a good workflow_id, home, none that cuts have failed with (`unborn`), a known machine, the event's schema,
missing; then redelivered, duplicate, another machine, and the workflow's own status and step (`turn`).
Everything here is synchronous, so the offsets of a cut always tell exactly what was taken in. The shard's
`parts` call `take` for each batch of events; batches of commands go to `commands` instead.
"""

from __future__ import annotations

import structlog

from event_center.engine.attempt import failure_of
from event_center.engine.freedom import Freedom
from event_center.engine.holds import Holds
from event_center.engine.known_ids import knows
from event_center.engine.ledger import Ledger
from event_center.engine.letters import Letters, open_letters
from event_center.engine.outbox import Outbox
from event_center.engine.plan import Plan
from event_center.engine.standing import Standing
from event_center.engine.turn import STEP_FAILED, Turn
from event_center.engine.workflow import Waiting, Workflow, Workflows
from event_center.errors import FormatError, Undecodable
from event_center.log.port import TOO_LARGE, Batch
from event_center.machine.decision import accepted_text
from event_center.machine.definition import Missing
from event_center.machine.spelling import quoted
from event_center.machine.step import Machine
from event_center.model import (
    MAX_EVENT_ID,
    MAX_ID_BYTES,
    MAX_NAME,
    Event,
    Outcome,
    Position,
    Reason,
    Record,
    Shard,
    Snapshot,
    Status,
    Unhandled,
    is_workflow_id,
)
from event_center.wire import history

log = structlog.get_logger()


def _not_created(machine: Machine, event_name: str) -> str:
    """Why an event makes no workflow of this machine."""
    instead = accepted_text(f"a new {machine.name}", machine.creating(), event_name)
    return f"event {quoted(event_name)} does not create a workflow of {machine.name}; {instead}"


class Intake:
    """Takes the records of one shard in."""

    def __init__(
        self,
        plan: Plan,
        workflows: Workflows,
        ledger: Ledger,
        *,
        shard: Shard,
        letters: Letters,
        outbox: Outbox,
        freedom: Freedom,
        holds: Holds,
        turn: Turn,
    ) -> None:
        self._shard = shard
        self._plan = plan
        self._workflows = workflows
        self._ledger = ledger
        self._letters = letters
        self._outbox = outbox
        self._freedom = freedom
        self._holds = holds
        self._turn = turn
        self.unborn: set[str] = set()
        """Workflows that do not exist, and with which no cut goes through: their next event is a letter."""

    def take(  # noqa: C901, PLR0912, PLR0915 - the checks of a record, in their order, without a call
        self, batch: Batch
    ) -> None:
        """Take a batch of events in; afterwards the next cut covers all of it."""
        place = topic, partition = batch.topic, batch.partition
        source = topic if partition == self._shard else f"{topic}/{partition}"
        find = self._plan.envelopes[topic].find
        workflows = self._workflows
        renewed = self._ledger.entry.renewed.get(topic)
        # A topic that was made anew counts its offsets from 0: what was seen of the old one says nothing.
        seen_of = source if renewed is None else f"{source}~{renewed}"
        workflow_of, mailboxes, decide = workflows.by_id.get, workflows.mailboxes, self._turn.decide
        moved, track_of = self._ledger.moved, self._ledger.stations.track
        redelivered = 0
        self._ledger.tick()
        for record in batch.records:
            try:
                workflow_id, machine, name, event_id, payload, time_ms = find(record)
            except Undecodable as error:
                self._unread(record, Position(topic, partition, record.offset), error)
                continue
            if len(name) > MAX_NAME or (event_id is not None and len(event_id) > MAX_EVENT_ID):
                self._misnamed(record, name, Position(topic, partition, record.offset))
                continue
            snapshot, offset = workflow_of(workflow_id), record.offset
            if (
                type(snapshot) is Standing
                and offset > snapshot.offset
                and snapshot.station.source == seen_of
                and (machine is None or machine == snapshot.station.where.machine)
            ):
                station = snapshot.station
                track = station.tracks.get(name) or track_of(station, name, place)
                if track is not None and (event_id is None or snapshot.learns(event_id)):
                    moved(workflow_id, snapshot, track, offset, event_id)
                    continue
            event = Event(
                name, payload, event_id, time_ms, record.headers, topic, partition, offset
            )
            if type(snapshot) is not Snapshot:
                if snapshot is None:
                    snapshot = self._create(workflow_id, machine, record, event)
                else:
                    snapshot = self._wake(workflow_id, snapshot, record, event)
                if snapshot is None:
                    continue
            seen = snapshot.seen
            if offset <= seen.get(seen_of, -1):
                redelivered += 1
                continue
            seen[seen_of] = offset
            if event_id is not None and knows(snapshot, event_id):
                self._ledger.outcome(snapshot, event, Outcome.DUPLICATE)
                continue
            if machine is not None and machine != snapshot.machine and self._other(snapshot, event):
                continue
            if snapshot.owed or workflow_id in mailboxes:
                self._queue(snapshot, event, record, machine)
            else:
                decide(snapshot, event, None, record)
        following, count = batch.records[-1].offset + 1, len(batch.records)
        self._ledger.took(source, count, following, redelivered=redelivered)
        if redelivered:
            # With atomic cuts this never happens: the log has delivered records that a cut covers.
            log.error("intake.redelivered", shard=self._shard, source=source, records=redelivered)

    def _unread(self, record: Record, position: Position, error: Undecodable) -> None:
        """A record without an event becomes a letter, unless the log could not hold that."""
        if record.headers and record.headers[0][0] == TOO_LARGE:
            size = record.headers[0][1].decode("latin-1")
            most = self._plan.limits.record_bytes
            detail = (
                f"it has {size} bytes, and an event of this log at most {most}: keep what is "
                "large elsewhere, and send its name"
            )
            key = (record.key or b"").decode("utf-8", "replace")
            workflow_id = key if is_workflow_id(key) else ""
            told = {"workflow_id": workflow_id, "reason": Reason.TOO_LARGE, "detail": detail}
            self._ledger.stray(Outcome.REJECTED, position, told)
            log.warning("intake.too_large", position=str(position), key=key, detail=detail)
            return
        self._letters.stray(record, position, Reason(error.reason), str(error))

    def _misnamed(self, record: Record, name: str, position: Position) -> None:
        """An event whose name or id is too long to be told of becomes a letter."""
        long = ("name", MAX_NAME, "event") if len(name) > MAX_NAME else ("id", MAX_EVENT_ID, "id")
        message = (
            f"an event's {long[0]} has up to {long[1]} characters: publish a short one, or let "
            f"`{long[2]}` of [topics.{position.topic}] find another"
        )
        self._letters.stray(record, position, Reason.UNDECODABLE, message)

    def _wake(
        self, workflow_id: str, workflow: Workflow, record: Record, event: Event
    ) -> Snapshot | None:
        """An idle workflow becomes live; None if its snapshot can not be read."""
        try:
            return self._workflows.wake(workflow_id, workflow)  # type: ignore[arg-type]  # bytes here
        except FormatError as error:
            position = Position(event.topic, event.partition, event.offset)
            self._letters.stray(
                record, position, Reason.UNREADABLE_SNAPSHOT, str(error), workflow_id=workflow_id
            )
            return None

    def _other(self, snapshot: Snapshot, event: Event) -> bool:
        """The workflow belongs to another machine than the record's topic."""
        if snapshot.status is Status.EXPECTED:
            return False  # it belongs to whoever makes it
        detail = f"the workflow is of machine {snapshot.machine}"
        self._ledger.outcome(snapshot, event, Outcome.REJECTED, Reason.OTHER_MACHINE, detail=detail)
        return True

    def _queue(self, snapshot: Snapshot, event: Event, record: Record, machine: str | None) -> None:
        """The workflow is busy, or others wait before this one: it waits too."""
        item = Waiting(event, record, event.topic, event.partition)
        if snapshot.status is Status.EXPECTED:
            self._expected(snapshot, event, item, machine)
            return
        if snapshot.letters_last and open_letters(snapshot):
            self._letters.follow(snapshot, event, item, Reason.BEHIND_LETTER)
            return
        mailbox = self._workflows.mailbox(snapshot.workflow_id)
        if len(mailbox.queue) + len(mailbox.deferred) >= self._plan.limits.max_waiting:
            self._letters.follow(snapshot, event, item, Reason.WAITING_FULL)
            return
        self._ledger.wait(snapshot, item)
        mailbox.queue.append(item)
        if self._freedom.decides(snapshot):
            self._turn.advance(snapshot)

    # -- workflows that the shard does not hold ------------------------------------------------

    def _create(
        self, workflow_id: str, machine: str | None, record: Record, event: Event
    ) -> Snapshot | None:
        """A workflow for this event; None if there is none, and the record has its outcome."""
        position = Position(event.topic, event.partition, event.offset)
        if not is_workflow_id(workflow_id):
            message = (
                f"a workflow_id has up to {MAX_ID_BYTES} bytes and no control characters: publish "
                f"another, or let `workflow_id` of [topics.{event.topic}] find another"
            )
            self._letters.stray(record, position, Reason.BAD_WORKFLOW_ID, message)
            return None
        if self._plan.home.of(workflow_id) != self._shard:
            self._forward(workflow_id, machine, record, event)
            return None
        definition = self._definition(workflow_id, machine, record, event)
        if definition is None:
            return None
        if definition.missing(event.name) is Missing.HOLD:
            return self._holds.expect(workflow_id, definition)
        if not self._makes(definition, workflow_id, record, event):
            return None
        snapshot = Snapshot(workflow_id, definition.name, definition.version, definition.initial)
        return snapshot if self._bear(snapshot, definition, record, event) else None

    def _expected(
        self, snapshot: Snapshot, event: Event, item: Waiting, machine: str | None
    ) -> None:
        """An event for a workflow that others are held for: it makes it, or is held too, or neither."""
        workflow_id = snapshot.workflow_id
        assert item.record is not None  # noqa: S101 - it was just read
        self._ledger.changed(snapshot)  # what it has seen, whatever becomes of the event
        name = snapshot.machine if machine is None else machine
        definition = self._definition(workflow_id, name, item.record, event)
        if definition is None:
            return
        if definition.missing(event.name) is Missing.HOLD:
            self._holds.take(snapshot, item, definition, event)
        elif self._makes(definition, workflow_id, item.record, event) and self._bear(
            snapshot, definition, item.record, event
        ):
            self._holds.created(snapshot, item)
            if self._freedom.decides(snapshot):
                self._turn.advance(snapshot)

    def _definition(
        self, workflow_id: str, machine: str | None, record: Record, event: Event
    ) -> Machine | None:
        """The machine that says what to do without a workflow; None: the record has its outcome."""
        position = Position(event.topic, event.partition, event.offset)
        if workflow_id in self.unborn:
            self.unborn.remove(workflow_id)
            message = (
                "cuts with this event alone ended without an answer of the log, while others went "
                "through: look at what it does, and replay it"
            )
            self._letters.stray(record, position, Reason.FAILED, message, workflow_id=workflow_id)
            return None
        definition = self._plan.machines.get(machine) if machine is not None else None
        if definition is None:
            if machine is None:
                detail = (
                    "there is none, and its topic names no machine that could make one: publish first "
                    f"what makes it, or write `machine` into [topics.{event.topic}]"
                )
                self._missing(workflow_id, position, event, detail)
            else:
                message = (
                    f"no machine {quoted(machine)} is loaded: add it to `machines` in the configuration, "
                    "start again, and publish this event anew"
                )
                self._letters.stray(
                    record, position, Reason.UNKNOWN_MACHINE, message, workflow_id=workflow_id
                )
            return None
        fault = definition.fault(event)
        if not fault:
            return definition
        if definition.definition.unhandled is Unhandled.DEAD_LETTER:
            reason = Reason.INVALID_PAYLOAD
            self._letters.stray(record, position, reason, fault, workflow_id=workflow_id)
        else:
            self._missing(workflow_id, position, event, fault, reason=Reason.INVALID_PAYLOAD)
        return None

    def _bear(self, snapshot: Snapshot, definition: Machine, record: Record, event: Event) -> bool:
        """The workflow begins, and history says so; if its machine fails there is none, but a letter."""
        workflow_id = snapshot.workflow_id
        try:
            birth = definition.birth(self._ledger.now_ms, event, workflow_id)
        except STEP_FAILED as error:
            self._unborn(workflow_id, record, event, error)
            return False
        refused = self._turn.sizes.unborn(snapshot, event, birth, record=record, machine=definition)
        if refused is not None:
            position = Position(event.topic, event.partition, event.offset)
            self._missing(workflow_id, position, event, refused.detail, reason=refused.reason)
            return False
        if snapshot.status is Status.EXPECTED:
            self._ledger.status(snapshot, Status.ACTIVE, self._workflows.mailbox(workflow_id))
        self._workflows.by_id[workflow_id] = snapshot
        snapshot.machine, snapshot.version = definition.name, definition.version
        snapshot.state = definition.initial
        snapshot.data = birth.data or {}
        self._turn.enter(snapshot, event, birth)
        self._born(snapshot, event)
        return True

    def _makes(self, definition: Machine, workflow_id: str, record: Record, event: Event) -> bool:
        """Whether the event makes a workflow; if not, the record has its outcome."""
        missing = definition.missing(event.name)
        if missing is Missing.CREATE:
            return True
        message = _not_created(definition, event.name)
        position = Position(event.topic, event.partition, event.offset)
        if missing is Missing.DEAD_LETTER:
            reason = Reason.UNKNOWN_WORKFLOW
            self._letters.stray(record, position, reason, message, workflow_id=workflow_id)
        else:
            self._missing(workflow_id, position, event, message)
        return False

    def _unborn(self, workflow_id: str, record: Record, event: Event, error: BaseException) -> None:
        """What the machine asks at a birth failed: there is no workflow that could be parked."""
        position = Position(event.topic, event.partition, event.offset)
        failure = failure_of("birth", error.__cause__ or error, self._ledger.now_ms, 1)
        message = f"{failure.type}: {failure.message}"
        self._letters.stray(record, position, Reason.FAILED, message, workflow_id=workflow_id)
        log.error("intake.unborn", workflow_id=workflow_id, event_name=event.name, error=message)

    def _born(self, snapshot: Snapshot, event: Event) -> None:
        self._ledger.changed(snapshot)
        data = {
            "machine": snapshot.machine,
            "version": snapshot.version,
            "seq": 0,
            "event": event.name,
            "from": None,
            "to": snapshot.state,
            "origin": event.origin,
        }
        self._ledger.tell(history.CREATED, snapshot.workflow_id, event.origin, data)

    def _missing(
        self,
        workflow_id: str,
        position: Position,
        event: Event,
        detail: str,
        *,
        reason: Reason = Reason.UNKNOWN_WORKFLOW,
    ) -> None:
        """There is no such workflow, and this event does not make one."""
        told = {"workflow_id": workflow_id, "event": event.name, "reason": reason}
        self._ledger.stray(Outcome.REJECTED, position, told | {"detail": detail})

    def _forward(self, workflow_id: str, machine: str | None, record: Record, event: Event) -> None:
        """The workflow lives in another shard: the event goes there, or becomes a letter."""
        position = Position(event.topic, event.partition, event.offset)
        if event.topic in self._plan.dead_letter_strays:
            home = self._plan.home.of(workflow_id)
            message = (
                f"this workflow's home is partition {home}: publish with the workflow_id as the key, "
                'or write wrong_partition = "forward"'
            )
            self._letters.stray(
                record, position, Reason.WRONG_PARTITION, message, workflow_id=workflow_id
            )
            return
        told = {"workflow_id": workflow_id, "event": event.name}
        if not self._outbox.forward(workflow_id, machine, event):
            detail = (
                "written anew for its home, it is larger than this log can hold: publish it with the "
                "workflow_id as its key, or smaller"
            )
            told |= {"reason": Reason.TOO_LARGE, "detail": detail}
            self._ledger.stray(Outcome.REJECTED, position, told)
            return
        self._ledger.stray(Outcome.FORWARDED, position, told)
