"""
A machine as a drawing: boxes inside of boxes, and arrows with what is written on them.

One model for every format, so that all pictures tell the same: what begins and ends, what each
state does by itself, and which events lead where. A `Trail` says where a workflow is and how it
came there. Pure; called by the CLI's `graph`; `drawing_text` (Mermaid, Graphviz), `drawing_svg` and
`drawing_table` have the next steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from event_center.machine.chart import Chart
from event_center.machine.decision import AFTER, DONE, ERROR
from event_center.machine.definition import Branch, Calls, Definition, Emit, Kind, On, State
from event_center.machine.guard import text_of
from event_center.machine.problems import Place
from event_center.machine.spelling import hint, quoted

ANYWHERE = "*"
"""The source of the machine's own branches: every state that is not final."""

_PASSING = frozenset({Kind.CHOICE, Kind.HISTORY})
"""Kinds that a step goes through without a rest: history records do not name them."""


class Went(NamedTuple):
    """One transition of a workflow, as its history has it: configurations and the event."""

    before: str
    event: str
    after: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Trail:
    """Where a workflow is, and how it came there."""

    at: str = ""
    """Its configuration; empty: nothing is marked."""
    went: tuple[Went, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """One state."""

    state: State
    lines: tuple[str, ...]
    """What it does while the workflow stays in it, and when it comes and goes."""
    begins: bool
    """The machine, or the state around it, begins here."""
    at: bool
    """The workflow is here."""
    seen: bool
    """The workflow was here."""

    @property
    def name(self) -> str:
        """The name of the state."""
        return self.state.name


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrow:
    """One branch that leads from a state to another."""

    source: str
    """A state, or `ANYWHERE`."""
    target: str
    name: str
    """The event, `after 24h`, `timeout 30d`, `on_done`, `on_error` or `always`."""
    label: str
    place: Place
    taken: bool
    """The workflow went this way."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """A machine, ready to be drawn in any format."""

    definition: Definition
    boxes: Mapping[str, Box]
    """All states, in the order of the file."""
    arrows: tuple[Arrow, ...]
    anywhere: tuple[str, ...]
    """What the machine hears in every state without leaving it."""

    @property
    def has_anywhere(self) -> bool:
        """Whether something is written for every state at once."""
        return bool(self.anywhere) or any(arrow.source == ANYWHERE for arrow in self.arrows)

    @property
    def title(self) -> str:
        """What stands above the picture."""
        return f"{self.definition.name}, version {self.definition.version}"

    def top(self) -> tuple[str, ...]:
        """The states at the top."""
        return tuple(name for name, box in self.boxes.items() if box.state.parent is None)


def drawn(definition: Definition, trail: Trail | None = None) -> Drawing:
    """
    The drawing of a machine, with the trail of one workflow marked in it.

    Raises:
        KeyError: the trail ends in what is no configuration of this machine.
    """
    return _Pen(definition, trail or Trail()).drawing()


class _Pen:
    """Draws one machine."""

    def __init__(self, definition: Definition, trail: Trail) -> None:
        self._definition = definition
        self._chart = Chart(definition)
        self._trail = trail
        self._at = set(self._chart.active(trail.at)) if trail.at else set[str]()
        self._went = [
            (self._known(went.before), went.event, self._known(went.after)) for went in trail.went
        ]
        self._lines: dict[str, list[str]] = {name: [] for name in (ANYWHERE, *definition.states)}
        self._led: list[tuple[str, str, Branch]] = []
        """What becomes an arrow: its source, its name and its branch."""

    def _known(self, configuration: str) -> frozenset[str]:
        """The active states; none of a configuration that only another version has."""
        rests = self._chart.rests(configuration)
        return frozenset(self._chart.active(configuration)) if rests else frozenset()

    def drawing(self) -> Drawing:
        """All boxes and arrows."""
        for name, on in self._definition.ways():
            self._way(ANYWHERE, name, on)
        for state in self._definition.states.values():
            self._bring(state)
            for name, on in state.ways():
                self._way(state.name, name, on)
            if state.kind is Kind.HISTORY and state.default is not None:
                default = Branch(place=state.place, target=state.default)
                self._led.append((state.name, "", default))
        seen = {name for before, _, after in self._went for name in (*before, *after)} | self._at
        boxes = {
            name: Box(
                state=state,
                lines=tuple(self._lines[name]),
                begins=name == self._around(state),
                at=name in self._at,
                seen=name in seen,
            )
            for name, state in self._definition.states.items()
        }
        return Drawing(
            definition=self._definition,
            boxes=boxes,
            arrows=tuple(self._arrow(*led) for led in self._led),
            anywhere=tuple(self._lines[ANYWHERE]),
        )

    def _around(self, state: State) -> str:
        """What the machine, or the state around this one, begins with."""
        if state.parent is None:
            return self._definition.initial
        return self._definition.states[state.parent].initial

    def _bring(self, state: State) -> None:
        lines = self._lines[state.name]
        lines += [f"entry / {names}" for names in [_names(state.entry)] if names]
        lines += [f"invoke / {job.action.name}" for job in state.invoke]
        lines += [f"exit / {names}" for names in [_names(state.exit)] if names]
        lines += [f"defer {', '.join(state.defer)}" for _ in [0] if state.defer]

    def _way(self, source: str, name: str, on: On) -> None:
        for branch in on.branches:
            if branch.target is None or self._stays(source, branch.target):
                self._line(source, name, branch)
            else:
                self._led.append((source, name, branch))

    def _stays(self, source: str, target: str) -> bool:
        """Whether one is the other or stands inside of it: no arrow can be drawn between them."""
        chart = self._chart
        if source == ANYWHERE:
            return False
        return source == target or chart.within(source, target) or chart.within(target, source)

    def _line(self, source: str, name: str, branch: Branch) -> None:
        text = label_of(name, branch)
        if branch.target is not None:
            text += f" → {branch.target}" if branch.target != source else " ↻" * branch.reenter
        self._lines[source].append(text)

    def _arrow(self, source: str, name: str, branch: Branch) -> Arrow:
        return Arrow(
            source=source,
            target=str(branch.target),
            name=name,
            label=label_of(name, branch),
            place=branch.place,
            taken=any(
                self._leads(str(branch.target), after) and self._caused(source, name, before, event)
                for before, event, after in self._went
            ),
        )

    def _caused(self, source: str, name: str, before: frozenset[str], event: str) -> bool:
        """Whether this event can have led here from `before`, maybe through states without a rest."""
        ways = [(source, name)]
        for at, said in ways:  # grows by what leads to it, each way once: choices can go in a ring
            if at != ANYWHERE and self._definition.states[at].kind in _PASSING:
                led = ((one, way) for one, way, branch in self._led if branch.target == at)
                ways += [one for one in led if one not in ways]
            elif (at == ANYWHERE or at in before) and _is_of(said, event):
                return True
        return False

    def _leads(self, target: str, after: frozenset[str]) -> bool:
        """Whether a step that came to `after` can have gone to this target."""
        targets = [target]
        for at in targets:  # grows by where a choice leads, each target once
            state = self._definition.states[at]
            if state.kind is Kind.CHOICE and state.always is not None:
                found = (str(one.target) for one in state.always.branches)
                targets += [one for one in found if one not in targets]
            elif (state.parent if state.kind is Kind.HISTORY else at) in after:
                return True
        return False


def _is_of(name: str, event: str) -> bool:
    """Whether a branch of this name hears this event of a workflow's history."""
    kind, _, key = name.partition(" ")
    if kind in {"after", "timeout"} and key:
        return event.startswith(AFTER + key) and event[len(AFTER + key) :][:1] in {"", "/"}
    own = {"on_done": DONE, "on_error": ERROR}.get(name)
    return event == name if own is None else event.partition("/")[0] == own


def label_of(name: str, branch: Branch) -> str:
    """What an arrow says: the event, its guard in brackets, and the callbacks on the way."""
    guard = "" if branch.guard is None else f"[{text_of(branch.guard)}]"
    sent = [f"raise {one.event}" for one in branch.raises]
    sent += [_sent(one) for one in branch.emits]
    calls = [text for text in (_names(branch.before), _names(branch.actions), *sent) if text]
    named = "" if name == "always" else name
    parts = [named, guard, f"/ {', '.join(calls)}" if calls else ""]
    return " ".join(part for part in parts if part)


def _sent(emit: Emit) -> str:
    """An event for others, with the topic or the machine that hears of it, where one is named."""
    to = emit.topic or emit.machine
    return f"emit {emit.event} to {to}" if to else f"emit {emit.event}"


def _names(calls: Calls) -> str:
    return ", ".join(call.action.name for call in calls)


def place_in(definition: Definition, state: str) -> str:
    """
    The configuration that a state or configuration means, for a trail.

    Raises:
        KeyError: with a sentence: there is no such state.
    """
    chart = Chart(definition)
    if chart.rests(state):
        return state
    if state not in definition.states:
        guess = hint(state, definition.states, "states")
        raise KeyError(f"machine {quoted(definition.name)} has no state {quoted(state)}{guess}")
    found: set[str] = set()
    chart.enter(state, None, {}, found)
    return chart.configuration(found)


def trail_of(lines: Iterable[Mapping[str, object]], at: str) -> Trail:
    """The trail of a workflow in this configuration, from the lines of its history."""
    went = tuple(
        Went(str(line["from"]), str(line["event"]), str(line["to"]))
        for line in lines
        if line.get("from") is not None and line.get("to") is not None
    )
    return Trail(at=at, went=went)
