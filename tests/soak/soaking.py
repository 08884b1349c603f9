"""
A soak: many lives on the embedded log, for long, and whether anything grows.

    scripts/soak --minutes 30 --lives 100000      # the recorded run
    scripts/soak --minutes 60 --lives 120000 --runs 1     # one life of the daemon
    scripts/soak --minutes 120 --lives 400000     # before a release

Lives begin at a steady pace and end; finished ones are kept for a while and forgotten, and so are
records. The daemon is asked to end and started again, so that it has several runs. Memory, file
descriptors and asyncio tasks are those of its process, disk is all files of the log. The exit code is 1
if one of them is not flat (`trend.py`), or if a life has not come to its end.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import orjson
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from event_center.app.opening import open_log
from event_center.app.settings import load_settings
from event_center.app.wiring import app_of
from event_center.client.stats import Stats, stats
from event_center.log.port import Log
from event_center.model import Outgoing
from tests.soak.trend import Trend, trend
from tests.waiting import PATIENCE_S, until_true, wait_until

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = """
machines = ["{machine}"]
[log]
path = "log.db"
partitions = 4
[log.retention]
events = {{max_age = "{kept}"}}
history = {{max_age = "{kept}"}}
[engine]
keep_finished = "{kept}"
[topics.lives]
machine = "life"
[logging]
level = "warning"
"""
RUNS = 3
"""The daemon lives so many times if nobody says how often, each long enough for a slope to show."""
KEPT_S = 60.0
"""What is over is kept so long: the kept part is full soon, and nothing may grow after that."""
TICK_S = 0.5
FINISH_S = 10.0
"""A life is told to finish so long after its begin: its timer has fired by then."""


class Sample(NamedTuple):
    """What was there at one moment."""

    at_s: float
    memory_mib: float
    files: float
    tasks: float
    disk_mib: float


UNITS = {"memory_mib": "memory, MiB", "files": "file descriptors", "tasks": "asyncio tasks"}
UNITS["disk_mib"] = "disk, MiB"


class Soak:
    """One log, its daemon, and what was seen of both."""

    def __init__(self, folder: Path, kept_s: float) -> None:
        self.folder = folder
        self.settings = folder / "event-center.toml"
        machine = Path(__file__).parent / "machines" / "life.yaml"
        text = SETTINGS.format(machine=machine, kept=f"{kept_s * 1000:.0f}ms")
        self.settings.write_text(text, encoding="utf-8")
        self.runs: list[list[Sample]] = []
        self._tasks = folder / "tasks"
        self._daemon: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the daemon, and wait until it runs."""
        self._tasks.write_text("")
        with (self.folder / "daemon.log").open("ab") as said:
            self._daemon = subprocess.Popen(
                [sys.executable, "-m", "tests.soak.daemon", str(self.settings), str(self._tasks)],
                cwd=ROOT,
                stdout=said,
                stderr=said,
            )
        wait_until(lambda: self._tasks.read_text() != "", told=self._daemon_said)
        self.runs.append([])

    def _daemon_said(self) -> str:
        return (self.folder / "daemon.log").read_text()[-2_000:]

    def stop(self) -> None:
        """Ask the daemon to end, and wait for it."""
        assert self._daemon is not None
        self._daemon.send_signal(signal.SIGTERM)
        code = self._daemon.wait(PATIENCE_S)
        self._daemon = None
        assert code == 0, f"the daemon ended with {code}: {self._daemon_said()}"

    def kill(self) -> None:
        """End what runs."""
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.wait()

    def look(self) -> None:
        """Take a sample."""
        assert self._daemon is not None
        process = Path(f"/proc/{self._daemon.pid}")
        pages = int((process / "statm").read_text().split()[1])
        self.runs[-1].append(
            Sample(
                time.monotonic(),
                pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
                len(list((process / "fd").iterdir())),
                float(self._tasks.read_text() or 0),
                sum(one.stat().st_size for one in self.folder.glob("log.db*")) / 2**20,
            )
        )

    def trends(self) -> dict[str, Trend]:
        """The trend of each kind of sample."""
        return {
            name: trend([[(one.at_s, getattr(one, name)) for one in run] for run in self.runs])
            for name in UNITS
        }


def _events(first: int, last: int, name: str) -> list[Outgoing]:
    return [
        Outgoing(
            "lives",
            f"life-{number}".encode(),
            orjson.dumps({"workflow_id": f"life-{number}", "event": name, "id": name}),
        )
        for number in range(first, last)
    ]


def _pace(lives: int, seconds: float) -> Iterator[int]:
    """How many lives have begun after each tick."""
    ticks = round(seconds / TICK_S)
    for tick in range(1, ticks + 1):
        yield round(lives * tick / ticks)


async def soak(
    made: Soak, *, seconds: float, lives: int, console: Console, runs: int = RUNS
) -> Stats:
    """Go through it all; what the log says when every life has come to its end."""
    settings = load_settings(made.settings)
    log = await open_log(settings)
    try:
        await asyncio.to_thread(made.start)
        begun: dict[int, int] = defaultdict(int)
        late = round(FINISH_S / TICK_S)
        turns = {round(seconds / TICK_S * n / runs) for n in range(1, runs)}
        began = time.monotonic()
        with Progress(console=console) as progress:
            bar = progress.add_task("lives", total=lives)
            for tick, now in enumerate(_pace(lives, seconds), start=1):
                begun[tick] = now
                await log.publish(_events(begun[tick - 1], now, "begin"))
                await log.publish(_events(begun[tick - late - 1], begun[tick - late], "finish"))
                if tick in turns:
                    await asyncio.to_thread(made.stop)
                    await asyncio.to_thread(made.start)
                await asyncio.sleep(max(0.0, began + tick * TICK_S - time.monotonic()))
                made.look()
                progress.update(bar, completed=now)
        await asyncio.sleep(FINISH_S / 2)
        await log.publish(_events(begun[tick - late], lives, "finish"))
        found = await _over(log, made)
        made.look()  # by now, however slow the machine is, the daemon has long been at work
        await asyncio.to_thread(made.stop)
        return found
    finally:
        made.kill()
        await log.close()


async def _over(log: Log, made: Soak) -> Stats:
    """Wait until nobody lives any more."""
    app = app_of(load_settings(made.settings))
    found: Stats = {}

    async def over() -> bool:
        found.update(await stats(log, app))
        states = found["workflows"]["by_state"].get("life", {})
        return not found["lag"] and states.keys() <= {"done"}

    await until_true(over)
    return found


def report(made: Soak, found: Stats, console: Console) -> bool:
    """Print it; whether everything was flat."""
    table = Table("", "mean", "slope in an hour", "95 % within", "verdict")
    trends = made.trends()
    for name, one in trends.items():
        verdict = "flat" if one.flat else "GROWS"
        table.add_row(
            UNITS[name], f"{one.mean:.1f}", f"{one.slope:+.2f}", f"± {one.margin:.2f}", verdict
        )
    console.print(table)
    console.print(
        f"{found['transitions']} transitions, {found['timers']} timers, {found['runs']} runs of "
        f"callbacks, {found['workflows']['total']} finished workflows still kept, {len(made.runs)} "
        "runs of the daemon"
    )
    return all(one.flat for one in trends.values())


def main() -> int:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser("scripts/soak", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--lives", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--samples", type=Path, help="write every sample to this file, as CSV")
    chosen = parser.parse_args()
    console = Console()
    folder = Path(tempfile.mkdtemp(prefix="event-center-soak-"))
    made = Soak(folder, KEPT_S)
    found = asyncio.run(
        soak(
            made,
            seconds=60 * chosen.minutes,
            lives=chosen.lives,
            console=console,
            runs=chosen.runs,
        )
    )
    if chosen.samples is not None:
        with chosen.samples.open("w", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(("run", *Sample._fields))
            rows.writerows((n, *one) for n, run in enumerate(made.runs) for one in run)
    flat = report(made, found, console)
    whole = found["transitions"] == 4 * chosen.lives
    console.print(f"{chosen.lives} lives in {chosen.minutes:g} minutes, all ended well: {whole}")
    shutil.rmtree(folder)
    return 0 if flat and whole else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
