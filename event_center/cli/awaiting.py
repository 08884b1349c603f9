"""
The command `wait`: until a workflow has ended, or has been in a state.

`publish --wait` waits for what becomes of its event with `event_outcome`. `client.reaching` has the next
step.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any, TypeVar

import anyio
import typer

from event_center.app.machines import machines_at_hand
from event_center.cli.exits import Exit, end_on_signal
from event_center.cli.groups import Asked
from event_center.cli.options import Id, duration
from event_center.cli.session import Session, ask
from event_center.client.active import Machines
from event_center.client.reaching import Goal, outcome_of, wait_for
from event_center.errors import NeverReached, NotReached
from event_center.model import Position

T = TypeVar("T")

TIMEOUT: Any = "30s"
"""How long to wait by default; typer's parser makes seconds of it, as of what a user writes."""


def wait(
    workflow_id: Id,
    *,
    final: Annotated[bool, typer.Option("--final", help="Until it has ended, however.")] = False,
    state: Annotated[
        str | None, typer.Option(metavar="STATE", help="Until it is, or was, in this state.")
    ] = None,
    timeout: Annotated[
        float, typer.Option(parser=duration, metavar="DURATION", help="At most so long.")
    ] = TIMEOUT,
    asked: Asked,
) -> None:
    """Wait until a workflow has ended, or has been in a state. It does not have to exist yet."""
    if final == (state is not None):
        raise typer.BadParameter("give --final, or --state STATE")
    work = partial(_wait, asked, (workflow_id, Goal(state)), timeout)
    ask(asked.output, asked.where, work)


async def _wait(asked: Asked, sought: tuple[str, Goal], within_s: float, session: Session) -> Exit:
    output = asked.output
    workflow_id, goal = sought
    if goal.state is not None:
        goal = goal._replace(machines=Machines(machines_at_hand(session.settings)))
    try:
        reached = await wait_for(session.log, session.app, workflow_id, goal, within_s=within_s)
    except NotReached as error:
        output.error(str(error))
        return Exit.PARTLY
    except NeverReached as error:
        output.error(str(error))
        return Exit.NOTHING
    if output.as_json:
        output.json(asdict(reached))
        return Exit.OK
    ended = "" if reached.result is None else f"; it ended as {reached.result}"
    output.say(f"{workflow_id} is in {reached.state}{ended}")
    return Exit.OK


async def event_outcome(
    session: Session, workflow_id: str, position: Position, *, since: int, within_s: float
) -> tuple[dict[str, Any] | None, float]:
    """What became of an event that was just published; None: nothing yet. And as of `patiently`."""
    asking = partial(outcome_of, session.log, session.app, workflow_id, position, since=since)
    return await patiently(asking, within_s)


async def patiently(asking: Callable[[], Awaitable[T]], within_s: float) -> tuple[T | None, float]:
    """
    What is answered in this time; None: nothing, or Ctrl-C came first.

    What was asked of the daemon is in the log by then, so whoever does not wait any longer is told that.

    Returns:
        The answer, and how long it was waited for, in seconds.
    """
    began, answer = anyio.current_time(), None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(end_on_signal, tasks.cancel_scope)
        with anyio.move_on_after(within_s):
            answer = await asking()
        tasks.cancel_scope.cancel()
    took_s = anyio.current_time() - began
    return answer, within_s if took_s >= within_s else round(took_s, 1)
