"""Lines of a file: whole ones, however long they are and however they are cut into chunks."""

from __future__ import annotations

import gzip
import time
from pathlib import Path

import pytest

from event_center.cli.event_lines import CHUNK, read_lines


async def _read(path: Path) -> list[tuple[int, bytes]]:
    return [tuple(line) async for lines in read_lines(path) for line in lines]


@pytest.mark.parametrize("name", ["lines.jsonl", "lines.jsonl.gz"])
@pytest.mark.parametrize("last", [b"\n", b""])
async def test_lines_that_span_chunks(tmp_path: Path, name: str, last: bytes) -> None:
    """Lines come whole and numbered, wherever a chunk ends; blank ones only count."""
    sizes = [1, CHUNK - 3, 0, CHUNK, 3 * CHUNK + 1, 0, 5]
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
