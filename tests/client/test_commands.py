"""Commands: where they are written, and how their answer is found."""

from __future__ import annotations

import anyio
import pytest

from event_center.client.commands import answer, make_command, send
from event_center.wire import command as wire
from event_center.wire.command import Verb
from tests.client.shelf import Shelf


async def test_a_command_lies_at_its_workflows_home(shelf: Shelf) -> None:
    """A command goes to the partition of its workflow's home, and says who asked and why."""
    command = make_command(Verb.PAUSE, "o-1", reason="look", args={"n": 1})
    await send(shelf.log, shelf.app, command)
    (record,) = shelf.broker.line(("app.commands", shelf.app.home("o-1")))
    assert record.key == b"o-1"
    read = wire.decode(record.value)
    assert read == command
    assert (read.verb, read.workflow_id, read.reason, read.args) == (
        Verb.PAUSE,
        "o-1",
        "look",
        {"n": 1},
    )
    assert "@" in read.by


@pytest.mark.looptime
async def test_the_answer_is_the_one_to_this_command(shelf: Shelf) -> None:
    """What the history told before, or tells of other commands, is no answer."""
    first, command = (make_command(Verb.PAUSE, "o-1") for _ in range(2))
    await shelf.told("command", "o-1", {"command_id": command.id, "outcome": "older"})
    since = await send(shelf.log, shelf.app, command)
    async with anyio.create_task_group() as tasks:

        async def daemon() -> None:
            await shelf.told("command", "o-1", {"command_id": first.id, "outcome": "other"})
            await anyio.sleep(1)
            await shelf.told("command", "o-1", {"command_id": command.id, "outcome": "applied"})

        tasks.start_soon(daemon)
        told = await answer(shelf.log, shelf.app, command, since=since, within_s=5)
    assert told is not None
    assert told["outcome"] == "applied"


@pytest.mark.looptime
async def test_a_command_that_reached_no_workflow_is_answered(shelf: Shelf) -> None:
    """The history tells such a command with its own fields; it is an answer as well."""
    command = make_command(Verb.PAUSE, "o-1")
    since = await send(shelf.log, shelf.app, command)
    await shelf.told("rejected", "o-1", {"id": command.id, "reason": "unknown_workflow"})
    told = await answer(shelf.log, shelf.app, command, since=since, within_s=5)
    assert told is not None
    assert told["reason"] == "unknown_workflow"


@pytest.mark.looptime
async def test_no_daemon_no_answer(shelf: Shelf) -> None:
    """Without a daemon the wait ends in time, with nothing."""
    command = make_command(Verb.PAUSE, "o-1")
    since = await send(shelf.log, shelf.app, command)
    began = anyio.current_time()
    assert await answer(shelf.log, shelf.app, command, since=since, within_s=5) is None
    assert anyio.current_time() - began == pytest.approx(5, abs=0.2)
