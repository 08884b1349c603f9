"""The wiring: settings reach what they are the settings of, and what is missing is told."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from event_center.app.machines import load_machines
from event_center.app.opening import open_log
from event_center.app.settings import load_settings
from event_center.app.wiring import make_plan
from event_center.errors import ConfigurationError, ExpressionError, NotCommitted
from event_center.model import Outgoing


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test starts in an empty folder."""
    monkeypatch.chdir(tmp_path)


def test_the_limits_reach_the_engine() -> None:
    """Each limit of [engine] is the limit that the engine works with."""
    Path("machines").mkdir()
    engine = {
        "max_waiting": 1,
        "callbacks": 2,
        "threads": 3,
        "mailbox": 4,
        "cut_records": 5,
        "warm": 7,
        "grace": "6s",
    }
    limits = make_plan(load_settings(overrides={"engine": engine})).limits
    assert (limits.max_waiting, limits.callbacks, limits.threads) == (1, 2, 3)
    assert (limits.mailbox, limits.cut_records, limits.grace_s) == (4, 5, 6.0)
    assert limits.warm == 7


async def test_the_busy_timeout_reaches_the_log(tmp_path: Path) -> None:
    """A write waits for another process as long as `log.busy_timeout` says, and no longer."""
    settings = load_settings(overrides={"log": {"busy_timeout": "50ms"}})
    log = await open_log(settings)
    other = sqlite3.connect(tmp_path / "event-center.db", isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(NotCommitted, match="another process"):
            await log.publish([Outgoing("event-center.inbox", b"k", b"v")])
        other.execute("ROLLBACK")
        await log.publish([Outgoing("event-center.inbox", b"k", b"v")])
    finally:
        other.close()
        await log.close()


def test_no_settings_file_and_no_machines(tmp_path: Path) -> None:
    """In a wrong folder the first thing that is said is where a settings file was looked for."""
    with pytest.raises(ConfigurationError) as caught:
        load_machines(load_settings())
    message = str(caught.value)
    assert message.startswith("no settings file was found: ")
    assert f"{tmp_path}/config/event-center.toml" in message
    assert f"{tmp_path}/event-center.toml" in message
    assert "--config" in message
    assert "`machines` names machines, which does not exist either" in message


@pytest.mark.parametrize(
    ("topic", "said"),
    [
        (
            'machine = "nobody"',
            "event-center.toml:3: [topics.post] machine 'nobody' is not defined",
        ),
        ('machine = "=body."', "event-center.toml:3: [topics.post] machine: '=body.': not an"),
        (
            'machine = "=key"\nid = "=body."',
            "event-center.toml:4: [topics.post] id: '=body.': not an",
        ),
    ],
)
def test_a_topics_problem_has_its_line(topic: str, said: str) -> None:
    """What does not fit the rest of the project, or is no expression, is told with its line."""
    Path("machines").mkdir()
    Path("event-center.toml").write_text(f"\n[topics.post]\n{topic}\n", encoding="utf-8")
    with pytest.raises((ConfigurationError, ExpressionError)) as caught:
        make_plan(load_settings())
    assert str(caught.value).startswith(said)


def test_machines_that_a_settings_file_names_wrongly() -> None:
    """With a settings file, what it names wrongly is told."""
    Path("event-center.toml").write_text('machines = ["mashines"]', encoding="utf-8")
    with pytest.raises(
        ConfigurationError, match=r"^event-center.toml:1: machines names mashines, which"
    ):
        load_machines(load_settings())
