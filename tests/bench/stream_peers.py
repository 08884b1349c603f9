"""
Case `stream-peers`: stream processors beside the daemon, on the same broker and the same events.

Per event: count it for its workflow, keep the count, write one record that has it; exactly once, and
every side in a process of its own that knows nothing of being measured. First as fast as it goes,
every event for another workflow; then with a callback that waits 10 ms. A backlog appears at once, and
time ends when the last of its records can be read (read_committed) on the other topic. Numbers count
only if the records of every workflow say 1, 2, 3. CPU is that of the side's process alone.

Sides take turns, as in `measure.in_turns`; no round begins after `ROUNDS_S`. `stream_sides.py` has the
programs.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from asyncio.subprocess import DEVNULL, STDOUT
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import orjson
from aiokafka import AIOKafkaConsumer

from scripts.broker import NoBroker
from scripts.broker.java import VERSION
from tests.bench.broker import Site, broker, process_cpu_s
from tests.bench.measure import Reading, Readings
from tests.bench.report import Row, Target, one_side, two_sides
from tests.bench.stream_sides import (
    COUNTS,
    ROOT,
    SHARDS,
    Command,
    LeftOut,
    Place,
    center,
    center_entry,
    center_history,
    faust,
    kafka_streams,
    pinned,
    quix,
)
from tests.bench.work import APP, TOPIC, Size

CASE = "stream-peers"
WAIT_S = 0.01
ROUNDS_S = 150.0
"""Seconds after which no further round begins: a round takes about two minutes."""
LIMIT_S = 90.0
"""Seconds in which a side has to have written its records."""
OURS = "event_center"
BY_HISTORY = f"{OURS}, its history is the record"
WAITING = "10 ms each: "
HISTORY = f"{APP}.history"
BIRTH = b"event_center.created"
"""In the history these are more than one record per event."""
TOLD = "told"
"""The file that a side writes to."""
SAID = 600
BESIDE_STREAMS = Target(limit=40)


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One program, and what is measured of it: enough events for some seconds."""

    command: Command
    events: int
    workflows: int
    warmed_by: int
    """Events before the measured ones."""
    wait_s: float = 0.0
    told: str = COUNTS
    """The topic that gets a record per event."""

    def at_most(self, events: int | None) -> Side:
        """The same with no more events than these."""
        if events is None:
            return self
        return replace(
            self,
            events=min(self.events, events),
            workflows=min(self.workflows, events),
            warmed_by=min(self.warmed_by, events),
        )


def _fast(command: Command, events: int, *, warmed_by: int | None = None) -> Side:
    """Every event for another workflow, so that nothing is saved by writing a count only once."""
    warm = events if warmed_by is None else warmed_by
    return Side(command=command, events=events, workflows=events, warmed_by=warm)


def _waits(command: Command, events: int, workflows: int) -> Side:
    return Side(
        command=command,
        events=events,
        workflows=workflows,
        warmed_by=events // 5,
        wait_s=WAIT_S,
    )


QUIX = f"Quix Streams {pinned('quix', 'quixstreams')}"
FAUST = f"Faust {pinned('faust', 'faust-streaming')}"
STREAMS = f"Kafka Streams {VERSION}"
PEERS = {
    QUIX: _fast(quix, 100_000),
    FAUST: _fast(faust, 10_000),
    # What it does is compiled while it runs: this many events are what it needs for that.
    STREAMS: _fast(kafka_streams, 100_000, warmed_by=300_000),
    WAITING + QUIX: _waits(quix, 500, 500),
    WAITING + FAUST: _waits(faust, 500, 500),
    WAITING + STREAMS + ", 8 threads": _waits(kafka_streams, 4_000, 4_000),
}
SIDES = {
    OURS: _fast(center, 100_000),
    BY_HISTORY: replace(_fast(center_history, 100_000), told=HISTORY),
    WAITING + OURS: _waits(center, 50_000, 10_000),
    WAITING + OURS + ", entry callback": _waits(center_entry, 50_000, 10_000),
}


def run(size: Size) -> list[Row]:
    """Measure the case; without a broker it says why not."""
    try:
        broker()
    except NoBroker as error:
        return [Row(case=CASE, what=OURS, note=f"no broker: {error}")]
    sides = {name: side.at_most(size.events) for name, side in {**SIDES, **PEERS}.items()}
    left_out = without(sides)
    found: Readings = {name: [] for name in sides}
    end = time.monotonic() + ROUNDS_S
    for number in range(size.rounds):
        if number and time.monotonic() > end:
            break
        for name in list(sides)[:: -1 if number % 2 else 1]:
            try:
                found[name].append(asyncio.run(_measured(sides[name])))
            except LeftOut as error:
                if name not in PEERS:
                    raise
                del sides[name], found[name]
                left_out.append(_note(name, error))
    return [*_rows(found), *left_out]


def without(sides: dict[str, Side]) -> list[Row]:
    """Take the sides away that cannot run here, and say why; what they need is installed by this."""
    rows = []
    for name, side in list(sides.items()):
        try:
            with tempfile.TemporaryDirectory() as folder:
                side.command(Place(bootstrap="", prefix="", folder=Path(folder), wait_s=0))
        except LeftOut as error:
            del sides[name]
            rows.append(_note(name, error))
    return rows


def _note(name: str, error: LeftOut) -> Row:
    return Row(case=CASE, what=name, note=f"left out: {error}")


def _rows(found: Readings) -> list[Row]:
    rows = []
    for name, readings in found.items():
        rows += [
            one_side(CASE, name, readings, value=lambda one: one.cpu_us, unit="us", higher=False),
            one_side(CASE, name, readings, value=lambda one: one.per_s, unit="/s"),
        ]
    for name in found:
        if name not in PEERS:
            continue
        if name.startswith(WAITING):
            rows.append(_faster(found, name))
        else:
            rows += [_dearer(found, name, ours) for ours in (OURS, BY_HISTORY)]
    return rows


def _dearer(found: Readings, peer: str, ours: str) -> Row:
    """How many times our CPU a peer takes."""
    return two_sides(
        CASE,
        f"CPU of {peer} / {ours}",
        (found[peer], found[ours]),
        value=lambda one: one.cpu_us,
        compare=lambda theirs, mine: theirs / mine,
        unit="x",
        higher=False,
    )


def _faster(found: Readings, peer: str) -> Row:
    """How many times a peer's events a second we do."""
    return two_sides(
        CASE,
        f"{WAITING}{OURS} / {peer.removeprefix(WAITING)}, events/s",
        (found[WAITING + OURS], found[peer]),
        value=lambda one: one.per_s,
        compare=lambda mine, theirs: mine / theirs,
        unit="x",
        target=BESIDE_STREAMS if peer.startswith(WAITING + STREAMS) else None,
    )


async def _measured(side: Side) -> Reading:
    """A backlog that appears at once, until the last record of it is written."""
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(Site.opened(SHARDS))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        await (await site.log()).create({TOPIC: SHARDS, side.told: SHARDS})
        counts = Counts((await site.consumer(side.told))[0])
        await (await site.stage(side.warmed_by, side.workflows)).reveal()
        pid = await stack.enter_async_context(_running(side, site, folder))
        await _written(counts, side.warmed_by, folder)
        staged = await site.stage(side.events, side.workflows)
        cpu_s, wall_s = process_cpu_s(pid), time.perf_counter()
        await staged.reveal()
        await _written(counts, side.warmed_by + side.events, folder)
        cpu_s, wall_s = process_cpu_s(pid) - cpu_s, time.perf_counter() - wall_s
    check_counts(counts.read)
    return Reading(side.events, cpu_s, wall_s)


@asynccontextmanager
async def _running(side: Side, site: Site, folder: Path) -> AsyncIterator[int]:
    """The side's process, by its id; it is killed when the block ends."""
    options = site.options
    command = side.command(
        Place(
            bootstrap=options.bootstrap,
            prefix=options.topic_prefix,
            folder=folder,
            wait_s=side.wait_s,
        )
    )
    with (folder / TOLD).open("wb") as told:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, stdin=DEVNULL, stdout=told, stderr=STDOUT
        )
        try:
            yield process.pid
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _written(counts: Counts, records: int, folder: Path) -> None:
    with anyio.move_on_after(LIMIT_S):
        await counts.until(records)
        return
    said = (folder / TOLD).read_text(encoding="utf-8", errors="replace")[-SAID:]
    raise LeftOut(
        f"{len(counts.read)} of {records} records were written in {LIMIT_S:g} s; it said: "
        f"{said or 'nothing'}"
    )


class Counts:
    """What the sides write, as a reader of committed records sees it."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self.read: list[bytes] = []

    async def until(self, records: int) -> None:
        """Read until there are so many records."""
        while len(self.read) < records:
            for got in (await self._consumer.getmany(timeout_ms=100)).values():
                self.read += [one.value for one in got if BIRTH not in one.value]


def check_counts(records: Iterable[bytes]) -> None:
    """
    Look whether the records of every workflow say 1, 2, 3 and so on.

    Raises:
        LeftOut: something was lost or repeated; the number of such a run is worthless.
    """
    found: defaultdict[str, list[int]] = defaultdict(list)
    for record in records:
        told: dict[str, Any] = orjson.loads(record)
        if "subject" in told:
            found[told["subject"]].append(told["data"]["seq"])
        else:
            found[told["workflow_id"]].append(told["payload"]["count"])
    for workflow_id, counts in found.items():
        if counts != list(range(1, len(counts) + 1)):
            raise LeftOut(f"it counted {workflow_id} as {counts}, not as 1, 2, 3 and so on")
