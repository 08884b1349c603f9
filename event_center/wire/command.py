"""
Commands: what an operator asks of one workflow, as records of `<app>.commands`.

The client writes them, the engine's `commands` decides them when they are read, and history keeps who
asked and why. A command that can not be read is dead-lettered like an event.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

import orjson

from event_center.errors import FormatError
from event_center.model import Json, is_workflow_id

COMMAND_FORMAT = 1


class Verb(StrEnum):
    """What can be asked."""

    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"
    SKIP = "skip"
    CANCEL = "cancel"
    SET_STATE = "set-state"
    DISCARD = "discard"
    REPLAY = "replay"
    FORGET = "forget"


class Command(NamedTuple):
    """One command."""

    id: str
    verb: Verb
    workflow_id: str
    by: str = ""
    """Who asked."""
    reason: str = ""
    args: dict[str, Json] = {}  # noqa: RUF012 - a default of a named tuple, never changed
    """`set-state`: state. `replay`, `discard`: number of the letter. `replay`: event, payload."""

    def encode(self) -> bytes:
        """The command's value."""
        body = self._asdict() | {"format": COMMAND_FORMAT, "verb": str(self.verb)}
        return orjson.dumps(body)


def decode(value: bytes | None) -> Command:
    """
    Read a command.

    Raises:
        FormatError: it is not a command of this format; the message says what is wrong.
    """
    try:
        body: dict[str, Any] = orjson.loads(value or b"null")
        if body.pop("format") != COMMAND_FORMAT:
            msg = f"a command of another format than {COMMAND_FORMAT}"
            raise FormatError(msg)
        command = Command(**body)._replace(verb=Verb(body["verb"]))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        msg = f"not a command ({repr(error)[:200]}): {(value or b'')[:80]!r}"
        raise FormatError(msg) from error
    texts = (command.id, command.workflow_id, command.by, command.reason)
    if not all(isinstance(text, str) for text in texts) or not isinstance(command.args, dict):
        msg = f"not a command: only args is an object, all other parts are texts: {(value or b'')[:80]!r}"
        raise FormatError(msg)
    if not is_workflow_id(command.workflow_id):
        msg = f"a command of a workflow that can not be: {(value or b'')[:80]!r}"
        raise FormatError(msg)
    return command
