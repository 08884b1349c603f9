"""
Case `step`: the pure step of a flat machine without callbacks, beside a bare look-up in two dicts.

It measures `Machine.step` and the swap of the state, by CPU. The bare side is the least that any
table-driven machine has to do.
"""

from __future__ import annotations

from event_center.machine import parse
from event_center.model import Event, Snapshot
from tests.bench.measure import Meter, Reading, in_turns
from tests.bench.report import Row, Target, one_side, two_sides
from tests.bench.work import MACHINE, STATES, Size, machine_text

EVENTS = 1_000_000
TARGET = Target(limit=1_000_000)


def run(size: Size) -> list[Row]:
    """Measure the case."""
    events = size.or_else(EVENTS)

    async def ours() -> Reading:
        return _ours(events)

    async def bare() -> Reading:
        return _bare(events)

    found = in_turns({"ours": ours, "bare": bare}, size.rounds)
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


def _ours(events: int) -> Reading:
    machine = parse(machine_text(entry=False))
    snapshot = Snapshot("wf-1", MACHINE, machine.version, machine.initial)
    event = Event("next")
    step = machine.step
    with Meter() as meter:
        for _ in range(events):
            snapshot.state = step(snapshot, event, 0).target  # type: ignore[union-attr]  # accepted
    _check(snapshot.state, events)
    return meter.reading(events)


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
