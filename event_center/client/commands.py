"""
Commands to one workflow: written to `<app>.commands`, decided by the daemon, answered in the
history.

`send` returns at once; `answer` waits until the history tells what became of the command. Without a
daemon the command stays in the log and is decided when one runs.
"""

from __future__ import annotations

import getpass
import socket
import uuid
from typing import Any

import anyio

from event_center.client.app import App
from event_center.log.port import Log
from event_center.model import Json, Outgoing
from event_center.wire import history
from event_center.wire.command import Command, Verb

POLL_S = 0.05
"""How often `answer` looks for it: no bell of another process reaches this one."""


def make_command(
    verb: Verb, workflow_id: str, *, reason: str = "", args: dict[str, Json] | None = None
) -> Command:
    """A command with a new id, from whoever runs this process."""
    return Command(uuid.uuid4().hex, verb, workflow_id, requester(), reason, args or {})


def requester() -> str:
    """Who asks: `user@host`, for the history."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):
        user = "unknown"  # a container may run under a number that has no name
    return f"{user}@{socket.gethostname()}"


async def send(log: Log, app: App, command: Command) -> int:
    """
    Write the command, durably; returns the offset of the history from which to look for its answer.

    Raises:
        NotCommitted, Unknown: the log could not take it.
    """
    shard = app.home(command.workflow_id)
    since = await log.watermark(app.history, shard)
    await log.publish([command_record(app, command)])
    return since


def command_record(app: App, command: Command) -> Outgoing:
    """The command as it is written."""
    workflow_id = command.workflow_id
    home = app.home(workflow_id)
    return Outgoing(app.commands, workflow_id.encode(), command.encode(), (), home)


async def answer(
    log: Log, app: App, command: Command, *, since: int, within_s: float
) -> dict[str, Any] | None:
    """The history record that tells what became of the command; None if none came in time."""
    shard = app.home(command.workflow_id)
    with anyio.move_on_after(within_s):
        while True:
            async for batch in log.read(app.history, shard, since):
                for record in batch:
                    told = history.read(record.value or b"")
                    # A command that reached no workflow is told with its own fields.
                    if command.id in {told.get("command_id"), told.get("id")}:
                        return told
                since = batch[-1].offset + 1
            await anyio.sleep(POLL_S)
    return None
