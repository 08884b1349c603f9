"""
The programs of the case `stream-peers`: the daemon, and the same counter in three stream processors.

Each is a process of its own, started by a command line; nothing of a peer is ever in our environment.
What a peer needs comes the first time, pinned, into the cache in which the broker's jars lie too:
Quix Streams and Faust from `requirements/bench-*.txt`, with hashes; Kafka Streams as the broker does,
whose checksums Maven compares. Promise: what can not be had here ends in `LeftOut`, which says why.
`stream_peers.py` starts and measures them.
"""

from __future__ import annotations

import functools
import hashlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scripts.broker import NoBroker
from scripts.broker.java import CACHE, VERSION, fetched, java, tool
from tests.bench.work import APP, MACHINE, TOPIC

ROOT = Path(__file__).resolve().parents[2]
COUNTERS = Path(__file__).parent / "counters"
COUNTS = "counts"
SHARDS = 8
STREAMS = {
    "org.apache.kafka:kafka-streams": VERSION,
    "org.slf4j:slf4j-nop": "1.7.36",
}
"""Kafka Streams, and a log that says nothing."""
TOLD = 400
"""Characters of what a failing program wrote: its end has the reason."""

SETTINGS = """app = "{app}"
machines = ["{machine}.yaml"]

[log]
kind = "kafka"
partitions = {shards}

[log.kafka]
bootstrap = "{bootstrap}"
topic_prefix = "{prefix}"
replication_factor = 1

[publish]
topics = ["{counts}"]

[topics.{topic}]
machine = "{machine}"
"""
COUNTER = """machine: {machine}
version: 1
initial: new
perpetual: true
data: {{count: 0}}
states:
  new: {{on: {{next: &counted {counted}}}}}
  counting:
    {entry}
    on: {{next: *counted}}
"""
COUNTED = """target: counting, reenter: true, assign: {count: "=data.count + 1"}"""
EMITS = """
    emit: {{event: counted, topic: {counts}, payload: {{count: "=data.count + 1"}}}}"""
PLUGIN = '''"""The callback of the counter."""

from anyio import sleep

from event_center import Context, callbacks

counter = callbacks("{machine}")


@counter.action("wait")
async def wait(ctx: Context) -> None:
    """Take its time, as a call of another service does."""
    await sleep({wait_s})
'''


class LeftOut(Exception):
    """A side cannot run here; the message says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a side runs, and what it is to do."""

    bootstrap: str
    prefix: str
    """Of every topic and group of this measurement."""
    folder: Path
    wait_s: float

    def arguments(self, name: str) -> list[str]:
        """What the programs of the peers are given."""
        topics = (self.prefix + TOPIC, self.prefix + COUNTS)
        return [self.bootstrap, self.prefix + name, *topics, str(self.wait_s)]


Command = Callable[[Place], list[str]]
"""Makes ready what a side needs, and returns the command line that runs it."""


def center(place: Place) -> list[str]:
    """The daemon; a wait is a callback that is awaited before the transition happens."""
    return _daemon(place, waits="actions: wait" if place.wait_s else "")


def center_entry(place: Place) -> list[str]:
    """The daemon; the wait is the entry callback of the state, which the transition owes."""
    return _daemon(place, entry="entry: wait")


def center_history(place: Place) -> list[str]:
    """The daemon, whose history has a record with a count (`seq`) for every event anyway."""
    return _daemon(place, emits="")


def _daemon(place: Place, *, entry: str = "", waits: str = "", emits: str = EMITS) -> list[str]:
    more = [text for text in (emits.format(counts=COUNTS), waits) if text]
    counted = f"{{{', '.join([COUNTED, *more])}}}"
    machine = COUNTER.format(machine=MACHINE, counted=counted, entry=entry)
    settings = SETTINGS.format(
        app=APP,
        machine=MACHINE,
        shards=SHARDS,
        bootstrap=place.bootstrap,
        prefix=place.prefix,
        counts=COUNTS,
        topic=TOPIC,
    )
    texts = {"event-center.toml": settings, f"{MACHINE}.yaml": machine}
    if place.wait_s:
        texts[f"{MACHINE}.py"] = PLUGIN.format(machine=MACHINE, wait_s=place.wait_s)
    for name, text in texts.items():
        (place.folder / name).write_text(text, encoding="utf-8")
    config = str(place.folder / "event-center.toml")
    return [sys.executable, "-m", "event_center", "run", "--config", config]


def quix(place: Place) -> list[str]:
    """Quix Streams, in its own environment."""
    program = str(COUNTERS / "quix_counter.py")
    return [str(_environment("quix")), program, *place.arguments("quix")]


def faust(place: Place) -> list[str]:
    """Faust, in its own environment."""
    program = str(COUNTERS / "faust_counter.py")
    return [str(_environment("faust")), program, *place.arguments("faust")]


def kafka_streams(place: Place) -> list[str]:
    """Kafka Streams: one thread, or one for each partition where callbacks hold threads up."""
    classes, jars = _compiled()
    arguments = [*place.arguments("streams"), str(SHARDS if place.wait_s else 1)]
    return [java(), "-Xmx1g", "-cp", f"{classes}:{jars}/*", "StreamsCounter", *arguments]


def pinned(name: str, package: str) -> str:
    """The version of a package in the requirements of a peer."""
    lines = _requirements(name).read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith(f"{package}=="))
    return line.removeprefix(f"{package}==").split()[0]


def _requirements(name: str) -> Path:
    return ROOT / "requirements" / f"bench-{name}.txt"


@functools.cache
def _environment(name: str) -> Path:
    """The interpreter of an environment with these requirements, and with nothing else."""
    requirements = _requirements(name)
    told = f"{sys.version} {requirements.read_text(encoding='utf-8')}"
    folder = CACHE / f"bench-{name}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        print(f"bench: installing {requirements.name} into {folder}", file=sys.stderr)
        folder.parent.mkdir(parents=True, exist_ok=True)
        run([sys.executable, "-m", "venv", "--clear", str(folder)])
        options = ["--quiet", "--disable-pip-version-check", "--require-hashes"]
        run([str(python), "-m", "pip", "install", *options, "-r", str(requirements)])
        (folder / "complete").touch()
    return python


@functools.cache
def _compiled() -> tuple[Path, Path]:
    """The folders of the counter's classes, and of Kafka Streams' jars."""
    source = COUNTERS / "StreamsCounter.java"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    try:
        jars = fetched(f"kafka-streams-{VERSION}", STREAMS)
        compiler = tool("javac")
    except NoBroker as error:
        raise LeftOut(str(error)) from error
    classes = CACHE / f"streams-counter-{digest}"
    if not (classes / "StreamsCounter.class").exists():
        run([compiler, "-cp", f"{jars}/*", "-d", str(classes), str(source)])
    return classes, jars


def run(command: list[str]) -> None:
    """Run a command of an installation; what it says when it fails is why a side is left out."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        told = (done.stdout + done.stderr).strip()[-TOLD:]
        raise LeftOut(f"{' '.join(command[:4])} ... ended with {done.returncode}: {told}")
