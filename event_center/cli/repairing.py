"""
The commands that change workflows: `pause`, `resume`, `retry`, `skip`, `cancel`, `set-state`, `forget`.

Each names one workflow, or says which ones by what they have in common. A command is a record in the log
with an id, who asked and why; the daemon decides it ahead of everything that waits, and its answer is
read from the history. `client.commands` has the next step of one, `operating` that of many.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

import typer

from event_center.cli.awaiting import patiently
from event_center.cli.exits import Exit
from event_center.cli.groups import Asked, Which, command
from event_center.cli.naming import machine_under, no_such_place, unsent
from event_center.cli.operating import NO_DAEMON, Orders, lacks_reason, operate
from event_center.cli.options import DryRun, NoWait, Wait
from event_center.cli.output import Output
from event_center.cli.session import Session, ask, not_found, served
from event_center.client.commands import answer, make_command, send
from event_center.client.workflows import snapshot_of
from event_center.model import Snapshot
from event_center.wire.command import Command, Verb

WAIT: Any = "5s"
"""How long to wait by default; typer's parser makes seconds of it, as of what a user writes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Giving:
    """How a command is given."""

    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why: kept in the history.")
    ] = ""
    dry_run: DryRun = False
    wait: Wait = field(default=WAIT)
    no_wait: NoWait = False

    @property
    def within_s(self) -> float | None:
        """Seconds to wait for an answer; None: only say what would be done."""
        if self.dry_run:
            return None
        return 0.0 if self.no_wait else self.wait


@dataclass(frozen=True, kw_only=True, slots=True)
class Many:
    """How a command is given to many workflows."""

    every: Annotated[bool, typer.Option("--all", help="All workflows there are.")] = False
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before it is sent to many.")] = (
        False
    )
    rate: Annotated[
        float | None,
        typer.Option(min=0.01, metavar="N", help="To at most so many workflows a second."),
    ] = None
    operation: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Go on with what was cut short: it names its workflows."),
    ] = None


def _asking(verb: Verb, about: str) -> Callable[..., None]:
    """The command that gives an operator's command to one workflow, or to many."""

    def give(*, words: Any = None, which: Which, giving: Giving, many: Many, asked: Asked) -> None:
        _give(verb, list(words or ()), which, giving, many=many, asked=asked)

    state = verb is Verb.SET_STATE
    what = "The workflow_id, unless options say which ones" + ("; and a state." if state else ".")
    shown = typer.Argument(metavar="ID STATE" if state else "ID", help=what)
    give.__annotations__["words"] = Annotated[list[str] | None, shown]
    give.__doc__ = about
    return command(give)


pause = _asking(Verb.PAUSE, "Stop workflows: their events wait, timers stay due, until `resume`.")
resume = _asking(Verb.RESUME, "Let paused workflows go on with what waited for them.")
retry = _asking(
    Verb.RETRY,
    "Try again what failed: a parked workflow begins its attempts anew, a waiting one at once.",
)
skip = _asking(
    Verb.SKIP,
    "Give up what fails and go on behind it: the owed callback, the event that can not be decided, or "
    "jobs.",
)
cancel = _asking(
    Verb.CANCEL,
    "End workflows where they are, as cancelled: what waits is refused, what is owed given up.",
)
set_state = _asking(
    Verb.SET_STATE,
    "Put workflows into a state, as if a transition had led there: its entry and timers begin.",
)
forget = _asking(
    Verb.FORGET,
    "Remove workflows, whatever their state: what waits is discarded, what is owed given up.",
)


def _give(
    verb: Verb, words: list[str], which: Which, giving: Giving, *, many: Many, asked: Asked
) -> None:
    args = {}
    if verb is Verb.SET_STATE and many.operation is None:
        if not words:
            raise typer.BadParameter("name a STATE; before it the ID of a workflow, or options")
        args = {"state": words.pop()}
    if len(words) > 1:
        raise typer.BadParameter(f"{words[1]!r} is one word too many; name one workflow, or none")
    _check(words, which, many)
    output = asked.output
    if words:
        one = make_command(verb, words[0], reason=giving.reason, args=args)
        ask(output, asked.where, partial(_command, output, one, giving.within_s))
        return
    orders = Orders(
        verb=verb,
        wanted=which.wanted,
        reason=giving.reason,
        args=args,
        within_s=giving.within_s,
        rate=many.rate,
        yes=many.yes,
        operation=many.operation,
    )
    operate(output, asked.where, orders)


def _check(words: list[str], which: Which, many: Many) -> None:
    """Whether it is clear which workflows are meant."""
    ways = [bool(words), which.given, many.every, many.operation is not None]
    if not any(ways):
        raise typer.BadParameter(
            "name the ID of a workflow, or say which ones: --machine, --state, --status, --error, "
            "--older-than, or --all"
        )
    if sum(ways) > 1:
        raise typer.BadParameter(
            "give one of these: an ID, options that say which, --all, --operation"
        )


async def _command(
    output: Output, command: Command, within_s: float | None, session: Session
) -> Exit:
    snapshot = await snapshot_of(session.log, session.app, command.workflow_id)
    if snapshot is None:
        return await not_found(output, command.workflow_id, session)
    machine = machine_under(snapshot, session.settings)
    state = command.args.get("state")
    if machine and state and (nowhere := no_such_place(machine, str(state))):
        output.error(unsent(nowhere))
        return Exit.USAGE
    if within_s is None:
        return _would(output, command, snapshot)
    if lacks_reason(output, command.verb, command.reason):
        return Exit.USAGE
    return await deliver(output, command, within_s, session)


def _would(output: Output, command: Command, snapshot: Snapshot) -> Exit:
    """The answer of a dry run."""
    if output.as_json:
        told = {"dry_run": True, "command": command.verb, "workflow_id": command.workflow_id}
        output.json(told | {"state": snapshot.state, "status": snapshot.status})
        return Exit.OK
    output.say(
        f"would {command.verb} workflow {snapshot.workflow_id} ({snapshot.machine}, in state "
        f"{snapshot.state}, {snapshot.status}); nothing was sent"
    )
    return Exit.OK


async def deliver(output: Output, command: Command, within_s: float, session: Session) -> Exit:
    """Send a command, wait for its answer if there is time for it, and print what became of it."""
    since = await send(session.log, session.app, command)
    told = None
    waits = bool(within_s) and await served(session)
    waited_s = within_s
    if waits:
        asking = partial(answer, session.log, session.app, command, since=since, within_s=within_s)
        told, waited_s = await patiently(asking, within_s)
    if output.as_json:
        output.json(_answer(command, told))
    elif told is None:
        output.say(_unanswered(command, waited_s if within_s else None, waits=waits))
    else:
        output.say(_sentence(command, told))
    if told is None:
        return Exit.PARTLY if within_s else Exit.OK
    return Exit.OK if told["outcome"] == "applied" else Exit.NOTHING


def _answer(command: Command, told: dict[str, Any] | None) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "workflow_id": command.workflow_id,
        "command": command.verb,
        "command_id": command.id,
        "by": command.by,
        "answered": told is not None,
    }
    names = ("outcome", "reason", "detail", "status")
    answered = told or {}
    return shown | {name: answered.get(name) for name in names} | {"state": answered.get("to")}


def _sentence(command: Command, told: dict[str, Any]) -> str:
    what = f"{command.verb} {command.workflow_id}: {told['outcome']}"
    why = ", ".join(str(told[name]) for name in ("reason", "detail") if told.get(name))
    if why:
        return f"{what} ({why})"
    if command.verb is Verb.FORGET:
        return f"{what}; it is gone, and what was told of it stays in the history"
    return f"{what}; it is in state {told.get('to')}, {told.get('status')}"


def _unanswered(command: Command, waited_s: float | None, *, waits: bool) -> str:
    """What is said of a command without an answer; None: nobody was to wait for one."""
    what = f"{command.verb} {command.workflow_id}: sent"
    if waited_s is None:
        return what
    if not waits:
        return f"{what}, but {NO_DAEMON}"
    return (
        f"{what}, but no daemon has answered within {waited_s:g} s; the command is in the log and "
        "will be decided when a daemon runs"
    )
