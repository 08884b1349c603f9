"""
The command `run`: a center in this process, until a signal ends it or, if asked, until it is idle.

Promises: SIGTERM or SIGINT ends it gracefully (running callbacks have the grace time, the last cut
is made); a second signal ends it at once, and what was under way is owed to the next start.
`app.center` has the next step.
"""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable
from functools import partial
from typing import Annotated

import anyio
import structlog
import typer

from event_center.app.center import Center
from event_center.app.settings import Settings
from event_center.cli.exits import Exit, perform
from event_center.cli.log_lines import set_up_logging
from event_center.cli.looking import print_stats
from event_center.cli.options import AsJson, Config, LogPath
from event_center.cli.output import Output
from event_center.cli.progress import bar
from event_center.cli.session import Where, app_of
from event_center.client.stats import Stats
from event_center.client.stats import stats as stats_of

log = structlog.get_logger()

GARBAGE = 10_000
"""Objects between two looks of the garbage collector: a cut makes some thousands that live until its
commit, and Python's default of 700 looks at them again and again for nothing."""
GLANCE_S = 0.1
"""How often the progress bar looks at the center."""


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
    read = partial(Where(config, log_path).settings, wait)
    work = partial(_run, output, read, until_idle)
    perform(output, work, fast=True)


async def _run(output: Output, read: Callable[[], Settings], until_idle: bool) -> Exit:
    gc.set_threshold(GARBAGE)
    settings = read()
    set_up_logging(settings.logging)
    finished = False
    async with Center.open(settings) as center:
        before = await stats_of(center.log, app_of(settings))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_obey_signals, center, tasks.cancel_scope, name="signals")
            tasks.start_soon(_show_progress, center, before, until_idle, name="progress")
            await center.run(until_idle=until_idle)
            finished = True
            tasks.cancel_scope.cancel()
        if until_idle and finished:
            await _sum_up(output, center, settings)
    return Exit.OK if finished else Exit.PARTLY


async def _obey_signals(center: Center, scope: anyio.CancelScope) -> None:
    """The first signal asks the center to stop; the second one does not ask."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        count = 0
        async for number in signals:
            count += 1
            log.info("run.signal", signal=number.name, at_once=count > 1)
            if count > 1:
                scope.cancel()
                return
            await center.stop()


async def _show_progress(center: Center, before: Stats, until_idle: bool) -> None:
    """A bar over the restore and, until idle, over the backlog; nothing where nobody looks."""
    with bar() as progress:
        if progress.disable:
            return
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


async def _sum_up(output: Output, center: Center, settings: Settings) -> None:
    """What became of all events, from the last cut."""
    counted = await stats_of(center.log, app_of(settings))
    if output.as_json:
        output.json(counted)
    else:
        print_stats(output, counted)
