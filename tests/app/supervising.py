"""Supervisors of children that stand for centers, and what can be seen of them from outside."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from event_center.app.supervisor import Supervisor, Tempo
from tests.waiting import PATIENCE_S

CHILD = Path(__file__).with_name("children.py")
QUICK = Tempo(
    again_s=0.01,
    again_max_s=0.02,
    quick_s=PATIENCE_S,
    quick_deaths=3,
    grace_s=PATIENCE_S,
    margin_s=0.2,
)


def answer(read: int, *quiet: int) -> dict[str, Any]:
    return {"read": read, "lag": 0, "quiet": quiet}


def supervisor(
    folder: Path,
    script: str,
    *answers: list[dict[str, Any]],
    shards: int = 2,
    tempo: Tempo = QUICK,
) -> Supervisor:
    """One of children that give these answers."""
    for number, one in enumerate(answers, 1):
        (folder / f"{number}.json").write_text(json.dumps(one))
    command = [sys.executable, "-S", str(CHILD), script, str(folder)]
    return Supervisor(command, len(answers), shards=shards, tempo=tempo)


def starts(folder: Path, number: int) -> list[int]:
    """The ids of the processes that were started under this number."""
    path = folder / f"{number}.starts"
    return [int(pid) for pid in path.read_text().split()] if path.exists() else []


def asked(folder: Path, number: int) -> int:
    """How often a child was asked."""
    path = folder / f"{number}.asked"
    return int(path.read_text() or 0) if path.exists() else 0


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
