"""
A chaos run: one fault after the other, drawn by a seed, and at its end rest, and the audit.

    scripts/chaos --faults 20 --seed 1          # on one broker, behind a proxy
    scripts/chaos --minutes 10 --nodes 3        # on three, of which coordinators die
    scripts/chaos --all                         # the recorded run: 200 faults, on one and on three

Every fault has its line: what it did, and how long the centers took from its end until they had read all
that was published by then. A kind comes again when every other one has come. The exit code is 1 if a
promise was broken, or if too many faults did nothing. `site.py` has what is broken, `faults.py` how.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import shutil
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import NamedTuple

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from scripts.broker import NoBroker
from tests.chaos.checking import broken
from tests.chaos.faults import ONE_NODE, THREE_NODES, Kind
from tests.chaos.site import NotHealed, Site, opened
from tests.kafka.audit import Evidence, read_cluster

RECORDED = {1: 200, 3: 40}
"""Faults of the recorded run by nodes: at least 200 of them have to have an effect."""

TRIES = 3
"""So often a fault is done until it has an effect: at its moment nobody may need what it breaks."""

KINDS = {1: ONE_NODE, 3: THREE_NODES}


@dataclass
class Report:
    """What has come of a run."""

    seen: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Seconds to recover from each fault that had an effect, by kind."""
    vain: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Faults without an effect."""
    events: int = 0
    takeovers: int = 0
    violations: list[str] = field(default_factory=list)

    @property
    def faults(self) -> int:
        """Those that had an effect."""
        return sum(map(len, self.seen.values()))


def drawn(kinds: Mapping[str, Kind], chance: Random) -> Iterator[str]:
    """Kinds of faults without end: all of them in some order, and again."""
    while True:
        yield from chance.sample(sorted(kinds), len(kinds))


async def run(
    report: Report,
    kinds: Mapping[str, Kind],
    *,
    folder: Path,
    seed: int,
    enough: Enough,
    console: Console,
) -> Ended:
    """Break things until it is enough; the report has what came of it."""
    chance = Random(seed)
    nodes = 3 if kinds is THREE_NODES else 1
    async with opened(folder, nodes, Random(seed + 1)) as site:
        with Progress(console=console) as progress:
            bar = progress.add_task(
                f"{nodes} node" + "s" * (nodes > 1), total=enough.faults or None
            )
            for done, name in enumerate(drawn(kinds, chance), start=1):
                if enough.of(done):
                    break
                for _ in range(TRIES):
                    before = report.faults
                    line = await _one(site, (name, kinds[name]), chance, report)
                    progress.console.print(line, highlight=False, markup=False, soft_wrap=True)
                    if report.faults > before:
                        break
                progress.update(bar, completed=done)
        await asyncio.to_thread(site.publishing.finish)
        await site.at_rest()
        evidence = await asyncio.to_thread(
            read_cluster, site.project.bootstrap, site.project.prefix
        )
        report.events += len(site.publishing.wanted)
        report.takeovers += sum(cuts[-1][1]["takeovers"] for cuts in evidence.cuts().values())
        ended = Ended(evidence, site.publishing.wanted, site.calls)
        report.violations += broken(*ended) + site.complaints
        return ended


class Ended(NamedTuple):
    """What is left of a run."""

    evidence: Evidence
    wanted: Mapping[str, str]
    calls: Path


@dataclass
class Enough:
    """When a run has broken enough: so many faults at least, and for so long at least."""

    faults: int = 0
    until: float = 0.0
    """By `time.monotonic`."""

    def of(self, number: int) -> bool:
        """Whether the fault of this number is one too many."""
        return number > self.faults and time.monotonic() > self.until


async def _one(site: Site, kind: tuple[str, Kind], chance: Random, report: Report) -> str:
    """Do one fault, and see what it did."""
    name, fault = kind
    before = await site.seen()
    began = time.monotonic()
    await fault.harm(site, chance)
    healed = time.monotonic()
    await site.recovered()
    recovered_s = time.monotonic() - healed
    for center in site.centers:
        if center.process is not None and center.process.poll() is not None:
            site.complaints.append(f"{name}: center {center.number} has ended by itself")
            center.start()
    effect = fault.effect((await site.seen()).since(before))
    if effect:
        report.seen[name].append(recovered_s)
    else:
        report.vain[name] += 1
    lasted = f"{healed - began:5.1f} s, recovered in {recovered_s:5.1f} s"
    return f"{name:32} {lasted}: {effect or 'no effect'}"


def shown(report: Report) -> Table:
    """The table at the end."""
    table = Table("fault", "count", "with effect", "recovery, median s", "longest s")
    for name in sorted({*report.seen, *report.vain}):
        times = report.seen.get(name, [])
        told = [f"{statistics.median(times):.1f}", f"{max(times):.1f}"] if times else ["", ""]
        count = len(times) + report.vain.get(name, 0)
        table.add_row(name, str(count), str(len(times)), *told)
    return table


async def _all(chosen: argparse.Namespace, report: Report, console: Console) -> None:
    plan = RECORDED if chosen.all else {chosen.nodes: chosen.faults}
    for nodes, faults in plan.items():
        enough = Enough(faults, time.monotonic() + 60 * chosen.minutes)
        folder = Path(tempfile.mkdtemp(prefix="event-center-chaos-"))
        try:
            kinds = KINDS[nodes]
            await run(
                report, kinds, folder=folder, seed=chosen.seed, enough=enough, console=console
            )
        except (NotHealed, AssertionError) as error:
            report.violations.append(f"P8, on {nodes} nodes: {error}")
        if report.violations:
            console.print(f"kept for a look: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser("scripts/chaos", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--minutes", type=float, default=0.0)
    length.add_argument("--faults", type=int, default=0)
    length.add_argument("--all", action="store_true", help="the recorded run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--nodes", type=int, choices=[1, 3], default=1)
    chosen = parser.parse_args()
    console, report = Console(), Report()
    # The client would tell each time that the broker which we have ended does not answer.
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())
    began = time.monotonic()
    asyncio.run(_all(chosen, report, console))
    console.print(shown(report))
    for one in report.violations[:100]:
        console.print(f"VIOLATION: {one}", highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"seed {chosen.seed}: {report.faults} faults with an effect, {report.events} events, "
        f"{report.takeovers} takeovers, {len(report.violations)} violations, "
        f"{(time.monotonic() - began) / 60:.0f} minutes"
    )
    return 1 if report.violations or 10 * sum(report.vain.values()) > report.faults else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NoBroker as error:
        sys.exit(f"chaos: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
