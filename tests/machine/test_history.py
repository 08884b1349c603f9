"""History states: what is left is remembered, and comes back."""

from __future__ import annotations

from event_center.machine import parse
from event_center.machine.trial import Trial


def test_history_remembers_what_is_left_in_the_same_step() -> None:
    """A branch out of a state to the state's own history comes back to where it was, as in SCXML."""
    machine = parse(
        "machine: m\nversion: 1\ninitial: work\nperpetual: true\nstates:\n"
        "  work:\n    initial: a\n    on: {again: {target: back, reenter: true}, rest: pause}\n"
        "    states: {a: {on: {go: b}}, b: {}, back: {type: history}}\n"
        "  pause: {on: {resume: back}}\n"
    )
    trial = Trial(machine)
    for name, state in (
        ("rest", "pause"),
        ("resume", "a"),
        ("go", "b"),
        ("again", "b"),
        ("rest", "pause"),
        ("resume", "b"),
    ):
        assert trial.send(name) is None
        assert trial.snapshot.state == state
