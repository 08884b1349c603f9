"""
The command `run`: a center in this process, or several in processes of their own, until a signal ends
them or, if asked, until they are idle.

Promises: SIGTERM or SIGINT ends it gracefully (running callbacks have the grace time, the last cut
is made); a second signal ends it at once, and what was under way is owed to the next start.
`app.center` has the next step, `app.supervisor` that of several processes.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from functools import partial
from typing import Annotated, NamedTuple

import anyio
import structlog
import typer

from event_center.app.center import Center
from event_center.app.report import answer_supervisor, take_line
from event_center.app.settings import Settings
from event_center.app.supervisor import Supervisor, Tempo, check_shareable, of_process
from event_center.app.wiring import app_of
from event_center.cli.exits import Exit, perform
from event_center.cli.log_lines import set_up_logging
from event_center.cli.looking import print_stats
from event_center.cli.options import AsJson, Config, LogPath
from event_center.cli.output import Output
from event_center.cli.progress import bar
from event_center.cli.session import Where, opened
from event_center.client.app import App
from event_center.client.stats import Stats
from event_center.client.stats import stats as stats_of
from event_center.errors import FormatError, LogUnavailable
from event_center.log.port import Log

log = structlog.get_logger()

AT_ONCE_S = 3.0
"""After a second signal: the end of what lets itself be ended, which takes less."""
LAST_S = 60.0
"""Beyond the grace, for the last cuts and the end of the group: more than a slow cluster needs for them."""
GARBAGE = 100_000
"""Objects between two looks of the garbage collector: a cut makes some ten thousands that live until its
commit, and Python's default of 700 looks at them again and again for nothing. With 10,000 an event with a
callback took 1.8 us more; what is in a circle waits longer, some 10 MB of it."""
GLANCE_S = 0.1
"""
How often the progress bar looks at the center: it moves smoothly, and costs nothing to speak of.
"""


def run(
    *,
    until_idle: Annotated[
        bool,
        typer.Option(
            "--until-idle",
            help="End by itself when all events are decided and no callback runs; then print what "
            "became of them.",
        ),
    ] = False,
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes",
            min=1,
            metavar="N",
            help="Run N processes that share the shards; the log must be Kafka. "
            "Default: `\\[engine] processes` of the settings.",
        ),
    ] = None,
    child: Annotated[int | None, typer.Option("--child", hidden=True)] = None,
    wait: Annotated[
        str | None,
        typer.Option(
            "--wait",
            metavar="DURATION",
            help="How long to wait for a Kafka cluster that does not answer, instead of the "
            "settings' start_wait.",
        ),
    ] = None,
    config: Config = None,
    log_path: LogPath = None,
    as_json: AsJson = False,
) -> None:
    """Run the daemon: decide events, await callbacks, keep every workflow's state."""
    output = Output(as_json=as_json)
    where = Where(config, log_path)
    if child is not None:
        perform(output, partial(_run_child, where, child, wait), fast=True)
        return
    perform(output, partial(_run, output, where, Options(processes, until_idle, wait)), fast=True)


class Options(NamedTuple):
    """What the command line asks of `run`; None does not ask."""

    processes: int | None
    until_idle: bool
    wait: str | None


async def _run(output: Output, where: Where, options: Options) -> Exit:
    settings = where.settings(options.wait)
    count = options.processes or settings.engine.processes
    check_shareable(settings, count)
    set_up_logging(settings.logging)
    if count > 1:
        return await _supervise(output, where, options._replace(processes=count))
    return await _run_alone(output, settings, options.until_idle)


async def _run_alone(output: Output, settings: Settings, until_idle: bool) -> Exit:
    """A center in this process."""
    gc.set_threshold(GARBAGE)
    finished = False
    async with Center.open(settings) as center:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_obey_signals, center, tasks.cancel_scope, name="signals")
            tasks.start_soon(_show_progress, center, until_idle, name="progress")
            await center.run(until_idle=until_idle)
            finished = True
            tasks.cancel_scope.cancel()
        if until_idle and finished:
            await _sum_up(output, center.log, settings)
    return Exit.OK if finished else Exit.PARTLY


async def _run_child(where: Where, number: int, wait: str | None) -> Exit:
    """A center in this process, which a supervisor has started."""
    line = take_line()
    gc.set_threshold(GARBAGE)
    settings = of_process(where.settings(wait), number)
    set_up_logging(settings.logging, process=number)
    finished = False
    async with Center.open(settings) as center, anyio.create_task_group() as tasks:
        tasks.start_soon(_obey_signals, center, tasks.cancel_scope, name="signals")
        tasks.start_soon(answer_supervisor, center, line, name="answer supervisor")
        await center.run()
        finished = True
        tasks.cancel_scope.cancel()
    return Exit.OK if finished else Exit.PARTLY


async def _supervise(output: Output, where: Where, options: Options) -> Exit:
    """Centers in processes of their own, which run this command anew."""
    settings = where.settings(options.wait)
    command = [sys.executable, "-m", "event_center", "run"]
    for option, path in (("--config", where.config), ("--log", where.log)):
        command += [] if path is None else [option, str(path)]
    command += [] if options.wait is None else ["--wait", options.wait]
    supervisor = Supervisor(
        command,
        options.processes or settings.engine.processes,
        shards=settings.log.partitions,
        tempo=Tempo(grace_s=settings.engine.grace),
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_pass_on_signals, supervisor, name="signals")
        code = await supervisor.run(until_idle=options.until_idle)
        tasks.cancel_scope.cancel()
    if options.until_idle and code == Exit.OK:
        async with opened(where) as session:
            await _sum_up(output, session.log, settings)
    return Exit(code) if code in set(Exit) else Exit.INTERNAL


async def _pass_on_signals(supervisor: Supervisor) -> None:
    """Each signal goes to every process, which knows what the first and the second one mean."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        count = 0
        async for number in signals:
            count += 1
            log.info("run.signal", signal=number.name, at_once=count > 1)
            supervisor.stop()


async def _obey_signals(center: Center, scope: anyio.CancelScope) -> None:
    """The first signal asks the center to stop; the second one does not ask."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        count = 0
        async for number in signals:
            count += 1
            log.info("run.signal", signal=number.name, at_once=count > 1)
            loop = asyncio.get_running_loop()
            if count > 1:
                loop.call_later(AT_ONCE_S, _end_hard, "a second signal")
                scope.cancel()
                return
            loop.call_later(
                center.settings.engine.grace + LAST_S, _end_hard, "its grace is long over"
            )
            await center.stop()


def _end_hard(why: str) -> None:
    """A callback that swallows its cancellation would keep the process for ever: end without it."""
    log.error("run.ended_hard", why=why)
    os._exit(Exit.PARTLY)


async def _show_progress(center: Center, until_idle: bool) -> None:
    """A bar over the restore and, until idle, over the backlog; nothing where nobody looks."""
    with bar() as progress:
        if progress.disable:
            return
        before = await until_told(center.log, app_of(center.settings))
        restoring = progress.add_task("restoring", total=before["workflows"]["total"] or None)
        while not center.serving:
            progress.update(restoring, completed=center.restored)
            await anyio.sleep(GLANCE_S)
        progress.remove_task(restoring)
        if not until_idle:
            return
        backlog = progress.add_task("deciding", total=before["lag"] or None)
        while True:
            done = center.totals["read"] - before["events"]["read"]
            total = max(before["lag"], done + center.lag)
            progress.update(backlog, completed=done, total=total or None)
            await anyio.sleep(GLANCE_S)


async def until_told(log: Log, app: App) -> Stats:
    """What the log has, asked until it says so: a bar is no reason to end a center that waits itself."""
    while True:
        try:
            return await stats_of(log, app)
        except (LogUnavailable, FormatError):
            await anyio.sleep(GLANCE_S)


async def _sum_up(output: Output, opened_log: Log, settings: Settings) -> None:
    """What became of all events, from the last cut."""
    counted = await stats_of(opened_log, app_of(settings))
    if output.as_json:
        output.json(counted)
    else:
        print_stats(output, counted)
