"""
Commands of operators, decided when they are read: ahead of everything that waits for a workflow.

Each is a record with an outcome like any other, and history keeps who asked and why. A command that
does not fit the workflow as it stands is `rejected(not_applicable)` and changes nothing.
The parts hand batches of commands in; `turn`, `effect` and `letters` have the next step.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from event_center.engine.attempt import anew
from event_center.engine.freedom import Freedom
from event_center.engine.known_ids import knows
from event_center.engine.ledger import Ledger
from event_center.engine.letters import Letters, open_letters
from event_center.engine.plan import Plan
from event_center.engine.removal import Removal
from event_center.engine.run import Pool
from event_center.engine.timers import Timers
from event_center.engine.turn import Turn
from event_center.engine.workflow import (
    Mailbox,
    Waiting,
    Workflows,
    undecided,
    unstopped,
)
from event_center.errors import ExpressionError, FormatError, Interrupted
from event_center.log.port import Batch
from event_center.machine.spelling import hint, quoted
from event_center.model import (
    Event,
    Outcome,
    Position,
    Reason,
    Record,
    Result,
    Snapshot,
    Status,
)
from event_center.wire import command as wire
from event_center.wire.command import Command, Verb

Misfit = str
"""Why a command does not fit; empty: it was carried out."""
SPOILING = (
    "the log did not answer to three cuts with it alone, and took others: nothing was changed"
)


class Commands:
    """Decides the commands of one shard."""

    def __init__(
        self,
        plan: Plan,
        workflows: Workflows,
        ledger: Ledger,
        *,
        letters: Letters,
        timers: Timers,
        freedom: Freedom,
        turn: Turn,
        runners: Pool,
        removal: Removal,
    ) -> None:
        self._plan = plan
        self._workflows = workflows
        self._ledger = ledger
        self._letters = letters
        self._timers = timers
        self._freedom = freedom
        self._turn = turn
        self._effects, self._jobs = turn.effects, turn.jobs
        self._runners = runners
        self._removal = removal
        self.spoiling: Position | None = None
        """Where a command lies with which no cut goes through: it is refused."""
        self._verbs: dict[Verb, Callable[[Snapshot, Command, Position], Misfit]] = {
            Verb.PAUSE: self._pause,
            Verb.RESUME: self._resume,
            Verb.RETRY: self._retry,
            Verb.SKIP: self._skip,
            Verb.CANCEL: self._cancel,
            Verb.SET_STATE: self._set_state,
            Verb.DISCARD: self._discard,
            Verb.REPLAY: self._replay,
            Verb.FORGET: self._forget,
        }

    def take(self, batch: Batch) -> None:
        """Decide a batch of records of the commands topic."""
        self._ledger.tick()
        for record in batch.records:
            position = Position(batch.topic, batch.partition, record.offset)
            self._one(record, position)
        following = batch.records[-1].offset + 1
        self._ledger.took(batch.topic, len(batch.records), following)

    def _one(self, record: Record, position: Position) -> None:
        try:
            command = wire.decode(record.value)
        except FormatError as error:
            self._letters.stray(record, position, Reason.BAD_COMMAND, str(error))
            return
        workflow_id = command.workflow_id
        try:
            snapshot = self._workflows.live(workflow_id)
        except FormatError as error:
            reason = Reason.UNREADABLE_SNAPSHOT
            self._letters.stray(record, position, reason, str(error), workflow_id=workflow_id)
            return
        told = command._asdict() | {"verb": str(command.verb)}
        if snapshot is None or (
            snapshot.status is Status.EXPECTED and command.verb is not Verb.FORGET
        ):
            self._ledger.stray(
                Outcome.REJECTED, position, told | {"reason": Reason.UNKNOWN_WORKFLOW}
            )
            return
        if knows(snapshot, command.id):
            self._ledger.stray(Outcome.DUPLICATE, position, told)
            return
        misfit = SPOILING
        if position != self.spoiling:
            misfit = self._verbs[command.verb](snapshot, command, position)
        self._tell(snapshot, command, position, misfit)
        if command.verb is Verb.FORGET and not misfit:
            self._removal.remove(snapshot, "forgotten")
            return
        self._turn.advance(snapshot)
        self._effects.start(snapshot)

    def _tell(
        self, snapshot: Snapshot, command: Command, position: Position, misfit: Misfit
    ) -> None:
        outcome = Outcome.REJECTED if misfit else Outcome.APPLIED
        about = {"machine": snapshot.machine, "version": snapshot.version, "seq": snapshot.seq}
        if snapshot.status is Status.EXPECTED:
            about = {}  # there is no workflow to tell of
        data = about | {
            "event": f"@{command.verb}",
            "to": snapshot.state,
            "command": str(command.verb),
            "command_id": command.id,
            "by": command.by,
            "why": command.reason,
            "status": snapshot.status,
            "outcome": outcome,
            **position._asdict(),
        }
        if misfit:
            data |= {"reason": Reason.NOT_APPLICABLE, "detail": misfit}
        self._ledger.commanded(snapshot, outcome, position, data)

    # -- stopping and going on -----------------------------------------------------------------

    def _pause(self, snapshot: Snapshot, _command: Command, _position: Position) -> Misfit:
        if snapshot.status == Status.PAUSED:
            return "it is paused already"
        if snapshot.result is not None:
            return "it is finished"
        mailbox = self._workflows.mailbox(snapshot.workflow_id)
        self._ledger.status(snapshot, Status.PAUSED, mailbox)
        return ""

    def _resume(self, snapshot: Snapshot, _command: Command, _position: Position) -> Misfit:
        if snapshot.status != Status.PAUSED:
            return f"it is not paused but {snapshot.status}"
        if snapshot.parked is not None:
            mailbox = self._workflows.mailbox(snapshot.workflow_id)
            self._ledger.status(snapshot, Status.PARKED, mailbox)
            return ""
        self._go_on(snapshot)
        return ""

    def _retry(self, snapshot: Snapshot, _command: Command, _position: Position) -> Misfit:
        failed = self._jobs.that_failed(snapshot)
        if snapshot.status not in {Status.PARKED, Status.RETRYING} and not failed:
            return f"nothing of it failed: it is {snapshot.status}"
        self._jobs.again(snapshot, failed)
        if snapshot.owed and snapshot.workflow_id not in self._workflows.runs:
            snapshot.owed = (anew(snapshot.owed[0]), *snapshot.owed[1:])
        undecided(snapshot)
        snapshot.parked = None
        if snapshot.status != Status.PAUSED:
            self._go_on(snapshot)
        return ""

    def _go_on(self, snapshot: Snapshot) -> None:
        """Back to what it would be had nobody stopped it; what is due is looked at again."""
        mailbox = self._workflows.mailbox(snapshot.workflow_id)
        snapshot.parked = None
        snapshot.loop = 0
        self._jobs.again(snapshot, self._jobs.lost(snapshot))
        self._ledger.status(snapshot, unstopped(snapshot), mailbox)
        self._timers.arm(snapshot)
        if snapshot.deciding_due_ms:
            self._timers.look_at(snapshot.workflow_id, snapshot.deciding_due_ms)
        mailbox.finish()

    # -- giving up -----------------------------------------------------------------------------

    def _skip(self, snapshot: Snapshot, command: Command, _position: Position) -> Misfit:
        """Give up the owed run, or the event that can not be decided, or jobs: first those that failed."""
        why = f"skipped by {command.by or 'an operator'}"
        mailbox = self._workflows.mailbox(snapshot.workflow_id)
        head = mailbox.deciding and mailbox.deciding.event
        ending = self._jobs.ending(snapshot, head.name if head else snapshot.deciding_event)
        first = self._turn.first(snapshot, mailbox)
        if snapshot.owed:
            self._drop_run(snapshot)
            self._turn.give_up(snapshot, why)
        elif snapshot.jobs and (ending or not (snapshot.deciding_attempt or mailbox.deciding)):
            self._drop_run(snapshot)
            self._jobs.give_up(snapshot, why, ending or self._jobs.lost(snapshot) or None)
        elif snapshot.parked == "cut_failed" and first and not snapshot.deciding_attempt:
            self._skip_event(snapshot, mailbox, first, why)
        elif snapshot.deciding_attempt or mailbox.deciding or snapshot.parked == "failed":
            item = self._what_failed(snapshot, first)
            if item is not None and item.timer and self._plan.machine_of(snapshot) is None:
                version = f"version {snapshot.version} of machine {snapshot.machine}"
                return f"{version}, which says when its timer comes again, is not loaded"
            self._drop_run(snapshot)
            if item is not None:
                self._skip_event(snapshot, mailbox, item, why)
        else:
            return "it owes no run, has no job, and no event of it failed"
        undecided(snapshot)
        snapshot.failure = None
        snapshot.parked = None
        if snapshot.status != Status.PAUSED:
            self._go_on(snapshot)
        return ""

    def _what_failed(self, snapshot: Snapshot, first: Waiting | None) -> Waiting | None:
        """The event that is decided, or could not be; None: a result or a replay, which nothing holds."""
        if first is None:
            return None
        if first is not self._workflows.mailbox(snapshot.workflow_id).deciding:
            name = first.timer.id if first.timer is not None else ""
            return first if snapshot.deciding_attempt and snapshot.deciding_event == name else None
        return first if first.record is not None or first.timer is not None else None

    def _skip_event(self, snapshot: Snapshot, mailbox: Mailbox, item: Waiting, why: str) -> None:
        """Discard the event that is decided, or could not be."""
        mailbox.remove(item)
        if item.timer is not None:
            self._turn.drop_timer(snapshot, item.timer)
            return
        self._discard_event(snapshot, item, why)

    def _discard_event(self, snapshot: Snapshot, item: Waiting, why: str) -> None:
        """A waiting record is not decided any more."""
        self._ledger.decided(snapshot, item)
        event = self._plan.event_of(item)
        if event is None:
            offset = -1 if item.record is None else item.record.offset
            event = Event("", None, None, 0, (), item.topic, item.partition, offset)
        self._ledger.outcome(snapshot, event, Outcome.DISCARDED, Reason.BY_OPERATOR, detail=why)

    def _cancel(self, snapshot: Snapshot, command: Command, _position: Position) -> Misfit:
        """End the workflow where it is: what waits is refused, what it owes is given up."""
        if snapshot.result is not None:
            return "it is finished"
        self._end_all(snapshot, f"cancelled by {command.by or 'an operator'}")
        mailbox = self._workflows.mailbox(snapshot.workflow_id)
        mailbox.entered()
        snapshot.seq += 1
        snapshot.result = Result.CANCELLED
        snapshot.closed_at_ms = self._ledger.now_ms
        snapshot.timers = ()
        undecided(snapshot)
        self._go_on(snapshot)
        return ""

    def _forget(self, snapshot: Snapshot, command: Command, _position: Position) -> Misfit:
        """Give up and discard all of it; its removal follows when this command has its outcome."""
        if not command.reason:
            return "forget needs a reason"
        why = f"forgotten by {command.by or 'an operator'}"
        self._end_all(snapshot, why)
        items = self._workflows.mailbox(snapshot.workflow_id).items()
        for item in sorted(items, key=lambda item: item.record.offset if item.record else -1):
            if item.record is not None:
                self._discard_event(snapshot, item, why)
        return ""

    def _end_all(self, snapshot: Snapshot, why: str) -> None:
        """Nothing of it is under way or owed any more: run, decide callback and jobs end, on record."""
        self._drop_run(snapshot)
        self._turn.give_up(snapshot, why)
        self._jobs.give_up(snapshot, why)

    def _drop_run(self, snapshot: Snapshot) -> None:
        """Cancel the run under way, if there is one: its result will not count."""
        mailbox = self._workflows.mailbox(snapshot.workflow_id)
        mailbox.unfinished = None
        item, mailbox.deciding = mailbox.deciding, None
        if item is not None and (item.record is not None or item.timer is not None):
            item.ends = None
            mailbox.put_back(item)
        run = self._workflows.runs.pop(snapshot.workflow_id, None)
        if run is not None:
            self._runners.cancel(run, Interrupted())

    def _set_state(self, snapshot: Snapshot, command: Command, position: Position) -> Misfit:
        """Put the workflow into a state, as if a transition had led there."""
        state = command.args.get("state")
        # Who is pinned to a version that is not there any more can be put into the loaded one.
        loaded = self._plan.machines.get(snapshot.machine)
        machine = self._plan.machine_of(snapshot) or loaded
        if machine is None:
            return f"machine {snapshot.machine} is not loaded"
        if not (isinstance(state, str) and machine.can_enter(state)):
            guess = hint(str(state), machine.states, "states")
            return f"machine {snapshot.machine} has no state {quoted(state)}{guess}"
        if not command.reason:
            return "set-state needs a reason"
        now = self._ledger.now_ms
        try:
            decision = machine.entering(state, snapshot.seq + 1, now, snapshot)
        except ExpressionError as error:
            return str(error)
        self._end_all(snapshot, "left by @set-state")
        before = snapshot.state
        event = Event("@set-state", None, None, self._ledger.now_ms, (), f"command/{position}")
        snapshot.seq += 1
        snapshot.result = snapshot.failure = None
        snapshot.closed_at_ms = snapshot.over_ms = snapshot.loop = 0
        if machine.pins or snapshot.version < machine.version:
            snapshot.version = machine.version
        snapshot.parked = None
        undecided(snapshot)
        if self._freedom.stopped(snapshot):
            mailbox = self._workflows.mailbox(snapshot.workflow_id)
            self._ledger.status(snapshot, Status.ACTIVE, mailbox)
        self._turn.enter(snapshot, event, decision)
        self._ledger.applied(snapshot, event, before, "applied")
        return ""

    # -- letters -------------------------------------------------------------------------------

    def _number(self, snapshot: Snapshot, command: Command) -> Misfit:
        """Whether the command names the letter whose turn it is."""
        number = command.args.get("number")
        if not open_letters(snapshot):
            return "it has no open letters"
        if number != snapshot.letters_next:
            return f"letter {snapshot.letters_next} comes first, not {number!r}"
        return ""

    def _discard(self, snapshot: Snapshot, command: Command, _position: Position) -> Misfit:
        misfit = self._number(snapshot, command)
        if not misfit:
            snapshot.letters_next += 1
        return misfit

    def _replay(self, snapshot: Snapshot, command: Command, position: Position) -> Misfit:
        """Decide the event of the next open letter, as if it came now."""
        misfit = self._number(snapshot, command)
        name = command.args.get("event")
        if not misfit and not isinstance(name, str):
            misfit = "the replay names no event"
        if misfit:
            return misfit
        if not self._freedom.decides(snapshot):
            return _why_not_now(snapshot)
        origin = f"letter/{snapshot.letters_next}/{position}"
        event = Event(str(name), command.args.get("payload"), None, self._ledger.now_ms, (), origin)
        # The letter stays open until its event is decided: if that fails it can be replayed again.
        self._turn.internal(snapshot, event, partial(self._close_letter, snapshot))
        return ""

    @staticmethod
    def _close_letter(snapshot: Snapshot) -> None:
        snapshot.letters_next += 1


def _why_not_now(snapshot: Snapshot) -> str:
    """Why a workflow can not decide an event at this moment, and what lets it."""
    if snapshot.status is Status.PARKED:
        return "it is parked: retry tries again what failed, skip gives it up"
    if snapshot.status is Status.PAUSED:
        return "it is paused: resume it first"
    return "something of it is under way, or tried later: replay when it is idle"
