"""
Daemons on Kafka that live shortly: each dies at a step, at an await, or comes to its end.

They are real processes, forked from one that has imported everything, so that a life takes tenths of a
second; SIGKILL ends them as it does any other. They have one `instance_id`, one after the other: who is
back under it waits for nobody's session.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Collection
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.crash import daemon
from tests.kafka.project import Project
from tests.waiting import PATIENCE_S

RELAY = Path(__file__).parent / "machines" / "relay.yaml"
PINGS = '[publish]\ntopics = ["mail"]\n[topics.pings]\nmachine = "relay"\n'
FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload([__name__])


def _live(output: str, arguments: list[str]) -> None:
    """What the process does."""
    with Path(output).open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    daemon.main(arguments)


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
        self._begun: list[BaseProcess] = []

    def begin(self, *arguments: str) -> BaseProcess:
        """A life beside others."""
        words = [str(self.settings), *arguments]
        process = FORKED.Process(target=_live, args=(str(self.folder / "daemon.log"), words))
        process.start()
        self._begun.append(process)
        return process

    def ended(self) -> list[int]:
        """How the lives ended that were begun beside others; each has to, within a bounded time."""
        codes = []
        for process in self._begun:
            process.join(PATIENCE_S)
            assert process.exitcode is not None, f"it never ended: {self.said()}"
            codes.append(process.exitcode)
            process.close()
        self._begun.clear()
        return codes

    def live(self, *arguments: str) -> int:
        """One life; how it ended."""
        process = self.begin(*arguments)
        process.join(PATIENCE_S)
        self._begun.remove(process)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise AssertionError(f"{arguments} never ended: {self.said()}")
        code = process.exitcode
        process.close()
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

    def end(self) -> None:
        """End what runs."""
        for process in self._begun:
            process.kill()
        for process in self._begun:
            process.join()
            process.close()
        self._begun.clear()
        super().end()
