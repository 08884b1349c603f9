"""
One workflow of an example in machines/, driven by pure steps and by the example's real callbacks.

It does what the engine does, without a log: decide callbacks before the accept, effects after it
with their retries, and what they return as further events. tests/test_machines.py walks with it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from event_center.errors import PermanentError
from event_center.machine import load
from event_center.machine.decision import DONE, ERROR, Refused, Retry, Transition
from event_center.machine.definition import Job
from event_center.machine.microstep import job_event
from event_center.model import Event, Json, Owed, Reason, Snapshot
from event_center.plugins.context import Context
from event_center.plugins.discovery import discover
from event_center.plugins.job import JobContext
from event_center.plugins.registry import Bound, resolve
from event_center.plugins.signatures import checked_result

MACHINES = Path(__file__).parents[1] / "machines"
NOW = 1_767_225_600_000
"""The first moment of 2026, when every walk begins."""


@cache
def example(name: str) -> Bound:
    """An example's machine, bound to the callbacks beside it."""
    file = MACHINES / f"{name}.yaml"
    return resolve(load(file), discover([file]))


class Walk:
    """One workflow of an example, from its birth on."""

    def __init__(self, name: str, workflow_id: str = "w-1", held: str = "") -> None:
        self.held = held
        """A job that does not come to its end."""
        self.bound = example(name)
        self.machine = self.bound.machine
        self.now = NOW
        self.refused: list[Reason] = []
        self.ran: list[str] = []
        birth = self.machine.birth(self.now)
        self.snapshot = Snapshot(workflow_id, name, self.machine.version, birth.target)
        self.cause = Event("")
        self._take(birth)

    @property
    def state(self) -> str:
        return self.snapshot.state

    @property
    def data(self) -> dict[str, Json]:
        return self.snapshot.data

    async def send(self, name: str, payload: Json = None) -> str:
        """Decide one event, then run what is owed; returns the state after it."""
        event = Event(name, payload, topic="topic", partition=0, offset=0)
        decision = self.machine.step(self.snapshot, event, self.now)
        if isinstance(decision, Refused):
            self.refused.append(decision.reason)
            return self.state
        for action in decision.decide:
            checked_result(
                self.bound.callback(action.name), await self._call(action.name, event, attempt=1)
            )
        self.snapshot.seq += 1
        self.cause = event
        self._take(decision)
        while self.snapshot.owed:
            owed, *others = self.snapshot.owed
            self.snapshot.owed = tuple(others)
            await self._effect(owed.name)
        for job in [one.name for one in self.snapshot.jobs if one.name != self.held]:
            self.snapshot.jobs = ()
            await self._job(job)
        return self.state

    def _take(self, decision: Transition) -> None:
        snapshot = self.snapshot
        snapshot.state = decision.target
        snapshot.data = snapshot.data if decision.data is None else decision.data
        snapshot.result = decision.result
        if decision.entered:
            snapshot.owed = tuple(Owed(name, snapshot.seq) for name in decision.owed)
            snapshot.jobs = tuple(Owed(name, snapshot.seq) for name in decision.jobs or ())
        if decision.entered or decision.timers is not None:
            snapshot.timers = decision.timers or ()

    async def _effect(self, name: str) -> None:
        """Run one owed callback until it works or its attempts are used up; send what follows."""
        policy = self.machine.effect(self.state, name).retry
        result, failure = await self._attempts(name, policy)
        if failure is not None:
            await self.send(ERROR, failure)
        elif (returned := checked_result(self.bound.callback(name), result)) is not None:
            await self.send(returned.name, returned.payload)
        elif self.machine.has(self.state, DONE):
            await self.send(DONE)

    async def _job(self, name: str) -> None:
        """Run one job to its end, and send what follows."""
        job = self.machine.job(self.state, name)
        result, failure = await self._attempts(name, job.action.retry, job)
        if failure is None:
            await self.send(job_event(DONE, job), result)
        else:
            await self.send(job_event(ERROR, job), failure)

    async def _attempts(
        self, name: str, policy: Retry, job: Job | None = None
    ) -> tuple[Json, Json]:
        """What a callback returns in the end, or the payload of its failure."""
        attempt, error = 0, None
        while attempt < policy.max_attempts and not isinstance(error, PermanentError):
            attempt += 1
            try:
                return await self._call(name, self.cause, attempt=attempt, job=job), None
            except (ConnectionError, PermanentError) as raised:
                error = raised
        failure = {"callback": name, "type": type(error).__name__, "message": str(error)}
        return None, {**failure, "attempt": attempt}

    async def _call(self, name: str, event: Event, attempt: int, job: Job | None = None) -> Json:
        self.ran.append(name)
        key = f"{self.snapshot.workflow_id}/{self.snapshot.seq}/{name}"
        context = (Context if job is None else JobContext)(
            self.snapshot, event, key, attempt=attempt
        )
        if isinstance(context, JobContext):
            context.listens = self
        return await self.bound.callback(name).call(context)

    def beat(self, details: str) -> bool:
        """A job is alive."""
        return bool(details)

    async def wait(self, milliseconds: int) -> str:
        """Let time pass and fire what becomes due, the earliest first."""
        until = self.now + milliseconds
        while due := [timer for timer in self.snapshot.timers if timer.due_ms <= until]:
            timer = min(due, key=lambda each: each.due_ms)
            self.now = timer.due_ms
            await self.send(timer.id)
        self.now = until
        return self.state
