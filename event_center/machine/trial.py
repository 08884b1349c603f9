"""
A workflow tried out by pure steps: events, time, callbacks that are done or fail; and the tests of a
machine run on it.

It carries decisions out as the engine does, without a log and without callbacks. `failures` says what
of a machine's `tests` comes out otherwise, with its place. Called by `check`, by the plugin of pytest,
and by `coverage`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from event_center.errors import DefinitionError, ExpressionError, GuardFailed, Problem
from event_center.machine.cases import Case, Expected, Step
from event_center.machine.chart import Chart
from event_center.machine.decision import DONE, ERROR, Guard, Refused, Transition
from event_center.machine.definition import Job
from event_center.machine.microstep import job_event
from event_center.machine.outlook import heard, hears
from event_center.machine.problems import Code, Place
from event_center.machine.spelling import hint, listed, quoted
from event_center.machine.step import Machine
from event_center.machine.value import copied
from event_center.model import Event, Json, Owed, Reason, Snapshot

START_MS = 1_767_225_600_000
"""The first moment of 2026, when every trial begins: `now` is the same in each."""


class Trial:
    """One workflow of a machine."""

    def __init__(self, machine: Machine, workflow_id: str = "trial") -> None:
        self.machine = machine
        self.now_ms = START_MS
        self.actions: tuple[str, ...] = ()
        """The decide callbacks of the last transition."""
        self.effects: tuple[str, ...] = ()
        """The entry callbacks that the last transition owes."""
        self.snapshot = Snapshot(workflow_id, machine.name, machine.version, machine.initial)
        self.snapshot.data = copied(dict(machine.definition.data))
        self._born = False
        if machine.begins_at_rest:
            self._bear(Event(""))

    def begin(self, state: str, data: Mapping[str, Json]) -> None:
        """
        Put the workflow into a state, with some of its data as they are given.

        Raises:
            KeyError: the machine has no such state, or nobody rests there.
        """
        self._born = True
        self.snapshot.data = {**self.snapshot.data, **data}
        self._take(self.machine.entering(state, self.snapshot.seq, self.now_ms, self.snapshot))

    def send(self, name: str, payload: Json = None) -> Refused | None:
        """Decide one event; returns why it was refused, if it was."""
        self.actions = self.effects = ()
        event = Event(name, payload, time_ms=self.now_ms)
        if not self._born:
            self._bear(event)
        if self.snapshot.result is not None:
            unhandled = self.machine.unhandled(self.snapshot.state)
            return Refused(Reason.FINISHED, unhandled, f"it ended in {self.snapshot.state}")
        decision = self.machine.step(self.snapshot, event, self.now_ms)
        if isinstance(decision, Refused):
            return decision
        self.snapshot.seq += 1
        self._take(decision)
        return None

    def _bear(self, event: Event) -> None:
        """The birth; one that chooses waits for the first event, as it does in a center."""
        birth = self.machine.birth(self.now_ms, event, self.snapshot.workflow_id)
        self._born = True
        self._take(birth)

    def wait(self, milliseconds: int) -> Refused | None:
        """Let time pass: what becomes due fires, the earliest first; all callbacks count together."""
        until = self.now_ms + milliseconds
        actions, effects = list[str](), list[str]()
        refused = None
        while due := [timer for timer in self.snapshot.timers if timer.due_ms <= until]:
            timer = min(due, key=lambda each: each.due_ms)
            self.now_ms = max(self.now_ms, timer.due_ms)
            refused = self.send(timer.id)
            if refused is not None:
                self.snapshot.timers = self.machine.timers_after(self.snapshot, timer, self.now_ms)
            actions += self.actions
            effects += self.effects
        self.now_ms = until
        self.actions, self.effects = tuple(actions), tuple(effects)
        return refused

    def perform(self, step: Step) -> Refused | None:
        """
        One step of a case; its guards are the caller's affair.

        Raises:
            KeyError: the callback that it speaks of is not owed.
        """
        match step.kind:
            case "after":
                return self.wait(step.delay_ms)
            case "done":
                return self.done(step.what, step.payload)
            case "error":
                return self.error(step.what, step.payload)
            case _:
                return self.send(step.what, step.payload)

    def done(self, name: str, payload: Json = None) -> Refused | None:
        """
        An entry callback, or a job with this result, is done.

        Raises:
            KeyError: it is not owed.
        """
        job = self._ended(name)
        if job is not None:
            self.actions = self.effects = ()
            ended = job_event(DONE, job)
            known = self.machine.has(self.snapshot.state, ended)
            return self.send(ended, payload) if known else None
        owed = self._owed(name)
        event = self.machine.done_event(self.snapshot.state, [owed, *self.snapshot.owed])
        self.actions = self.effects = ()
        return None if event is None else self.send(event)

    def error(self, name: str, payload: Json) -> Refused | None:
        """
        A callback failed for good; the payload may say how.

        It is an owed entry callback, a job, or one that a branch from here awaits: that is not taken then.

        Raises:
            KeyError: it is neither owed nor awaited.
        """
        failure = {"callback": name, "type": "Exception", "message": "it failed", "attempt": 1}
        said = failure | payload if isinstance(payload, dict) else failure
        job = self._ended(name)
        if job is not None:
            return self.send(job_event(ERROR, job), said)
        state = self.snapshot.state
        if name in {owed.name for owed in self.snapshot.owed}:
            self._owed(name)
            return self.send(self.machine.error_event(state, name), said)
        if name not in awaited(self.machine, state):
            raise KeyError(name)
        return self.send(ERROR, said)

    def _ended(self, name: str) -> Job | None:
        """The job that ends, if one of this name is owed."""
        jobs = self.snapshot.jobs
        if name not in {owed.name for owed in jobs}:
            return None
        self.snapshot.jobs = tuple(owed for owed in jobs if owed.name != name)
        return self.machine.job(self.snapshot.state, name)

    def _owed(self, name: str) -> Owed:
        for owed in self.snapshot.owed:
            if owed.name == name:
                others = tuple(one for one in self.snapshot.owed if one is not owed)
                self.snapshot.owed = others
                return owed
        raise KeyError(name)

    def _take(self, decision: Transition) -> None:
        snapshot = self.snapshot
        snapshot.state = decision.target
        if decision.data is not None:
            snapshot.data = decision.data
        snapshot.result = None if decision.result is None else str(decision.result)
        if decision.entered:
            left = decision.left
            remaining = (
                () if left is None else (one for one in snapshot.owed if one.name not in left)
            )
            snapshot.owed = (*remaining, *(Owed(name, snapshot.seq) for name in decision.owed))
            staying = [] if left is None else [o for o in snapshot.jobs if o.name not in left]
            new = [Owed(name, snapshot.seq) for name in decision.jobs or ()]
            snapshot.jobs = (*staying, *new)
        if decision.timers is not None:
            snapshot.timers = decision.timers
        if decision.memory is not None:
            snapshot.memory = decision.memory
        self.actions = tuple(action.name for action in decision.decide)
        self.effects = decision.owed


def awaited(machine: Machine, state: str) -> tuple[str, ...]:
    """The callbacks that transitions out of a configuration, or inside of it, await before they happen."""
    definition = machine.definition
    active = [definition.states[name] for name in Chart(definition).active(state)]
    ways = [on for one in active for _, on in one.ways()] + [on for _, on in definition.ways()]
    calls = [call for one in active for call in one.exit]
    for branch in (branch for on in ways for branch in on.branches):
        calls += [*branch.before, *branch.actions]
    return tuple(dict.fromkeys(call.action.name for call in calls))


def failures(machine: Machine) -> list[Problem]:
    """What of the machine's tests comes out otherwise, and which of them have one name."""
    found: list[Problem] = []
    named: dict[str, Case] = {}
    for case in machine.definition.tests:
        former = named.setdefault(case.name, case)
        if former is not case:
            text = f"the test in line {former.place.line} has this name, too; give each its own"
            found.append(_problem(machine, case, case.place, text))
        found += failed(machine, case)
    return found


def _misnamed(machine: Machine, case: Case) -> list[Problem]:
    """The states and events of a case that the machine does not have, so that one hides no other."""
    found = []
    if case.state is not None and not machine.can_enter(case.state):
        guess = hint(case.state, machine.states, "states")
        text = f"nobody rests in {quoted(case.state)}{guess}"
        found.append(_problem(machine, case, case.state_place, text))
    for step in case.steps:
        expected = step.expected
        if step.kind == "event" and not (expected.refused or hears(machine.definition, step.what)):
            guess = hint(step.what, heard(machine.definition), "events")
            text = f"the machine has no event {quoted(step.what)}{guess}"
            found.append(_problem(machine, case, step.place, text))
        if expected.state is not None and not machine.rests(expected.state):
            guess = hint(expected.state, machine.states, "states")
            text = f"nobody rests in {quoted(expected.state)}{guess}"
            found.append(_problem(machine, case, step.place, text))
    return found


def _problem(machine: Machine, case: Case, place: Place, text: str) -> Problem:
    return Problem(machine.source, *place, Code.TEST, f"test {quoted(case.name)}: {text}")


def failed(machine: Machine, case: Case) -> list[Problem]:
    """
    What of one case comes out otherwise; what follows the first such step is not tried.

    Where states or events in it are none of the machine's, it is all of these, and nothing is tried.
    """
    return _misnamed(machine, case) or _otherwise(machine, case)


def _otherwise(machine: Machine, case: Case) -> list[Problem]:
    def problem(place: Place, text: str) -> list[Problem]:
        return [_problem(machine, case, place, text)]

    trial = Trial(machine)
    if case.state is not None or case.data:
        try:
            trial.begin(case.state or machine.initial, case.data)
        except ExpressionError as error:
            return problem(case.place, str(error))
    for step in case.steps:
        trial.machine = answering(machine, step.guards)
        try:
            refused = trial.perform(step)
        except KeyError:
            runs = (*trial.snapshot.owed, *trial.snapshot.jobs)
            owed = listed(one.name for one in runs) or "nothing"
            return problem(step.place, f"{quoted(step.what)} is not owed; owed is {owed}")
        except (ExpressionError, GuardFailed, DefinitionError) as error:
            return problem(step.place, f"{quoted(step.what)} fails: {error}")
        differences = _differences(trial, step, refused)
        if differences:
            return problem(step.place, f"on {quoted(step.what)} {'; '.join(differences)}")
    return []


def answering(machine: Machine, answers: Mapping[str, bool]) -> Machine:
    """The machine, with these answers of its named guards in the place of what it was given."""
    if not answers:
        return machine
    said = {name: _saying(answer) for name, answer in answers.items()}
    return machine.with_guards({**machine.given, **said})


def _saying(answer: bool) -> Guard:
    return lambda _snapshot, _event, _now_ms: answer


def _differences(trial: Trial, step: Step, refused: Refused | None) -> list[str]:
    """What is not as the step expects, a sentence each."""
    expected = step.expected
    if refused is not None and (expected.refused is None or expected.refused is not refused.reason):
        why = refused.explained(trial.snapshot.state, step.what)
        wanted = "" if expected.refused is None else f", not {expected.refused}"
        return [f"it is refused ({refused.reason}{wanted}): {why}"]
    if refused is None and expected.refused is not None:
        return [f"it is accepted and leads to {quoted(trial.snapshot.state)}"]
    return [*_compared(trial, expected)]


def _compared(trial: Trial, expected: Expected) -> Iterable[str]:
    snapshot = trial.snapshot
    if expected.state is not None and expected.state != snapshot.state:
        yield f"the state is {quoted(snapshot.state)}, not {quoted(expected.state)}"
    if expected.result is not None and expected.result != snapshot.result:
        yield f"the result is {snapshot.result}, not {expected.result}"
    for key, value in (expected.data or {}).items():
        if key not in snapshot.data:
            yield f"data has no {quoted(key)}"
        elif snapshot.data[key] != value:
            yield f"data.{key} is {snapshot.data[key]!r:.80}, not {value!r:.80}"
    for word, wanted, found in (
        ("actions", expected.actions, trial.actions),
        ("effects", expected.effects, trial.effects),
    ):
        if wanted is not None and wanted != found:
            yield f"the {word} are {listed(found) or 'none'}, not {listed(wanted) or 'none'}"
