"""
Daemons on Kafka that live shortly: each dies at a step, at an await, or comes to its end.

They are real processes that begin with everything imported (`tests/forked.py`), so that a life takes
tenths of a second. They have one `instance_id`, one after the other: who is
back under it waits for nobody's session.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Collection
from pathlib import Path

from tests.crash import daemon
from tests.forked import Forked
from tests.kafka.project import Project
from tests.waiting import PATIENCE_S

RELAY = Path(__file__).parent / "machines" / "relay.yaml"
PINGS = '[publish]\ntopics = ["mail"]\n[topics.pings]\nmachine = "relay"\n'


class Lives(Project):
    """A project in two shards, of relays unless told otherwise, and the lives of its daemons."""

    def __init__(
        self,
        folder: Path,
        *,
        machines: str = str(RELAY),
        topics: str = PINGS,
        more: str = "",
        instance_id: str = "one",
        session: str = "30s",
    ) -> None:
        written = f'instance_id = "{instance_id}"\n{more}\n{topics}'
        super().__init__(folder, machines=machines, topics=written, partitions=2, session=session)
        self.deaths = 0
        self._begun: list[Forked] = []

    def begin(self, *arguments: str) -> Forked:
        """A life beside others."""
        process = self.started(daemon.main, [str(self.settings), *arguments])
        self._begun.append(process)
        return process

    def ended(self) -> list[int]:
        """How the lives ended that were begun beside others; each has to, within a bounded time."""
        codes = [self._ended(process) for process in self._begun]
        self._begun.clear()
        return codes

    def _ended(self, process: Forked) -> int:
        """How a life has ended."""
        try:
            return process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{process.args} never ended: {self.said()}") from None

    def live(self, *arguments: str) -> int:
        """One life; how it ended."""
        code = self._ended(self.started(daemon.main, [str(self.settings), *arguments]))
        self.deaths += code == -signal.SIGKILL
        return code

    def live_to_the_end(self, *arguments: str) -> None:
        """A life that comes to its end."""
        assert self.live(*arguments) == 0, self.said()

    def die(self, *arguments: str) -> None:
        """A life that does not."""
        assert self.live(*arguments) == -signal.SIGKILL, f"{arguments}: {self.said()}"

    def die_at_one_of(self, awaits: Collection[str], *arguments: str) -> set[str]:
        """Where a life stood that ended at one of these awaits; nowhere, if it came to its end."""
        stood = self.folder / "stood"
        stood.unlink(missing_ok=True)
        words = [word for name in awaits for word in ("--await", name)]
        code = self.live(*words, "--stood", str(stood), *arguments)
        if not stood.exists():
            assert code == 0, self.said()
            return set()
        return set(stood.read_text(encoding="utf-8").splitlines())
