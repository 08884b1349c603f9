"""
Stories: worlds in which a promise was broken once, each a file that can be played again.

A story is a schedule, made short, with the seed and the variant that decide the rest, so that it tells
the same whatever schedules seeds have by then. `scripts/simulate` writes one for each seed that breaks a
promise and plays one with `--story FILE`; those in `stories/` are played in every run of the tests.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from event_center.testing.simulation import Played, play
from event_center.testing.simulation_schedule import Schedule, read_schedule, written
from tests.simulation.workload import storm

FOLDER = Path(__file__).parent / "stories"


class Story(NamedTuple):
    """What is played again."""

    about: str
    """What was wrong."""
    seed: int
    variant: int
    mutation: str
    """The mistake that it shows, made on purpose; empty where none can be made."""
    spared: tuple[str, ...]
    """Calls that nothing goes wrong with."""
    schedule: Schedule

    def play(self) -> Played:
        """Let it happen."""
        return play(self.seed, storm(self.variant), self.schedule, self.spared)

    def write(self, path: Path) -> None:
        """Keep it as a file: one JSON object, a happening a line."""
        head = {name: getattr(self, name) for name in self._fields if name != "schedule"}
        lines = [f'"{name}": {json.dumps(value)},' for name, value in head.items()]
        text = "\n".join(["{", *lines, f'"schedule": {written(self.schedule).rstrip()}', "}", ""])
        path.write_text(text, encoding="utf-8")


def read_story(path: Path) -> Story:
    """
    A story out of its file.

    Raises:
        ValueError, KeyError: the file is no story.
    """
    body = json.loads(path.read_text(encoding="utf-8"))
    schedule = read_schedule(json.dumps(body["schedule"]))
    spared = tuple(body["spared"])
    return Story(body["about"], body["seed"], body["variant"], body["mutation"], spared, schedule)


def kept() -> list[Path]:
    """The files of all that was found in this project."""
    return sorted(FOLDER.glob("*.json"))
