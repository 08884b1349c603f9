"""Log lines: for people and for programs, from the level that the settings name."""

from __future__ import annotations

import orjson
import pytest
import structlog

from event_center.app.settings import LoggingSettings
from event_center.cli.log_lines import set_up_logging


def test_a_line_for_people_says_first_whose_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Fields stand in the order in which they were given, and where nobody looks there is no colour."""
    set_up_logging(LoggingSettings(format="console"))
    structlog.get_logger().warning("run.failed", workflow_id="o-1", attempt=2, error="E")
    line = capsys.readouterr().err
    assert "workflow_id=o-1 attempt=2 error=E" in line
    assert "\x1b" not in line


def test_a_line_for_programs_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    """One object a line: time, level and name first, then fields of any type."""
    set_up_logging(LoggingSettings(format="json"), process=3)
    structlog.get_logger().info("label.printed", at={1: object}, key=b"k")
    told = orjson.loads(capsys.readouterr().err)
    assert list(told)[:3] == ["timestamp", "level", "event"]
    assert (told["event"], told["process"]) == ("label.printed", 3)


@pytest.mark.parametrize(("level", "lines"), [("debug", 3), ("info", 2), ("warning", 1)])
def test_the_level_is_that_of_the_settings(
    capsys: pytest.CaptureFixture[str], level: str, lines: int
) -> None:
    """What is below it costs nothing and writes nothing."""
    set_up_logging(LoggingSettings.model_validate({"level": level, "format": "json"}))
    log = structlog.get_logger()
    for told in (log.debug, log.info, log.warning):
        told("it.happened")
    assert len(capsys.readouterr().err.splitlines()) == lines
