"""The supervisor on a machine that refuses processes: who is tried, who waits, and when all of them end."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import pytest

from event_center.app.supervisor import Supervisor
from event_center.errors import ProcessFailed
from tests.app.supervising import QUICK, answer, runs, starts, supervisor
from tests.waiting import until

REFUSED = (
    BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"),
    RuntimeError("can't start new thread"),  # of the thread that waits for a process
)
IDLE = [answer(1, 0, 1)]


class System:
    """It starts processes, unless it refuses them."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, refuses: Callable[[str, int], bool]
    ) -> None:
        """`refuses` says of a process, by its number, whether this try is refused; the first is 1."""
        self.tries: Counter[str] = Counter()
        self.error: Exception = REFUSED[0]
        self.meanwhile: Callable[[str, int], Awaitable[None]] | None = None
        self._refuses = refuses
        self._opened = anyio.open_process
        monkeypatch.setattr(anyio, "open_process", self._open)

    async def _open(self, command: list[str], **options: Any) -> Any:
        number = command[-1]
        self.tries[number] += 1
        tries = self.tries[number]
        if self.meanwhile is not None:
            await self.meanwhile(number, tries)
        if self._refuses(number, tries):
            raise self.error
        return await self._opened(command, **options)


@asynccontextmanager
async def running(made: Supervisor) -> AsyncIterator[list[int]]:
    """It runs meanwhile, and is stopped then; yields where its exit code will be."""
    codes: list[int] = []

    async def run() -> None:
        codes.append(await made.run())

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run())
        yield codes
        made.stop()


@pytest.mark.parametrize("error", REFUSED)
@pytest.mark.parametrize("refused", [1, 3])
async def test_one_that_can_not_be_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: int, error: Exception
) -> None:
    """The system may refuse a process for a moment: it is tried again, as often as one that dies."""
    system = System(monkeypatch, lambda _, tries: tries <= refused)
    system.error = error
    made = supervisor(tmp_path, "obey", IDLE)
    if refused < QUICK.quick_deaths:
        assert await made.run(until_idle=True) == 0
    else:
        with pytest.raises(
            ProcessFailed, match=f"not start process 1, 3 times .*{error.args[-1]}"
        ) as end:
            await made.run(until_idle=True)
        assert end.value.code == 1


async def test_while_others_live_nobody_is_given_up_for_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that is short of processes for a while ends no daemon that is well."""
    refused = QUICK.quick_deaths + 2
    system = System(monkeypatch, lambda number, tries: number == "2" and tries <= refused)
    made = supervisor(tmp_path, "obey", IDLE, IDLE)
    async with running(made) as codes:
        await until(lambda: system.tries["2"] > refused)
    assert codes == [0]
    assert len(starts(tmp_path, 1)) == 1


async def test_each_is_tried_on_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is never started keeps those after it from nothing."""
    system = System(monkeypatch, lambda number, _: number == "2")
    made = supervisor(tmp_path, "obey", IDLE, IDLE, IDLE)
    async with running(made) as codes:
        await until(lambda: bool(starts(tmp_path, 3)) and system.tries["2"] > QUICK.quick_deaths)
    assert codes == [0]


@pytest.mark.parametrize("refused", [2, 1000])
async def test_idleness_needs_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: int
) -> None:
    """Until idle, one that is never started ends all with an error, while others live too."""
    System(monkeypatch, lambda number, tries: number == "2" and tries <= refused)
    made = supervisor(tmp_path, "obey", IDLE, IDLE, IDLE)
    if refused < QUICK.quick_deaths:
        assert await made.run(until_idle=True) == 0
    else:
        with pytest.raises(ProcessFailed, match="process 2, 3 times in a row") as end:
            await made.run(until_idle=True)
        assert end.value.code == 1
    assert not any(runs(pid) for number in (1, 2, 3) for pid in starts(tmp_path, number))


async def test_nobody_lives_for_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal while the only other one is being started again is the first of some, not one too many."""
    many = QUICK.quick_deaths + 2
    made = supervisor(tmp_path, "obey", IDLE, IDLE)
    system = System(monkeypatch, lambda number, tries: number == "2" and tries <= many + 1)

    async def meanwhile(number: str, tries: int) -> None:
        match number, tries:
            case "2", _ if tries == many + 1:
                await until(lambda: 1 not in made._children)
            case "1", 2:
                await until(lambda: system.tries["2"] == many + 2)
            case "2", _ if tries == many + 2:
                await until(lambda: 1 in made._children)

    system.meanwhile = meanwhile
    async with running(made) as codes:
        await until(lambda: system.tries["2"] == many + 1)
        os.kill(starts(tmp_path, 1)[0], signal.SIGKILL)
        await until(lambda: bool(starts(tmp_path, 2)))
    assert codes == [0]


async def test_nobody_lives_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without anybody who goes on, errors that last end the command."""
    System(monkeypatch, lambda number, tries: (number, tries) != ("1", 1))
    made = supervisor(tmp_path, "obey", IDLE, IDLE)

    async def kill() -> None:
        await until(lambda: bool(starts(tmp_path, 1)))
        os.kill(starts(tmp_path, 1)[0], signal.SIGKILL)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(kill())
        with pytest.raises(ProcessFailed, match="3 times in a row"):
            await made.run()


async def test_a_line_that_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a line to it no process is started: nobody would look after it."""
    system = System(monkeypatch, lambda number, tries: False)
    opened, errors = asyncio.open_unix_connection, [OSError(errno.ENOSPC, "No space left")]

    async def opening(*args: Any, **options: Any) -> Any:
        if errors:
            raise errors.pop()
        return await opened(*args, **options)

    monkeypatch.setattr(asyncio, "open_unix_connection", opening)
    assert await supervisor(tmp_path, "obey", IDLE).run(until_idle=True) == 0
    assert errors == []
    assert system.tries["1"] == 1


async def test_a_refusal_that_comes_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that runs already when the system refuses what belongs to it is ended by its line."""
    opened = anyio.open_process
    late: list[anyio.abc.Process] = []

    async def opening(*args: Any, **options: Any) -> Any:
        process = await opened(*args, **options)
        if not late:
            late.append(process)
            raise REFUSED[1]
        return process

    monkeypatch.setattr(anyio, "open_process", opening)
    assert await supervisor(tmp_path, "obey", IDLE).run(until_idle=True) == 0
    assert await late[0].wait() == 0
    assert len(starts(tmp_path, 1)) == 2
