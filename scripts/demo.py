"""
Shows a center at work: events in, machines move, kill -9, takeover, all adds up.

    scripts/demo            # on the embedded log
    scripts/demo --kafka    # two processes on a broker that it starts for itself

Everything goes through what a user has: the CLI in processes of its own, and the views that read the
log. Ends with an error unless the counters add up, each callback's own file shows its keys, and the
workflows are in the states listed below. `scripts/demo` runs it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
from rich.console import Console
from rich.live import Live
from rich.table import Table

from event_center.app.opening import open_log
from event_center.app.settings import load_settings
from event_center.app.wiring import app_of
from event_center.client.stats import shard_entry, stats
from event_center.model import Outgoing, Shard
from scripts.broker import Broker, NoBroker

PROJECT = Path(__file__).parent.parent
EVENTS = PROJECT / "machines" / "events"
COMMAND = [sys.executable, "-m", "event_center"]
TOPICS = {"orders": "order", "reviews": "review", "jobs": "job", "helpdesk": "helpdesk"}
BURST = 4_000
"""Help-desk tickets published at once, each six events long: half a second of work to die in."""
STEPS = (
    "Assign seriousness",
    "Take in charge ticket",
    "Wait",
    "Take in charge ticket",
    "Resolve ticket",
    "Closed",
)
DEADLINE_S = 60.0
SHOWN_S = 0.1
"""Between two looks at the log while a daemon works."""

EXPECTED = {
    "order": {"completed": 21, "error": 3},
    "job": {"cancelled": 1, "done": 22, "failed": 1},
    "review": {"FINISHED": 2, "OFFLINED": 1, "ONLINED": 1, "REJECTED": 1, "WAIT_VERIFY": 1},
    "helpdesk": {"closed": 8, "waiting": 1},
}
"""How many workflows end in which state, by the sample events; those of the burst are closed."""

console = Console()


class Demo:
    """One log in a temporary folder or on a broker, and the processes that work on it."""

    def __init__(self, folder: Path, bootstrap: str | None) -> None:
        self.folder = folder
        self.run_with = ("--processes", "2") if bootstrap else ()
        self.callbacks = folder / "callbacks"
        self.callbacks.mkdir()
        self.environment = {
            **os.environ,
            "EVENT_CENTER__LOG__PATH": str(folder / "demo.db"),
            "EVENT_CENTER__LOGGING__LEVEL": "error",
            "EVENT_CENTER_DEMO_DIR": str(self.callbacks),
        }
        if bootstrap is not None:
            self.environment |= {
                "EVENT_CENTER__LOG__KIND": "kafka",
                "EVENT_CENTER__LOG__PARTITIONS": "4",
                "EVENT_CENTER__LOG__KAFKA__BOOTSTRAP": bootstrap,
                "EVENT_CENTER__LOG__KAFKA__REPLICATION_FACTOR": "1",
                "EVENT_CENTER__LOG__KAFKA__SESSION_TIMEOUT": "1s",
                "EVENT_CENTER__LOG__KAFKA__HEARTBEAT": "200ms",
            }
        os.environ.update(self.environment)

    def run(self, *arguments: str) -> Any:
        """One command of the terminal; its JSON."""
        done = subprocess.run(
            [*COMMAND, *arguments, "--json"],
            cwd=PROJECT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            fail(f"event-center {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
        return json.loads(done.stdout) if done.stdout.strip() else None

    @contextmanager
    def daemon(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """A daemon in a process of its own, which does not outlive the demo."""
        process = subprocess.Popen(
            [*COMMAND, "run", *self.run_with, *arguments],
            cwd=PROJECT,
            env=self.environment,
            stdout=subprocess.DEVNULL,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()

    def stats(self) -> dict[str, Any]:
        """What the log says of the center, with or without a daemon."""
        found: dict[str, Any] = self.run("stats")
        return found


def fail(why: str) -> None:
    """Say what is wrong, and end."""
    console.print(f"[bold red]the demo failed:[/] {why}")
    raise SystemExit(1)


def say(text: str) -> None:
    """One step of the story."""
    console.print(f"\n[bold cyan]▸[/] {text}")


def publish_samples(demo: Demo) -> int:
    """The sample events of each example, and one record that no rule can read."""
    published = 0
    for topic, machine in TOPICS.items():
        path = EVENTS / f"{machine}.jsonl"
        demo.run("publish", topic, "--file", str(path))
        published += len(path.read_text().splitlines())
    anyio.run(publish_poison)
    return published + 1


async def publish_poison() -> None:
    """What `publish` would refuse to send, but another program's producer may well."""
    log = await open_log(load_settings())
    await log.publish([Outgoing("orders", b"order-1001", b"\x00 not JSON")])
    await log.close()


def publish_burst(demo: Demo) -> int:
    """Many tickets, their events interleaved."""
    path = demo.folder / "burst.jsonl"
    lines = [
        json.dumps({"workflow_id": f"burst-{ticket}", "event": step, "payload": {"by": "desk"}})
        for step in STEPS
        for ticket in range(BURST)
    ]
    path.write_text("\n".join(lines) + "\n")
    demo.run("publish", "helpdesk", "--file", str(path))
    return len(lines)


def table(stats: dict[str, Any], title: str) -> Table:
    """Workflows by machine and state, with the lag."""
    shown = Table(title=title, title_justify="left", min_width=60)
    shown.add_column("machine", style="bold")
    shown.add_column("states")
    shown.add_column("workflows", justify="right")
    for machine, states in sorted(stats["workflows"]["by_state"].items()):
        listed = "  ".join(f"{state} [green]{n}[/]" for state, n in sorted(states.items()) if n)
        shown.add_row(machine, listed, str(sum(states.values())))
    events = stats["events"]
    shown.caption = f"read {events['read']}  applied {events['applied']}  lag {stats['lag']}"
    return shown


def kill_with_lag(demo: Demo, total: int) -> None:
    """Kill a daemon with SIGKILL while it has read a part of the log, and show what the log knows."""
    with demo.daemon() as process:
        busy = anyio.run(first_owner)
        os.kill(busy, signal.SIGKILL)
        process.kill()  # the supervisor too, if there is one: its other process stops by itself
        process.wait()
    stats = demo.stats()
    if not 0 < stats["lag"] < total:
        fail(f"killed with lag {stats['lag']}, not in the middle: run the demo again")
    console.print(table(stats, "after the kill: what is durable"))
    console.print(f"[yellow]killed by SIGKILL with lag {stats['lag']} of {total}[/]")


async def first_owner() -> int:
    """Wait until a process has made its first cut of several; returns its id, as the cut has it."""
    settings = load_settings()
    log = await open_log(settings)
    try:
        with anyio.fail_after(DEADLINE_S):
            while True:
                for shard in map(Shard, range(settings.log.partitions)):
                    entry = await shard_entry(log, shard)
                    if entry.owner:
                        return int(entry.owner.rpartition("/")[2])
    finally:
        await log.close()


def finish(demo: Demo) -> dict[str, Any]:
    """A new daemon takes over and works until nothing is left; shows the workflows live."""
    with (
        demo.daemon("--until-idle") as process,
        Live(console=console, refresh_per_second=8) as live,
    ):
        anyio.run(show_work, process, live)
        stats = demo.stats()
        live.update(table(stats, "done"))
    return stats


async def show_work(process: subprocess.Popen[bytes], live: Live) -> None:
    """What the log says while the daemon works on it."""
    settings = load_settings()
    log = await open_log(settings)
    try:
        with anyio.move_on_after(DEADLINE_S) as waiting:
            while process.poll() is None:
                live.update(table(await stats(log, app_of(settings)), "a new daemon goes on"))
                await anyio.sleep(SHOWN_S)
    finally:
        await log.close()
    if waiting.cancelled_caught:
        fail(f"the daemon was not done after {DEADLINE_S:.0f} s")


def check_counters(stats: dict[str, Any], published: int) -> None:
    """Promise P1: every record is somewhere."""
    events = dict(stats["events"])
    read = events.pop("read")
    if read != published or read != sum(events.values()) or stats["lag"]:
        fail(f"published {published}, read {read}, outcomes {events}, lag {stats['lag']}")
    if events["dead_lettered"] != 1 or events["rejected"] == 0 or events["duplicate"] == 0:
        fail(f"expected one poison, refused and duplicate events: {events}")
    console.print(
        f"[green]✓[/] read {read} = " + " + ".join(f"{name} {n}" for name, n in events.items() if n)
    )


def check_states(stats: dict[str, Any]) -> None:
    """Every workflow ended where the machines say."""
    found = {
        machine: {state: n for state, n in states.items() if n}
        for machine, states in stats["workflows"]["by_state"].items()
    }
    helpdesk = EXPECTED["helpdesk"] | {"closed": EXPECTED["helpdesk"]["closed"] + BURST}
    if found != (expected := EXPECTED | {"helpdesk": helpdesk}):
        fail(f"expected the states {expected}, found {found}")
    console.print(f"[green]✓[/] {stats['workflows']['total']} workflows are in the expected states")


def check_callbacks(demo: Demo) -> None:
    """Promise P3: what the callbacks wrote themselves shows every run, always with the same key."""
    seen: dict[str, list[int]] = {}
    for path in sorted(demo.callbacks.iterdir()):
        for line in path.read_text().splitlines():
            run = json.loads(line)
            seen.setdefault(run["key"], []).append(run["attempt"])
    for workflow_id in ("order-1001", "job-4"):
        runs = [one for one in demo.run("history", workflow_id) if one["kind"] == "run"]
        keys = {one["key"] for one in runs}
        if not keys or not keys <= set(seen):
            fail(f"{workflow_id}: history says {keys}, the callbacks' files do not have them")
    attempts = sorted(set(seen.get("job-4/1/run_job", [])))
    if attempts != [1, 2, 3]:
        fail(f"job-4 should fail twice and then work; its callback saw the attempts {attempts}")
    files = Counter(path.name for path in demo.callbacks.iterdir())
    console.print(
        f"[green]✓[/] {len(seen)} keys in {len(files)} files of the callbacks; "
        "job-4 failed twice and then worked, each time with the key job-4/1/run_job"
    )


def show_history(demo: Demo) -> None:
    """One workflow's story."""
    shown = Table(title="event-center history job-4", title_justify="left")
    for column in ("seq", "kind", "event", "from", "to", "outcome"):
        shown.add_column(column)
    for one in demo.run("history", "job-4"):
        name = one["event"] or f"{one['callback']} #{one['attempt']}"
        cells = (one["seq"], one["kind"], name, one["from"], one["to"], one["outcome"])
        shown.add_row(*("" if cell is None else str(cell) for cell in cells))
    console.print(shown)


@contextmanager
def broker(folder: Path, wanted: bool) -> Iterator[str | None]:
    """A broker of the demo's own; yields its address."""
    if not wanted:
        yield None
        return
    say("a Kafka broker starts on this machine")
    started = Broker(folder / "broker")
    try:
        started.start()
        yield started.bootstrap
    except NoBroker as error:
        fail(str(error))
    finally:
        started.remove()


def main() -> None:
    """Tell the story."""
    started = time.monotonic()
    kafka = sys.argv[1:] == ["--kafka"]
    if sys.argv[1:] and not kafka:
        sys.exit(__doc__)
    console.print("[bold]event-center[/]: orders, reviews, jobs, tickets")
    with (
        tempfile.TemporaryDirectory(prefix="event-center-demo-") as name,
        broker(Path(name), kafka) as bootstrap,
    ):
        demo = Demo(Path(name), bootstrap)
        say("events go into topics: in order, out of order, illegal, twice, one is poison")
        total = publish_samples(demo) + publish_burst(demo)
        say("a daemon reads them, and is killed with SIGKILL in the middle of its work")
        kill_with_lag(demo, total)
        say("another daemon takes over: state, waiting events, timers and owed callbacks are there")
        stats = finish(demo)
        check_counters(stats, total)
        check_states(stats)
        check_callbacks(demo)
        show_history(demo)
    console.print(f"\n[bold green]all of it adds up[/] ({time.monotonic() - started:.1f} s)")
    console.print("next: [bold]event-center run[/] in one terminal, and in another:")
    console.print("  event-center publish orders --workflow-id o-1 --event flow_begin")
    console.print("  event-center show o-1;  event-center history o-1;  event-center stats")


if __name__ == "__main__":
    main()
