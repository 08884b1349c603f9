"""
The command `doctor`: is everything fit for a daemon, and what is to be done where it is not?

It changes nothing and needs no daemon. `app.doctor` has the findings; the exit code says whether one of
them is an error.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

from event_center.app.doctor import examine
from event_center.app.finding import Finding, Level
from event_center.app.settings import LoggingSettings
from event_center.cli.exits import Exit, perform
from event_center.cli.log_lines import set_up_logging
from event_center.cli.options import AsJson, Config, LogPath
from event_center.cli.output import Output, many, plain

STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.ERROR: "red"}


def doctor(
    *,
    config: Config = None,
    log: LogPath = None,
    as_json: AsJson = False,
) -> None:
    """Look whether environment, settings, machines, plugins, log and this machine are fit."""
    # On the command line a relative path starts here; in the settings, at the project's root.
    path = None if log is None else log.absolute()
    output = Output(as_json=as_json)
    set_up_logging(LoggingSettings(level="error"))  # what a log has to say becomes a finding
    perform(output, partial(_doctor, output, config, {"log": {"path": path}}))


async def _doctor(output: Output, config: Any, overrides: dict[str, Any]) -> Exit:
    found: list[Finding] = []
    async for finding in examine(config, overrides):
        found.append(finding)
        if not output.as_json:
            _say(output, finding)
    count = {level: sum(one.level is level for one in found) for level in Level}
    healthy = not count[Level.ERROR]
    if output.as_json:
        output.json({"ok": healthy, "findings": [asdict(one) for one in found]})
    else:
        said = [many(count[level], level) for level in (Level.ERROR, Level.WARNING) if count[level]]
        output.say(" and ".join(said) or "all is well")
    return Exit.OK if healthy else Exit.NOTHING


def _say(output: Output, finding: Finding) -> None:
    first, *more = finding.what.splitlines()
    output.say(f"{finding.level:<8} {finding.area:<12} {plain(first)}", style=STYLES[finding.level])
    for line in more:
        output.say(f"{'':<21} {plain(line)}", style=STYLES[finding.level])
    if finding.advice:
        output.say(f"{'':<21} -> {plain(finding.advice)}")
