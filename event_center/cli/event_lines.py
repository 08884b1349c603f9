"""
Lines of a file, a compressed file or stdin as records: one JSON event a line, in the form its topic
has.

Promises: a line becomes the record's value as it is; its workflow_id, found by the topic's rules,
becomes the key, so that it lies where its workflow lives. Nothing waits for more lines than there
are now, so a pipe can feed a center for days. The command `publish` calls this.
"""

from __future__ import annotations

import gzip
import os
import sys
import zlib
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import anyio
import anyio.lowlevel
import orjson

from event_center.client.publisher import check_event_id, check_event_name, check_workflow_id
from event_center.errors import ConfigurationError, Undecodable
from event_center.model import Outgoing, Reason, Record
from event_center.wire.envelope import Envelope

CHUNK_BYTES = 1 << 16
"""Bytes of one read: what a pipe holds."""
STDIN = Path("-")


class Line(NamedTuple):
    """One line that is not blank."""

    number: int
    text: bytes


async def read_lines(path: Path) -> AsyncIterator[list[Line]]:
    """
    The lines of a file, or of stdin for `-`, as they come.

    Raises:
        ConfigurationError: the file can not be read.
    """
    with _stream(path) as stream:
        async for lines in lines_of(chunks_of(stream, waits=path == STDIN)):
            yield lines


async def lines_of(chunks: AsyncIterable[bytes]) -> AsyncIterator[list[Line]]:
    """The lines that each chunk makes whole; what is behind the last line end is one as well."""
    number = 0
    begun: list[bytes] = []
    async for chunk in chunks:
        *lines, end = chunk.split(b"\n")
        # A line may be many chunks long: its parts are joined once, when it is whole.
        if lines:
            lines[0] = b"".join((*begun, lines[0]))
            begun.clear()
        begun.append(end)
        yield [Line(number + n, text) for n, text in enumerate(lines, 1) if text.strip()]
        number += len(lines)
    last = Line(number + 1, b"".join(begun))
    if last.text.strip():
        yield [last]


async def chunks_of(stream: BinaryIO, *, waits: bool) -> AsyncIterator[bytes]:
    """What can be read at once, until the end; of a stream that one waits for, what is there now."""
    while chunk := await (_there_now(stream) if waits else _read(stream)):
        yield chunk


@contextmanager
def _stream(path: Path) -> Iterator[BinaryIO]:
    if path == STDIN:
        yield sys.stdin.buffer
        return
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            yield cast(BinaryIO, stream)
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigurationError(
            f"--file {path} can not be read: {error}; what was published before stands"
        ) from error


async def _read(stream: BinaryIO) -> bytes:
    await anyio.lowlevel.checkpoint()
    return stream.read(CHUNK_BYTES)


async def _there_now(stream: BinaryIO) -> bytes:
    # A file in the place of stdin can not be waited for, and need not be.
    with suppress(PermissionError):
        await anyio.wait_readable(stream.fileno())
    return os.read(stream.fileno(), CHUNK_BYTES)


def line_record(
    topic: str, line: Line, *, envelope: Envelope | None, event_id: str | None
) -> Outgoing:
    """
    A line as a record.

    Args:
        topic: where it goes.
        line: a JSON object.
        envelope: how the topic's records are read; None if the center does not read the topic.
        event_id: the id that the event gets if it is an object without one.

    Raises:
        Undecodable: the center could not read it.
    """
    try:
        body = orjson.loads(line.text)
    except orjson.JSONDecodeError as error:
        raise Undecodable(Reason.UNDECODABLE, f"not JSON: {error}") from error
    if not isinstance(body, dict):
        raise Undecodable(Reason.UNDECODABLE, f"{type(body).__name__}, expected a JSON object")
    value = line.text.strip()
    if event_id is not None and body.get("id") is None:
        value = orjson.dumps(body | {"id": event_id})
    named = body.get("workflow_id")
    workflow_id = named if isinstance(named, str) else None
    if envelope is not None:
        key = None if workflow_id is None else workflow_id.encode()
        workflow_id, _, event = envelope.read(Record(0, 0, key, value), 0)
        try:
            check_workflow_id(workflow_id)
        except ValueError as error:
            raise Undecodable(Reason.BAD_WORKFLOW_ID, str(error)) from error
        try:
            check_event_name(event.name)
            check_event_id(event.id)
        except ValueError as error:
            raise Undecodable(Reason.UNDECODABLE, str(error)) from error
    return Outgoing(topic, None if workflow_id is None else workflow_id.encode(), value)
