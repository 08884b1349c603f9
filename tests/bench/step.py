"""
Case `step`: the pure step of machines without callbacks, beside a bare look-up in two dicts.

It measures `Machine.step` and the swap of the state, by CPU: of a flat machine, of states inside of
others, of two regions that both move; and how long 200 states take to be loaded and checked. The bare
side is the least that any table-driven machine has to do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from event_center.machine import parse
from event_center.model import Event, Snapshot
from tests.bench.measure import Meter, Reading, in_turns
from tests.bench.report import Row, Target, one_side, two_sides
from tests.bench.work import MACHINE, STATES, Size, machine_text

EVENTS = 1_000_000
TARGET = Target(limit=1_000_000)
NESTED = """
machine: nested
version: 1
initial: p
perpetual: true
states:
  p:
    initial: a
    states:
      a: {on: {next: b}}
      b: {initial: c, states: {c: {on: {next: d}}, d: }}
    on: {next: a}
"""
PARALLEL = """
machine: parallel
version: 1
initial: p
perpetual: true
states:
  p:
    type: parallel
    states:
      l: {initial: a, states: {a: {on: {next: {target: b, guard: =payload > 0}}}, b: {on: {next: a}}}}
      r: {initial: c, states: {c: {on: {next: d}}, d: {on: {next: c}}}}
"""
LARGE = 200


def run(size: Size) -> list[Row]:
    """Measure the case."""
    events = size.or_else(EVENTS)

    async def ours() -> Reading:
        return _ours(events)

    async def bare() -> Reading:
        return _bare(events)

    async def nested() -> Reading:
        return _steps(NESTED, events)

    async def parallel() -> Reading:
        return _steps(PARALLEL, events)

    async def load() -> Reading:
        return _load()

    sides = {"ours": ours, "bare": bare, "nested": nested, "parallel": parallel, "load": load}
    found = in_turns(sides, size.rounds)
    return [
        one_side(
            "step",
            "Machine.step, no callback",
            found["ours"],
            value=lambda reading: reading.per_cpu_s,
            unit="/s",
            target=TARGET,
        ),
        one_side(
            "step",
            "two bare dict look-ups",
            found["bare"],
            value=lambda reading: reading.per_cpu_s,
            unit="/s",
        ),
        *_richer(found),
        two_sides(
            "step",
            "time of a step / time of the look-ups",
            (found["ours"], found["bare"]),
            value=lambda reading: reading.cpu_us,
            compare=lambda ours, bare: ours / bare,
            unit="x",
            higher=False,
        ),
    ]


def _richer(found: dict[str, list[Reading]]) -> list[Row]:
    """What the richer parts of the language cost."""
    least = {"nested": ("states inside of others", 500_000), "parallel": ("two regions", 400_000)}
    rows = [
        one_side(
            "step",
            f"the same, {what}",
            found[side],
            value=lambda reading: reading.per_cpu_s,
            unit="/s",
            target=Target(limit=limit),
        )
        for side, (what, limit) in least.items()
    ]
    load = one_side(
        "step",
        f"load and check {LARGE} states",
        found["load"],
        value=lambda reading: reading.cpu_us * LARGE / 1_000,
        unit="ms",
        target=Target(limit=100, at_least=False),
        higher=False,
    )
    near = two_sides(
        "step",
        "states inside of others / a flat machine",
        (found["nested"], found["ours"]),
        value=lambda reading: reading.per_cpu_s,
        compare=lambda nested, flat: nested / flat,
        unit="x",
        target=Target(limit=0.5),
    )
    return [*rows, near, load]


def _ours(events: int) -> Reading:
    machine = parse(machine_text(entry=False))
    snapshot = Snapshot("wf-1", MACHINE, machine.version, machine.initial)
    event = Event("next")
    step: Callable[..., Any] = machine.step
    with Meter() as meter:
        for _ in range(events):
            snapshot.state = step(snapshot, event, 0).target
    _check(snapshot.state, events)
    return meter.reading(events)


def _steps(text: str, events: int) -> Reading:
    machine = parse(text)
    birth = machine.birth(0)
    snapshot = Snapshot("wf-1", machine.name, machine.version, birth.target)
    event = Event("next", 1)
    step: Callable[..., Any] = machine.step
    with Meter() as meter:
        for _ in range(events):
            snapshot.state = step(snapshot, event, 0).target
    return meter.reading(events)


def _load() -> Reading:
    lines = ["machine: large", "version: 1", "initial: s0", "states:", "  done: {type: final}"]
    for number in range(LARGE - 1):
        following = f"s{(number + 1) % (LARGE - 1)}"
        lines += [f"  s{number}:", f"    on: {{next: {following}, stop: done}}", "    entry: work"]
    with Meter() as meter:
        parse("\n".join(lines))
    return meter.reading(LARGE)


def _bare(events: int) -> Reading:
    table = {
        state: {"next": following}
        for state, following in zip(STATES, (*STATES[1:], STATES[0]), strict=True)
    }
    snapshot = Snapshot("wf-1", MACHINE, 1, STATES[0])
    event = Event("next")
    with Meter() as meter:
        for _ in range(events):
            snapshot.state = table[snapshot.state][event.name]
    _check(snapshot.state, events)
    return meter.reading(events)


def _check(state: str, events: int) -> None:
    expected = STATES[events % len(STATES)]
    if state != expected:
        raise RuntimeError(f"after {events} events the state is {state!r}, not {expected!r}")
