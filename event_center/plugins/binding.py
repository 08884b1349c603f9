"""
A machine that moves a record of somebody else's: a row of a database, any object with two fields.

`bind` gives a record that hears events by itself, without a center and without a log. Guards, decide
callbacks and assigns are done within `send`, so within the caller's transaction; the entry callbacks
are handed back, to be run once that is committed. None of the promises of a center holds here:
nothing is retried, no timer fires, and what is owed is forgotten with the process. Called by programs,
through `Bound.bind`.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import anyio.to_thread

from event_center.errors import EventRefused, PluginError, RecordChanged, UnknownState
from event_center.machine.decision import Refused, Transition
from event_center.machine.definition import Definition, Kind
from event_center.machine.spelling import hint, quoted
from event_center.machine.step import Machine
from event_center.model import Event, Json, Owed, Reason, Snapshot, Timer
from event_center.plugins.context import Context
from event_center.plugins.signatures import Callback, checked_result

Callbacks = Mapping[str, Callback]


class Fields(NamedTuple):
    """Where a record keeps what the machine needs."""

    state: str
    data: str | None
    """None: the machine has no data."""
    memory: str | None
    """None: the machine has no history states."""


class SentEvent:
    """What an event came to, and the entry callbacks that are owed because of it."""

    def __init__(self, machine: Machine, snapshot: Snapshot, event: Event) -> None:
        self.state = snapshot.state
        """The state after it."""
        self.data = snapshot.data
        """The machine's data after it."""
        self.result: str | None = None
        """How the workflow ended, if it did."""
        self.refused: Refused | None = None
        """Why the event was refused; None if it was accepted."""
        self.owed: tuple[str, ...] = ()
        """The entry callbacks that have not run yet."""
        self.events: list[Event] = []
        """What callbacks returned, for the caller to send."""
        self.timers: tuple[Timer, ...] = ()
        """The timers that it set, and when they are due: the caller sends their ids, or nobody does."""
        self._machine = machine
        self._snapshot = snapshot
        self._event = event
        self._key = f"{snapshot.workflow_id}/{uuid.uuid4()}"
        self._callbacks: Callbacks = {}

    def __repr__(self) -> str:
        """For who prints it: where the record is, and what is to be done."""
        owed = f", owed: {', '.join(self.owed)}" if self.owed else ""
        refused = f", {self.refused!r}" if self.refused else ""
        return f"<SentEvent {self._event.name!r}, state: {self.state}{owed}{refused}>"

    @property
    def accepted(self) -> bool:
        """Whether the event was accepted."""
        return self.refused is None

    async def run(self) -> list[Event]:
        """
        Run what is owed, in order, after the caller's commit; sync functions run in a thread.

        What raises goes to the caller, and is still owed with all behind it: `run` can be called again.

        Returns:
            the events that the callbacks returned, for the caller to send; `@done` where the machine
            says `on_done`.
        """
        events = []
        while self.owed:
            callback = self._callbacks[self.owed[0]]
            context = self.context(callback.name)
            if callback.is_async:
                value = await callback.call(context)
            else:
                value = await anyio.to_thread.run_sync(callback.call, context)
            events += self._ran(callback, context, value)
        return events

    def run_sync(self) -> list[Event]:
        """
        As `run`, for programs without an event loop.

        Raises:
            PluginError: an owed callback is async; nothing has run.
        """
        _all_sync((self._callbacks[name] for name in self.owed), "await run()")
        events = []
        while self.owed:
            callback = self._callbacks[self.owed[0]]
            context = self.context(callback.name)
            events += self._ran(callback, context, callback.call(context))
        return events

    def context(self, name: str) -> Context:
        """What a callback gets; its key is the same when it is run again."""
        return Context(self._snapshot, self._event, f"{self._key}/{name}")

    def move(self, decision: Transition) -> None:
        """Take the decision over: what follows, the owed callbacks see it as it is then."""
        after = Snapshot(
            self._snapshot.workflow_id,
            self._snapshot.machine,
            self._snapshot.version,
            decision.target,
        )
        after.data = self._snapshot.data if decision.data is None else decision.data
        self._snapshot = after
        self.data = after.data
        self.state = decision.target
        self.result = decision.result
        self.timers = decision.timers or ()
        still = () if decision.entered else self.owed
        self.owed = (*still, *decision.owed)

    def owes(self, names: tuple[str, ...], callbacks: Callbacks) -> None:
        """Note what is to be run."""
        self.owed, self._callbacks = names, callbacks

    def _ran(self, callback: Callback, context: Context, value: object) -> list[Event]:
        events = returned(callback, context, value)
        owed = [Owed(name, 0) for name in self.owed]
        done = None if events else self._machine.done_event(self.state, owed)
        self.owed = self.owed[1:]
        return events if done is None else [Event(done)]


class BoundRecord:
    """One record and the machine that moves it."""

    def __init__(
        self,
        machine: Machine,
        callbacks: Callbacks,
        record: Any,
        *,
        fields: Fields,
        workflow_id: str,
        strict: bool,
    ) -> None:
        check_bindable(machine.definition, fields)
        self.record = record
        self._machine = machine
        self._callbacks = callbacks
        self._fields = fields
        self._workflow_id = workflow_id
        self._strict = strict

    @property
    def state(self) -> str:
        """The record's state; of a record without one, where the machine begins."""
        return self._snapshot(0)[0].state

    def accepts(self, name: str) -> bool:
        """Whether the state has branches for an event, whatever their guards say."""
        state = self.state
        self._check_state(state)
        return self._machine.has(state, name)

    def send(self, name: str, payload: Json = None, *, now_ms: int | None = None) -> SentEvent:
        """
        Decide an event, and change the record if it is accepted.

        Raises:
            EventRefused: it is refused, and the record was bound with `strict`.
            UnknownState: the record is in a state that the machine does not have.
            PluginError: a callback on the way is async; nothing has run. Use `send_async`.
            RecordChanged: the record's state changed meanwhile.
        """
        sent, decision = self._decided(Event(name, payload, time_ms=_now(now_ms)))
        if decision is not None:
            _all_sync((self._callbacks[one.name] for one in decision.decide), "await send_async()")
            for action in decision.decide:
                callback, context = self._callbacks[action.name], sent.context(action.name)
                sent.events += returned(callback, context, callback.call(context))
            self._accept(sent, decision)
        return sent

    async def send_async(
        self, name: str, payload: Json = None, *, now_ms: int | None = None
    ) -> SentEvent:
        """
        As `send`; sync functions run where they are called, within the caller's transaction.

        Raises:
            EventRefused: it is refused, and the record was bound with `strict`.
            UnknownState: the record is in a state that the machine does not have.
            RecordChanged: the record's state changed meanwhile.
        """
        sent, decision = self._decided(Event(name, payload, time_ms=_now(now_ms)))
        if decision is not None:
            for action in decision.decide:
                callback, context = self._callbacks[action.name], sent.context(action.name)
                value = callback.call(context)
                sent.events += returned(
                    callback, context, await value if callback.is_async else value
                )
            self._accept(sent, decision)
        return sent

    def _decided(self, event: Event) -> tuple[SentEvent, Transition | None]:
        snapshot, born = self._snapshot(event.time_ms)
        self._check_state(snapshot.state)
        sent = SentEvent(self._machine, snapshot, event)
        sent.owes(() if born is None else born.owed, self._callbacks)
        if self._machine.result(snapshot.state) is not None:
            unhandled = self._machine.unhandled(snapshot.state)
            decision: Transition | Refused = Refused(Reason.FINISHED, unhandled)
        else:
            decision = self._machine.step(snapshot, event, event.time_ms)
        if isinstance(decision, Transition):
            return sent, decision
        sent.refused = decision
        sent.owed = ()
        if self._strict:
            why = decision.explained(snapshot.state, event.name)
            message = f"event {event.name!r} is refused ({decision.reason}): {why}"
            raise EventRefused(message, str(decision.reason), decision.accepted)
        return sent, None

    def _snapshot(self, now_ms: int) -> tuple[Snapshot, Transition | None]:
        """The workflow that the record is; one without a state is born now."""
        machine, fields = self._machine, self._fields
        state = getattr(self.record, fields.state)
        data = None if fields.data is None else getattr(self.record, fields.data)
        if state is not None and state != "":
            snapshot = Snapshot(self._workflow_id, machine.name, machine.version, str(state))
            snapshot.data = {**machine.definition.data, **(data or {})}
            if fields.memory is not None:
                snapshot.memory = dict(getattr(self.record, fields.memory) or {})
            return snapshot, None
        if not machine.begins_at_rest:
            raise PluginError(
                f"machine {machine.name!r} begins in a choice, and a record without a state has no "
                "event to choose by; give the record its first state"
            )
        born = machine.birth(now_ms)
        snapshot = Snapshot(self._workflow_id, machine.name, machine.version, born.target)
        snapshot.data = {**(born.data or {}), **(data or {})}
        return snapshot, born

    def _check_state(self, state: str) -> None:
        machine = self._machine
        if not machine.rests(state):
            guess = hint(state, machine.states, "states")
            raise UnknownState(
                f"the record is in {quoted(state)}, and machine {machine.name} has no such state to be in"
                f"{guess}"
            )

    def _accept(self, sent: SentEvent, decision: Transition) -> None:
        """Change the record, all of its fields or none of them."""
        record, fields = self.record, self._fields
        before = self._snapshot(0)[0].state
        if before != sent.state:
            raise RecordChanged(
                f"the record was in state {sent.state!r} and is in {before!r} now: somebody else moved "
                "it meanwhile; read it again, and send the event again"
            )
        sent.move(decision)
        new: dict[str, Any] = {}
        if fields.data is not None:
            new[fields.data] = sent.data
        if fields.memory is not None and decision.memory is not None:
            new[fields.memory] = decision.memory
        new[fields.state] = decision.target
        changed: dict[str, Any] = {}
        try:
            for name, value in new.items():
                old = getattr(record, name)
                setattr(record, name, value)
                changed[name] = old
        except BaseException:  # of the user's class: it goes on, and no field is changed
            for name, old in changed.items():
                setattr(record, name, old)
            raise


def returned(callback: Callback, context: Context, value: object) -> list[Event]:
    """
    What a callback returned, as events.

    Raises:
        PluginError: it returned something else, or sent something: there is no log that could hold it.
    """
    if context.emitted or context.published:
        raise PluginError(
            f"{callback.file_line}: callback {callback.name!r} emits or publishes, and a bound record "
            "has no log; return the event, and the caller will send it"
        )
    event = checked_result(callback, value)
    return [] if event is None else [event]


def check_bindable(definition: Definition, fields: Fields) -> None:
    """
    Make sure that a record has room for what the machine remembers.

    Raises:
        PluginError: it has no field for the machine's data, or for what its history states bring back.
    """
    name = definition.name
    keys = {*definition.data}
    for _, on in definition.everything():
        keys.update(key for branch in on.branches for key in branch.assign)
    if keys and fields.data is None:
        raise PluginError(
            f"machine {name!r} has data ({', '.join(sorted(keys))}), and the record no field for it; "
            "name one: bind(record, state_field, data_field)"
        )
    for state in definition.states.values():
        if state.kind is Kind.HISTORY and fields.memory is None:
            raise PluginError(
                f"machine {name!r} has the history state {state.name!r}, and the record no field for "
                "what it brings back; name one that holds a dict: bind(..., memory_field=NAME)"
            )


def _all_sync(callbacks: Iterable[Callback], instead: str) -> None:
    for callback in callbacks:
        if callback.is_async:
            raise PluginError(
                f"{callback.file_line}: callback {callback.name!r} is async; {instead} instead"
            )


def _now(now_ms: int | None) -> int:
    return time.time_ns() // 1_000_000 if now_ms is None else now_ms
