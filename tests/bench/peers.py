"""
Case `peers`: the same machine in the async machines of other libraries, one awaited callback each.

Per event one transition and one awaited async callback on entering the state. Ours is written as a
user of the pure library would: step, swap, make a context, await the callback that the registry
resolved. A peer that is not installed is left out, and the row says so. Measured by CPU.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from event_center.machine.decision import Transition
from event_center.model import Event, Snapshot
from event_center.plugins.context import Context
from tests.bench.measure import Meter, Reading, Side, in_turns
from tests.bench.report import Row, Target, one_side, two_sides, version
from tests.bench.work import MACHINE, STATES, Size, bound

EVENTS = 20_000
TARGET = Target(limit=10)

Send = Callable[[], Awaitable[Any]]
"""Sends one event to a peer's machine and waits until it is done."""


class Calls:
    """How often a callback was called."""

    def __init__(self) -> None:
        self.count = 0

    def check(self, events: int) -> None:
        """Every transition must have awaited its callback; else the number means nothing."""
        if self.count != events:
            raise RuntimeError(f"{events} events awaited {self.count} callbacks, not one each")


def run(size: Size, installed: Callable[[str], str] = version) -> list[Row]:
    """Measure the case, with the peers that are installed."""
    events = size.or_else(EVENTS)
    sides: dict[str, Side] = {"event_center": partial(_ours, events)}
    left_out: list[Row] = []
    for package, peer in PEERS.items():
        if installed(package):
            sides[package] = partial(peer, events)
        else:
            note = "not installed: scripts/setup installs it"
            left_out.append(Row(case="peers", what=package, note=note))
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # The peers are not to be charged for log lines.
    try:
        found = in_turns(sides, size.rounds)
    finally:
        logging.disable(level)
    rows = [
        one_side(
            "peers",
            f"{name} {installed(name)}".rstrip(),
            readings,
            value=lambda reading: reading.per_cpu_s,
            unit="/s",
        )
        for name, readings in found.items()
    ]
    ours = found.pop("event_center")
    rows += [
        two_sides(
            "peers",
            f"event_center / {name}",
            (ours, readings),
            value=lambda reading: reading.per_cpu_s,
            compare=lambda mine, theirs: mine / theirs,
            unit="x",
            target=TARGET,
        )
        for name, readings in found.items()
    ]
    return rows + left_out


async def _ours(events: int) -> Reading:
    calls = Calls()

    async def work(ctx: Context) -> None:
        calls.count += 1

    flow = bound(work)
    machine, callback = flow.machine, flow.callback
    snapshot = Snapshot("wf-1", MACHINE, machine.version, machine.initial)
    event = Event("next")
    with Meter() as meter:
        for _ in range(events):
            decision = machine.step(snapshot, event, 0)
            if not isinstance(decision, Transition):
                raise TypeError(f"the machine refused an event: {decision.reason}")
            snapshot.state = decision.target
            snapshot.seq += 1
            if decision.data is not None:
                snapshot.data = decision.data
            for name in decision.owed:
                key = f"{snapshot.workflow_id}/{snapshot.seq}/{name}"
                await callback(name).call(Context(snapshot, event, key))
    calls.check(events)
    return meter.reading(events)


async def _measured(send: Send, calls: Calls, events: int) -> Reading:
    """Send so many events one after the other; callbacks of the start-up do not count."""
    calls.count = 0
    with Meter() as meter:
        for _ in range(events):
            await send()
    calls.check(events)
    return meter.reading(events)


def _following() -> list[tuple[str, str]]:
    return list(zip(STATES, (*STATES[1:], STATES[0]), strict=True))


async def _transitions(events: int) -> Reading:
    """`transitions.extensions.asyncio.AsyncMachine`, not queued: its fastest form."""
    library = importlib.import_module("transitions.extensions.asyncio")
    calls = Calls()

    class Model:
        next: Send

        async def work(self) -> None:
            calls.count += 1

    model = Model()
    library.AsyncMachine(
        model,
        states=[{"name": name, "on_enter": "work"} for name in STATES],
        transitions=[["next", source, target] for source, target in _following()],
        initial=STATES[0],
        auto_transitions=False,
    )
    return await _measured(model.next, calls, events)


async def _python_statemachine(events: int) -> Reading:
    """`statemachine.StateChart`, its fastest form; an async callback chooses the async engine."""
    library = importlib.import_module("statemachine")
    calls = Calls()

    async def on_enter_state(self: object) -> None:
        calls.count += 1

    states = {name: library.State(initial=name == STATES[0]) for name in STATES}
    (source, target), *rest = _following()
    moves = states[source].to(states[target])
    for source, target in rest:
        moves |= states[source].to(states[target])
    body = {**states, "next": moves, "on_enter_state": on_enter_state}
    machine = type("Flow", (library.StateChart,), body)()
    await machine.activate_initial_state()
    return await _measured(machine.next, calls, events)


async def _xstate_statemachine(events: int) -> Reading:
    """`xstate_statemachine.Interpreter`; `wait=True` waits until the event is dealt with."""
    library = importlib.import_module("xstate_statemachine")
    calls = Calls()

    async def work(interpreter: Any, context: Any, event: Any, action: Any) -> None:
        calls.count += 1

    config = {
        "id": MACHINE,
        "initial": STATES[0],
        "states": {
            source: {"entry": ["work"], "on": {"NEXT": target}} for source, target in _following()
        },
    }
    logic = library.MachineLogic(actions={"work": work})
    interpreter = await library.Interpreter(library.create_machine(config, logic=logic)).start()
    reading = await _measured(partial(interpreter.send, "NEXT", wait=True), calls, events)
    await interpreter.stop()
    return reading


PEERS: dict[str, Callable[[int], Any]] = {
    "transitions": _transitions,
    "python-statemachine": _python_statemachine,
    "xstate-statemachine": _xstate_statemachine,
}
"""The peers by the names of their packages."""
