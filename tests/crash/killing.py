"""
Many kills in a row amid everything that can go wrong at once, and the audit of what is left.

    scripts/kills --kills 200 --seed 1          # the recorded run

Real daemons work on the embedded log, one after the other. Each is killed (SIGKILL), at a numbered step
or anywhere, or ends by a callback of its own; then more is published, and the next one takes over. What
is published has bad input, early events that are held, letters and their replays, commands, timers,
jobs, callbacks that fail, hang and end their process, and more than the small limits below allow;
finished workflows go after a moment. After so many kills one log comes to its end, is audited, and the
next begins. The exit code is 1 if a promise was broken.

The seed decides what is published and where daemons are killed, and not how far each of them comes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from event_center.engine.workflow import ENTRY_BYTES
from event_center.failpoint import Step
from event_center.log.sqlite import daemon_on
from event_center.model import Outcome, Outgoing, size_of
from event_center.testing import Evidence
from event_center.wire import snapshot as wire
from event_center.wire import waiting as waiting_wire
from event_center.wire.entries import is_snapshot, is_waiting, workflow_of
from tests.crash.project import Died, Project
from tests.crash.workload import MACHINES, TOPICS, chunk, event, repairs
from tests.waiting import wait_until

KILLS_OF_A_LOG = 20
"""An audit reads all cuts: of many short logs it is quicker than of a long one."""
LONGEST_S = 2.0
"""A daemon that has not come to its place so long after its first cut is killed where it is."""
REPAIR_EVERY = 5
PARCELS = 12
"""New ones before each kill."""
DEATHS = ("leave", "look", "invoke")
"""Each log has one workflow that ends its process, in one of these ways, from its middle on."""
DEATH = 9
"""The exit code of a daemon that a callback has ended (`machines/deadly.py`)."""
MOST_DEATHS = 40
REFUSED = {Outcome.REJECTED, Outcome.DEAD_LETTERED, Outcome.DISCARDED}
WAITING_BYTES = 160 * 1024
LIMITS = f"""
keep_finished = "1s"
max_waiting = 20
max_held = 2
max_held_in_shard = 4
callbacks = 8
jobs = 4
threads = 2
mailbox = 60
cut_bytes = "64KiB"
waiting_bytes = "{WAITING_BYTES // 1024}KiB"
snapshot_bytes = "32KiB"
warm = 10
grace = "1s"
"""
"""So small that the workload reaches them."""


@dataclass
class Report:
    """What has come of a run."""

    kills: Counter[str] = field(default_factory=Counter)
    """By place."""
    found: dict[str, Counter[str]] = field(default_factory=dict)
    """What the logs tell, by what it is about."""
    limits: Counter[str] = field(default_factory=Counter)
    """How often a daemon's last pulse named a limit."""
    violations: list[str] = field(default_factory=list)

    def count(self, about: str, what: Iterable[str]) -> None:
        """So much more of this."""
        self.found.setdefault(about, Counter()).update(what)


class Series:
    """Kills on one log, from its first daemon to its audit."""

    def __init__(self, folder: Path, seed: int, report: Report, death: str | None = None) -> None:
        topics = {**TOPICS, "things": 'machine = "deadly"'}
        self.project = Project(folder, topics, machines=MACHINES, cut_records=40, engine=LIMITS)
        self.report = report
        self._seed = seed
        self._death = death
        self._chance = Random(seed)

    def run(self, kills: int, killed: Callable[[], None]) -> None:
        """Kill so many daemons, let everything come to its end, and audit."""
        for part in range(kills):
            self.project.publish(self._records(part, kills))
            if part % REPAIR_EVERY == REPAIR_EVERY - 1:
                self.project.publish(repairs(self.project))
            self.report.kills[self._kill()] += 1
            killed()
        self._lift()
        self._come_to_rest()
        self.project.publish(repairs(self.project))
        self._come_to_rest()
        self._look()

    def _records(self, part: int, parts: int) -> list[Outgoing]:
        """The next part of what is published."""
        chance, project = self._chance, self.project
        records = chunk(project, part, parts, parcels=PARCELS * parts, seed=self._seed)
        records += [
            event("parcels", f"parcel-{chance.randrange(PARCELS * parts)}", "note")
            for _ in range(10)
        ]
        if self._death and part == parts // 2:
            records.insert(0, event("things", f"thing-{self._death}", self._death))
        one = f"thing-{part}"
        records.append(event("things", one, "hang"))
        records += [event("things", one, "fill", payload="x" * 25_000) for _ in range(7)]
        records += [event("things", one, "tick") for _ in range(25)]
        records += [event("parcels", f"nobody-{5 + part}", "hint") for _ in range(3)]
        sizes = [chance.choice([10_000, 20_000, 50_000]) for _ in range(6)]
        records += [
            event("things", f"thing-{part}-{n}", "fill", payload="x" * size)
            for n, size in enumerate(sizes)
        ]
        records += [event("things", f"thing-{part}-{n}", "work") for n in range(len(sizes))]
        return records

    def _kill(self) -> str:
        """One daemon from its start to its end; returns where that was."""
        step = self._chance.choice([*Step, *[None] * len(Step)])
        nth = self._chance.randint(1, 2 if step and step.startswith("takeover") else 4)
        words = ["--step", step, "--nth", str(nth)] if step else []
        calls = self._chance.randrange(40)
        project = self.project
        cuts, before = project.cuts(), project.begun()
        daemon = project.start("--lasting", *words)
        wait_until(lambda: daemon.poll() is not None or project.cuts() > cuts)
        latest = time.monotonic() + LONGEST_S
        wait_until(
            lambda: (
                daemon.poll() is not None
                or time.monotonic() > latest
                or (not step and project.begun() >= before + calls)
            )
        )
        alive = daemon.poll() is None
        _, told = project.kill(daemon)
        said = daemon_on(project.log).said.get("limits", ())
        self.report.limits.update({one["limit"] for one in said})
        if alive:
            return "anywhere"
        if daemon.returncode == DEATH:
            return "by a callback"
        if step and daemon.returncode == -9:
            return str(step)
        raise Died(f"a daemon has ended by itself: {told}", daemon.returncode)

    def _lift(self) -> None:
        """What an operator does where so much waits for parked workflows that nothing is taken in."""
        settings = self.project.settings
        text = settings.read_text("utf-8")
        settings.write_text(text.replace(f"{WAITING_BYTES // 1024}KiB", "64MiB"), encoding="utf-8")

    def _come_to_rest(self) -> None:
        """Let daemons work until nothing is left to do, however often a callback ends one."""
        for _ in range(MOST_DEATHS):
            try:
                self.project.run_until_idle()
            except Died as died:
                if died.code != DEATH:
                    raise
                self.report.kills["by a callback"] += 1
            else:
                return
        raise Died(f"callbacks have ended {MOST_DEATHS} daemons in a row: nobody was parked")

    def _look(self) -> None:
        """Audit the log, and count what is in it."""
        report, evidence = self.report, self.project.evidence()
        report.violations += map(str, self.project.violations())
        if self.project.lag():
            report.violations.append(f"P8: {self.project.lag()} records were never read")
        epochs: dict[int, int] = {}
        for cut in evidence.cuts:
            epochs[cut.shard] = max(cut.epoch, epochs.get(cut.shard, 0))
        report.found.setdefault("all", Counter()).update(
            events=sum(
                len(records)
                for (topic, _), records in evidence.records.items()
                if topic in evidence.consumed
            ),
            cuts=len(evidence.cuts),
            takeovers=sum(epochs.values()),
            callbacks=len(self.project.started()),
        )
        self._count_history(evidence)
        report.limits["waiting_bytes, in cuts"] += _heavy(evidence)
        report.count("parked", (why for _, why, _ in _parked(evidence)))

    def _count_history(self, evidence: Evidence) -> None:
        for (topic, _), records in evidence.records.items():
            if topic != "crash.history":
                continue
            for record in records:
                body = json.loads(record.value or b"")
                kind, data = body["type"].removeprefix("event_center."), body["data"]
                self.report.count("history", [kind])
                if kind in REFUSED:
                    self.report.count("refused", [data["reason"]])
                if kind == "run":
                    self.report.count("runs", [data["outcome"]])
                if kind == "command":
                    self.report.count("commands", [data["command"]])


def _heavy(evidence: Evidence) -> int:
    """How many cuts left so much waiting in their shard that it took in no more."""
    weights: dict[int, dict[bytes, int]] = {}
    found = 0
    for cut in evidence.cuts:
        waiting = weights.setdefault(cut.shard, {})
        for key, value in cut.entries:
            if is_waiting(key):
                waiting.pop(key, None)
                if value is not None:
                    held = waiting_wire.decode(value).record
                    waiting[key] = size_of(held.key, held.value, held.headers) + ENTRY_BYTES
        found += sum(waiting.values()) >= WAITING_BYTES
    return found


def _parked(evidence: Evidence) -> set[tuple[str, str, int]]:
    """Who was parked, why, and after which transition."""
    found = set()
    for cut in evidence.cuts:
        for key, value in cut.entries:
            if is_snapshot(key) and value is not None:
                snapshot = wire.decode(workflow_of(key), value)
                if snapshot.parked:
                    found.add((snapshot.workflow_id, str(snapshot.parked), snapshot.seq))
    return found


def shown(report: Report) -> Table:
    """The table at the end."""
    table = Table("", "count")
    groups = {"kills": report.kills, **report.found, "limits named": report.limits}
    for about, counts in groups.items():
        for what, count in sorted(counts.items()):
            table.add_row(f"{about}: {what}", str(count))
        table.add_section()
    return table


def main() -> int:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser("scripts/kills", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--kills", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    if chosen.kills < 1:
        parser.error("--kills: give a number of 1 or more")
    console, report, began = Console(), Report(), time.monotonic()
    with Progress(console=console) as progress:
        bar = progress.add_task("kills", total=chosen.kills)
        for number, first in enumerate(range(0, chosen.kills, KILLS_OF_A_LOG)):
            folder = Path(tempfile.mkdtemp(prefix="event-center-kills-"))
            death = DEATHS[number % len(DEATHS)]
            series = Series(folder, 100 * chosen.seed + number, report, death)
            before = len(report.violations)
            try:
                series.run(min(KILLS_OF_A_LOG, chosen.kills - first), lambda: progress.advance(bar))
            except (Died, AssertionError) as error:
                report.violations.append(f"P8: {error}")
            if len(report.violations) > before:
                progress.console.print(f"kept for a look: {folder}")
            else:
                shutil.rmtree(folder)
    console.print(shown(report))
    for one in report.violations[:100]:
        console.print(f"VIOLATION: {one}", highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"seed {chosen.seed}: {report.kills.total()} kills, {len(report.violations)} violations, "
        f"{(time.monotonic() - began) / 60:.1f} minutes"
    )
    return 1 if report.violations or report.kills.total() < chosen.kills else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
