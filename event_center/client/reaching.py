"""
Waiting for a workflow: until it has ended or been in a state, and for what becomes of one event.

Promises: what happens after the wait has begun is seen, however short; nothing is read but the end of one
partition of the history, and the workflow's own entry at the beginning and at the end. It works on
every log, and needs a daemon only for something to happen. `publishing` and the CLI's `wait` call it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import anyio

from event_center.client.active import NONE, Machines
from event_center.client.app import App
from event_center.client.commands import POLL_S
from event_center.client.stats import stats
from event_center.client.workflows import snapshot_of
from event_center.errors import InvariantError, NeverReached, NotReached, UnknownState
from event_center.log.port import Log
from event_center.machine.chart import BETWEEN
from event_center.model import Json, Outcome, Position, Snapshot, Status
from event_center.wire import history as wire

Told = dict[str, Any]


class Goal(NamedTuple):
    """What is waited for."""

    state: str | None = None
    """A state, or several at once, joined by `|`; None: the workflow's end."""
    machines: Machines = NONE
    """Those at hand: they know which states have others inside, and which there are."""

    def fits(self, machine: str, version: int, state: str | None, *, ended: bool) -> bool:
        """Whether a workflow that is so has reached it."""
        if self.state is None or state is None:
            return self.state is None and ended
        return self.machines.in_state(self.state, machine, version, state)

    def check(self, machine: str | None, more: Iterable[str] = ()) -> None:
        """
        Refuse a state that nobody can be in, as far as that is known here.

        Raises:
            UnknownState: the machine does not have it; None: none has, nor is it one of `more`.
        """
        lack = None if self.state is None else self.machines.lack(self.state, machine, more)
        if lack is not None:
            raise UnknownState(lack)

    def __str__(self) -> str:
        return "ended" if self.state is None else f"been in {self.state}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Awaited:
    """A workflow that has reached what was waited for."""

    workflow_id: str
    state: str
    """Where it was when it had reached it."""
    result: str | None
    """How it ended, if it has by now."""
    data: dict[str, Json]
    """Its data as they are now."""


async def wait_for(
    log: Log, app: App, workflow_id: str, goal: Goal, *, within_s: float | None
) -> Awaited:
    """
    Wait until a workflow has reached something; it does not have to be there yet.

    Raises:
        NotReached: it has not, in this time (None: wait for ever).
        NeverReached: it has ended elsewhere.
        UnknownState: its machine, or while it does not exist any machine, has no such state.
        FormatError: the log can not be read.
    """
    home = app.home(workflow_id)
    since = await log.watermark(app.history, home)
    snapshot = await snapshot_of(log, app, workflow_id)
    state = _reached(snapshot, goal)
    if state is None:
        await _check_known(log, app, snapshot, goal)
    with anyio.move_on_after(within_s):
        if state is None:
            _check_possible(snapshot, goal)
            state = await _heard(_told_since(log, app, workflow_id, since), goal)
    snapshot = await snapshot_of(log, app, workflow_id)
    if state is None:
        where = "there is no such workflow yet"
        more = "`event-center why` says what it waits for"
        if snapshot is None:
            more = "`event-center health` says whether a daemon reads the event that would make it"
        elif snapshot.status is not Status.EXPECTED:
            _check_possible(snapshot, goal)
            where = f"it is in {snapshot.state}, {snapshot.status}"
        time = "" if within_s is None else f" within {within_s:g} s"
        raise NotReached(f"workflow {workflow_id!r} has not {goal}{time}: {where}; {more}")
    result = None if snapshot is None else snapshot.result
    data = {} if snapshot is None else snapshot.data
    return Awaited(workflow_id=workflow_id, state=state, result=result, data=data)


def _reached(snapshot: Snapshot | None, goal: Goal) -> str | None:
    """The state of a workflow that is there already."""
    if snapshot is None or snapshot.status is Status.EXPECTED:
        return None
    machine, version, ended = snapshot.machine, snapshot.version, snapshot.result is not None
    return snapshot.state if goal.fits(machine, version, snapshot.state, ended=ended) else None


async def _check_known(log: Log, app: App, snapshot: Snapshot | None, goal: Goal) -> None:
    """Nobody waits for what a typing error names."""
    if snapshot is not None and snapshot.status is not Status.EXPECTED:
        goal.check(snapshot.machine, snapshot.state.split(BETWEEN))
        return
    by_state = (await stats(log, app))["workflows"]["by_state"]
    goal.check(
        None, [part for of in by_state.values() for one in of for part in one.split(BETWEEN)]
    )


def _check_possible(snapshot: Snapshot | None, goal: Goal) -> None:
    if snapshot is not None and snapshot.result is not None and goal.state is not None:
        raise NeverReached(
            f"workflow {snapshot.workflow_id!r} has ended in {snapshot.state} as {snapshot.result}, and is "
            f"not in {goal.state}"
        )


async def _heard(records: AsyncIterator[Told], goal: Goal) -> str | None:
    """The state in which the history tells that the goal was reached; None: it ended elsewhere."""
    async for told in records:
        ended = told.get("result") is not None or told.get("status") == Status.FINAL
        machine, version = told.get("machine", ""), told.get("version", 0)
        if goal.fits(machine, version, told.get("to"), ended=ended):
            return str(told["to"])
        if ended:
            return None
    return None


async def outcome_of(
    log: Log, app: App, workflow_id: str, position: Position, *, since: int
) -> Told:
    """Wait for what becomes of one event that was published: its record of the history."""
    async for told in _told_since(log, app, workflow_id, since):
        place = (told.get("topic"), told.get("partition"), told.get("offset"))
        if place == position and told["kind"] in set(Outcome):
            return told
    raise InvariantError("the history of the log has ended, which has no end")


async def _told_since(log: Log, app: App, workflow_id: str, since: int) -> AsyncIterator[Told]:
    """What the history tells of a workflow from an offset of its home on, as it comes."""
    key, home = workflow_id.encode(), app.home(workflow_id)
    while True:
        async for batch in log.read(app.history, home, since):
            since = batch[-1].offset + 1
            for record in batch:
                if record.key == key and record.value is not None:
                    yield wire.read(record.value)
        await anyio.sleep(POLL_S)
