"""
The command `diff`: what changed between two versions of a machine, in words, before anybody runs it.

It reads two files and opens no log; exit code 1 says that there are differences, as `diff` does. The
sentences are those of `machine.comparison`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from event_center.app.machines import load_file
from event_center.cli.exits import Exit, perform
from event_center.cli.options import AsJson
from event_center.cli.output import Output
from event_center.errors import ConfigurationError, DefinitionError
from event_center.machine import Machine
from event_center.machine.comparison import differences, renamed, without_place


def diff(
    old: Annotated[Path, typer.Argument(help="The file of the older version.", metavar="OLD")],
    new: Annotated[Path, typer.Argument(help="The file of the newer version.", metavar="NEW")],
    *,
    as_json: AsJson = False,
) -> None:
    """Say what changed between two versions of a machine, and who would have no place."""
    output = Output(as_json=as_json)
    perform(output, partial(_compare, output, old, new))


async def _compare(output: Output, old: Path, new: Path) -> Exit:
    before, after = _machine(old), _machine(new)
    changes = differences(before, after)
    lost = without_place(before, after)
    names = renamed(before, after)
    if output.as_json:
        told = {"changes": changes, "without_place": lost, "renamed": names}
        needs = bool(changes) and before.version == after.version
        versions = {"old": before.version, "new": after.version}
        output.json({"versions": versions, **told, "needs_version": needs})
    else:
        _print(output, changes, _advice(before, after, lost, names))
    return Exit.NOTHING if changes else Exit.OK


def _machine(path: Path) -> Machine:
    """The only machine of a file."""
    if not path.is_file():
        raise ConfigurationError(f"{path} is not a file; name two files of machines")
    machines, problems = load_file(path)
    if problems:
        raise DefinitionError(problems)
    if len(machines) != 1:
        raise ConfigurationError(f"{path} has {len(machines)} machines; name files that have one")
    return machines[0]


def _advice(before: Machine, after: Machine, lost: list[str], names: dict[str, str]) -> list[str]:
    """What to do about it."""
    found = []
    if before.version == after.version:
        found.append(f"the version is still {after.version}; write version: {after.version + 1}")
    if after.pins and before.version != after.version:
        found.append(
            f"workflows of version {before.version} stay there (`on_upgrade: pin`): keep its file beside "
            "this one until they have ended"
        )
        return found
    for state in lost:
        guess = f", perhaps as {names[state]!r}" if state in names else ""
        found.append(
            f"workflows in {state!r} have no place in version {after.version}: map the state in "
            f"`migrate` (from: {before.version}){guess}"
        )
    return found


def _print(output: Output, changes: list[str], advice: list[str]) -> None:
    if not changes:
        output.say("no difference in what they do")
        return
    for line in changes:
        output.say(line)
    for line in advice:
        output.say(f"! {line}", style="yellow")
