"""
Case `limits`: a million workflows in one shard. What an idle one takes, what they cost those that are busy.

The snapshots, of about 300 bytes, are written into a SQLite log; a fresh process takes the shard over,
which is timed, and what it grew by is divided by the workflows. Then a thousand of them are busy, with
all the others held beside them, and with none. At last each of all has one event, on the log in memory.
`--events` says how many workflows; each part is a process of its own, so that none finds memory that
another one has left.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from event_center.log.memory import MemoryBroker, MemoryLog
from event_center.log.port import Assigned, Cut
from event_center.log.sqlite import open_sqlite
from event_center.model import Shard, Snapshot, Timer
from event_center.wire.entries import SHARD_KEY, ShardEntry, snapshot_key
from event_center.wire.snapshot import encode
from tests.bench.measure import Meter
from tests.bench.report import Row, Target
from tests.bench.served import resident
from tests.bench.work import (
    MACHINE,
    STATES,
    Size,
    backlog,
    check_applied,
    clock,
    make_topics,
    member_on,
    plan,
    silence,
    workflow_id,
)
from tests.forked import FORKED
from tests.waiting import until

Result = TypeVar("Result")
WORKFLOWS = 1_000_000
BUSY = 1_000
EACH = 20
"""Events of each busy workflow."""
BYTES = 300
PIECE = 20_000
FAR_MS = 10 * 365 * 86_400_000
IDLE = Target(limit=600, at_least=False)
TIMED = Target(limit=750, at_least=False)
RESTORE_S = Target(limit=5, at_least=False)
BESIDE = Target(limit=0.9)
ALL_BUSY = Target(limit=16, at_least=False)


class Held(NamedTuple):
    """What a process has measured that holds workflows."""

    restore_s: float
    each_bytes: float
    busy_per_s: float


def run(size: Size) -> list[Row]:
    """Measure the case."""
    workflows = size.or_else(WORKFLOWS)
    busy = min(BUSY, workflows)
    rounds = range(size.rounds)
    plain = [apart(partial(held, workflows, busy, timed=False)) for _ in rounds]
    timed = [apart(partial(held, workflows, busy, timed=True)) for _ in rounds]
    alone = [apart(partial(held, busy, busy, timed=False)) for _ in rounds]
    every = [apart(partial(all_busy, workflows)) for _ in rounds]
    shares = [one.busy_per_s / other.busy_per_s for one, other in zip(plain, alone, strict=True)]
    return [
        _row("restore from SQLite", "s", [one.restore_s for one in plain], RESTORE_S),
        _row("memory of an idle workflow", "bytes", [one.each_bytes for one in plain], IDLE),
        _row("the same with a timer", "bytes", [one.each_bytes for one in timed], TIMED),
        _row("events of busy ones, all there / none", "x", shares, BESIDE),
        _row("an event for each of all, in memory", "us", every, ALL_BUSY),
    ]


def _row(what: str, unit: str, values: list[float], target: Target) -> Row:
    ordered = sorted(values, reverse=target.at_least)
    median = ordered[len(ordered) // 2]
    return Row(case="limits", what=what, unit=unit, median=median, best=ordered[0], target=target)


def apart(measure: Callable[[], Result]) -> Result:
    """Measure in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=FORKED) as processes:
        return processes.submit(measure).result()


def held(workflows: int, busy: int, *, timed: bool) -> Held:
    """Take over so many workflows that do nothing, and then keep some of them busy."""
    with silence(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "limits.db"
        apart(partial(_fill, path, workflows, timed=timed))
        return asyncio.run(_held(path, workflows, busy))


def _fill(path: Path, workflows: int, *, timed: bool) -> None:
    asyncio.run(_filled(path, workflows, timed=timed))


async def _filled(path: Path, workflows: int, *, timed: bool) -> None:
    log = await open_sqlite(path, clock=clock)
    of = plan(None)
    await make_topics(log, of)
    group = await log.join(of.consumed(), 1)
    change = await group.changes()
    if not isinstance(change, Assigned):
        raise TypeError(f"the first change of a new group is {change!r}, not an assignment")
    lease = await group.lease(change.shard, change.token)
    snapshot = Snapshot("", MACHINE, 1, STATES[0])
    snapshot.entered_at_ms = clock()
    snapshot.data = {"amount": 1, "customer": ""}
    snapshot.data["customer"] = "x" * (BYTES - len(encode(snapshot)[0]))
    if timed:
        snapshot.timers = (Timer("@after/3650d", 0, clock() + FAR_MS),)
    value, where = encode(snapshot)
    for start in range(0, workflows, PIECE):
        numbers = range(start, min(start + PIECE, workflows))
        entries: dict[bytes, bytes | None] = {
            snapshot_key(workflow_id(number, workflows)): value for number in numbers
        }
        await lease.commit(Cut(entries=entries))
    entry = ShardEntry()
    entry.counts = {where: workflows}
    await lease.commit(Cut(entries={SHARD_KEY: entry.encode()}))
    await lease.release()
    await group.leave()
    await log.close()


async def _held(path: Path, workflows: int, busy: int) -> Held:
    of = plan(None)
    log = await open_sqlite(path, clock=clock)
    before = resident()
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with member_on(log, of) as member:
        await until(lambda: bool(member.owners) and member.owners[Shard(0)].ready)
        took = loop.time() - started
        grown = resident() - before
        await backlog(log, busy, workflows)
        await member.until_idle()
        await backlog(log, busy * EACH, busy)
        with Meter() as meter:
            await member.until_idle()
        check_applied(member, busy * (EACH + 1))
    await log.close()
    return Held(took, grown / workflows, meter.reading(busy * EACH).per_cpu_s)


def all_busy(workflows: int) -> float:
    """Microseconds of CPU of one event for each of so many workflows that are all held."""
    with silence():
        return asyncio.run(_all_busy(workflows))


async def _all_busy(workflows: int) -> float:
    of = plan(None)
    log = MemoryLog(MemoryBroker(), clock=clock)
    await make_topics(log, of)
    async with member_on(log, of) as member:
        await backlog(log, workflows, workflows)
        await member.until_idle()
        await backlog(log, workflows, workflows)
        with Meter() as meter:
            await member.until_idle()
        check_applied(member, 2 * workflows)
    await log.close()
    return meter.reading(workflows).cpu_us
