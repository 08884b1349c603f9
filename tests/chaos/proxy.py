"""
A network that can be broken: it stands before a broker and passes on what its clients say.

It knows where a request begins and of which kind it is, no more. It can hold either direction or both,
be slow, and cut connections, of which one at the very moment of a commit. What is held is passed on late,
as TCP does with what was lost on the way: the late words of a client that nobody waits for any more.
`site.py` starts it, and `faults.py` breaks it.
"""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections import Counter
from enum import IntEnum

PIECE = 65_536


class Request(IntEnum):
    """Kinds of requests, in Kafka's numbers."""

    METADATA = 3
    PARTITIONS_TO_TRANSACTION = 24
    END_OF_TRANSACTION = 26


class Direction:
    """Whether and how fast bytes pass, one way."""

    def __init__(self) -> None:
        self._passing = asyncio.Event()
        self._passing.set()
        self.delay_s = 0.0
        self.held = 0
        """Pieces that had to wait."""
        self.slow = 0
        """Pieces that came late."""

    def hold(self) -> None:
        """Let nothing pass."""
        self._passing.clear()

    def go_on(self) -> None:
        """Let all pass, what waits first."""
        self._passing.set()

    async def passes(self) -> None:
        """Return when a piece may pass."""
        if self.delay_s:
            self.slow += 1
            await asyncio.sleep(self.delay_s)
        if not self._passing.is_set():
            self.held += 1
            await self._passing.wait()


class Proxy:
    """Listens on a port of its own, for a broker behind it."""

    def __init__(self, behind: int) -> None:
        self.port = 0
        self.up = Direction()
        """From clients to the broker."""
        self.down = Direction()
        self.cut = 0
        """Connections that ended without their client's will."""
        self.passed: Counter[int] = Counter()
        """Requests of each kind."""
        self._behind = behind
        self._lines: set[StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._deadly: int | None = None
        self._arrives = False
        self._asked: dict[int, asyncio.Event] = {}

    async def start(self, port: int = 0) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def next_request(self, kind: Request) -> None:
        """Return when a client asks this the next time."""
        await self._asked.setdefault(kind, asyncio.Event()).wait()

    def cut_at(self, kind: Request, *, arrives: bool) -> None:
        """Cut the next connection that asks this, before its answer, or before it arrives at all."""
        self._deadly, self._arrives = kind, arrives

    def reset(self) -> None:
        """Cut every connection."""
        self.cut += len(self._lines) // 2
        for line in self._lines:
            line.transport.abort()

    async def close(self) -> None:
        """Listen no more, and cut what there is."""
        if self._server is not None:
            self._server.close()
        for way in (self.up, self.down):
            way.go_on()
        self.reset()
        if self._serving:
            await asyncio.wait(self._serving)

    async def _serve(self, asking: StreamReader, answers: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        try:
            answering, asked = await asyncio.open_connection("127.0.0.1", self._behind)
        except OSError:
            answers.transport.abort()
            return
        self._lines |= {answers, asked}
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._ask(asking, asked))
                tasks.create_task(self._answer(answering, answers))
        except* OSError:
            self.cut += 1
        except* asyncio.IncompleteReadError:
            pass  # the client has no more to say
        finally:
            self._lines -= {answers, asked}
            answers.transport.abort()
            asked.transport.abort()

    async def _ask(self, asking: StreamReader, asked: StreamWriter) -> None:
        """Pass requests on one by one."""
        while True:
            size = await asking.readexactly(4)
            body = await asking.readexactly(int.from_bytes(size, "big"))
            kind = int.from_bytes(body[:2], "big")
            await self.up.passes()
            deadly = kind == self._deadly
            if not deadly or self._arrives:
                asked.write(size + body)
                await asked.drain()
            self._note(kind)
            if deadly:
                self._deadly = None
                raise ConnectionResetError

    def _note(self, kind: int) -> None:
        self.passed[kind] += 1
        asked = self._asked.pop(kind, None)
        if asked is not None:
            asked.set()

    async def _answer(self, answering: StreamReader, answers: StreamWriter) -> None:
        """Pass bytes on as they come."""
        while True:
            piece = await answering.read(PIECE)
            await self.down.passes()
            if not piece:
                raise ConnectionResetError
            answers.write(piece)
            await answers.drain()
