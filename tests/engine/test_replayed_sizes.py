"""A letter that was replayed was decided: one whose replay a daemon would refuse stays as it was."""

from __future__ import annotations

import orjson
import pytest

from event_center.client.app import App
from event_center.client.letters import newest_letters
from event_center.client.replaying import replay
from event_center.errors import TooLarge
from event_center.log.memory import MAX_EVENT_BYTES
from event_center.model import Outgoing
from tests.engine.world import OWN, World

MACHINE = """
machine: m
version: 1
initial: a
perpetual: true
unhandled: dead_letter
on_failure: dead_letter
states: {a: {on: {go: {}, fails: {guard: =payload.nothing > 1, target: a}}}}
"""
LARGE = MAX_EVENT_BYTES - 10


async def _replayed(event: str, max_bytes: int) -> list[str]:
    """The states of all letters after one of this event, nearly too large itself, was replayed."""
    async with World(MACHINE) as world:
        app = App(
            inbox=OWN.inbox,
            commands=OWN.commands,
            history=OWN.history,
            dead_letters=OWN.dead_letters,
            envelopes=world.plan.envelopes,
            shards=1,
            home=world.home,
        )
        world.send("w", "go")
        await world.idle()
        body = {"workflow_id": "w", "event": event, "id": "i", "payload": ""}
        body["payload"] = "p" * (LARGE - 1 - len(orjson.dumps(body)))
        world.put(orjson.dumps(body), key="w")
        await world.idle()
        log = world.processes[0].log
        [filed], _ = await newest_letters(log, app, 9)
        try:
            sent = replay(app, filed.letter, max_bytes=max_bytes)
        except TooLarge:
            sent = []
        if not isinstance(sent, list):
            sent = [Outgoing(app.commands, b"w", sent.encode(), (), 0)]
        await log.publish(sent)
        await world.idle()
        return [one.state for one in (await newest_letters(log, app, 9))[0]]


@pytest.mark.parametrize(("event", "state"), [("unknown", "untouched"), ("fails", "open")])
async def test_a_letter_whose_replay_is_too_large_stays(event: str, state: str) -> None:
    """It stays on the list of what is to be done, and nothing else comes of it."""
    assert await _replayed(event, MAX_EVENT_BYTES) == [state]


async def test_unweighed_it_would_be_closed_undecided() -> None:
    """Twin: the daemon refuses the event, and its letter counts as replayed."""
    assert await _replayed("unknown", 2 * MAX_EVENT_BYTES) == ["replayed"]


async def test_unweighed_the_command_would_be_a_letter() -> None:
    """Twin: of a sequence, the command itself becomes one more letter."""
    assert await _replayed("fails", 2 * MAX_EVENT_BYTES) == ["open", "untouched"]
