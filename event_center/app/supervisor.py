"""
Several centers on this machine, each a process of its own: the supervisor starts, keeps and ends them.

Promises: every process runs the same command anew (nothing is forked), in a session of its own, so
that a signal of the terminal comes once, from here; one that dies, or that the system does not start, is
tried again, later each time, and keeps no other one waiting; one that ends at once again and again,
with whatever code, ends them all with an error that names it, as does one that is never started where
nobody can go on without it; one that is gone is not waited for, whatever it left behind; if the
supervisor itself is gone, its processes stop. They share the work through the group of the log and know
nothing of each other. The command `run` makes a supervisor; `child.py` has one process.

When are all of them idle? Each answers for the shards that it owns. If all shards are quiet in two
rounds of questions, one after the other, and no record was read from the first answer to the last, then
nothing was under way between two processes either.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass

import anyio
import structlog

from event_center.app.child import Child
from event_center.app.report import Report
from event_center.app.settings import Settings
from event_center.errors import ConfigurationError, ProcessFailed

log = structlog.get_logger()

USAGE = 2
"""The exit code of a command whose settings or machines are wrong: another try has the same end."""
UNFINISHED = 5
"""The exit code if a process had to be killed, or was told by a second signal to end at once."""
FAILED = 1
"""The exit code that stands for a process that the system did not start, or that ended at once with 0."""
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
    """A process that ends sooner after its start, with whatever code, did not get to work."""
    quick_deaths: int = 5
    """So many of these in a row, or of starts that the system refused, and another try is of no use."""
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
        self._children: dict[int, Child] = {}
        self._asked = 0
        self._until_idle = False
        self._first_told = anyio.Event()
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
            ProcessFailed: one of them dies again and again, can not be started, or its settings are
                wrong.
        """
        self._until_idle = until_idle
        log.info("supervisor.started", processes=self._count, shards=self._shards)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._kill_late, name="kill late processes")
            async with anyio.create_task_group() as living:
                # The first one alone finds what is wrong with the settings, and makes topics.
                living.start_soon(self._keep, 1, name="process 1")
                await self._first_told.wait()
                for number in range(2, self._count + 1):
                    living.start_soon(self._keep, number, name=f"process {number}")
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
        self._first_told.set()  # nobody waits for it any more
        for child in self._children.values():
            child.signal(signal.SIGTERM)
        if self._asked > 1:
            self._killing.set()

    # -- one process -----------------------------------------------------------------------------

    async def _keep(self, number: int) -> None:
        """Start one process, again and again, until `stop`."""
        deaths = unstarted = in_vain = 0
        while not self._stopping.is_set():
            begun = anyio.current_time()
            try:
                child = await self._started(number)
            except OSError as error:  # no more processes, files or memory for a moment
                if self._stopping.is_set():
                    break
                unstarted += 1
                in_vain = 0 if self._do_without() else in_vain + 1
                self._look_at_unstarted(number, str(error), in_vain)
                wait_s = self._pause_s(unstarted)
                again = {"number": number, "again_in_s": wait_s}
                log.warning("supervisor.process_not_started", why=str(error), **again)
            else:
                unstarted = in_vain = 0
                code = await self._end_of(number, child)
                lived_s = anyio.current_time() - begun
                if self._stopping.is_set():
                    self._note(number, code)
                    break
                deaths = deaths + 1 if lived_s < self._tempo.quick_s else 0
                self._look_at_end(number, code, deaths)
                wait_s = self._pause_s(deaths)
                again = {"number": number, "again_in_s": wait_s}
                log.warning(
                    "supervisor.process_ended", code=code, lived_s=round(lived_s, 1), **again
                )
            with anyio.move_on_after(wait_s):
                await self._stopping.wait()

    async def _started(self, number: int) -> Child:
        child = await Child.start([*self._command, "--child", str(number)])
        self._children[number] = child
        log.info("supervisor.process_started", number=number, pid=child.pid)
        for _ in range(self._asked):  # a stop that came while it was being started
            child.signal(signal.SIGTERM)
        return child

    async def _end_of(self, number: int, child: Child) -> int:
        """Wait until this process is gone; the others may start once the first one has answered."""
        async with anyio.create_task_group() as tasks:
            if not self._first_told.is_set():
                tasks.start_soon(self._hear_first, child, name=f"first answer of process {number}")
            code = await child.ended()
        del self._children[number]
        return code

    async def _hear_first(self, child: Child) -> None:
        if await child.ask() is not None:
            self._first_told.set()

    def _do_without(self) -> bool:
        """Do others go on while a process can not be started? Until idle none may be missing."""
        return bool(self._children) and not self._until_idle

    def _pause_s(self, failures: int) -> float:
        """How long to wait after so many in a row."""
        doublings = min(max(0, failures - 1), DOUBLINGS)
        return min(self._tempo.again_s * 2.0**doublings, self._tempo.again_max_s)

    def _look_at_end(self, number: int, code: int, deaths: int) -> None:
        """Give all of them up if another try with this one has no use."""
        if code == USAGE:
            why = (
                f"process {number} ended with code {code}: its settings or machines are wrong; the "
                "line above says how, and `event-center check` finds all of it"
            )
        elif deaths >= self._tempo.quick_deaths:
            unasked = "" if code else ", though this command had not asked it to end"
            why = (
                f"process {number} ended {deaths} times within {self._tempo.quick_s:g} s of its start, "
                f"at last with code {code}{unasked}: the lines above say why; mend it and run again"
            )
        else:
            return
        self._give_up(why, code or FAILED)

    def _look_at_unstarted(self, number: int, why: str, in_vain: int) -> None:
        """Give all of them up if the system does not start this one, and nobody goes on without it."""
        if in_vain >= self._tempo.quick_deaths:
            self._give_up(
                f"the system did not start process {number}, {in_vain} times in a row: {why}; give it "
                "what it lacks (`ulimit -a` shows the limits of processes, files and memory) and run again",
                FAILED,
            )

    def _give_up(self, why: str, code: int) -> None:
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
        """All answers together; None if a process is missing, or its answer."""
        if len(self._children) < self._count:
            return None
        answers = []
        for child in list(self._children.values()):
            answer = await child.ask()
            if answer is None:
                return None
            answers.append(answer)
        return Report(
            read=sum(one.read for one in answers),
            lag=sum(one.lag for one in answers),
            quiet=tuple({shard for one in answers for shard in one.quiet}),
        )
