"""
One command to many workflows: a set that is frozen before anything is sent, and what became of each.

Promises: every command of an operation has an id made of the operation's and the workflow's, so that it
counts once however often it is sent; what was sent already is read from the log, so that an operation that
was cut short goes on where it stood. Until all of it is sent it stands in a file of its own (`keep`). The
CLI's `operating` runs operations; `commands` has the way of a single command.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import anyio
import orjson

from event_center.client.app import App
from event_center.client.commands import POLL_S
from event_center.errors import ConfigurationError, FormatError
from event_center.log.port import Log
from event_center.model import Json, Outgoing
from event_center.wire import command as command_wire
from event_center.wire import history
from event_center.wire.command import Command, Verb

BATCH = 500
"""Commands of one write: enough to share the cost of a commit, few enough to stop soon when asked to."""
STEP_S = 0.1
"""How long the commands of one write take at the rate that was asked for: a bar that moves steadily."""
Told = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """What was decided on, before anything is sent."""

    id: str
    log: str
    """What messages call the log that it is for."""
    verb: Verb
    workflows: list[str]
    by: str
    reason: str
    args: dict[str, Json] = field(default_factory=dict)
    commands_from: list[int]
    """Of each partition of the commands: from where its own lie."""
    history_from: list[int]
    """Of each partition of the history: from where its answers lie."""

    def command(self, workflow_id: str) -> Command:
        """The command to one of the workflows: always the same."""
        command_id = f"{self.id}/{workflow_id}"
        return Command(command_id, self.verb, workflow_id, self.by, self.reason, self.args)


def place_of(operation_id: str) -> Path:
    """
    Where an operation stands until all of it is sent: among what programs of this user keep.

    Raises:
        ConfigurationError: the user has no home, or this is no id.
    """
    if not operation_id.isalnum():
        raise ConfigurationError(f"{operation_id!r} is no operation; copy the id that was printed")
    named = os.environ.get("XDG_STATE_HOME")
    try:
        state = Path(named) if named else Path.home() / ".local" / "state"
    except RuntimeError as error:
        raise ConfigurationError(
            f"there is no place for an operation ({error}); set XDG_STATE_HOME to a folder"
        ) from error
    return state / "event-center" / "operations" / f"{operation_id}.json"


def save(operation: Operation) -> Path:
    """
    Write an operation down, whole or not at all.

    Raises:
        ConfigurationError: it can not be written.
    """
    path = place_of(operation.id)
    begun = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        begun.write_bytes(orjson.dumps(asdict(operation)))
        begun.replace(path)
    except OSError as error:
        raise ConfigurationError(
            f"the operation can not be written down ({error}), and nothing was sent; set "
            "XDG_STATE_HOME to a folder that can be written"
        ) from error
    return path


def saved(operation_id: str) -> Operation:
    """
    An operation that was cut short.

    Raises:
        ConfigurationError: there is none of this id, or its file can not be read.
    """
    path = place_of(operation_id)
    try:
        body = orjson.loads(path.read_bytes())
        return Operation(**body | {"verb": Verb(body["verb"])})
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"no operation {operation_id} was cut short here: all of it was sent, or it was begun "
            f"elsewhere ({path} does not exist)"
        ) from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigurationError(f"{path} can not be read as an operation: {error!r}") from error


async def ends(log: Log, topic: str, partitions: int) -> list[int]:
    """The watermark of each partition of a topic."""
    return [await log.watermark(topic, partition) for partition in range(partitions)]


class Operating:
    """An operation under way."""

    def __init__(self, log: Log, app: App, operation: Operation) -> None:
        self.operation = operation
        self.sent: set[str] = set()
        """Workflows whose command is in the log."""
        self.answers: dict[str, Told] = {}
        """What became of the commands, by workflow."""
        self._log = log
        self._app = app
        self._next = list(operation.history_from)
        self._ids = {operation.command(one).id: one for one in operation.workflows}

    @property
    def complete(self) -> bool:
        """Whether all commands are answered."""
        return len(self.answers) == len(self._ids)

    async def catch_up(self) -> None:
        """Read from the log what was sent before."""
        for partition, start in enumerate(self.operation.commands_from):
            async for batch in self._log.read(self._app.commands, partition, start):
                for record in batch:
                    try:
                        found = self._ids.get(command_wire.decode(record.value).id)
                    except FormatError:
                        continue  # somebody else's; the daemon makes a letter of it
                    if found is not None:
                        self.sent.add(found)
        await self.look()
        self.sent.update(self.answers)

    async def send(self, rate: float | None, moved: Callable[[], None]) -> None:
        """
        Send what is not sent yet, at most so many a second; `moved` is called after each write.

        Raises:
            NotCommitted, Unknown: the log could not take it; what was sent before stands.
        """
        rest = [one for one in self.operation.workflows if one not in self.sent]
        size = BATCH if rate is None else max(1, min(BATCH, int(rate * STEP_S)))
        began = anyio.current_time()
        for at in range(0, len(rest), size):
            names = rest[at : at + size]
            await self._log.publish([self._record(one) for one in names])
            self.sent.update(names)
            await self.look()
            moved()
            if rate and at + size < len(rest):
                due = began + (at + size) / rate
                await anyio.sleep(max(0.0, due - anyio.current_time()))

    def _record(self, workflow_id: str) -> Outgoing:
        value = self.operation.command(workflow_id).encode()
        home = self._app.home(workflow_id)
        return Outgoing(self._app.commands, workflow_id.encode(), value, (), home)

    async def listen(self, within_s: float, moved: Callable[[], None]) -> None:
        """Wait until all commands are answered, as long as one comes within this time."""
        known = -1
        while not self.complete and len(self.answers) > known:
            known = len(self.answers)
            with anyio.move_on_after(within_s):
                while len(self.answers) == known:
                    await self.look()
                    moved()
                    if len(self.answers) == known:
                        await anyio.sleep(POLL_S)

    async def look(self) -> None:
        """Take in the answers that the history has by now."""
        for partition, start in enumerate(self._next):
            async for batch in self._log.read(self._app.history, partition, start):
                for record in batch:
                    self._hear(history.read(record.value or b""))
                self._next[partition] = batch[-1].offset + 1

    def _hear(self, told: Told) -> None:
        # A command that reached no workflow is told with its own fields.
        found = self._ids.get(told.get("command_id") or told.get("id") or "")
        if found is None or (told["outcome"] == "duplicate" and found in self.answers):
            return
        self.answers[found] = told
