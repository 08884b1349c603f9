"""Properties over random nested machines: the flat table decides what the algorithm of SCXML says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from event_center.errors import DefinitionError
from event_center.machine import Machine, parse
from event_center.machine.decision import Refused
from event_center.model import Event, Snapshot
from tests.machine.peer import read
from tests.machine.scxml import Endless, Interpreter

EVENTS = ["e", "f", "g"]
BOOLS = st.booleans()
FEW = st.integers(0, 3)


class Maker:
    """Draws one machine: first the tree, then branches between the states that there are."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.count = 0
        self.targets: list[str] = []
        self.actives: list[str] = []
        self.bodies: list[tuple[str, dict[str, Any]]] = []

    def state(self, depth: int) -> tuple[str, dict[str, Any]]:
        self.count += 1
        name = f"s{self.count}"
        body: dict[str, Any] = {}
        self.targets.append(name)
        self.actives.append(name)
        self.bodies.append((name, body))
        shape = (
            self.draw(st.sampled_from(["leaf", "leaf", "compound", "parallel"]))
            if depth
            else "leaf"
        )
        if shape == "compound":
            inside = [self.state(depth - 1) for _ in range(1 + self.draw(st.integers(0, 2)))]
            body["initial"] = inside[0][0]
            body["states"] = dict(inside)
            if self.draw(BOOLS):
                body["states"][self.special()] = {"type": "final"}
                body["on_done"] = None
            if self.draw(FEW) == 0:
                history = self.special()
                body["states"][history] = {"type": "history", "history": self.depth()}
        elif shape == "parallel":
            body["type"] = "parallel"
            body["states"] = dict(self.state(depth - 1) for _ in range(2))
        return name, body

    def special(self) -> str:
        self.count += 1
        self.targets.append(f"s{self.count}")
        return f"s{self.count}"

    def depth(self) -> str:
        return str(self.draw(st.sampled_from(["shallow", "deep"])))

    def branch(self, *, target: bool = False, guarded: bool = True) -> Any:
        made: dict[str, Any] = {}
        if target or self.draw(st.integers(0, 4)):
            made["target"] = self.draw(st.sampled_from(self.targets))
            if self.draw(FEW) == 0:
                made["reenter"] = True
        if guarded and self.draw(BOOLS):
            active = {"in": self.draw(st.sampled_from(self.actives))}
            made["guard"] = self.draw(
                st.sampled_from(["=payload.p", "=data.d", active, {"not": active}])
            )
        if self.draw(BOOLS):
            made["assign"] = {"d": self.draw(st.sampled_from(["=payload.p", True, False]))}
        if self.draw(st.integers(0, 5)) == 0:
            raised = {
                "event": self.draw(st.sampled_from(EVENTS)),
                "payload": {"p": self.draw(BOOLS)},
            }
            made["raise"] = raised
        for key in ("before", "actions"):
            if self.draw(FEW) == 0:
                made[key] = f"{key[0]}{self.draw(FEW)}"
        return made

    def ways(self, *, target: bool = False) -> Any:
        guarded = [self.branch(target=target) for _ in range(self.draw(st.integers(0, 1)))]
        guarded = [one for one in guarded if "guard" in one]
        return [*guarded, self.branch(target=target, guarded=not guarded)]


@st.composite
def documents(draw: Any) -> dict[str, Any]:
    """Nested machines as plain mappings."""
    maker = Maker(draw)
    states = dict([maker.state(3), maker.state(1)])
    for number in range(draw(st.integers(0, 2))):
        choice = maker.special()
        inner = [body for _, body in maker.bodies if body.get("initial")]
        where = draw(st.sampled_from(inner))["states"] if inner and draw(BOOLS) else states
        where[choice] = {"type": "choice", "always": number}
        maker.bodies.append((choice, where[choice]))
    states["end"] = {"type": "final"}
    maker.targets.append("end")
    for name, body in maker.bodies:
        if "always" in body:
            body["always"] = [
                *(one for one in [maker.branch(target=True)] if "guard" in one),
                maker.branch(target=True, guarded=False),
            ]
            continue
        body["on"] = {event: maker.ways() for event in EVENTS if draw(BOOLS)}
        if draw(FEW) == 0:
            body["on"]["*"] = maker.ways()
        if "on_done" in body:
            body["on_done"] = maker.ways(target=True)
        if draw(BOOLS):
            body["entry"] = [f"entry_{name}"]
        if draw(BOOLS):
            body["exit"] = [f"exit_{name}"]
        if draw(FEW) == 0:
            body["invoke"] = [f"job_{name}"]
        if draw(FEW) == 0:
            body["defer"] = ["h"]
    root = {f"to {name}": name for name in maker.targets}
    root |= {event: maker.ways() for event in EVENTS if draw(BOOLS)}
    return {
        "machine": "m",
        "version": 1,
        "initial": "s1",
        "perpetual": True,
        "data": {"d": False},
        "on": root,
        "states": states,
    }


def made(document: dict[str, Any]) -> Machine:
    """The machine; branches between regions are refused where machines are written, and mean something."""
    try:
        return parse(json.dumps(document))
    except DefinitionError as error:
        codes = {one.code for one in error.problems}
    # Loops of choices, unreachable branches and equal keys are refused as well; nothing else may be.
    assert codes <= {"E204", "E210", "E214", "E306"}
    assume(codes == {"E214"})
    return read(document)


STEPS = st.lists(st.tuples(st.integers(0, 40), BOOLS), min_size=1, max_size=10)


@settings(suppress_health_check=list(HealthCheck))
@given(documents(), STEPS)
def test_table_agrees_with_the_algorithm_of_scxml(document: dict[str, Any], steps: Any) -> None:
    """Over random nested machines and runs: the same states, callbacks in the same order, data, memory."""
    machine = made(document)
    naive = Interpreter(document)
    birth = machine.birth(0)
    assert birth.target == naive.configuration()
    snapshot = Snapshot("w", "m", 1, birth.target)
    snapshot.data = birth.data or {}
    names = [*EVENTS, "h", "unheard", *document["on"]]
    for number, truth in steps:
        event = Event(names[number % len(names)], {"p": truth})
        try:
            expected = naive.step(event.name, event.payload)
        except Endless:
            with pytest.raises(DefinitionError, match="E210"):
                machine.step(snapshot, event, 0)
            return
        decision = machine.step(snapshot, event, 0)
        if isinstance(decision, Refused):
            assert expected is None, (snapshot.state, event, expected)
            continue
        snapshot.state = decision.target
        snapshot.data = decision.data if decision.data is not None else snapshot.data
        snapshot.memory = decision.memory if decision.memory is not None else snapshot.memory
        assert expected == {
            "target": decision.target,
            "decide": [action.name for action in decision.decide],
            "owed": list(decision.owed),
            "jobs": list(decision.jobs or ()),
            "data": snapshot.data,
            "memory": snapshot.memory or {},
        }
        assert machine.rests(snapshot.state)
        if decision.result is not None:
            return


def test_the_comparison_sees_a_difference() -> None:
    """The twin: an interpreter with another order of exits does not agree."""

    class Outward(Interpreter):
        def ordered(self, names: Any) -> list[str]:
            return super().ordered(names)[::-1]

    document = {
        "machine": "m", "version": 1, "initial": "p", "perpetual": True,
        "states": {
            "p": {"initial": "c", "exit": "p_out", "on": {"go": "q"},
                  "states": {"c": {"exit": "c_out"}}},
            "q": {"on": {"back": "p"}},
        },
    }  # fmt: skip
    machine = parse(json.dumps(document))
    decision = machine.step(Snapshot("w", "m", 1, "c"), Event("go"), 0)
    assert not isinstance(decision, Refused)
    names = [action.name for action in decision.decide]
    right, wrong = Interpreter(document).step("go", None), Outward(document).step("go", None)
    assert right is not None
    assert wrong is not None
    assert names == right["decide"] != wrong["decide"]
    with pytest.raises(KeyError):
        Interpreter({**document, "initial": "nobody"})
