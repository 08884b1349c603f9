"""
Several centers on this machine, each a process of its own: the supervisor starts, keeps and ends them.

Promises: every process runs the same command anew (nothing is forked), in a session of its own, so
that a signal of the terminal comes once, from here; one that dies is started again, later each time,
and one that dies at once again and again ends them all with an error that names it; if the supervisor
itself is gone, its processes stop. They share the work through the group of the log and know nothing of
each other. The command `run` makes a supervisor; `report.py` has what it asks its processes.

When are all of them idle? Each answers for the shards that it owns. If all shards are quiet in two
rounds of questions, one after the other, and no record was read from the first answer to the last, then
nothing was under way between two processes either.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass

import anyio
import anyio.abc
import structlog

from event_center.app.report import Report
from event_center.app.settings import Settings
from event_center.errors import ConfigurationError, ProcessFailed

log = structlog.get_logger()

USAGE = 2
"""The exit code of a command whose settings or machines are wrong: another try has the same end."""
UNFINISHED = 5
"""The exit code if a process had to be killed, or was told by a second signal to end at once."""
NOT_STARTED = 1
"""The exit code that stands for a process that the system did not start."""
DOUBLINGS = 16
"""Doublings of a pause at most: by then it is the longest, and a larger number is none any more."""
ASK_S = 0.1
"""Between two rounds of questions: people see no delay, and each wakes every process."""
PROGRESS_S = 10.0
"""
Between two lines about the progress: a log that is read by people, while a start takes minutes.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tempo:
    """How long the supervisor waits for what; times in seconds."""

    again_s: float = 0.5
    """Before a process that died is started again; twice as long after each death that follows."""
    again_max_s: float = 15.0
    quick_s: float = 10.0
    """A process that dies sooner after its start did not get to work."""
    quick_deaths: int = 5
    """So many of these in a row, and another try is of no use."""
    grace_s: float = 20.0
    """How long a process may take to end."""
    margin_s: float = 10.0
    """And how much longer until it is killed."""


def check_shareable(settings: Settings, processes: int) -> None:
    """
    Can so many processes share this log?

    Raises:
        ConfigurationError: they can not; the message says what to write.
    """
    if processes > 1 and settings.log.kind != "kafka":
        raise ConfigurationError(
            f"{processes} processes can not share the log at "
            f"{settings.under_root(settings.log.path)}: a file has one daemon, which uses one core. "
            'Leave --processes and [engine] processes out, or write [log] kind = "kafka", whose '
            "shards several daemons share"
        )


def of_process(settings: Settings, number: int) -> Settings:
    """The settings of one process of several: an instance_id, which only one may have, gets its number."""
    kafka = settings.log.kafka
    if not kafka.instance_id:
        return settings
    own = kafka.model_copy(update={"instance_id": f"{kafka.instance_id}-{number}"})
    return settings.model_copy(update={"log": settings.log.model_copy(update={"kafka": own})})


class Supervisor:
    """Runs one command in several processes."""

    def __init__(
        self, command: Sequence[str], processes: int, *, shards: int, tempo: Tempo
    ) -> None:
        self._command = list(command)
        self._count = processes
        self._shards = shards
        self._tempo = tempo
        self._children: dict[int, _Child] = {}
        self._asked = 0
        self._stopping = anyio.Event()
        self._killing = anyio.Event()
        self._code = 0
        self._failed: ProcessFailed | None = None

    async def run(self, *, until_idle: bool = False) -> int:
        """
        Keep the processes until `stop`; returns the exit code that stands for all of them.

        Args:
            until_idle: stop by itself once all shards are quiet.

        Raises:
            ProcessFailed: one of them dies again and again, or its settings are wrong.
        """
        log.info("supervisor.started", processes=self._count, shards=self._shards)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._kill_late, name="kill late processes")
            async with anyio.create_task_group() as living:
                # The first one alone finds what is wrong with the settings, and makes topics.
                for number in range(1, self._count + 1):
                    await living.start(self._keep, number, name=f"process {number}")
                if until_idle:
                    living.start_soon(self._stop_when_idle, name="until idle")
            tasks.cancel_scope.cancel()
        log.info("supervisor.stopped", code=self._code)
        if self._failed is not None:
            raise self._failed
        return self._code

    def stop(self) -> None:
        """Ask every process to end; asked again, to end at once."""
        self._asked += 1
        self._stopping.set()
        for child in self._children.values():
            child.signal(signal.SIGTERM)
        if self._asked > 1:
            self._killing.set()

    # -- one process -----------------------------------------------------------------------------

    async def _keep(
        self, number: int, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Start one process, again and again, until `stop`; started once it has answered."""
        deaths, unstarted, told = 0, 0, False
        while not self._stopping.is_set():
            begun = anyio.current_time()
            refused = ""
            try:
                child = self._children[number] = await self._started(number)
            except OSError as error:  # no more processes, files or memory for a moment
                refused, code = str(error), NOT_STARTED
            else:
                if not told and await child.ask() is not None:
                    task_status.started()
                    told = True
                code = await child.ended()
                del self._children[number]
            if self._stopping.is_set():
                if not refused:
                    self._note(number, code)
                break
            lived_s = anyio.current_time() - begun
            if refused:
                unstarted += 1
            else:
                unstarted, deaths = 0, deaths + 1 if code and lived_s < self._tempo.quick_s else 0
            if not (refused and self._children):  # while others live, nobody is given up for that
                self._look_at_end(number, code, unstarted or deaths)
            doublings = min(max(0, (unstarted or deaths) - 1), DOUBLINGS)
            wait_s = min(self._tempo.again_s * 2**doublings, self._tempo.again_max_s)
            self._say(number, code, refused, lived_s=lived_s, again_in_s=wait_s)
            with anyio.move_on_after(wait_s):
                await self._stopping.wait()
        if not told:
            task_status.started()

    @staticmethod
    def _say(number: int, code: int, refused: str, *, lived_s: float, again_in_s: float) -> None:
        again = {"number": number, "again_in_s": again_in_s}
        if refused:
            log.warning("supervisor.process_not_started", why=refused, **again)
        else:
            log.warning("supervisor.process_ended", code=code, lived_s=round(lived_s, 1), **again)

    async def _started(self, number: int) -> _Child:
        ours, theirs = socket.socketpair()
        with theirs, contextlib.ExitStack() as failed:
            failed.callback(ours.close)
            process = await anyio.open_process(
                [*self._command, "--child", str(number)],
                stdin=theirs.fileno(),
                stdout=None,
                stderr=None,
                start_new_session=True,
            )
            failed.pop_all()
        child = _Child(process, *await asyncio.open_unix_connection(sock=ours))
        log.info("supervisor.process_started", number=number, pid=process.pid)
        for _ in range(self._asked):  # a stop that came while it was being started
            child.signal(signal.SIGTERM)
        return child

    def _look_at_end(self, number: int, code: int, deaths: int) -> None:
        """Give all of them up if another try with this one has no use."""
        if code == USAGE:
            why = (
                f"process {number} ended with code {code}: its settings or machines are wrong; the "
                "line above says how, and `event-center check` finds all of it"
            )
        elif deaths >= self._tempo.quick_deaths:
            why = (
                f"process {number} ended {deaths} times within {self._tempo.quick_s:g} s of its start, "
                f"at last with code {code}: the lines above say why; mend it and run again"
            )
        else:
            return
        self._failed = ProcessFailed(why, code)
        self.stop()

    def _note(self, number: int, code: int) -> None:
        """How a process ended that was asked to: SIGTERM itself ends one that was just starting."""
        if code == -signal.SIGTERM:
            code = 0
        if code < 0:
            log.warning("supervisor.process_killed", number=number, code=code)
            code = UNFINISHED
        self._code = max(self._code, code)

    async def _kill_late(self) -> None:
        """Nothing of ours outlives the grace time, or an error."""
        try:
            await self._stopping.wait()
            with anyio.move_on_after(self._tempo.grace_s):
                await self._killing.wait()
            await anyio.sleep(self._tempo.margin_s)
        finally:
            for child in self._children.values():
                child.signal(signal.SIGKILL)

    # -- all of them -----------------------------------------------------------------------------

    async def _stop_when_idle(self) -> None:
        """Ask all of them, round after round, until two in a row find nothing left to do."""
        before, due = None, anyio.current_time() + PROGRESS_S
        while not self._stopping.is_set():
            found = await self._round()
            quiet = found is not None and len(found.quiet) == self._shards
            if found is not None and quiet and found.read == before:
                self.stop()
                return
            before = found.read if found is not None and quiet else None
            if found is not None and anyio.current_time() >= due:
                due += PROGRESS_S
                log.info("supervisor.progress", read=found.read, lag=found.lag)
            with anyio.move_on_after(ASK_S):
                await self._stopping.wait()

    async def _round(self) -> Report | None:
        """All answers together; None if one of them does not come."""
        answers = []
        for child in list(self._children.values()):
            answer = await child.ask()
            if answer is None:
                return None
            answers.append(answer)
        if len(answers) < self._count:
            return None
        return Report(
            read=sum(one.read for one in answers),
            lag=sum(one.lag for one in answers),
            quiet=tuple({shard for one in answers for shard in one.quiet}),
        )


class _Child:
    """One process that runs, and the line to it."""

    def __init__(
        self,
        process: anyio.abc.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer

    async def ask(self) -> Report | None:
        """How far it is; None if it is gone."""
        with contextlib.suppress(ConnectionError):
            self._writer.write(b"\n")
            await self._writer.drain()
            line = await self._reader.readline()
            return Report.read_line(line) if line else None
        return None

    async def ended(self) -> int:
        """Wait for its end; returns its exit code, or the negative number of a signal."""
        try:
            return await self._process.wait()
        finally:
            self._writer.close()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)
