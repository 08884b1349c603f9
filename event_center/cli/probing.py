"""
The command `health`: is a daemon there, does it live, does it get on? For people and for probes.

It changes nothing and asks nobody who could not answer: `app.health` reads what the daemon has left of
itself, and the log. The exit code is the answer.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

from event_center.app.health import Health, daemon_of, health_of, said_by
from event_center.cli.exits import Exit
from event_center.cli.groups import Asked
from event_center.cli.options import duration
from event_center.cli.output import Output
from event_center.cli.session import Session, ask
from event_center.client.stats import stats as stats_of

SILENCE: Any = "10s"
"""As a user writes it. A daemon says each second how it is: ten that fail are no coincidence."""


def health(
    *,
    max_lag: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Not healthy with more records that are not read."),
    ] = None,
    max_silence: Annotated[
        float,
        typer.Option(
            parser=duration,
            metavar="DURATION",
            help="Not healthy if the daemon was not heard of for so long.",
        ),
    ] = SILENCE,
    asked: Asked,
) -> None:
    """Say whether the daemon is well: exit code 0, or 1 with the reasons."""
    ask(asked.output, asked.where, partial(_health, asked.output, max_lag, max_silence))


async def _health(
    output: Output, max_lag: int | None, max_silence: float, session: Session
) -> Exit:
    daemon = daemon_of(session.settings)
    found = health_of(
        daemon,
        await stats_of(session.log, session.app),
        len(await session.log.members()),
        max_silence_s=max_silence,
        max_lag=max_lag,
        group=() if daemon is not None else await said_by(None, session.log),
    )
    if output.as_json:
        output.json(found.told())
    else:
        _print(output, found)
    return Exit.NOTHING if found.reasons else Exit.OK


def _print(output: Output, found: Health) -> None:
    for reason in found.reasons:
        output.say(f"not healthy: {reason}", style="red")
    if found.reasons:
        return
    said = found.daemon
    who = f"{found.members} in the group" if said is None else f"process {said.get('pid')}"
    output.say(f"healthy: {who}; lag {found.lag}", style="green")
    for each in found.group if said is None else (said,):
        for one in each.get("limits", ()):
            output.say(f"at its limit {one['limit']}: {one['meaning']}", style="yellow")
