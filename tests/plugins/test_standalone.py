"""The public `Machine` alone: a state machine for a program's own objects, without a center."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from event_center import Blueprint, Machine, PluginError, State, callbacks, load, parse
from event_center.plugins.standalone import StandaloneMachine

PROGRAM = """
from event_center import Blueprint, State, callbacks, load

print("imported", __name__)

bells = callbacks("turnstile")


@bells.entry("unlocked")
def ring(payload) -> None:
    print("ring", payload, ring.__module__)


def count(payload) -> None:
    print("count", payload, count.__module__)


class Turnstile(Blueprint, version=1, perpetual=True):
    locked = State(initial=True)
    unlocked = State(entry="ring")
    coin = locked.to(unlocked, guard="=payload >= 1", actions=count)
    push = unlocked.to(locked)


class Gate:
    state = ""


gate = Gate()
bound = load(Turnstile).bind(gate, "state")
bound.send("coin", 1).run_sync()
print(gate.state, bound.send("coin", 1))
"""


class Gate:
    """A record."""

    state = ""


def test_a_program_is_not_run_again_for_its_own_functions(tmp_path: Path) -> None:
    """A class in the program itself is bound to the functions of this run, also while it is imported."""
    (tmp_path / "gates.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "gates.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        [
            "imported __main__",
            "count 1 __main__",
            "ring 1 __main__",
            "unlocked <SentEvent 'coin', state: unlocked, <Refused not_accepted; accepted: push>>",
        ],
    ), done.stderr


def test_a_class_inside_of_a_function_has_its_functions() -> None:
    """Nobody could import such a class; what stands in it is found all the same, once."""
    heard = []

    def count(payload: Any) -> None:
        heard.append(payload)

    class Turnstile(Blueprint, version=1, perpetual=True):
        locked = State(initial=True)
        coin = locked.stay(actions=count)

    machine = load(Turnstile)
    gate = Gate()
    machine.bind(gate, "state").send("coin", 1)
    machine.bind(gate, "state").send("coin", 2)
    assert (gate.state, heard) == ("locked", [1, 2])
    assert machine._bound is machine._bound


def test_a_file_has_the_functions_of_the_module_beside_it(tmp_path: Path) -> None:
    """As in a center: `door.py` serves `door.yaml`; one that is missing is said with its place."""
    text = (
        "machine: door\nversion: 1\ninitial: shut\nperpetual: true\n"
        "states: {shut: {on: {open: {target: ajar, actions: creak}}}, ajar: {on: {close: shut}}}\n"
    )
    file = tmp_path / "door.yaml"
    file.write_text(text)
    with pytest.raises(
        PluginError, match=r"door\.yaml:5:\d+: nobody implements the callback 'creak'"
    ):
        load(file).bind(Gate(), "state")
    file.with_suffix(".py").write_text(
        "from event_center import callbacks\n"
        "door = callbacks('door')\n\n"
        "@door.action\ndef creak() -> str:\n    return 'close'\n"
    )
    gate = Gate()
    sent = load(file).bind(gate, "state").send("open")
    assert (gate.state, [event.name for event in sent.events]) == ("ajar", ["close"])


def test_the_public_machine_is_the_one_that_binds() -> None:
    """`from event_center import Machine` is what `load` and `parse` return: with `step` and with `bind`."""
    machine = parse(
        "machine: m\nversion: 1\ninitial: a\nstates: {a: {on: {go: b}}, b: {type: final}}"
    )
    assert Machine is StandaloneMachine is type(machine)
    assert machine.bind(Gate(), "state", strict=True).send("go").result == "success"
    assert callbacks("m").machine == machine.name
