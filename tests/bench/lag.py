"""
Case `kafka-lag`: what has piled up on Kafka, as somebody meets it who starts a daemon or looks.

A million events for 100,000 workflows are published, then decided by one daemon that finds them as its
lag, history on; then commands look at what is there. And a daemon whose broker is gone for a minute: how
long after its return all that was published meanwhile is decided. Every part is a command of its own,
and its start is in the time, by the clock on the wall.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scripts.broker import NoBroker
from tests.bench.broker import broker
from tests.bench.report import Row
from tests.bench.work import Size
from tests.kafka.backlog import project_in, publish

EVENTS = 1_000_000
PER_WORKFLOW = 10
GONE_S = 60.0
"""Longer than every timeout that a daemon is given by default."""
AFTER_EVENTS = 1_000
"""Published before the broker goes, and once more when it is back."""
LONGEST_S = 3_600.0
Times = dict[str, list[float]]


def run(size: Size) -> list[Row]:
    """Measure the case; without a broker it says why not."""
    try:
        broker()
    except NoBroker as error:
        return [Row(case="kafka-lag", what="a backlog on Kafka", note=f"no broker: {error}")]
    events = size.or_else(EVENTS)
    # Who asks for fewer events wants to see that it works.
    gone_s = GONE_S if size.events is None else 0.0
    times: Times = {}
    for _ in range(size.rounds):
        with tempfile.TemporaryDirectory() as folder:
            _backlog(Path(folder), events, times)
        with tempfile.TemporaryDirectory() as folder:
            _gone(Path(folder), min(events, AFTER_EVENTS), gone_s, times)
    return [
        Row(
            case="kafka-lag",
            what=what,
            unit="s",
            median=statistics.median(found),
            best=min(found),
        )
        for what, found in times.items()
    ]


def _backlog(folder: Path, events: int, times: Times) -> None:
    project = project_in(folder, broker().bootstrap)
    project.timeout_s = LONGEST_S
    workflows = max(1, events // PER_WORKFLOW)
    try:
        _timed(
            times,
            f"publish {events:,} events",
            lambda: asyncio.run(publish(project, events, workflows)),
        )
        done = _timed(
            times,
            f"run --until-idle, {workflows:,} workflows",
            lambda: project.told("run", "--until-idle"),
        )
        _check(done, events)
        _timed(times, "stats", lambda: project.told("stats"))
        _timed(times, "show, one of them", lambda: project.told("show", "w0"))
        _timed(times, "list, all of them", lambda: project.told("list"))
    finally:
        project.close()


def _gone(folder: Path, events: int, gone_s: float, times: Times) -> None:
    """A broker that dies and comes back later, under a daemon that goes on running."""
    project = project_in(folder, broker().bootstrap, session="10s")
    try:
        asyncio.run(publish(project, events, events))
        daemon = project.daemon()
        project.until(lambda stats: stats["events"]["applied"] == events)
        broker().kill()
        time.sleep(gone_s)
        broker().start()
        asyncio.run(publish(project, events, events))
        done = _timed(
            times,
            f"broker gone for {gone_s:g} s: all decided after its return",
            lambda: project.until(lambda stats: stats["events"]["applied"] == 2 * events),
        )
        _check(done, 2 * events)
        daemon.terminate()
        if daemon.wait():
            raise RuntimeError(f"the daemon ended with {daemon.returncode}: {project.said()}")
    finally:
        project.close()


def _timed(times: Times, what: str, work: Callable[[], Any]) -> Any:
    start = time.perf_counter()
    done = work()
    times.setdefault(what, []).append(time.perf_counter() - start)
    return done


def _check(stats: Any, events: int) -> None:
    if stats["events"]["applied"] != events or stats["lag"]:
        raise RuntimeError(f"{events} events went in, the center says {stats}")
