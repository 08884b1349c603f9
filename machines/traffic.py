"""
A traffic light, as a class of Python: the machine and its callbacks in one file.

Timers move it: green for 30 s, yellow for 3 s, red for 30 s. Somebody who wants to cross presses the
button, which is only remembered where it helps. An operator can take the light out of service, and
for ever down. Sample events stand in events/traffic.jsonl; the settings name this file in `machines`.
"""

from __future__ import annotations

import json
import os
from enum import StrEnum
from pathlib import Path

from event_center import AnyState, Blueprint, Compound, Context, Do, State


class Name(StrEnum):
    """The events that a light hears."""

    BUTTON = "button"
    FAULT = "fault"
    REPAIRED = "repaired"
    REMOVED = "removed"


def somebody_waits(data: dict[str, bool]) -> bool:
    """Has the button been pressed since the light was red?"""
    return data["pressed"]


async def blink(ctx: Context) -> None:
    """Let yellow blink while the light is out of service."""
    show(ctx, "blink")


class Traffic(Blueprint, version=1, data={"pressed": False}):
    """green → yellow → red → green, until it is removed."""

    class running(Compound, initial=True):  # noqa: N801 - the names of states are the machine's
        """In service."""

        green = State(initial=True)
        yellow = State()
        red = State(title="Stop")

        green.stay(event=Name.BUTTON, assign={"pressed": True})
        yellow.stay(event=Name.BUTTON, assign={"pressed": True})
        green.after("30s", yellow)
        yellow.after("3s", red)
        red.after("30s", green, guard=somebody_waits, assign={"pressed": False})
        red.after("30s", green)

        @red.entry(timeout="5s")
        @staticmethod
        async def stop(ctx: Context) -> None:
            """Show red; to do so twice does no harm."""
            show(ctx, "stop")

    broken = State(entry=Do(blink, retry={"max_attempts": 5, "interval": "100ms"}), tags=["human"])
    removed = State(final=True, result="cancelled")

    any_state = AnyState()
    any_state.to(removed, event=Name.REMOVED)
    fault = running.to(broken)
    repaired = broken.to(running)
    broken.on_error(removed)


def show(ctx: Context, name: str) -> None:
    """Make the effect: a line in $EVENT_CENTER_DEMO_DIR/traffic.jsonl or, if unset, the log."""
    folder = os.environ.get("EVENT_CENTER_DEMO_DIR")
    if folder is None:
        ctx.log.info("traffic.effect", callback=name, key=ctx.idempotency_key)
        return
    effect = {
        "workflow_id": ctx.workflow_id,
        "name": name,
        "key": ctx.idempotency_key,
        "attempt": ctx.attempt,
    }
    with Path(folder, "traffic.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(effect) + "\n")
