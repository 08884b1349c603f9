"""The proxy of the chaos runs: it passes everything on, and does what it is told to."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from functools import partial

import pytest
import pytest_asyncio

from tests.chaos.proxy import Direction, Proxy, Request
from tests.waiting import until


def request(kind: int) -> bytes:
    """A request of this kind."""
    return (4).to_bytes(4, "big") + kind.to_bytes(2, "big") + b"ok"


def waits(way: Direction) -> bool:
    """Whether a piece waits, or has."""
    return way.held == 1


async def echo(reader: StreamReader, writer: StreamWriter) -> None:
    """Answer every request with itself."""
    while piece := await reader.read(100):
        writer.write(piece)
    writer.close()


@pytest_asyncio.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """Before somebody who says everything again."""
    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        made = Proxy(server.sockets[0].getsockname()[1])
        await made.start()
        yield made
        await made.close()


async def test_it_passes_on_late_what_it_held(proxy: Proxy) -> None:
    """Nothing is lost in either direction: what was held arrives when it may."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    for way in (proxy.up, proxy.down):
        way.hold()
        writer.write(request(1))
        await until(partial(waits, way))
        way.go_on()
        assert await reader.readexactly(8) == request(1)
    assert proxy.passed == {1: 2}
    assert proxy.cut == 0
    writer.close()


@pytest.mark.parametrize("arrives", [True, False])
async def test_it_cuts_at_a_request(proxy: Proxy, arrives: bool) -> None:
    """The one connection that asks this is cut, once, whether the request arrives or not."""
    proxy.cut_at(Request.END_OF_TRANSACTION, arrives=arrives)
    for cut in (True, False):
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(request(1) + request(Request.END_OF_TRANSACTION))
        if cut:
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await reader.readexactly(100)
        else:
            assert len(await reader.readexactly(16)) == 16
        writer.close()
    assert proxy.cut == 1


async def test_it_cuts_everything(proxy: Proxy) -> None:
    """A reset ends all connections, and others can be made."""
    lines = [await asyncio.open_connection("127.0.0.1", proxy.port) for _ in range(2)]
    for _, writer in lines:
        writer.write(request(1))
    await until(lambda: proxy.passed[1] == 2)
    proxy.reset()
    for reader, writer in lines:
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readexactly(100)
        writer.close()
    assert proxy.cut == 2
