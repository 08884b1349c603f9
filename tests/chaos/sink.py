"""
The outside world of a chaos run: a process that writes each call down before it answers.

    python -m tests.chaos.sink FILE

A line is a call's idempotency key. It is on the disk (fsync) when the answer leaves, so that what a
callback has done is known whatever becomes of its process. `site.py` starts it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio import StreamReader, StreamWriter
from functools import partial
from pathlib import Path


async def note(file: int, reader: StreamReader, writer: StreamWriter) -> None:
    """Write one key down, for good, and say so."""
    line = await reader.readline()
    if line.endswith(b"\n"):
        os.write(file, line)
        os.fsync(file)
        writer.write(b"noted\n")
    writer.close()


async def serve(calls: Path) -> None:
    """Say on which port, and take calls until the process ends."""
    file = os.open(calls, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    server = await asyncio.start_server(partial(note, file), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
