"""`top`: what it shows at 80 and 120 columns stands in docs/operations.md, and it ends well."""

from __future__ import annotations

import io
import os
import pty
import re
import signal
import subprocess
import time
from typing import Any

import pytest
from rich.console import Console

from event_center.cli.lasting import lasting
from event_center.cli.panel import Alarm, panel
from event_center.log.sqlite import DaemonLock
from event_center.wire.history import rfc3339
from tests.cli.center import Project
from tests.docs.project import ROOT
from tests.waiting import PATIENCE_S

PAGE = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
AT_MS = 1_795_000_000_000


def _state(name: str, workflows: int, stay_ms: int | None = None, **more: int) -> dict[str, Any]:
    stays = dict.fromkeys(("left", "median_ms", "slow_ms", "longest_ms"), stay_ms)
    if stay_ms is not None:
        stays |= {"slow_ms": stay_ms * 3, "longest_ms": stay_ms * 70}
    troubles = dict.fromkeys(("retrying", "parked", "paused", "final"), 0)
    return {"machine": "order", "state": name, "workflows": workflows, **troubles, **stays, **more}


def _error(times: int, seconds: int, workflow_id: str, message: str) -> dict[str, Any]:
    return {
        "times": times,
        "at": rfc3339(AT_MS - seconds * 1_000),
        "machine": "order",
        "what": "charge",
        "error": "ConnectionError" if times > 1 else "PermanentError",
        "message": message,
        "workflow_id": workflow_id,
    }


SEEN: dict[str, Any] = {
    "app": "shop",
    "at_ms": AT_MS,
    "who": "process 4711 on host-1 serves 4 of 4 shards",
    "counted": {
        "events": {
            "read": 1_204_311,
            "applied": 1_190_002,
            "ignored": 11,
            "rejected": 13_650,
            "duplicate": 601,
            "dead_lettered": 4,
            "waiting": 43,
        },
        "waiting": {"queued": 12, "deferred": 31, "held": 0, "parked": 0},
        "workflows": {"by_status": {"active": 2_300, "final": 51_022, "retrying": 2, "parked": 1}},
        "transitions": 1_290_114,
        "runs": 410_022,
        "timers": 310,
        "jobs": 0,
        "lag": 3_412,
    },
    "per_second": {
        "read": 812.4,
        "applied": 800.2,
        "ignored": 0.0,
        "rejected": 4.2,
        "duplicate": 0.0,
        "dead_lettered": 0.0,
        "transitions": 871.0,
        "runs": 266.8,
        "timers": 0.2,
        "lag": 51.6,
    },
    "states": [
        _state("waiting_for_payment", 1_911, 7_260_000),
        _state("running", 391, 1_430, retrying=2, parked=1),
        _state("initial", 1, 0),
        _state("completed", 50_180, final=50_180),
        _state("error", 842, final=842),
    ],
    "errors": [
        _error(17, 3, "order-88120", "the bank did not answer within 2 s"),
        _error(1, 1_452, "order-51007", "the card 4242 has expired"),
    ],
    "newest": rfc3339(AT_MS),
    "passed_over": 0,
}
ALARMS = [Alarm("at its limit callbacks: 112 callbacks wait until another one ends", "yellow")]


def _shown(width: int, height: int | None = None, seen: dict[str, Any] = SEEN) -> str:
    console = Console(width=width, file=io.StringIO(), markup=False, highlight=False)
    console.print(panel(seen, ALARMS, width, height))
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


@pytest.mark.parametrize("width", [80, 120])
def test_the_page_shows_what_top_shows(width: int) -> None:
    """The captures in the documents are what is printed at their widths, to the letter."""
    (capture,) = re.findall(rf"At {width} columns:\n\n```text\n(.+?)\n```", PAGE, re.DOTALL)
    assert capture == _shown(width)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40)])
def test_a_screen_is_not_left(width: int, height: int) -> None:
    """However many states and errors there are, a screen has them all or counts the rest."""
    states = [_state(f"state_{n}_of_a_machine_with_long_names", 0) for n in range(60)]
    states.append(_state("stuck", 3, parked=3))
    shown = _shown(width, height, SEEN | {"states": states, "errors": SEEN["errors"] * 9})
    assert len(shown.splitlines()) < height
    assert max(map(len, shown.splitlines())) <= width
    assert "3 parked" in shown
    assert re.search(r"and \d+ more states", shown)


@pytest.mark.parametrize("machine", ["a-machine-with-a-rather-long-name-of-its-own", "訂" * 25])
def test_numbers_are_whole_beside_long_names(machine: str) -> None:
    """Names give way to what they are looked at for, and it is seen that they did."""
    state = _state("waiting_for_somebody_who_decides", 1_204_311, 92_000, parked=12)
    shown = _shown(80, seen=SEEN | {"states": [state | {"machine": machine}], "errors": []})
    assert re.search(r"STAY +SLOW +LONGEST +TROUBLE", shown)
    assert re.search(r"\S… .*\S… +1,204,311 +1m 32s +4m 36s +1h 47m +12 parked", shown), shown


def test_what_others_wrote_does_not_move_the_cursor() -> None:
    """Messages and ids of others are shown as text, in one line."""
    error = _error(1, 1, "o\x1b[2J", "two\nlines \x1b[31m")
    shown = _shown(120, seen=SEEN | {"errors": [error]})
    assert "\x1b" not in shown
    assert "two\\nlines" in shown


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "<1ms"),
        (12, "12ms"),
        (1_430, "1.4s"),
        (61_000, "1m 1s"),
        (7_260_000, "2h 1m"),
        (90_000_000, "1d 1h"),
    ],
)
def test_a_time_that_has_passed(ms: int, text: str) -> None:
    """One or two units, whatever its size."""
    assert lasting(ms) == text


def test_once(decided: Project) -> None:
    """One screen or one document, with the daemon down, which is said first."""
    out = decided.done("top", "--once", "--interval", "100ms").out
    assert "! no daemon runs on this log" in out
    assert re.search(r"task +busy +1", out)
    told = decided.done("top", "--json", "--interval", "100ms").json
    assert told["alarms"][0].startswith("no daemon runs")
    assert told["per_second"]["read"] == 0
    assert {row["state"]: row["workflows"] for row in told["states"]} == {
        "busy": 1,
        "done": 1,
        "new": 0,
    }


def test_what_the_daemon_says_of_itself_stands_first(decided: Project) -> None:
    """Limits that are reached, what blocked the event loop, a log that takes no cut: alarms, once each."""
    told = {
        "monotonic_s": time.monotonic(),
        "shards": 2,
        "serving": 2,
        "limits": [
            {"limit": "callbacks", "shard": None, "meaning": "7 wait"},
            {"limit": "log", "shard": 1, "meaning": "no room on the disk"},
        ],
        "blocked": [
            {"plugin": "old", "blocked_s": 0.3, "where": "old.py:1", "at": "t"},
            {"plugin": "slow", "blocked_s": 0.4, "where": "slow.py:7", "at": "t"},
        ],
    }
    with DaemonLock(decided.root / "event-center.db") as lock:
        lock.say(told)
        answer = decided.done("top", "--json", "--interval", "100ms").json
    assert answer["alarms"] == [
        "shard 1: no room on the disk",
        "at its limit callbacks: 7 wait",
        "event loop blocked for 0.4 s by slow, slow.py:7 (t)",
    ]
    assert "serves 2 of 2 shards" in answer["who"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [(["--interval", "10ms"], 2, "the shortest interval"), (["--interval", "soon"], 2, "duration")],
)
def test_what_can_not_be_meant(
    project: Project, arguments: list[str], code: int, said: str
) -> None:
    """A wrong interval is told in a sentence, before anything is opened."""
    answer = project.run("top", *arguments)
    assert (answer.code, said in answer.err) == (code, True)


def test_no_log_to_watch(project: Project) -> None:
    """Watching makes no log where there is none."""
    answer = project.run("top", "--once")
    assert answer.code == 3
    assert "there is no log at" in answer.err


def test_a_signal_ends_it(decided: Project) -> None:
    """On a terminal it goes on until Ctrl-C, and then leaves the screen as it was, with exit code 0."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(decided.command("top"), cwd=decided.root, stdout=theirs)
    os.close(theirs)
    try:
        shown = b""
        while b"busy" not in shown:
            shown += os.read(ours, 65_536)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
        while b"\x1b[?1049l" not in shown:
            shown += os.read(ours, 65_536)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
