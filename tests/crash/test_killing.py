"""A few kills amid everything at once; `scripts/kills` is the same for long (docs/guarantees.md)."""

from __future__ import annotations

from pathlib import Path

from tests.crash.killing import Report, Series

KILLS = 6


def test_kills_amid_everything(tmp_path: Path) -> None:
    """P1 to P8 hold over kills amid bad input, holds, letters, commands, hanging callbacks and limits."""
    report = Report()
    Series(tmp_path, seed=1, report=report).run(KILLS, lambda: None)
    assert report.violations == []
    assert report.kills.total() == KILLS
    assert report.found["history"].keys() >= {"created", "timer", "run", "command", "removed"}
    assert report.found["refused"].keys() >= {
        "held_full",
        "too_large",
        "waiting_full",
        "undecodable",
    }
    assert report.found["runs"].keys() >= {"done", "failed", "given_up"}
    assert report.found["all"]["takeovers"] > KILLS
