"""
What a center tells the supervisor that started it, over the line that it finds at its stdin.

The supervisor asks with an empty line, and the answer is one line of JSON: how much was read, how much
lags, and which shards are quiet. Promises: if the supervisor is gone, however it ended, the line is
closed and the center stops as after SIGTERM, so that no process stays that nobody looks after. The line
is the center's alone: what a plugin starts finds an empty stdin.
`supervisor.py` has the other end; the command `run` starts this one.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from dataclasses import dataclass

import orjson
import structlog

from event_center.app.center import Center

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """How far one center is."""

    read: int
    """Records that the shards of this center have taken in, those of former owners included."""
    lag: int
    quiet: tuple[int, ...]
    """Its shards of which all that the log holds is decided and durable, and no callback runs."""

    @classmethod
    async def of(cls, center: Center) -> Report:
        """Look at the center now."""
        quiet = tuple(map(int, await center.quiet()))
        return cls(read=center.totals["read"], lag=center.lag, quiet=quiet)

    @classmethod
    def read_line(cls, line: bytes) -> Report:
        """An answer as it came over the line."""
        told = orjson.loads(line)
        return cls(read=told["read"], lag=told["lag"], quiet=tuple(told["quiet"]))

    def line(self) -> bytes:
        """The answer for the line."""
        return orjson.dumps(self) + b"\n"


def take_line() -> socket.socket:
    """
    Take the line away from stdin, which is empty from then on; nothing that this process starts has it.

    Before a plugin is loaded: what that starts may read its stdin, and would read the questions, or hold
    the line open when this process is gone.
    """
    line = socket.socket(fileno=os.dup(sys.stdin.fileno()))  # which nobody inherits
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, sys.stdin.fileno())
    os.close(empty)
    return line


async def answer_supervisor(center: Center, line: socket.socket) -> None:
    """Answer on the line until the supervisor is gone; then stop the center."""
    reader, writer = await asyncio.open_unix_connection(sock=line)
    try:
        while await reader.readline():
            writer.write((await Report.of(center)).line())
            await writer.drain()
    except ConnectionError as error:
        log.debug("run.line_broken", error=str(error))
    finally:
        writer.close()
    log.warning("run.supervisor_gone")
    await center.stop()
