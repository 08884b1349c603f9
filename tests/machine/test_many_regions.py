"""A machine with very many regions is checked in a time that one waits for."""

from __future__ import annotations

import time

from event_center.machine import parse
from event_center.machine.trial import Trial

REGIONS = 100
CHECKED_S = 0.9
"""Six times what it takes. Looking at each state once more from each other one took nine times as much."""


def test_a_hundred_regions() -> None:
    """Each has states of its own; all of it is loaded, and an event moves its one region."""
    lines = ["machine: m", "version: 1", "initial: p", "perpetual: true", "states:", "  p:"]
    lines += ["    type: parallel", "    states:"]
    for n in range(REGIONS):
        lines += [f"      r{n}:", f"        initial: a{n}", "        states:"]
        lines += [
            f"          a{n}: {{on: {{e{n}: b{n}}}}}",
            f"          b{n}: {{on: {{e{n}: c{n}}}}}",
        ]
        lines += [f"          c{n}: {{on: {{e{n}: a{n}}}}}"]
    began = time.process_time()
    machine = parse("\n".join(lines))
    assert time.process_time() - began < CHECKED_S
    trial = Trial(machine)
    trial.send("e7")
    assert trial.snapshot.state.split("|")[7] == "b7"
