"""
The command `top`: an app as it goes on, on one screen, until Ctrl-C.

It asks the log alone, so it works with the daemon down, and says so. `client.watch` finds the numbers, in
steps that cost the same however large the log is; `panel` makes a screen of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any

import anyio
import typer
from rich.live import Live

from event_center.app.health import daemon_of, health_of, named, said_by
from event_center.app.wiring import wall_clock_ms
from event_center.cli.exits import Exit, end_on_signal
from event_center.cli.options import AsJson, Config, LogPath, duration
from event_center.cli.output import Output, terminal
from event_center.cli.panel import Alarm, Seen, panel
from event_center.cli.session import Session, Where, ask
from event_center.client.watch import Watch
from event_center.errors import LogUnavailable
from event_center.log.sqlite import Daemon

INTERVAL: Any = "1s"
"""As a user writes it: what is seen is of the last commit, and a daemon tells each second how it is."""
SHORTEST_S = 0.1
"""Between two looks: shorter ones cost the daemon's log more than they show."""
MAX_SILENCE_S = 10.0
"""Unheard of for so long, a daemon is said to stand still: as `health` has it."""


def _interval(text: str) -> float:
    found = duration(text)
    if found < SHORTEST_S:
        raise typer.BadParameter(f"{text} is shorter than 100ms, the shortest interval")
    return found


def top(
    *,
    once: Annotated[
        bool,
        typer.Option(
            "--once", help="Print one screen and end; it takes one interval, which rates need."
        ),
    ] = False,
    interval: Annotated[
        float,
        typer.Option(
            parser=_interval, metavar="DURATION", help="Between two looks, as 500ms or 5s."
        ),
    ] = INTERVAL,
    config: Config = None,
    log: LogPath = None,
    as_json: AsJson = False,
) -> None:
    """Watch the app: counts, rates, lag, slow states, what is parked, the last errors."""
    output = Output(as_json=as_json)
    live = not (once or as_json) and terminal().is_terminal
    work = partial(_watch, interval) if live else partial(_once, output, interval)
    ask(output, Where(config, log), work)


async def _once(output: Output, interval_s: float, session: Session) -> Exit:
    """One screen, or one JSON document."""
    watch = Watch(session.log, session.app)
    await watch.look(anyio.current_time())
    await anyio.sleep(interval_s)
    seen, alarms = await _look(session, watch)
    if output.as_json:
        output.json(seen | {"alarms": [one.text for one in alarms]})
    else:
        console = terminal()
        console.print(panel(seen, alarms, console.width))
    return Exit.OK


async def _watch(interval_s: float, session: Session) -> Exit:
    """Screen after screen, until a signal ends it."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(end_on_signal, tasks.cancel_scope, name="signals")
        watch, console = Watch(session.log, session.app), terminal()
        seen: Seen | None = None
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                try:
                    seen, alarms = await _look(session, watch)
                except LogUnavailable as error:
                    if seen is None:
                        raise
                    # It is asked again: who watches wants to see it come back.
                    alarms = [Alarm(f"the log does not answer: {error}", "red")]
                live.update(panel(seen, alarms, console.width, console.height), refresh=True)
                await anyio.sleep(interval_s)
    return Exit.OK


async def _look(session: Session, watch: Watch) -> tuple[Seen, list[Alarm]]:
    seen: Seen = await watch.look(anyio.current_time())
    daemon = daemon_of(session.settings)
    members = await session.log.members()
    who = ", ".join(members) if daemon is None else _who(daemon)
    said = await said_by(daemon, session.log)
    health = health_of(
        daemon,
        seen["counted"],
        len(members),
        max_silence_s=MAX_SILENCE_S,
        max_lag=None,
        group=said if daemon is None else (),
    )
    newest = seen["newest"]
    seen = {"app": session.settings.app, "at_ms": wall_clock_ms(), "who": who, **seen}
    alarms = [Alarm(reason, "red") for reason in health.reasons]
    if daemon is None and health.reasons and newest:
        alarms.append(Alarm(f"the last event was decided at {newest}", "red"))
    for one in said:
        who = f"{named(one)}: " if daemon is None else ""
        alarms += [Alarm(f"{who}{alarm.text}", alarm.style) for alarm in _of_daemon(one)]
    return seen, alarms


def _who(daemon: Daemon) -> str:
    if not daemon.alive:
        return "no daemon"
    said = daemon.said
    serving = f"serves {said.get('serving', 0)} of {said.get('shards', '?')} shards"
    return f"process {said.get('pid')} on {said.get('host')} {serving}"


def _of_daemon(said: dict[str, Any]) -> Iterator[Alarm]:
    """Its limits and what blocked it last; a log that takes no cut is a reason of `health` already."""
    for one in said.get("limits", ()):
        if one["limit"] != "log":
            where = "" if one["shard"] is None else f", shard {one['shard']}"
            yield Alarm(f"at its limit {one['limit']}{where}: {one['meaning']}", "yellow")
    for one in said.get("blocked", ())[-1:]:
        who = one["plugin"] or "no plugin"
        text = f"event loop blocked for {one['blocked_s']} s by {who}, {one['where']} ({one['at']})"
        yield Alarm(text, "yellow")
