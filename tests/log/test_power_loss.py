"""The power fails at any moment of the embedded log: what it told of is there, and nothing in part."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from event_center.log.sqlite import log as sqlite_log
from event_center.log.sqlite import open_sqlite
from event_center.log.sqlite.schema import connect_writer
from event_center.model import Shard
from tests.log.harness import clock, entries_of, joined, numbered, puts, records_of
from tests.log.power import Disk, Loss, Recorder, Step, Synced, library_path

pytestmark = pytest.mark.skipif(
    library_path() is None, reason="this Python has its SQLite inside: no file can be watched"
)
CUTS = 60
LARGE = bytes(60_000)
"""Makes the file grow, so that SQLite moves what it wrote to its place (a checkpoint) every few cuts."""
STATES = 250
SEED = 5


def entries(number: int) -> dict[bytes, bytes]:
    """What the keyed store has after so many cuts."""
    made = {b"shard": b"%d" % number} if number else {}
    for one in range(number):
        made[b"s:%d" % (one % 7)] = b"%d" % one + LARGE
    return made


async def recorded(path: Path) -> list[Step]:
    """All that a log wrote for a number of cuts, and when it told of each."""
    recorder = Recorder()
    with recorder.recording():
        log = await open_sqlite(path, clock=clock)
        try:
            await log.create({"orders": 1, "history": 1})
            async with await joined(log, ["orders"], 1) as member:
                await member.has(0)
                lease = member.leases[Shard(0)]
                for number in range(CUTS):
                    changed = {
                        b"s:%d" % (number % 7): b"%d" % number + LARGE,
                        b"shard": b"%d" % (number + 1),
                    }
                    await lease.commit(puts(changed, *numbered("history", 1, start=number)))
                    recorder.tell(number + 1)
            return list(recorder.steps)
        finally:
            await log.close()


async def cuts_in(path: Path, *, told: int) -> int | None:
    """How many cuts are there; None if they are not whole, or fewer than somebody was told of."""
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    log = await open_sqlite(path, clock=clock)
    try:
        if "history" not in await log.topics():
            return None if told else 0
        found = await entries_of(log, 0)
        number = int(found.get(b"shard", b"0"))
        whole = found == entries(number) and number == len(await records_of(log, "history"))
        return number if whole and number >= told else None
    finally:
        await log.close()


async def broken(steps: list[Step], folder: Path) -> tuple[int, int]:
    """Cut the power at some moments; how often cuts were missing, and how many states had to be drawn."""
    random = Random(SEED)
    moments = sorted(random.randrange(len(steps)) for _ in range(STATES))
    disk, lost, at_stake = Disk(), 0, 0
    for number, step in enumerate(steps):
        disk.do(step)
        for moment in range(moments.count(number)):
            path = folder / f"{number}-{moment}"
            path.mkdir()
            disk.after_a_cut(path, random.choice(list(Loss)), random)
            at_stake += disk.at_stake > 0
            lost += await cuts_in(path / "log.db", told=disk.told) is None
    return lost, at_stake


def watched(synchronous: str) -> Callable[..., sqlite3.Connection]:
    """Connections that write, with checkpoints so often that the power fails in some of them."""

    def connect(path: Path, busy_timeout_s: float, *, keep_cuts: bool) -> sqlite3.Connection:
        made = connect_writer(path, busy_timeout_s, keep_cuts=keep_cuts)
        made.execute("PRAGMA wal_autocheckpoint = 50")
        if synchronous:
            made.execute(f"PRAGMA synchronous = {synchronous}")
        return made

    return connect


@pytest.mark.parametrize("synchronous", ["", "NORMAL"])
async def test_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, synchronous: str
) -> None:
    """P5: what was told is there, in order, none in part; with less than FULL, not all is."""
    monkeypatch.setattr(sqlite_log, "connect_writer", watched(synchronous))
    steps = await recorded(tmp_path / "log.db")
    assert sum(step == Synced("log.db") for step in steps) > 3
    lost, at_stake = await broken(steps, tmp_path)
    assert at_stake > STATES / 2
    assert (lost > STATES / 10) if synchronous else (lost == 0)
