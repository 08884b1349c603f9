"""
Case `kafka-restore`: a takeover of a million idle workflows, beside reading their records into a dict.

Snapshots of about 300 bytes lie in the snapshots topic, eight shards. A member, alone in a fresh
process, takes all shards over; the bare side reads the same records with the same client. By the
clock on the wall; the memory is what the process grew by, per workflow. `--events` says how many
workflows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from event_center.model import Snapshot
from event_center.wire.entries import snapshot_key
from event_center.wire.snapshot import encode
from scripts.broker import NoBroker
from tests.bench.broker import Landing, Site, broker, home
from tests.bench.measure import Reading
from tests.bench.members import Process
from tests.bench.report import Row, Target, one_side, two_sides
from tests.bench.work import (
    APP,
    MACHINE,
    STATES,
    TOPIC,
    Size,
    clock,
    make_topics,
    plan,
    workflow_id,
)

WORKFLOWS = 1_000_000
SHARDS = 8
SNAPSHOTS = f"{APP}.snapshots"
BYTES = 300
BESIDE_BARE = Target(limit=0.7)
RESIDENT = Target(limit=600, at_least=False)


def run(size: Size) -> list[Row]:
    """Measure the case; without a broker it says why not."""
    try:
        broker()
    except NoBroker as error:
        return [Row(case="kafka-restore", what="restore", note=f"no broker: {error}")]
    return asyncio.run(_run(size))


async def _run(size: Size) -> list[Row]:
    workflows = size.or_else(WORKFLOWS)
    restores: list[tuple[Reading, float]] = []
    bares: list[tuple[Reading, float]] = []
    async with Site.opened(SHARDS) as site:
        log = await site.log()
        await make_topics(log, plan(None, SHARDS))
        await log.create({SNAPSHOTS: SHARDS})
        await (await site.stage_in(SNAPSHOTS, _snapshots(workflows))).reveal()
        for number in range(size.rounds):
            sides = [("restore", restores), ("bare", bares)]
            for what, found in sides[:: -1 if number % 2 else 1]:
                found.append(await _measured(site, what, workflows))
    return _rows(restores, bares)


async def _measured(site: Site, what: str, workflows: int) -> tuple[Reading, float]:
    async with Process.started(site, what) as process:
        told = await process.answer()
    if told["events"] != workflows:
        raise RuntimeError(f"{workflows} workflows lie there, {told['events']} were read")
    reading = Reading(workflows, told["cpu_s"], told["wall_s"])
    return reading, told["resident"] / workflows


def _snapshots(workflows: int) -> Iterator[Landing]:
    """Idle workflows as the center keeps them; the padding brings them to the size."""
    snapshot = Snapshot("", MACHINE, 1, STATES[0])
    snapshot.entered_at_ms = clock()
    snapshot.seen = {TOPIC: workflows}
    snapshot.data = {"amount": 1, "customer": ""}
    snapshot.data["customer"] = "x" * (BYTES - len(encode(snapshot)[0]))
    value, _ = encode(snapshot)
    for number in range(workflows):
        name = workflow_id(number, workflows)
        yield home(name.encode(), SHARDS), snapshot_key(name), value


def _rows(restores: list[tuple[Reading, float]], bares: list[tuple[Reading, float]]) -> list[Row]:
    ours, bare = [one for one, _ in restores], [one for one, _ in bares]
    rows = [
        one_side("kafka-restore", what, found, value=lambda reading: reading.per_s, unit="/s")
        for what, found in (("bare getmany into a dict", bare), ("takeover", ours))
    ]
    ratio = two_sides(
        "kafka-restore",
        "takeover / bare",
        (ours, bare),
        value=lambda reading: reading.per_s,
        compare=lambda one, other: one / other,
        unit="x",
        target=BESIDE_BARE,
    )
    return [*rows, ratio, _resident(restores, RESIDENT), _resident(bares)]


def _resident(found: list[tuple[Reading, float]], target: Target | None = None) -> Row:
    sizes = sorted(resident for _, resident in found)
    return Row(
        case="kafka-restore",
        what="memory of an idle workflow" if target else "memory of an item of the dict",
        unit="bytes",
        median=sizes[len(sizes) // 2],
        best=sizes[0],
        target=target,
    )
