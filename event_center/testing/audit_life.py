"""
One workflow's life, replayed from its history through the pure machine.

History says what happened, the machine says what should have: `take` compares them, record by record,
and `compare` holds the result against the snapshots of the cuts. It finds broken promises P2, P3, P4
(letters) and P7. `audit_shard` feeds it in the order of the history; `audit_runs` looks at its debts.

History does not hold the payload of an event that a callback returned. After such an event the life
is `blind`: it believes data and target, as long as the machine could do them, until a snapshot shows
them. Expressions over `now` beside decide callbacks can not be replayed: their moment is not on record.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from event_center.errors import EventCenterError
from event_center.machine import Machine
from event_center.machine.decision import DONE, ERROR, Decision, Refused, Transition
from event_center.model import Event, Owed, Position, Result, Snapshot, Timer, Unhandled
from event_center.testing.audit_debt import Debt, without
from event_center.testing.audit_evidence import Complaint, Promise
from event_center.testing.audit_formats import Shot, Told

JUDGED = frozenset({"unknown_event", "not_accepted", "guard"})
"""The refusals that the pure machine gives."""
_AT_ONCE = frozenset({"other_machine", "finished"})
_NOT_BEHIND = frozenset({"command", "dead_lettered", "duplicate", "discarded"})
"""Outcomes that do not have to wait for open letters: an operator's `forget` discards whatever waits."""
_OWN = (
    ("@after/", "timer/", Promise.TIMERS),
    (DONE, "run/", Promise.CALLBACKS),
    (ERROR, "error/", Promise.CALLBACKS),
)
"""The center's own events, what their origins begin with, and whose promise it is."""


class Life:
    """A workflow as its history tells it."""

    def __init__(
        self,
        machine: Machine,
        told: Told,
        cut_at_ms: int,
        event: Event | None = None,
        *,
        set_back_ms: int = 0,
    ) -> None:
        birth = machine.birth(told.at_ms, event, told.workflow_id)
        self.machine = machine
        self.origin = str(told.get("origin"))
        """Where the event lies that made it: decided before whatever was held for it."""
        self.snapshot = Snapshot(told.workflow_id, machine.name, machine.version, birth.target)
        self.snapshot.data = birth.data or {}
        self.debts: dict[tuple[str, int], Debt] = {}
        self.decided: dict[str, tuple[str, int]] = {}
        """Key of each decide callback of an accepted transition, and the cut's time."""
        self.cut_at_ms = cut_at_ms
        self.blind = False
        self.loose = False
        """Timers were set at the moment of a decision that is not on record, before its accept."""
        self.skipped = False
        """A timer that failed may have been given up; which one, a command does not say."""
        self._set_back_ms = set_back_ms
        self._fired: set[str] = set()
        self._begun: dict[str, int] = {}
        """When a timer that fires later was tried, by the clock of who owned the shard then."""
        self._open: dict[int, Position] = {}
        """The open letters: number, and where their events lay."""
        self._failure: dict[str, Any] = {}
        self._enter(birth)

    # -- what the machine says -----------------------------------------------------------------

    def defers(self, event: Event, now_ms: int) -> bool:
        """Whether the workflow, as it is now, would defer this event."""
        if self.snapshot.result is not None:
            return False
        decision = self._step(event, now_ms)
        return isinstance(decision, Refused) and decision.unhandled is Unhandled.DEFER

    def _step(self, event: Event, now_ms: int) -> Decision | None:
        """The machine's decision; None if it has none for these values."""
        try:
            return self.machine.step(self.snapshot, event, now_ms)
        except EventCenterError:
            return None

    # -- one history record --------------------------------------------------------------------

    def take(
        self, told: Told, event: Event | None, *, deferred: bool = False
    ) -> Iterator[Complaint]:
        """Live through one record of the history; `event` is what lies at its position."""
        event = self._event(told) if event is None else event
        if not deferred:
            yield from self._letters_first(told)
        if told.kind == "run":
            yield from self._run(told)
            return
        if told.kind == "command":
            yield from self._command(told)
        elif told.kind in {"applied", "timer"}:
            yield from self._applied(told, event)
        else:
            yield from self._refused(told, event)
        if told.origin.startswith("letter/"):
            self._close_letter()
        if told.get("seq") != self.snapshot.seq:
            seqs = f"history says {told.get('seq')}, its transitions make {self.snapshot.seq}"
            yield Promise.ONCE, f"seq at {told.origin}: {seqs}"

    def upgrade(self, machine: Machine | None, told: Told) -> Iterator[Complaint]:
        """The workflow goes on under another version of its machine."""
        snapshot, target = self.snapshot, told.get("to")
        upgraded = None if machine is None else machine.upgraded(snapshot, told.at_ms)
        if machine is None or upgraded is None or upgraded.state != target:
            version = told.get("version")
            yield (
                Promise.ONCE,
                f"{target!r} is not what version {version} makes of {snapshot.state!r}",
            )
            return
        self.machine, snapshot.version = machine, machine.version
        snapshot.state, snapshot.data = upgraded.state, upgraded.data
        snapshot.timers, snapshot.memory = upgraded.timers, upgraded.memory

    def _event(self, told: Told) -> Event:
        """The event of something that is no record: a timer, a run's result, a replayed letter."""
        name = str(told.get("event"))
        payload = self._failure if name.startswith(ERROR) else None
        return Event(name, payload, None, told.at_ms, (), told.origin)

    def _letters_first(self, told: Told) -> Iterator[Complaint]:
        """While letters are open, later events follow them."""
        position = told.position
        if position is None or told.kind in _NOT_BEHIND or told.get("reason") in _AT_ONCE:
            return
        for number, letter in self._open.items():
            if letter[:2] == position[:2] and letter.offset < position.offset:
                ahead = f"ahead of its open letter {number} ({letter})"
                yield Promise.ORDER, f"{position} was decided ({told.kind}) {ahead}"
                return

    def letter(self, number: int, position: Position) -> Iterator[Complaint]:
        """A dead letter of the record at this position was written in sequence."""
        snapshot = self.snapshot
        if number != snapshot.letters_last:
            expected = f"instead of {snapshot.letters_last}"
            yield Promise.ORDER, f"the dead letter of {position} has number {number} {expected}"
        snapshot.letters_last = number + 1
        self._open[number] = position

    def _close_letter(self) -> None:
        self._open.pop(self.snapshot.letters_next, None)
        self.snapshot.letters_next += 1

    # -- transitions ---------------------------------------------------------------------------

    def _applied(self, told: Told, event: Event) -> Iterator[Complaint]:
        snapshot = self.snapshot
        where, before, target = told.origin, told.get("from"), told.get("to")
        snapshot.version = self.machine.version
        yield from self._own(told)
        if told.kind == "timer":
            yield from self._fire(told)
        if before != snapshot.state:
            yield Promise.ONCE, f"{where} left state {before!r}, it was in {snapshot.state!r}"
        if event.name == "@set-state":
            snapshot.result = None
            decision: Decision | None = self._entering(target, told)
        elif snapshot.result is not None:
            yield Promise.ONCE, f"{where} was applied after the end of its workflow"
            return
        else:
            decision = self._step(event, told.at_ms)
        blind = self.blind or self._unrecorded(told)
        if blind and (not isinstance(decision, Transition) or decision.target != target):
            decision = self._believed(target, told)
        if not isinstance(decision, Transition):
            yield (
                Promise.ONCE,
                f"{where} ({event.name}) was applied, the machine refuses it in {snapshot.state!r}",
            )
        elif decision.target != target:
            yield Promise.ONCE, f"{where} led to {target!r}, the machine says {decision.target!r}"
        else:
            self.blind = blind
            self._accept(decision, event)

    @staticmethod
    def _own(told: Told) -> Iterator[Complaint]:
        """The center's own events have the center's origins: no record can be one of them."""
        event = str(told.get("event"))
        for own, origin, promise in _OWN:
            if event.startswith(own) and not told.origin.startswith(origin):
                yield promise, f"{told.origin} ({event}) was applied, but only {origin}… is {own}"

    def _unrecorded(self, told: Told) -> bool:
        """Whether the event had a payload that is not on record."""
        event = str(told.get("event"))
        if told.origin.startswith("run/"):
            return not event.startswith("@") or event.startswith(f"{DONE}/@")
        return told.origin.startswith("error/") and not self._failure

    def _believed(self, target: str, told: Told) -> Transition | None:
        if not self.machine.rests(target):
            return None
        if target == self.snapshot.state:
            return Transition(target, entered=False)
        return self._entering(target, told)

    def _entering(self, target: str, told: Told) -> Transition:
        return self.machine.entering(target, self.snapshot.seq + 1, told.at_ms, self.snapshot)

    def _accept(self, decision: Transition, event: Event) -> None:
        snapshot = self.snapshot
        for action in decision.decide:
            key = f"{snapshot.workflow_id}/{event.origin}/{action.name}"
            self.decided[key] = action.name, self.cut_at_ms
        stays = not decision.entered or decision.left is not None
        self.loose = bool(decision.decide) or (self.loose and stays)
        self.skipped = self.skipped and stays
        snapshot.seq += 1
        if decision.data is not None:
            snapshot.data = decision.data
        if decision.entered:
            self._enter(decision)
        elif decision.timers is not None:
            snapshot.timers = decision.timers
        self._failure = {}

    def _enter(self, decision: Transition) -> None:
        snapshot = self.snapshot
        snapshot.state = decision.target
        snapshot.timers = () if decision.result else decision.timers or ()
        new = tuple(Owed(name, snapshot.seq) for name in decision.owed)
        left = {one.name for one in snapshot.owed} if decision.left is None else decision.left
        snapshot.owed = (*(one for one in snapshot.owed if one.name not in left), *new)
        jobs = tuple(Owed(name, snapshot.seq) for name in decision.jobs or ())
        left = {one.name for one in snapshot.jobs} if decision.left is None else decision.left
        snapshot.jobs = (*(one for one in snapshot.jobs if one.name not in left), *jobs)
        for job in jobs:
            self.debts[job.name, job.seq] = Debt(job, self.cut_at_ms, eager=False)
        if decision.memory is not None:
            snapshot.memory = decision.memory
        for owed in new:
            eager = self.machine.effect(snapshot.state, owed.name).eager
            self.debts[owed.name, owed.seq] = Debt(owed, self.cut_at_ms, eager=eager)
        if decision.result is not None:
            snapshot.result = decision.result

    def _refused(self, told: Told, event: Event) -> Iterator[Complaint]:
        snapshot = self.snapshot
        reason = told.get("reason")
        if told.origin.startswith("timer/"):
            yield from self._fire(told)
            fired = self._pending(told)
            if fired is not None:
                snapshot.timers = self.machine.timers_after(snapshot, fired, told.at_ms)
        if reason == "finished" and snapshot.result is None:
            yield Promise.ONCE, f"{told.origin} was refused as finished, which the workflow is not"
        if reason not in JUDGED or self.blind or self._unrecorded(told):
            return
        decision = self._step(event, told.at_ms)
        if not isinstance(decision, Refused) or decision.reason != reason:
            accepts = f"the machine accepts it in {snapshot.state!r}"
            yield Promise.ONCE, f"{told.origin} ({event.name}) was refused ({reason}), {accepts}"

    def ends(self) -> Iterator[Complaint]:
        """It is removed as all of it is said to be over."""
        snapshot = self.snapshot
        if snapshot.result is None or snapshot.owed or self._open:
            yield Promise.NEVER_BACK, "it was removed before all of it was over"

    # -- timers --------------------------------------------------------------------------------

    def _pending(self, told: Told) -> Timer | None:
        """The timer that this record tells of, as it was set."""
        _, seq, rest = told.origin.split("/", 2)
        name, _, due = rest.rpartition("/")
        for timer in self.snapshot.timers:
            later = self.skipped and int(due) >= timer.due_ms
            exact = timer.due_ms == int(due) or self.loose or later
            if timer.id == name and timer.seq == int(seq) and exact:
                return timer
        return None

    def _fire(self, told: Told) -> Iterator[Complaint]:
        origin = told.origin
        begun_ms = max(told.at_ms, self._begun.pop(origin, 0))
        if origin in self._fired:
            yield Promise.TIMERS, f"{origin} fired a second time"
        elif self._pending(told) is None:
            yield Promise.TIMERS, f"{origin} fired, but no such timer was set"
        elif begun_ms + self._set_back_ms < int(origin.rpartition("/")[2]):
            yield Promise.TIMERS, f"{origin} fired at {begun_ms}, before it was due"
        self._fired.add(origin)

    # -- runs and commands ---------------------------------------------------------------------

    def _run(self, told: Told) -> Iterator[Complaint]:
        snapshot = self.snapshot
        name, seq, outcome = str(told.get("callback")), told.get("seq"), told.get("outcome")
        where = f"run {name} of seq {seq}"
        key = f"{snapshot.workflow_id}/{seq}/{name}"
        if told.get("key") not in {None, key}:
            yield Promise.CALLBACKS, f"{where} has the key {told.get('key')!r} instead of {key!r}"
        if outcome == "dropped" and (name, seq) in self.debts:
            return  # the end of an attempt that nobody waited for any more
        owed = [(one.name, one.seq) for one in snapshot.owed]
        jobs = [(one.name, one.seq) for one in snapshot.jobs]
        # Entry callbacks run in their order; all that are owed are given up at once.
        first = outcome == "given_up" or owed[:1] == [(name, seq)]
        if (name, seq) not in jobs and not ((name, seq) in owed and first):
            yield Promise.CALLBACKS, f"{where} ended ({outcome}), which the workflow did not owe"
            return
        over = outcome != "crashed"  # which parks the workflow: it owes the run still
        if outcome == "failed":
            over = told.get("again_in_ms") is None
        if outcome == "failed" and over:
            fields = (("type", "error"), ("message", "message"), ("attempt", "attempt"))
            self._failure = {"callback": name, **{to: told.get(of) for to, of in fields}}
            # Without an `on_error` the workflow is parked, and owes the run still.
            event = f"{ERROR}/@{name}"
            if not told.get("job"):
                event = self.machine.error_event(snapshot.state, name)
            over = self.machine.has(snapshot.state, event)
        if outcome == "done":
            self._failure = {}
        if over:
            snapshot.owed = without(snapshot.owed, name, seq)
            snapshot.jobs = without(snapshot.jobs, name, seq)
            self.debts[name, seq].ended = "reconciled" if told.get("reconciled") else str(outcome)

    def _command(self, told: Told) -> Iterator[Complaint]:
        if told.get("outcome") != "applied":
            return
        if told.get("command") == "discard":
            self._close_letter()
        if told.get("command") == "skip":
            self.skipped = True
        if told.get("command") == "cancel":
            if self.snapshot.result is not None:
                yield Promise.ONCE, f"{told.origin} cancelled a workflow that was over"
            self.snapshot.seq += 1
            self.snapshot.result = Result.CANCELLED
            self.snapshot.timers = ()

    # -- snapshots -----------------------------------------------------------------------------

    def compare(self, shot: Shot) -> Iterator[Complaint]:
        """Hold a snapshot against the life that leads to it; what was believed is known then."""
        mine = self.snapshot
        for what, said, replayed in (
            ("machine", shot.machine, mine.machine),
            ("state", shot.state, mine.state),
            ("seq", shot.seq, mine.seq),
            ("result", shot.result, mine.result),
        ):
            if said != replayed:
                yield Promise.ONCE, f"its snapshot has {what} {said!r}, its history {replayed!r}"
        if shot.data != mine.data and not self.blind:
            yield Promise.ONCE, f"its snapshot has data {shot.data!r}, its history {mine.data!r}"
        owed = tuple((one.name, one.seq) for one in mine.owed)
        if shot.owed != owed:
            yield Promise.CALLBACKS, f"its snapshot owes {shot.owed}, its history {owed}"
        jobs = tuple((one.name, one.seq) for one in mine.jobs)
        if shot.jobs != jobs:
            yield Promise.CALLBACKS, f"its snapshot has jobs {shot.jobs}, its history {jobs}"
        if not self._same_timers(shot.timers):
            yield (
                Promise.TIMERS,
                f"its snapshot has timers {shot.timers}, its history {mine.timers}",
            )
        letters = mine.letters_next, mine.letters_last
        if shot.letters != letters:
            yield Promise.ORDER, f"its snapshot has letters {shot.letters}, its history {letters}"
        mine.data, mine.timers = shot.data, shot.timers
        name, at_ms = shot.tried
        for timer in shot.timers:
            if timer.id == name and at_ms:
                self._begun[f"timer/{timer.seq}/{name}/{timer.due_ms}"] = at_ms
        self.blind = self.loose = self.skipped = False

    def _same_timers(self, timers: tuple[Timer, ...]) -> bool:
        mine = self.snapshot.timers
        if self.skipped:
            known = {own[:2]: own.due_ms for own in mine}
            return all(
                said[:2] in known and (self.loose or said.due_ms >= known[said[:2]])
                for said in timers
            )
        if not self.loose:
            return timers == mine
        # The clock may have been set back between the decision and its accept: when is not known.
        return [said[:2] for said in timers] == [own[:2] for own in mine]
