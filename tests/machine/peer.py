"""
A machine of ours as python-statemachine runs it, after the SCXML that `statecharts` writes of it.

Of that library, three things are put right that SCXML says otherwise: the order of the document is that
of the tree, active states stand in this order, and a branch to a history state does what it does once. A
step that never rests is ended, and of two rules of decision 21 one is taught to the peer, because hardly
any machine of regions would go without it. `test_peer` has each switched off. Nothing else is shared.
Called by `test_peer` and `fuzzing`.
"""

from __future__ import annotations

import functools
import random
from collections import Counter
from collections.abc import Iterable
from itertools import count
from typing import Any

from statemachine.configuration import Configuration
from statemachine.engines.sync import SyncEngine
from statemachine.io.scxml.processor import SCXMLProcessor
from statemachine.orderedset import OrderedSet
from statemachine.statemachine import StateChart

from event_center.errors import DefinitionError
from event_center.machine import Machine
from event_center.machine.coverage import Recorder, branches_of
from event_center.machine.document import MappingNode, Node, ScalarNode, SequenceNode
from event_center.machine.problems import Place, Problems
from event_center.machine.reader import Reader
from event_center.machine.reading import read_definition
from event_center.machine.step import build
from event_center.machine.trial import Trial
from tests.machine.statecharts import AROUND, EVENTS, Body, Drawn, ordered, scxml

LONGEST = 300
"""Microsteps of one event: more than ours takes, so that ours decides what is endless."""


class EndlessStep(BaseException):
    """The peer does not come to rest; what it catches of a step are exceptions."""


class InOrder(Configuration):
    """Active states in the order of the document, which is that in which SCXML asks them."""

    __slots__ = ()

    def _write_to_model(self, values: OrderedSet[Any]) -> None:
        def place(value: Any) -> int:
            return int(self._states_map[value].document_order)

        super()._write_to_model(OrderedSet(sorted(values, key=place)))


class Bounded(SyncEngine):
    """It ends a step that never rests."""

    left = LONGEST

    def microstep(self, *arguments: Any) -> Any:
        """One microstep, if there are not too many."""
        self.left -= 1
        if not self.left:
            raise EndlessStep
        return super().microstep(*arguments)

    def _filter_conflicting_transitions(self, transitions: OrderedSet[Any]) -> OrderedSet[Any]:
        """Our rule, and XState's: what is around regions is asked only if none of them has a branch."""
        sources = [one.source for one in transitions]
        asked = (
            one
            for one in transitions
            if not any(inner.is_descendant(one.source) for inner in sources)
        )
        return super()._filter_conflicting_transitions(OrderedSet(asked))

    def compute_entry_set(self, *arguments: Any) -> None:
        """What is entered; what a branch to a history state does is not done once more for it."""
        super().compute_entry_set(*arguments)  # type: ignore[no-untyped-call]  # the peer has no types
        arguments[-1].clear()


class Peer:
    """One workflow of one machine."""

    def __init__(self, document: Body) -> None:
        processor = SCXMLProcessor()
        processor.parse_scxml("m", scxml(document))
        [chart] = processor.scs.values()
        for number, name in enumerate((AROUND, *ordered(document["states"]))):
            if name in chart.states_map:
                chart.states_map[name].document_order = number + 1
        setattr(chart, "_get_engine", _bounded)  # noqa: B010 - a name that the types do not let through
        setattr(chart, "_build_configuration", _in_order)  # noqa: B010
        chart.catch_errors_as_events = False
        self._chart = processor.start()  # type: ignore[no-untyped-call]  # the peer has no types

    def send(self, event: str) -> None:
        """Hear one event."""
        self._chart._engine.left = LONGEST
        self._chart.send(event)

    def active(self, leaves: Iterable[str]) -> str:
        """The active ones of these, as a workflow's state is written."""
        values = self._chart.configuration_values
        return "|".join(name for name in leaves if name in values)

    @property
    def data(self) -> Body:
        """The data model."""
        return {"flag": self._chart.model.flag}


def _bounded(chart: Any) -> Bounded:
    return Bounded(chart)


_plain = StateChart._build_configuration


@functools.wraps(_plain)
def _in_order(chart: Any) -> Configuration:
    plain = _plain(chart)
    plain.__class__ = InOrder
    return plain


# -- both beside each other ----------------------------------------------------------------------

STEPS = 16
"""Events of one comparison."""


def leaves_of(machine: Machine) -> list[str]:
    """The states without states inside, in the order of the file."""
    states = machine.definition.states.items()
    return [name for name, state in states if not state.children]


def read(document: Body) -> Machine:
    """
    The machine, without a text between, which would take half of the time.

    Nor is it checked: states that nothing leads to are no obstacle here.
    """
    problems = Problems("drawn")
    lines = count(1)

    def node(value: Any) -> Node:
        place = Place(next(lines), 1)
        if isinstance(value, dict):
            pairs = tuple(
                (ScalarNode(place=place, value=key), node(one)) for key, one in value.items()
            )
            return MappingNode(place=place, pairs=pairs, size=len(pairs), depth=1)
        if isinstance(value, list):
            items = tuple(map(node, value))
            return SequenceNode(place=place, items=items, size=len(items), depth=1)
        return ScalarNode(place=place, value=value)

    definition = read_definition(Reader(problems), node(document))
    if len(problems):
        raise problems.error()
    return build(definition)


def begun(document: Body) -> Peer | None:
    """The peer after its birth; None if it does not come to rest."""
    try:
        return Peer(document)
    except EndlessStep:
        return None


def compared(drawn: Drawn, random_: random.Random, seen: Counter[str]) -> str:
    """
    Run one machine on both sides; returns how that ended, and counts what was compared.

    Raises:
        AssertionError: after some event, the states or the data are not the same.
    """
    document, shapes = drawn
    machine = read(document)
    recorder = Recorder(machine)
    trial, peer, leaves = Trial(recorder.machine), begun(document), leaves_of(machine)
    told = sorted(machine.events - {*EVENTS, "*"})
    heard, end = list[str](), "at rest"
    for _ in range(STEPS):
        name = random_.choice([*EVENTS, random_.choice([*told, "unheard"])])
        heard.append(name)
        try:
            trial.send(name)
        except DefinitionError:
            end = "endless"
            break
        assert peer is not None, ("only the peer does not come to rest", document)
        peer.send(name)
        ours = (trial.snapshot.state, trial.snapshot.data)
        theirs = (peer.active(leaves), peer.data)
        assert ours == theirs, (ours, theirs, heard, document)
        seen["events"] += 1
        if trial.snapshot.result is not None:
            end = "over"
            break
    seen["machines"] += 1
    seen["rich machines"] += drawn.is_rich
    seen.update(f"machines with {shape}" for shape, number in shapes.items() if number)
    known = [one for one in branches_of(machine.definition) if "'to_" not in one.way]
    seen["branches"] += len(known)
    seen["branches taken"] += sum(bool(recorder.taken[one.place]) for one in known)
    return end
