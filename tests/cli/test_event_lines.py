"""Lines of a file: whole ones, however long they are and however they are cut into chunks."""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_center.cli.event_lines import (
    CHUNK_BYTES,
    Line,
    chunks_of,
    line_record,
    lines_of,
    read_lines,
)
from event_center.errors import ConfigurationError, Undecodable
from event_center.wire.envelope import Envelope, Rules


async def _read(path: Path) -> list[Line]:
    return [line async for lines in read_lines(path) for line in lines]


@pytest.mark.parametrize("name", ["lines.jsonl", "lines.jsonl.gz"])
@pytest.mark.parametrize("last", [b"\n", b""])
async def test_lines_that_span_chunks(tmp_path: Path, name: str, last: bytes) -> None:
    """Lines come whole and numbered, wherever a chunk ends; blank ones only count."""
    sizes = [1, CHUNK_BYTES - 3, 0, CHUNK_BYTES, 3 * CHUNK_BYTES + 1, 0, 5]
    texts = [b"x" * size for size in sizes]
    path = tmp_path / name
    content = b"\n".join(texts) + last
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert await _read(path) == [(n, text) for n, text in enumerate(texts, 1) if text]


async def test_a_long_line_is_read_in_linear_time(tmp_path: Path) -> None:
    """A line of many chunks is put together once: 32 MiB take a moment, not seconds."""
    path = tmp_path / "long.jsonl"
    path.write_bytes(b"x" * (32 << 20))
    began = time.process_time()
    (line,) = await _read(path)
    assert len(line[1]) == 32 << 20
    assert time.process_time() - began < 1.5


@given(st.lists(st.binary(max_size=6).map(lambda text: text.replace(b"\n", b"")), max_size=8))
def test_chunks_of_any_size_make_the_same_lines(texts: list[bytes]) -> None:
    """However a stream is cut into chunks, its lines are the same, with the same numbers."""
    whole = [(n, text) for n, text in enumerate(texts, 1) if text.strip()]
    for chunk in (1, 2, 5, CHUNK_BYTES):
        assert _chunked(b"\n".join(texts), chunk) == whole


def _chunked(content: bytes, chunk: int) -> list[Line]:
    """What is made of chunks of this size."""
    stream = io.BytesIO(content)

    async def chunks() -> AsyncIterator[bytes]:
        while some := stream.read(chunk):
            yield some

    async def lines() -> list[Line]:
        return [line async for some in lines_of(chunks()) for line in some]

    return asyncio.run(lines())


async def test_a_pipe_gives_its_lines_as_they_come() -> None:
    """A line that is whole is there before the pipe ends: a pipe can feed a center for days."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stdin:
        lines = lines_of(chunks_of(stdin, waits=True))
        os.write(writing, b"one\ntw")
        assert await anext(lines) == [(1, b"one")]
        os.write(writing, b"o\n\nthree")
        assert await anext(lines) == [(2, b"two")]
        ending = threading.Thread(target=os.close, args=(writing,))
        ending.start()
        assert await anext(lines) == [(4, b"three")]
        assert [line async for line in lines] == []
        ending.join()


@pytest.mark.parametrize("name", ["short.jsonl.gz", "damaged.jsonl.gz", "nowhere.jsonl"])
async def test_a_file_that_can_not_be_read(tmp_path: Path, name: str) -> None:
    """The file is named, and what was published before stands."""
    packed = gzip.compress(b"x\n" * 9_000)
    if name.startswith("short"):
        (tmp_path / name).write_bytes(packed[:-12])
    if name.startswith("damaged"):
        (tmp_path / name).write_bytes(packed[:10] + b"\xff" + packed[11:])
    with pytest.raises(ConfigurationError, match=rf"{name} can not be read: .* stands"):
        await _read(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"{", "not JSON"),
        (b"[1]", "list, expected a JSON object"),
        (b'{"event": "e"}', "workflow_id"),
        (b'{"workflow_id": "a\\nb", "event": "e"}', "workflow_id"),
        (b'{"workflow_id": "a"}', "event"),
        (b'{"workflow_id": "a", "event": "%s"}' % (b"e" * 10_001), "at most 10000"),
        (b'{"workflow_id": "a", "event": "e", "id": "%s"}' % (b"i" * 1_001), "at most 1000"),
    ],
)
def test_a_line_that_is_no_event(text: bytes, said: str) -> None:
    """A line that the center could not read is refused before it is published, and says why."""
    envelope = Envelope("tasks", Rules(machine="task"))
    with pytest.raises(Undecodable, match=said):
        line_record("tasks", Line(1, text), envelope=envelope, event_id=None)


def test_an_id_is_given_only_where_there_is_none() -> None:
    """The publisher's own id stays; a line without one gets that of its place."""
    own = line_record("t", Line(1, b'{"workflow_id":"a","id":"x"}'), envelope=None, event_id="f/1")
    assert own.value == b'{"workflow_id":"a","id":"x"}'
    given_one = line_record("t", Line(1, b'{"workflow_id":"a"}'), envelope=None, event_id="f/1")
    assert given_one.value == b'{"workflow_id":"a","id":"f/1"}'
    assert (own.key, given_one.key) == (b"a", b"a")
