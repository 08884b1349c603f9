"""
Case `kafka-members`: members in processes of their own, on one broker.

First what two of them cost together, beside one that has all shards, for the same backlog without a
callback; what the broker took, and what publishing did. Then a member that is killed (SIGKILL) while
events come in for every shard: how long until the other one starts the first callback of a shard that
was not its own. That includes the session timeout, after which the group notices.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Self

from event_center.log.kafka import KafkaLog
from event_center.model import Outgoing
from scripts.broker import NoBroker
from tests.bench.broker import SESSION_S, Site, broker, broker_cpu_s, home
from tests.bench.measure import Meter, Reading
from tests.bench.report import Row, Target, one_side, two_sides
from tests.bench.work import Size, make_topics, plan, record

EVENTS = 100_000
SHARDS = 8
MANY = 1_000
"""Workflows among which one is looked for at home in each shard."""
BESIDE_ONE = Target(limit=1.15, at_least=False)
TAKEN_OVER = Target(limit=SESSION_S + 1, at_least=False)
KILLS = 20
"""Whatever the rounds: one takes some three seconds, and the moment of a kill decides much."""
APART_S = 0.02


class Process:
    """One process of `served.py`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    @asynccontextmanager
    async def started(cls, site: Site, what: str) -> AsyncIterator[Self]:
        """A process on this site; when the block ends it is told to, or killed."""
        options = site.options
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.bench.served"),
            *(options.bootstrap, options.topic_prefix, str(site.shards), what),
            stdin=PIPE,
            stdout=PIPE,
        )
        made = cls(process)
        try:
            yield made
            made.end()
            await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def tell(self, *line: object) -> None:
        """Give it one line."""
        if self._process.stdin is None:
            raise TypeError("the process was started without an input")
        self._process.stdin.write((" ".join(map(str, line)) + "\n").encode())
        await self._process.stdin.drain()

    async def answer(self) -> dict[str, Any]:
        """
        What it says next.

        Raises:
            RuntimeError: it ended instead.
        """
        if self._process.stdout is None:
            raise TypeError("the process was started without an output")
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("a member of the benchmark ended; what it wrote above says why")
        told: dict[str, Any] = json.loads(line)
        return told

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()

    def end(self) -> None:
        """Let it drain and end."""
        if self._process.stdin is not None:
            self._process.stdin.close()


def run(size: Size) -> list[Row]:
    """Measure the case; without a broker it says why not."""
    try:
        broker()
    except NoBroker as error:
        return [Row(case="kafka-members", what="members", note=f"no broker: {error}")]
    return asyncio.run(_run(size))


async def _run(size: Size) -> list[Row]:
    events = size.or_else(EVENTS)
    found: dict[int, list[Reading]] = {1: [], 2: []}
    beside: dict[str, list[Reading]] = {"broker": [], "publisher": []}
    for number in range(size.rounds):
        for count in (1, 2)[:: -1 if number % 2 else 1]:
            found[count].append(await _shared(events, count, beside))
    kills = (
        KILLS if size.events is None else 1
    )  # who asks for fewer events wants to see that it works
    gaps = [await _killed() for _ in range(kills)]
    ratio = two_sides(
        "kafka-members",
        "two processes / one",
        (found[2], found[1]),
        value=lambda reading: reading.cpu_us,
        compare=lambda two, one: two / one,
        unit="x",
        higher=False,
        target=BESIDE_ONE,
    )
    taken = Row(
        case="kafka-members",
        what=f"kill -9 to the next owner's first callback (session timeout {SESSION_S:g} s)",
        unit="s",
        median=statistics.median(gaps),
        best=min(gaps),
        target=TAKEN_OVER,
    )
    return [
        _cpu("one process, 8 shards", found[1]),
        _cpu("two processes, 4 shards each", found[2]),
        ratio,
        _cpu("CPU of the broker meanwhile", beside["broker"]),
        _cpu("CPU of a bare publisher", beside["publisher"]),
        taken,
    ]


def _cpu(what: str, found: list[Reading]) -> Row:
    return one_side(
        "kafka-members",
        what,
        found,
        value=lambda reading: reading.cpu_us,
        unit="us",
        higher=False,
    )


async def _shared(events: int, count: int, beside: dict[str, list[Reading]]) -> Reading:
    """A backlog that so many members share."""
    each = SHARDS // count
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(Site.opened(SHARDS))
        await make_topics(await site.log(), plan(None, SHARDS))
        await (await site.stage(events, events)).reveal()
        members = [
            await stack.enter_async_context(Process.started(site, "serve")) for _ in range(count)
        ]
        await _all(members, "quiet", each)
        with Meter() as meter:
            staged = await site.stage(events, events)
        beside["publisher"].append(meter.reading(events))
        await _all(members, "begin")
        before_s = broker_cpu_s()
        await staged.reveal()
        told = await _all(members, "end", each)
        beside["broker"].append(Reading(events, broker_cpu_s() - before_s, told[0]["wall_s"]))
    if sum(one["events"] for one in told) != events:
        raise RuntimeError(f"{events} events went in, the members say {told}")
    wall_s = max(one["wall_s"] for one in told)
    return Reading(events, sum(one["cpu_s"] for one in told), wall_s)


async def _all(members: list[Process], *line: object) -> list[dict[str, Any]]:
    for member in members:
        await member.tell(*line)
    return [await member.answer() for member in members]


async def _killed() -> float:
    """Seconds from a kill to the first callback of a shard that the killed member had."""
    events = [record(number, MANY) for number in range(MANY)]
    by_shard = {home(event.key or b"", SHARDS): event for event in events}
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(Site.opened(SHARDS))
        log = await site.log()
        await make_topics(log, plan(None, SHARDS))
        lost = await stack.enter_async_context(Process.started(site, "notes"))
        next_owner = await stack.enter_async_context(Process.started(site, "notes"))
        [shards, _] = await _all([lost, next_owner], "quiet", SHARDS // 2)
        wanted = {(by_shard[shard].key or b"").decode() for shard in shards["shards"]}
        await log.publish(list(by_shard.values()))
        publishing = asyncio.get_running_loop().create_task(_publish(log, by_shard))
        lost.kill()
        killed = time.monotonic()
        while (told := await next_owner.answer())["started"] not in wanted:
            continue
        publishing.cancel()
    return float(told["at"]) - killed


async def _publish(log: KafkaLog, by_shard: dict[int, Outgoing]) -> None:
    while True:
        await log.publish(list(by_shard.values()))
        await asyncio.sleep(APART_S)
