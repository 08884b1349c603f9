"""
One attempt of a job: its limits, its heartbeats, and who hears of its end.

Made by `jobs`, run by the pool of `run`; both its limits begin when it begins, not when it was submitted.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from event_center.engine.run import Run
from event_center.errors import HeartbeatTimeout
from event_center.machine.definition import Job
from event_center.model import Failure, Owed, Snapshot
from event_center.plugins.callbacks import DONE
from event_center.plugins.job import JobContext
from event_center.plugins.signatures import Callback

DETAILS = 200
"""
Characters of the last heartbeat's details that the error of a silent attempt quotes: it stands in
the snapshot.
"""

JobKey = tuple[str, str]
"""A workflow and the name of one of its jobs."""


class JobEnds(Protocol):
    """Who hears of the end of a job: its shard's `jobs`."""

    def ended(self, run: JobRun, value: Any, error: BaseException | None) -> None:
        """It has returned or raised, or is not waited for any longer."""

    def drop(self, run: JobRun, value: Any) -> None:
        """It has ended too late."""

    def not_done(self, run: JobRun) -> None:
        """`reconcile` knows of no attempt."""


class JobRun(Run):
    """One attempt of a job."""

    __slots__ = (
        "_beat",
        "_clock",
        "_started",
        "failure",
        "grace_s",
        "job",
        "jobs",
        "left",
        "owed",
        "snapshot",
        "submitted_ms",
        "value",
        "weight",
    )

    context: JobContext
    jobs: JobEnds
    owed: Owed
    snapshot: Snapshot
    submitted_ms: int

    def __init__(self, callback: Callback, context: JobContext, job: Job) -> None:
        first_ms = min(job.action.timeout_ms, job.heartbeat_ms or job.action.timeout_ms)
        super().__init__(callback, context, first_ms / 1000)
        context.listens = self
        self.job = job
        self.grace_s = job.grace_ms / 1000
        self.left = False
        """Its state was left, or an operator has given it up."""
        self.failure: Failure | None = None
        """Why it has failed for good, while that waits for its turn."""
        self.value: Any = None
        """Its result, while that waits for its turn."""
        self.weight = 0
        """The bytes of that."""
        self._beat: tuple[float, str] | None = None
        """The last heartbeat, by the event loop's clock, and its details."""
        self._clock = asyncio.get_running_loop().time
        self._started: float | None = None
        """When it began, by the same clock, known once its first limit is over."""

    @property
    def job_key(self) -> JobKey:
        """Whose job it is, and which."""
        return self.context.workflow_id, self.owed.name

    def ended(self, value: Any, error: BaseException | None) -> None:
        """Its end takes its turn."""
        self.jobs.ended(self, value, error)

    def late(self, value: Any) -> None:
        """It was not waited for any longer, and has ended after all."""
        super().late(value)
        self.jobs.drop(self, value)

    def beat(self, details: str) -> bool:
        """Note a heartbeat; whether it may go on. It may come from a thread, which nothing here minds."""
        self._beat = self._clock(), details
        return self.stop is None and not self.over

    def overdue(self, now: float) -> BaseException | None:
        """Its time is over, or it was silent for too long; else its limits are looked at again later."""
        if self._started is None:
            self._started = self.deadline - self.timeout_s
        limit_s = self.job.action.timeout_ms / 1000
        if now >= self._started + limit_s or self.job.heartbeat_ms is None:
            return TimeoutError(f"no result within {limit_s:g} s")
        silence_s = self.job.heartbeat_ms / 1000
        at, details = self._beat or (self._started, "")
        if now >= at + silence_s:
            told = f"; the last one said: {details[:DETAILS]}" if details else ""
            return HeartbeatTimeout(f"no heartbeat within {silence_s:g} s{told}")
        self.deadline = min(self._started + limit_s, at + silence_s)
        return None


class AskingJobRun(JobRun):
    """Asks `reconcile` what became of an attempt of which no result is known."""

    __slots__ = ()
    asks = True

    def ended(self, value: Any, error: BaseException | None) -> None:
        """Its answer is the result; without one the job itself begins."""
        if value is None and error is None:
            self.jobs.not_done(self)
        else:
            super().ended(None if value is DONE else value, error)
