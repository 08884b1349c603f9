"""
What a chaos run breaks: brokers behind a proxy, three centers, a publisher, and the outside world.

Everything is a real process of its own, apart from the proxy and the publisher. Centers reach a single
broker through the proxy only; who looks at the log, and who publishes, reaches it directly. `faults.py`
does the harm, `running.py` runs it, and `checking.py` says whether the promises held.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import orjson

from event_center.client.stats import Stats
from event_center.errors import EventCenterError
from scripts.broker import Broker, Cluster
from scripts.broker.plan import Plan, Ports, free_ports
from tests.chaos.proxy import Proxy
from tests.chaos.publishing import TRIPS, Publishing
from tests.forked import Forked
from tests.kafka.looking import Look, looking
from tests.kafka.project import Project
from tests.waiting import whole_lines

ROOT = Path(__file__).resolve().parents[2]
MACHINE = Path(__file__).parent / "machines" / "trip.yaml"
SHARDS = 8
CENTERS = 3
SESSION = "3s"
SETTINGS = """request_timeout = "3s"
transaction_timeout = "5s"
handover_timeout = "5s"
[publish]
topics = ["mail", "postcards"]
[topics.trips]
machine = "trip"
"""
"""Short times: what a cluster waits for is waited for after each fault."""
HEALED_S = 120.0
"""When faults have stopped, everything that was published by then is decided within this time."""
LOOK_S = 0.1
TROUBLE = ("shard.lease_lost", "cut.not_committed", "log.intake_trouble", "log.group_trouble")
"""What centers log when their log fails them."""


class NotHealed(Exception):
    """Faults have stopped, and the centers do not go on by themselves."""


@dataclass(frozen=True, kw_only=True)
class ProxiedPlan(Plan):
    """A single node that sends its clients to a proxy."""

    proxy: int

    def properties(self, number: int, data: Path) -> dict[str, object]:
        """As always, and a listener of its own for who comes through the proxy."""
        told = super().properties(number, data)
        told["listeners"] = f"{told['listeners']},CLIENTS://127.0.0.1:{behind(self.nodes[0])}"
        told["advertised.listeners"] = (
            f"{told['advertised.listeners']},CLIENTS://127.0.0.1:{self.proxy}"
        )
        told["listener.security.protocol.map"] = (
            f"{told['listener.security.protocol.map']},CLIENTS:PLAINTEXT"
        )
        return told


def behind(ports: Ports) -> int:
    """The port behind the proxy: a plain node has no other use for it."""
    return ports.secure


class Center:
    """One daemon, again and again."""

    def __init__(self, number: int, site: Site) -> None:
        self.number = number
        self.site = site
        self.said = site.folder / f"center-{number}.log"
        self.process: Forked | None = None

    def start(self) -> None:
        """Start the process."""
        with self.said.open("ab") as output:
            self.process = Forked(
                ["run", "--config", str(self.site.settings)],
                cwd=self.site.folder,
                stdout=output,
                stderr=output,
                env=self.site.project.environment,
            )

    def signal(self, what: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(what)

    async def ended(self, limit_s: float = 60.0) -> int:
        """How it has ended; one that does not end is killed, and told."""
        assert self.process is not None
        try:
            code = await asyncio.to_thread(self.process.wait, limit_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
            self.site.complaints.append(f"center {self.number} did not end within {limit_s:g} s")
        self.process = None
        return code


@dataclass(frozen=True)
class Seen:
    """What there is to see of faults and of what they did, at one moment."""

    owners: dict[int, str]
    takeovers: int
    logged: Counter[str]
    cut: int
    held: int
    slow: int
    failovers: int
    full: int

    def since(self, before: Seen) -> Seen:
        """What has come about since then; of the owners those that are others now."""
        moved = {s: owner for s, owner in self.owners.items() if before.owners.get(s) != owner}
        return Seen(
            moved,
            self.takeovers - before.takeovers,
            self.logged - before.logged,
            self.cut - before.cut,
            self.held - before.held,
            self.slow - before.slow,
            self.failovers - before.failovers,
            self.full - before.full,
        )

    @property
    def trouble(self) -> int:
        """How often centers said that their log failed them."""
        return sum(self.logged[name] for name in TROUBLE)


@dataclass
class Site:
    """Where it happens."""

    folder: Path
    nodes: list[Broker]
    proxy: Proxy | None
    project: Project
    """As those see it who look: directly."""
    settings: Path
    """Those of the centers."""
    complaints: list[str] = field(default_factory=list)
    """What is wrong besides what the audit finds."""
    failovers: int = 0
    """How often another node was seen to coordinate."""
    full: int = 0
    """How often a broker gave up because its disk was full."""
    centers: list[Center] = field(default_factory=list)
    _read: dict[Path, tuple[int, Counter[str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.centers = [Center(number, self) for number in range(1, CENTERS + 1)]
        self.calls = self.folder / "calls"
        self._sink: subprocess.Popen[str] | None = None
        self.look: Look
        self.publishing: Publishing

    # -- the outside world -----------------------------------------------------------------------

    def start_sink(self) -> None:
        """Start the process that callbacks call."""
        command = [sys.executable, "-m", "tests.chaos.sink", str(self.calls)]
        self._sink = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self._sink.stdout is not None
        self.project.environment["CHAOS_SINK"] = self._sink.stdout.readline().strip()

    def kill_sink(self) -> None:
        """End it."""
        if self._sink is not None:
            self._sink.kill()
            self._sink.communicate()

    # -- what there is to see --------------------------------------------------------------------

    async def stats(self) -> Stats:
        """What the last cuts say, asked until the cluster answers."""
        end = time.monotonic() + HEALED_S
        while True:
            try:
                return await self.look.stats()
            except (EventCenterError, TimeoutError) as error:
                if time.monotonic() > end:
                    raise NotHealed(f"the cluster does not answer: {error!r}") from error
                await asyncio.sleep(LOOK_S)

    async def until(self, condition: Callable[[Stats], bool], what: str) -> Stats:
        """Ask for the stats until they are so."""
        end = time.monotonic() + HEALED_S
        while True:
            found = await self.stats()
            if condition(found):
                return found
            if time.monotonic() > end:
                raise NotHealed(f"{what} took more than {HEALED_S:g} s: {self.last_words()}")
            await asyncio.sleep(LOOK_S)

    async def recovered(self) -> Stats:
        """Wait until all that was published by now is read, in every partition."""
        wanted = dict(self.publishing.reached)

        def read(now: Stats) -> bool:
            offsets = {
                one["partition"]: one["offset"] for one in now["topics"]["trips"]["partitions"]
            }
            return all(offsets[partition] >= end for partition, end in wanted.items())

        return await self.until(read, "to read what was published by then")

    async def owning(self) -> list[Center]:
        """Those who have shards: of who has none, nobody would notice anything."""
        owners = {one["owner"].rpartition("/")[2] for one in (await self.stats())["shards"]}
        running = [one for one in self.centers if one.process is not None]
        found = [one for one in running if one.process and str(one.process.pid) in owners]
        return found or running

    async def at_rest(self) -> Stats:
        """P8: the lag is zero, nothing waits, and every trip has come home."""
        trips = len(set(self.publishing.wanted.values()))

        def rest(now: Stats) -> bool:
            states = now["workflows"]["by_state"].get("trip", {})
            done = states.keys() == {"open"} and trips <= states["open"] <= TRIPS
            return done and not now["lag"] and not now["events"]["waiting"]

        return await self.until(rest, "to come to rest")

    async def seen(self) -> Seen:
        """Look at everything."""
        shards = (await self.stats())["shards"]
        proxy = self.proxy
        both = [] if proxy is None else [proxy.up, proxy.down]
        return Seen(
            {one["shard"]: one["owner"] for one in shards},
            sum(one["takeovers"] for one in shards),
            self.logged(),
            0 if proxy is None else proxy.cut,
            sum(one.held for one in both),
            sum(one.slow for one in both),
            self.failovers,
            self.full,
        )

    def logged(self) -> Counter[str]:
        """How often each log event has been logged so far, by all centers."""
        total: Counter[str] = Counter()
        for center in self.centers:
            if center.said.exists():
                total += self._counted(center.said)
        return total

    def _counted(self, file: Path) -> Counter[str]:
        start, counts = self._read.get(file, (0, Counter()))
        with file.open("rb") as lines:
            lines.seek(start)
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                start += len(line)
                if line.startswith(b"{"):
                    counts[orjson.loads(line)["event"]] += 1
        self._read[file] = start, counts
        return counts

    def last_words(self) -> str:
        """The ends of what the centers have logged."""
        ends = [line for one in self.centers for line in whole_lines(one.said)[-6:]]
        return "\n" + "\n".join(ends)

    # -- its beginning and end -------------------------------------------------------------------

    def end(self) -> None:
        """End every process."""
        for center in self.centers:
            if center.process is not None:
                center.process.kill()
                center.process.wait()
        self.kill_sink()
        for node in self.nodes:
            node.remove()


@asynccontextmanager
async def opened(folder: Path, nodes: int, chance: Random) -> AsyncIterator[Site]:
    """Start everything; end it and remove the brokers' data at the end, whatever comes."""
    site = await _site(folder, nodes)
    try:
        async with looking(site.project) as site.look:
            site.start_sink()
            for center in site.centers:
                center.start()
            site.publishing = Publishing(
                site.project.bootstrap, f"{site.project.prefix}trips", chance
            )
            site.publishing.start()
            # Who stands still while the group still forms has no shards that others could take.
            await site.until(
                lambda now: (
                    now["events"]["applied"] > 0
                    and all(one["owner"] for one in now["shards"])
                    and len({one["owner"] for one in now["shards"]}) == min(CENTERS, SHARDS)
                ),
                "to serve every shard, each center some",
            )
            yield site
    finally:
        if site.proxy is not None:
            await site.proxy.close()
        site.end()


async def _site(folder: Path, nodes: int) -> Site:
    if nodes > 1:
        cluster = Cluster(folder / "brokers", nodes=nodes)
        await asyncio.to_thread(cluster.start)
        project = _project(folder, cluster.plain, copies=nodes)
        return Site(folder, cluster.nodes, None, project, project.settings)
    ports = free_ports()
    proxy = Proxy(behind(ports))
    await proxy.start()
    broker = Broker(
        folder / "brokers" / "node-1", plan=ProxiedPlan(nodes=[ports], proxy=proxy.port)
    )
    try:
        await asyncio.to_thread(broker.start)
    except BaseException:
        broker.remove()
        raise
    project = _project(folder, broker.bootstrap, copies=1)
    settings = folder / "centers.toml"
    direct = project.settings.read_text(encoding="utf-8")
    settings.write_text(
        direct.replace(broker.bootstrap, f"127.0.0.1:{proxy.port}"), encoding="utf-8"
    )
    return Site(folder, [broker], proxy, project, settings)


def _project(folder: Path, bootstrap: str, *, copies: int) -> Project:
    made = Project(
        folder,
        bootstrap,
        copies,
        machines=str(MACHINE),
        topics=SETTINGS,
        partitions=SHARDS,
        session=SESSION,
    )
    made.environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return made
