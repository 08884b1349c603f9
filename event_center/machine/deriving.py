"""
Cases that take every branch of a machine, found by trying: a beginning for the machine's `tests`.

Goes through the configurations that can be reached, breadth first, with payloads made of the keys that
the machine reads and of values near those that it compares them with. What is found is written down
as it came out, to be judged by people; what was not found is named. Pure; called by the CLI's `cases`.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count, islice, product
from typing import Any, NamedTuple

from event_center.errors import DefinitionError, ExpressionError
from event_center.machine.cases import NOWHERE, Case, Expected, Step
from event_center.machine.coverage import KnownBranch, Recorder, branches_of
from event_center.machine.decision import ANY, ERROR
from event_center.machine.definition import Definition, On
from event_center.machine.duration import in_words
from event_center.machine.example import example
from event_center.machine.expression import Expression
from event_center.machine.guard import Computed, Raised, leaves
from event_center.machine.outlook import heard
from event_center.machine.problems import Place
from event_center.machine.step import Machine
from event_center.machine.trial import Trial, answering, awaited
from event_center.machine.value import expressions
from event_center.model import Json

VARIANTS = 4
"""With how many different data a configuration is looked at, beside those that a new branch led to."""
PAYLOADS = 32
"""Payloads that are tried for one event: their number multiplies with all else that is tried."""
GUARDS = 4
"""Named guards whose answers are tried in all combinations: each doubles these."""
_USUAL: tuple[Json, ...] = (None, True, False, 0, 1, "text", "2026-01-02T00:00:00Z")
"""One of each kind; the last is also a time, a day after trials begin."""
_ANY = "text"
"""The value of a key that nothing asks for."""
_ERROR = "Exception"


class Derived(NamedTuple):
    """What was found."""

    cases: tuple[Case, ...]
    missed: tuple[KnownBranch, ...]
    """Branches that nothing took that was tried."""


@dataclass(frozen=True, slots=True)
class _Visit:
    """A workflow on the way: where it is, and the steps that led there."""

    state: str
    data: dict[str, Json]
    path: tuple[Step, ...]
    fresh: bool
    """The last of them took a branch that nothing had taken before."""


def derived(machine: Machine) -> Derived:
    """Cases that together take every branch, and hear every refusal, that can be found."""
    return _Search(machine).run()


class _Search:
    """Goes through the configurations of one machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._recorder = Recorder(machine)
        definition = machine.definition
        self._events = [name for name in heard(definition) if name != ANY]
        asked = _asked(definition)
        self._payloads = {
            name: _fitting(definition, name, _payloads(_heard(definition, name), asked))
            for name in self._events
        }
        self._plain = {
            name: next(iter(self._payloads[name][1:]), None)
            for name, declared in (definition.events or {}).items()
            if declared.schema is not None and name in self._payloads
        }
        """Of events with a schema the first payload that fits, so that their state refuses them."""
        self._results = {
            job.action.name: _payloads(_read([job.on_done]), asked)
            for state in definition.states.values()
            for job in state.invoke
        }
        """What each job may return."""
        self._answers = _answers(machine)
        self._decide: dict[str, tuple[str, ...]] = {}
        self._cases: dict[str, Case] = {}
        self._seen: dict[str, set[str]] = {}
        """The data with which each configuration was looked at."""
        self._covered: set[Place] = set()
        self._machines: dict[tuple[tuple[str, bool], ...], Machine] = {}

    def run(self) -> Derived:
        """Breadth first: each branch is reached by the fewest steps."""
        birth = Trial(self._machine).snapshot
        pending = deque([_Visit(birth.state, birth.data, (), fresh=True)])
        while pending:
            visit = pending.popleft()
            variants = self._seen.setdefault(visit.state, set())
            key = repr(sorted(visit.data.items(), key=repr))
            if key in variants or (len(variants) >= VARIANTS and not visit.fresh):
                continue
            pending += self._explore(visit)
            if not variants and (visit.path or self._machine.begins_at_rest):
                self._refused(visit)
            variants.add(key)
        known = branches_of(self._machine.definition)
        missed = tuple(one for one in known if one.place not in self._covered)
        return Derived(tuple(self._cases.values()), missed)

    def _trial(self, visit: _Visit) -> Trial:
        """The workflow of a visit, come there again by its steps; nothing of it counts as taken."""
        trial = Trial(self._recorder.machine)
        for step in visit.path:
            self._perform(trial, step)
        self._recorder.taken.clear()
        return trial

    def _perform(self, trial: Trial, step: Step) -> bool:
        """Whether the step is accepted; a payload that an expression fails on is none to show."""
        trial.machine = self._answering(step.guards)
        try:
            return trial.perform(step) is None
        except (ExpressionError, DefinitionError):
            return False

    def _answering(self, answers: Mapping[str, bool]) -> Machine:
        """The machine with these answers, made once: its table is worked out as it is needed."""
        key = tuple(answers.items())
        if key not in self._machines:
            self._machines[key] = answering(self._recorder.machine, answers)
        return self._machines[key]

    def _explore(self, visit: _Visit) -> Iterator[_Visit]:
        """Where one step leads from here; what takes a new branch becomes a case."""
        for step in self._stimuli(visit):
            trial = self._trial(visit)
            if not self._perform(trial, step):
                continue
            path = (*visit.path, replace(step, expected=_outcome(trial)))
            fresh = not self._covered.issuperset(self._recorder.taken)
            if fresh:
                self._covered.update(self._recorder.taken)
                what = step.what if step.kind == "event" else f"{step.kind} {step.what}"
                self._keep(f"{what} in {visit.state}", path)
            if trial.snapshot.result is None:
                yield _Visit(trial.snapshot.state, trial.snapshot.data, path, fresh)

    def _stimuli(self, visit: _Visit) -> Iterator[Step]:
        trial = self._trial(visit)
        for answers in self._answers:
            for name in self._events:
                for payload in self._payloads[name]:
                    yield _step("event", name, payload=payload, guards=answers)
            for timer in trial.snapshot.timers:
                milliseconds = max(1, timer.due_ms - trial.now_ms)
                written = in_words(milliseconds)
                yield replace(_step("after", written, guards=answers), delay_ms=milliseconds)
            for owed in (*trial.snapshot.owed, *trial.snapshot.jobs):
                for payload in self._results.get(owed.name, [None]):
                    yield _step("done", owed.name, payload=payload, guards=answers)
                yield from self._failures(owed.name, answers)
            for name in self._awaited(visit.state):
                yield from self._failures(name, answers)

    def _failures(self, name: str, answers: Mapping[str, bool]) -> Iterator[Step]:
        for error in _errors(self._machine.definition):
            yield _step("error", name, payload={"type": error}, guards=answers)

    def _awaited(self, state: str) -> tuple[str, ...]:
        """The callbacks of branches from here, if anything follows when they fail."""
        if state not in self._decide:
            follows = self._machine.has(state, ERROR)
            self._decide[state] = awaited(self._machine, state) if follows else ()
        return self._decide[state]

    def _refused(self, visit: _Visit) -> None:
        """One case with every event that is refused here whatever it carries."""
        steps = []
        for name in self._events:
            trial = self._trial(visit)
            if trial.machine.has(visit.state, name):
                continue
            payload = self._plain.get(name)
            refused = trial.send(name, payload)
            if refused is not None:
                expected = Expected(refused=refused.reason, state=visit.state)
                steps.append(replace(_step("event", name, payload=payload), expected=expected))
        if steps:
            self._keep(f"refused in {visit.state}", (*visit.path, *steps))

    def _keep(self, name: str, steps: tuple[Step, ...]) -> None:
        """Note a case; of several that would have one name the later ones have a number."""
        names = (name if number == 1 else f"{name} ({number})" for number in count(1))
        own = next(one for one in names if one not in self._cases)
        self._cases[own] = Case(place=NOWHERE, name=own, steps=steps)


def _step(
    kind: str, what: str, *, payload: Json = None, guards: Mapping[str, bool] | None = None
) -> Step:
    return Step(place=NOWHERE, kind=kind, what=what, payload=payload, guards=guards or {})


def _outcome(trial: Trial) -> Expected:
    snapshot = trial.snapshot
    return Expected(
        state=snapshot.state,
        actions=trial.actions or None,
        effects=trial.effects or None,
        result=None if snapshot.result is None else _result(trial),
    )


def _result(trial: Trial) -> Any:
    return trial.machine.result(trial.snapshot.state)


def _answers(machine: Machine) -> list[dict[str, bool]]:
    """What the named guards can say together; of many, only all yes and all no."""
    names = sorted(machine.guards)
    if len(names) > GUARDS:
        return [dict.fromkeys(names, True), dict.fromkeys(names, False)]
    return [
        dict(zip(names, said, strict=True)) for said in product((True, False), repeat=len(names))
    ]


def _errors(definition: Definition) -> list[str]:
    """Names of error classes that branches ask for, and one that none does."""
    asked = (leaf for guard in definition.conditions() for leaf in leaves(guard))
    named = (name for leaf in asked if isinstance(leaf, Raised) for name in leaf.names)
    return [_ERROR, *dict.fromkeys(named)]


def _payloads(read: Iterable[tuple[str, Expression]], asked: frozenset[str]) -> list[Json]:
    """
    Payloads made of the keys that the machine reads, with values near those that it compares with.

    What is only put into data that nothing asks for has one value: others would lead nowhere else.
    """
    keys: dict[str, None] = {}
    values: dict[Json, None] = {}
    copied: Json = {}
    for assigned, expression in read:
        found = [key for root, key in expression.attributes if root == "payload"]
        if (
            assigned
            and assigned not in asked
            and [expression.text] == [f"payload.{k}" for k in found]
        ):
            copied |= dict.fromkeys(found, _ANY)
            continue
        keys |= dict.fromkeys(found)
        values |= dict.fromkeys(_compared(expression.text))
    if not keys:
        return [None, copied] if copied else [None]
    # True and 1 are one key of a dict, and two values here.
    pool = list({(type(one), one): one for one in (*values, *_USUAL)}.values())
    usual = [copied | dict.fromkeys(keys, value) for value in pool]
    mixed = (
        copied | dict(zip(keys, some, strict=True)) for some in product(pool, repeat=len(keys))
    )
    return [None, *usual, *islice(mixed, PAYLOADS)]


def _fitting(definition: Definition, name: str, payloads: list[Json]) -> list[Json]:
    """Those that fit the schema of an event, made to by what the schema says; and one that does not."""
    declared = definition.declared(name)
    schema = None if declared is None else declared.schema
    if schema is None:
        return payloads
    made = example(schema.content)
    found = [made]
    for one in payloads:
        if isinstance(one, dict) and isinstance(made, dict):
            found += [made | one, one | made]
    fit = {repr(one): one for one in found if not schema.fault(one)}
    return [None, *fit.values()]


def _compared(text: str) -> Iterator[Json]:
    """Values near the numbers of an expression, and its texts."""
    for number in re.findall(r"(?<![\w.'\"])\d+(?:\.\d+)?", text):
        value = float(number) if "." in number else int(number)
        yield from (value, value + 1, value - 1)
    for single, double in re.findall(r"'([^']*)'|\"([^\"]*)\"", text):
        yield single or double


def _asked(definition: Definition) -> frozenset[str]:
    """The keys of `data` that any expression reads."""
    read = [expression for _, expression in _read(on for _, on in definition.everything())]
    timers = (after.due for state in definition.states.values() for after in state.after.values())
    read += [due for due in (*timers, *(one.due for one in definition.timeout.values())) if due]
    return frozenset(key for one in read for root, key in one.attributes if root == "data")


def _heard(definition: Definition, name: str) -> Iterator[tuple[str, Expression]]:
    """The expressions of the branches of an event, and of all that follows by itself."""
    states = definition.states.values()
    ways = [on.get(name) for on in (definition.on, *(state.on for state in states))]
    ways += [on.get(ANY) for on in (definition.on, *(state.on for state in states))]
    ways += [state.always for state in states] + [
        state.on_done for state in states if state.children
    ]
    yield from _read(ways)


def _read(ways: Iterable[On | None]) -> Iterator[tuple[str, Expression]]:
    """The expressions of these branches, each with the key of `data` that it is assigned to, if any."""
    for branch in (branch for way in ways if way is not None for branch in way.branches):
        for leaf in leaves(branch.guard):
            if isinstance(leaf, Computed):
                yield "", leaf.expression
        for key, value in branch.assign.items():
            yield from ((key, expression) for expression in expressions(value))
        sent = [one.payload for one in branch.raises]
        sent += [value for one in branch.emits for value in (one.workflow_id, one.payload)]
        for value in sent:
            yield from (("", expression) for expression in expressions(value))
