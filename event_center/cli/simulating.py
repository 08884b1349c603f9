"""
The command `simulate`: the project's machines and plugins under faults that a seed decides.

It opens no log and no socket, and runs the plugins' callbacks in this process: what they do outside has
to be faked. `testing.simulating` has the next step.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from event_center.cli.exits import Exit, code_of
from event_center.cli.options import AsJson, Config
from event_center.cli.output import Output
from event_center.cli.progress import bar
from event_center.cli.session import Where
from event_center.errors import EventCenterError
from event_center.testing.simulating import Simulated, simulate

SEEDS = 200
"""Seeds of one call: most of what can be found is found by then, and it takes less than a minute."""


def simulate_(
    *,
    seeds: Annotated[
        int, typer.Option("--seeds", metavar="N", min=1, help="How many seeds to play.")
    ] = SEEDS,
    first: Annotated[
        int, typer.Option("--from", metavar="SEED", min=0, help="The first seed.")
    ] = 0,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Play the project's machines and plugins under crashes, retries and reordered events."""
    output = Output(as_json=as_json)
    try:
        settings = Where(config, None).settings()
        with bar() as progress:
            task = progress.add_task("seeds", total=seeds)
            report = simulate(
                settings, seeds=seeds, first=first, on_seed=lambda: progress.advance(task)
            )
    except EventCenterError as error:
        output.error(str(error))
        raise typer.Exit(code_of(error)) from error
    _print(output, report, config)
    if not report.ok:
        raise typer.Exit(Exit.NOTHING)


def _print(output: Output, report: Simulated, config: Path | None) -> None:
    if output.as_json:
        told = asdict(report) | {"ok": report.ok}
        output.json(told | {"findings": [asdict(one) for one in report.findings]})
        return
    named = "" if config is None else f" --config {config}"
    for one in report.findings:
        output.text(f"{one}\n{one.story}\n")
        output.text(f"to repeat it: event-center simulate{named} --from {one.seed} --seeds 1\n\n")
    problems = len(report.findings)
    said = f"{problems} finding{'s' * (problems > 1)}" if problems else "nothing was found"
    output.say(f"{report.seeds} seeds, {report.calls} calls of callbacks: {said}")
