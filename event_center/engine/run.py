"""
Runs: single executions of callbacks, awaited inline until they suspend.

A few long-lived asyncio tasks, the *runners*, take runs from one queue. A callback that does not
suspend costs an await and no asyncio task. When one suspends, its runner stays with it and the next
runner goes on with the queue, so callbacks wait side by side, up to a limit per process. A callback
runs in an asyncio task of its own for as long as it lasts: `asyncio.timeout`, anyio's cancel scopes
and everything built on them work in it. Plain functions run in `threads`. `effect` and
`deciding` submit runs; the member makes the pool.

Numbered steps of a run (the third is reached in `effect` and `deciding`, which decide the result):
    1. started: the runner is about to call the callback
    2. returned: the callback has returned or raised, nobody knows it yet
    3. decided: its result is in the next cut
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Sequence
from contextvars import copy_context
from functools import partial
from typing import Any, Protocol

import anyio
import anyio.abc
import structlog

from event_center import failpoint
from event_center.engine.narrow import Narrow
from event_center.engine.threads import Threads
from event_center.errors import Interrupted
from event_center.failpoint import Step
from event_center.model import OutgoingParts
from event_center.plugins.context import Context
from event_center.plugins.signatures import Callback

log = structlog.get_logger()

SWEEP_S = 0.05
"""How long until callbacks that were started are looked at: a timeout is late by at most twice this."""
ABANDON_S = 5.0
"""How long a cancelled callback may take to end before its workflow goes on: time to clear up."""
RUNS_IN_A_ROW = 256
"""Runs that one runner does before other asyncio tasks get their turn: a few milliseconds of short ones."""
SPARE = 64
"""Idle runners that are kept: making one costs more than waking one."""


class Pool(Protocol):
    """Who does runs: `Runners`, or a door of `quarantine` before them."""

    def submit(self, run: Run) -> None:
        """Start the run as soon as it may."""

    def cancel(self, run: Run, why: BaseException) -> None:
        """End a run early."""


class Run:
    """One execution of one callback; whoever starts it says in `ended` what its end means."""

    grace_s = ABANDON_S
    """How long it may take to end once it was asked to; then its workflow goes on without it."""
    asks = False
    """Whether it asks what became of an attempt before it, instead of being one itself."""

    __slots__ = ("callback", "context", "deadline", "over", "sends", "stop", "task", "timeout_s")

    def __init__(self, callback: Callback, context: Context, timeout_s: float) -> None:
        self.callback = callback
        self.context = context
        self.timeout_s = timeout_s
        self.deadline = 0.0
        """By the event loop's clock; 0 until the sweep sees it under way, inf while it has no thread."""
        self.task: asyncio.Task[Any] | None = None
        self.stop: BaseException | None = None
        """Why we cancelled it; becomes its error."""
        self.over = False
        self.sends: Sequence[OutgoingParts] = ()
        """What its callback emitted and published, once the outbox has looked at it."""

    def ended(self, value: Any, error: BaseException | None) -> None:
        """Called once, synchronously, with what the callback returned or raised."""
        raise NotImplementedError

    def overdue(self, _now: float) -> BaseException | None:
        """Why it is to be ended now that its deadline is over; None: it has a new deadline."""
        return TimeoutError(f"no result within {self.timeout_s:g} s")

    def late(self, _value: Any) -> None:
        """Called when it ends after its end was reported: what it has to say is dropped."""
        log.warning(
            "run.late",
            workflow_id=self.context.workflow_id,
            callback=self.callback.name,
            key=self.context.idempotency_key,
        )

    def end(self, value: Any, error: BaseException | None) -> None:
        """Report the end, unless it has been reported: a late result of an abandoned run is dropped."""
        if self.over:
            self.late(value)
            return
        self.over = True
        self.ended(value, error)


async def forgive(task: asyncio.Task[Any] | None) -> None:
    """Take back cancellations that a callback asked for itself, or was asked to: they end nobody else."""
    while task is not None and task.cancelling() and not _ending():
        task.uncancel()
        # Before Python 3.13, one that was not raised yet is raised at the next await all the same.
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)


def _ending() -> bool:
    """Whether the task group that this asyncio task belongs to is cancelled."""
    return anyio.current_effective_deadline() == -math.inf


def unsure(run: Run) -> int:
    """The `starts` of what this run has failed at: 1 if it may have happened all the same."""
    return int(run.asks or run.stop is not None)


def _called(run: Run) -> tuple[Any, BaseException | None]:
    """What a plain function returned and what it raised; this is called in its thread."""
    try:
        return run.callback.call(run.context), None
    except BaseException as error:  # noqa: BLE001 - user code: whatever it raises is its failure
        return None, error


class Runners:
    """The process's pool of runners, shared by its shards."""

    def __init__(self, tasks: anyio.abc.TaskGroup, limit: int, *, threads: int) -> None:
        self._tasks = tasks
        self._limit = limit
        self._queue: deque[Run] = deque()
        self._idle: list[asyncio.Future[None]] = []
        self._count = 0
        self._waking = False
        self._closing = False
        self._under_way: dict[Run, None] = {}
        self._sweeping = False
        """A sweep comes within `SWEEP_S`: what is started until then is seen by it."""
        self._alarm: asyncio.TimerHandle | None = None
        """The sweep at the earliest deadline that is known."""
        self._threads = Threads(min(limit, threads))
        self.narrow: Narrow[Run] = Narrow()
        """Of the callbacks that have a limit of their own."""
        self._loop = asyncio.get_running_loop()

    @property
    def queued(self) -> int:
        """Runs that wait for a runner, or for the limit of their callback."""
        return len(self._queue) + self.narrow.waiting

    @property
    def full(self) -> bool:
        """Whether runs wait because as many are under way as may be."""
        return bool(self._queue) and self._count >= self._limit

    @property
    def without_thread(self) -> int:
        """Runs of plain functions that wait for a thread."""
        return self._threads.waiting

    def submit(self, run: Run) -> None:
        """Start the run as soon as a runner is free; it may end before the caller's next await does."""
        if run.callback.limit and not self.narrow.admits(run):
            return
        self._queue.append(run)
        if not self._waking:
            self._waking = True
            self._wake_one()
            self._loop.call_soon(self._wake_more)

    def cancel(self, run: Run, why: BaseException) -> None:
        """End a run early: it ends with `why`, at once if it has not started yet."""
        if run.over:
            return
        if run.task is None:
            run.stop = why
            run.end(None, why)
        elif run.stop is None:
            run.stop = why
            run.deadline = self._loop.time() + run.grace_s
            self._sweep_soon()
            run.task.cancel()

    def close(self) -> None:
        """Cancel every run that is under way; no further one starts."""
        self._closing = True
        self._queue.clear()
        self.narrow.clear()
        for run in list(self._under_way):
            if run.task is not None and not run.over:
                run.stop = run.stop or Interrupted()
                run.task.cancel()
        for idle in self._idle:
            if not idle.done():
                idle.cancel()

    def _wake_more(self) -> None:
        """While runs wait although a runner was woken, the runners before it are suspended: wake more."""
        if self._queue and self._wake_one():
            self._loop.call_soon(self._wake_more)
        else:
            self._waking = False

    def _wake_one(self) -> bool:
        while self._idle:
            idle = self._idle.pop()
            if not idle.done():
                idle.set_result(None)
                return True
        if self._count < self._limit and not self._closing:
            self._count += 1
            self._tasks.start_soon(self._runner, name=f"runner {self._count}")
            return True
        return False

    async def _runner(self) -> None:
        context = copy_context()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine that runs has a task
        try:
            while not self._closing:
                if self._ending():
                    self._closing = True  # the task group is cancelled: no runner takes another run
                    return
                await self._work(task)
                if copy_context() != context or len(self._idle) >= SPARE:
                    return  # it would show the next callback what a former one left, or is spare
                idle = self._loop.create_future()
                self._idle.append(idle)
                try:
                    await idle
                except asyncio.CancelledError:
                    if self._ending() and (task.cancelling() or not self._closing):
                        raise
                    return  # the pool closes; or a callback that ended long ago cancels its task
        finally:
            self._count -= 1
            if self._queue and not self._waking and not self._closing:
                self._waking = True
                self._loop.call_soon(self._wake_more)

    async def _work(  # noqa: C901 - once per run: to call out costs more than a branch
        self, task: asyncio.Task[Any]
    ) -> None:
        """Do runs until none is left, or a callback has left a context variable behind."""
        queue, under_way = self._queue, self._under_way
        context = copy_context()
        started, returned = Step.RUN_STARTED, Step.RUN_RETURNED
        done = 0
        while queue and not self._closing:
            run = queue.popleft()
            if run.over:
                self._passed_over(run)
                continue
            value: Any = None
            error: BaseException | None = None
            if failpoint.hook is not None:  # as `reach`, without a call while there is none
                failpoint.hook(started)
            run.task = task
            under_way[run] = None
            if not self._sweeping:
                self._sweep_soon()
            try:
                callback = run.callback
                if callback.is_async:
                    value = await callback.call(run.context)
                else:
                    value = await self._in_thread(run)
            except BaseException as raised:  # noqa: BLE001 - user code: whatever it raises is its failure
                error = self._meant(run, raised)
            del under_way[run]
            if run.callback.limit:
                self._left(run)
            if run.stop is not None or task.cancelling():
                error = error or run.stop  # it swallowed our cancellation: its result came too late
                await self._forgive(task)
            if failpoint.hook is not None:
                failpoint.hook(returned)
            run.end(value, error)
            if copy_context() != context:
                return
            done += 1
            if done % RUNS_IN_A_ROW == 0:
                await self._give_way()

    async def _forgive(self, task: asyncio.Task[Any]) -> None:
        await forgive(task)
        if task.cancelling():
            self._closing = True  # not taken back: the task group is cancelled

    def _passed_over(self, run: Run) -> None:
        """It was cancelled before its turn came, and has been told: only its room is left of it."""
        if run.callback.limit:
            self._left(run)

    def _left(self, run: Run) -> None:
        """Its callback has a limit: there is room for the next run of it, and whoever is here does it."""
        following = self.narrow.left(run.callback)
        if following is not None:
            self._queue.append(following)

    async def _give_way(self) -> None:
        """Others get their turn; a callback that has ended may cancel its task now, and ends nobody."""
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            if self._ending():
                raise

    def _meant(self, run: Run, raised: BaseException) -> BaseException:
        """What the end of a callback by an exception means."""
        if isinstance(raised, asyncio.CancelledError):
            return run.stop or (Interrupted() if self._ending() else raised)
        return raised

    def _ending(self) -> bool:
        """Whether a cancellation means this runner: the pool closes, or its task group is cancelled."""
        return self._closing or _ending()

    async def _in_thread(self, run: Run) -> Any:
        """A plain function blocks: it runs in a thread, and its time starts once it has one."""
        run.deadline = math.inf
        submitted = self._loop.time()
        await self._threads.slot()
        now = self._loop.time()
        run.deadline = now + run.timeout_s
        self._sweep_soon()
        run.context.deadline_ms += round((now - submitted) * 1000)
        value, error = await self._threads.call(partial(_called, run))
        if error is not None:
            raise error
        return value

    def _sweep_soon(self) -> None:
        """A run was started, or has an earlier deadline."""
        if not self._sweeping:
            self._sweeping = True
            self._loop.call_later(SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        """Cancel what is past its deadline; abandon what was cancelled and did not end."""
        self._sweeping = True
        now = self._loop.time()
        for run in list(self._under_way):
            if not run.deadline:
                # Most callbacks end before the first sweep: their deadline is never worked out.
                run.deadline = now + run.timeout_s
            if now < run.deadline or run.over:
                continue
            if run.stop is None:
                why = run.overdue(now)
                if why is not None:
                    self.cancel(run, why)
            else:
                log.error(
                    "run.abandoned",
                    workflow_id=run.context.workflow_id,
                    callback=run.callback.name,
                    where=run.callback.file_line,
                )
                run.end(None, run.stop)
        self._sweeping = False
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        # Nobody looks before: a job that lasts for days wakes nobody.
        known = (run.deadline for run in self._under_way if not run.over)
        if (earliest := min(known, default=math.inf)) < math.inf:
            self._alarm = self._loop.call_at(max(earliest, now + SWEEP_S), self._sweep)
