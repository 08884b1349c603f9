"""Machines as classes: the same machines, the same checks, and the way back to YAML."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from event_center import AnyState, Blueprint, Compound, Do, Parallel, State, load, parse
from event_center.app.machines import load_machines
from event_center.app.settings import load_settings
from event_center.errors import DefinitionError, PluginError
from event_center.machine.decision import Transition
from event_center.machine.trial import failures
from event_center.machine.writing import yaml_of
from event_center.model import Event, Snapshot
from event_center.plugins.discovery import blueprints, discover
from event_center.plugins.registry import Bound, resolve
from tests.machine import test_nested_properties, test_properties, twins
from tests.walk import MACHINES

TWINS = [twins.Order, twins.Job, twins.Review, twins.Helpdesk, twins.Volume]
SECOND = 1_000


def problems_of(blueprint: type[Blueprint]) -> list[str]:
    with pytest.raises(DefinitionError) as raised:
        load(blueprint)
    assert {one.source for one in raised.value.problems} == {__file__}
    return [f"{one.code} {one.message}" for one in raised.value.problems]


@pytest.mark.parametrize("twin", TWINS)
def test_a_class_is_the_same_machine_as_its_file(twin: type[Blueprint]) -> None:
    """A class and a file that say the same have the same hash."""
    machine = load(twin)
    assert machine.hash == load(MACHINES / f"{machine.name}.yaml").hash


def test_every_yaml_example_has_its_twin() -> None:
    """No example is left out of the comparison."""
    assert {load(twin).name for twin in TWINS} == {file.stem for file in MACHINES.glob("*.yaml")}


@settings(max_examples=30, suppress_health_check=list(HealthCheck))
@given(st.one_of(test_properties.documents(), test_nested_properties.documents()))
def test_yaml_and_back(document: dict[str, Any]) -> None:
    """What a machine writes of itself is the same machine, and is written the same again."""
    try:
        machine = parse(json.dumps(document))
    except DefinitionError:
        assume(False)
    text = machine.to_yaml()
    again = parse(text)
    assert again.hash == machine.hash
    assert again.to_yaml() == text


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["on", "1.", ".5", "0o7", "~", "null", "=x", "==x", "a\nb ", "- a", "1_0", ".NaN"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


class Lamp(Blueprint, version=1, perpetual=True):
    dark = State(initial=True)


@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=3))
@example({"?|": None, "?;": "?x", "?0": ["?"]})
def test_any_data_and_back(data: dict[str, Any]) -> None:
    """Every value that data may have stays what it is: texts like numbers, long numbers, controls."""
    document = {
        "machine": "m",
        "version": 1,
        "initial": "a",
        "perpetual": True,
        "states": {"a": None},
    }
    try:
        machine = parse(json.dumps({**document, "data": data}))
    except DefinitionError:
        assume(False)
    assert parse(machine.to_yaml()).definition.data == machine.definition.data


def test_the_language_and_back() -> None:
    """All that the documented examples use survives: policies, errors, regions, memory, choices."""
    page = (MACHINES.parent / "docs/machine-language.md").read_text(encoding="utf-8")
    blocks = [block.split("```")[0] for block in page.split("```yaml\n")[1:]]
    whole = [block for block in blocks if "\nmachine: " in block and "\nstates:" in block]
    assert len(whole) >= 2
    for block in whole:
        machine = parse(block)
        assert parse(machine.to_yaml()).hash == machine.hash


def test_the_comparison_sees_a_difference() -> None:
    """The twin: a text of another definition has another hash."""
    machine = load(twins.Job)
    other = load(twins.Review)
    assert parse(yaml_of(other.definition)).hash != machine.hash


class Nested(Blueprint, version=1):
    class work(Compound, initial=True, exit="tidy"):  # noqa: N801
        class both(Parallel):  # noqa: N801
            class left(Compound):  # noqa: N801
                one = State(initial=True)
                two = State(final=True)
                go = one.to(two, raises={"event": "told", "payload": {"n": "=payload"}})

            left.on_done("pause")
            right = State(defer="later", unhandled="ignore")

        fork = State(type="choice")
        fork.always("both", guard={"not": {"in": "pause"}})
        fork.always("pause")
        pause = State(initial=True)
        back = State(type="history", history="deep", target="pause")
        split = pause.to(fork)

    end = State(final=True, result="failure")
    rest = State(name="a rest", perpetual=True)
    nap = work.to(rest)
    wake = rest.to("back")
    every = AnyState()
    every.after("30d", end)
    every.on_error(end, errors=["ValueError"])
    every.on_error(end)


NESTED = """
machine: nested
version: 1
initial: work
timeout: {30d: end}
on_error: [{target: end, errors: ValueError}, end]
states:
  work:
    initial: pause
    exit: tidy
    on: {nap: a rest}
    states:
      both:
        type: parallel
        states:
          left:
            initial: one
            on_done: pause
            states:
              one: {on: {go: {target: two, raise: {event: told, payload: {n: =payload}}}}}
              two: {type: final}
          right: {defer: later, unhandled: ignore}
      fork: {type: choice, always: [{target: both, guard: {not: {in: pause}}}, pause]}
      pause: {on: {split: fork}}
      back: {type: history, history: deep, target: pause}
  end: {type: final, result: failure}
  a rest: {perpetual: true, on: {wake: back}}
"""


def test_states_inside_of_states() -> None:
    """Nested classes, regions, choices, history, deferring and raising are those of YAML."""
    machine = load(Nested)
    assert machine.hash == parse(NESTED).hash == parse(machine.to_yaml()).hash


def test_problems_have_places() -> None:
    """A class has the checks of a file: each problem with the line and column of its call."""

    class Wrong(Blueprint, version=1):
        first = State(initial=True, entri="x")  # type: ignore[call-arg]  # a slip, on purpose
        first.to("frist", event="go")
        first.to(first)
        second = State(on={"go": "first"})  # type: ignore[call-arg]  # YAML's way, on purpose

    with pytest.raises(DefinitionError) as raised:
        load(Wrong)
    line = Wrong.__part__.place.line
    found = [(one.line - line, one.column, one.code) for one in raised.value.problems]
    assert found[:4] == [(1, 17, "E104"), (2, 9, "E202"), (3, 9, "E106"), (4, 18, "E104")]
    assert "did you mean 'entry'?" in raised.value.problems[0].message


def test_where_a_class_begins() -> None:
    """A machine begins in one state; none, two, and a class of a class are told."""

    class Neither(Blueprint, version=1):
        first = State()

    class Both(Blueprint, version=1):
        first = State(initial=True)
        second = State(initial=True)

    class Heir(Lamp, version=2):
        first = State(initial=True)

    assert "begins in a state with initial=True" in problems_of(Neither)[0]
    assert any("are both initial" in problem for problem in problems_of(Both))
    assert "derive from Blueprint" in problems_of(Heir)[0]


def test_what_no_machine_can_hold() -> None:
    """A value that JSON does not have, depth without end, and two functions of a name are told."""
    endless: list[Any] = []
    endless.append(endless)

    class Odd(Blueprint, version=1, data={"a": {1, 2}, "b": endless}):
        first = State(initial=True, entry=[load, Do(lambda: None)], exit=twins.past_end)

    found = problems_of(Odd)
    assert any("can not hold this value of type set" in problem for problem in found)
    assert any("nested deeper than 50 levels" in problem for problem in found)
    assert any("'<lambda>' can not name a callback" in problem for problem in found)


def traffic() -> Bound:
    [light] = blueprints(MACHINES / "traffic.py")
    machine = load(light)
    return resolve(machine, discover([Path(machine.source)]))


def test_a_traffic_light() -> None:
    """Green, yellow and red follow each other; the button is kept until it has been answered."""
    bound = traffic()
    machine, snapshot = bound.machine, Snapshot("light-1", "traffic", 1, "green")
    snapshot.data, snapshot.timers = {"pressed": False}, machine.birth(0).timers or ()
    assert [timer.due_ms for timer in snapshot.timers] == [30 * SECOND]
    events = ["button", "@after/30s/green", "@after/3s/yellow", "@after/30s/red"]
    seen = []
    for name in events:
        decision = machine.step(snapshot, Event(name), 0)
        assert isinstance(decision, Transition), (name, decision)
        snapshot.state = decision.target
        snapshot.data = snapshot.data if decision.data is None else decision.data
        seen.append((snapshot.state, snapshot.data["pressed"]))
    assert seen == [("green", True), ("yellow", True), ("red", True), ("green", False)]
    assert set(bound.callbacks) == {"stop", "blink"}
    assert bound.warnings == ()


def test_settings_may_name_a_module(tmp_path: Path) -> None:
    """`machines` takes modules of Python: their machines are loaded, and their problems reported."""
    file = tmp_path / "lamp.py"
    head = "from event_center import Blueprint, State\nclass Lamp(Blueprint, version=1):\n"
    file.write_text(head + "    lit = State(initial=True, entri='x')\n")
    settings = tmp_path / "event-center.toml"
    settings.write_text(f"machines = [{str(MACHINES / 'traffic.py')!r}]\n")
    assert list(load_machines(load_settings(settings))) == ["traffic"]
    settings.write_text("machines = ['lamp.py']\n")
    with pytest.raises(DefinitionError, match=r"lamp\.py:3:11 E104"):
        load_machines(load_settings(settings))


def test_the_sample_lights() -> None:
    """The sample events are events of the machine."""
    lines = (MACHINES / "events/traffic.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(line)["event"] for line in lines} == traffic().machine.events


def test_a_module_is_imported_once_for_machine_and_callbacks(tmp_path: Path) -> None:
    """The functions that are bound are those of the class that the machine was made of."""
    file = tmp_path / "lamp.py"
    file.write_text(
        "from event_center import Blueprint, State\n"
        "async def shine(ctx): ...\n"
        "class Lamp(Blueprint, version=1, perpetual=True):\n"
        "    lit = State(initial=True, entry=shine)\n"
    )
    [lamp] = blueprints(file)
    [found] = discover([file])
    assert found.machine == "lamp"
    assert found.implementations[0].function is vars(lamp)["lit"].__part__.options["entry"]
    file.write_text("x = 1\n")
    with pytest.raises(PluginError, match="defines no machine"):
        blueprints(file)


def test_a_transition_from_any_state_can_be_the_attribute() -> None:
    """Whether `AnyState` is kept or the transition that it made, the machine has it, once."""

    class Kept(Blueprint, version=1, machine="stop"):
        running = State(initial=True)
        off = State(final=True)
        every = AnyState()
        stop = every.to(off)

    class Inline(Blueprint, version=1, machine="stop"):
        running = State(initial=True)
        off = State(final=True)
        stop = AnyState().to(off)

    assert load(Inline).hash == load(Kept).hash
    assert len(load(Kept).definition.on["stop"].branches) == 1


def test_what_any_state_is_given_needs_no_attribute() -> None:
    """`AnyState()` without a name loses nothing, whatever was written on it."""

    class Kept(Blueprint, version=1, machine="stop"):
        running = State(initial=True)
        off = State(final=True)
        every = AnyState()
        every.after("1h", off)
        every.on_error(off)
        every.to(off, event="stop")

    class Inline(Blueprint, version=1, machine="stop"):
        running = State(initial=True)
        off = State(final=True)
        AnyState().after("1h", off)
        AnyState().on_error(off)
        AnyState().to(off, event="stop")

    assert load(Inline).to_yaml() == load(Kept).to_yaml()
    assert "timeout: {1h: off}" in load(Inline).to_yaml()


def test_a_state_that_nothing_holds_is_told_of() -> None:
    """Without an attribute, or with one that is given to another state, it would not be in the machine."""

    class Wrong(Blueprint, version=1):
        dim = State(initial=True)
        off = State(final=True)
        dim.to(off, event="stop")
        State(name="lost").to(off, event="stop")
        dim = State(initial=True)  # noqa: PIE794 - the mistake that is meant

    with pytest.raises(DefinitionError) as raised:
        load(Wrong)
    told = [one.message for one in raised.value.problems if one.code == "E106"]
    assert told == ["no attribute of 'Wrong' holds this state; give it one"] * 2


def test_what_is_no_machine_is_not_loaded() -> None:
    """A wrong argument is said to be one."""
    with pytest.raises(TypeError, match="derives from Blueprint, not 5"):
        load(5)  # type: ignore[arg-type]  # the mistake that is meant
    with pytest.raises(TypeError, match="derives from Blueprint, not <class"):
        load(Blueprint)


def test_a_class_has_tests_as_yaml_has() -> None:
    """They stand behind the version, and come out as they say."""
    tests = [{"name": "it ends", "steps": [{"event": "stop", "result": "success"}]}]

    class Tested(Blueprint, version=1, tests=tests):
        dim = State(initial=True)
        off = State(final=True)
        stop = dim.to(off)

    machine = load(Tested)
    assert [case.name for case in machine.definition.tests] == ["it ends"]
    assert failures(machine) == []


def test_any_state_stands_in_the_class_of_the_machine() -> None:
    """Inside of a nested class it would be lost, so it is refused where it stands."""

    class Wrong(Blueprint, version=1):
        class Glowing(Compound, initial=True):
            dim = State(initial=True)
            AnyState().after("1h", "off")

        off = State(final=True)
        Glowing.to(off, event="stop")

    with pytest.raises(DefinitionError) as raised:
        load(Wrong)
    [problem] = raised.value.problems
    assert (problem.code, "move it to the class of the machine" in problem.message) == (
        "E211",
        True,
    )
