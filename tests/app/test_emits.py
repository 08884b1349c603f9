"""The topics that machines emit to are those of the settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from event_center.app.settings import load_settings
from event_center.app.wiring import make_plan
from event_center.errors import ConfigurationError

MACHINE = """
machine: task
version: 1
initial: idle
perpetual: true
states:
  idle: {on: {go: {emit: {event: gone, topic: mails}}}}
"""


def test_a_topic_that_a_machine_emits_to_is_declared(tmp_path: Path) -> None:
    """A misspelt topic is refused when the center starts, with the place of the emit."""
    (tmp_path / "machines").mkdir()
    (tmp_path / "machines" / "task.yaml").write_text(MACHINE)
    path = tmp_path / "event-center.toml"
    path.write_text('[publish]\ntopics = ["mail"]\n')
    with pytest.raises(ConfigurationError) as raised:
        make_plan(load_settings(path))
    assert str(raised.value) == (
        f"{tmp_path}/machines/task.yaml:7:26: machine 'task' emits to the topic 'mails', which is "
        "not declared; add it to `[publish] topics` of the settings; did you mean 'mail'?"
    )
    path.write_text('[publish]\ntopics = ["mails"]\n')
    assert make_plan(load_settings(path)).publishable == {"mails"}
