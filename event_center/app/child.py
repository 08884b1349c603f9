"""
One process of several, and the line to it: its start, questions, signals, and its end.

Promises: it runs a command anew, in a session of its own, and its stdin is one end of a line. The line
is there before the process is, so that whatever the system refuses leaves no process behind that nobody
looks after: the line closes, which ends one that runs already. With the process the line ends, on this
side: nobody waits for the answer of one that is gone, though what it started may hold the other end.
`supervisor.py` keeps some of them; `report.py` has the other end of the line.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
from collections.abc import Sequence

import anyio
import anyio.abc

from event_center.app.report import Report


class Child:
    """One process that runs, and the line to it."""

    def __init__(
        self,
        process: anyio.abc.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer

    @classmethod
    async def start(cls, command: Sequence[str]) -> Child:
        """
        Start a process.

        Raises:
            OSError: the system has none to give, or no files or memory for it.
        """
        ours, theirs = socket.socketpair()
        with theirs, contextlib.ExitStack() as failed:
            failed.callback(ours.close)
            reader, writer = await asyncio.open_unix_connection(sock=ours)
            failed.callback(writer.close)
            try:
                process = await anyio.open_process(
                    list(command),
                    stdin=theirs.fileno(),
                    stdout=None,
                    stderr=None,
                    start_new_session=True,
                )
            except RuntimeError as error:  # Python 3.11 has a thread that waits for each process
                raise BlockingIOError(errno.EAGAIN, str(error)) from error
            failed.pop_all()
        return cls(process, reader, writer)

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    async def ask(self) -> Report | None:
        """How far it is; None if it is gone, which somebody has to wait for meanwhile, with `ended`."""
        with contextlib.suppress(ConnectionError):
            self._writer.write(b"\n")
            await self._writer.drain()
            line = await self._reader.readline()
            return Report.read_line(line) if line.endswith(b"\n") else None
        return None

    async def ended(self) -> int:
        """Wait for its end, and end the line; returns its exit code, or the negative number of a signal."""
        try:
            return await self._process.wait()
        finally:
            self._writer.transport.abort()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)
