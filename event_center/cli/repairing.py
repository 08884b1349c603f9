"""
The commands that change one workflow: `pause`, `resume`, `retry`, `skip`, `cancel`, `set-state`, `forget`.

Each is a record in the log with an id, who asked and why; the daemon decides it ahead of everything
that waits, and its answer is read from the history. `client.commands` has the next step.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import typer

from event_center.cli.exits import Exit
from event_center.cli.options import AsJson, Config, DryRun, Id, LogPath, NoWait, Wait
from event_center.cli.output import Output
from event_center.cli.session import Session, Where, ask, not_found
from event_center.client.commands import answer, make_command, send
from event_center.client.workflows import snapshot_of
from event_center.model import Snapshot
from event_center.wire.command import Command, Verb

Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why: kept in the history.")]
WAIT: Any = "5s"
"""How long to wait by default; typer's parser makes seconds of it, as of what a user writes."""


def _asking(verb: Verb, about: str) -> Callable[..., None]:
    """The command that gives an operator's command to one workflow."""

    def give(
        workflow_id: Id,
        *,
        reason: Reason = "",
        dry_run: DryRun = False,
        wait: Wait = WAIT,
        no_wait: NoWait = False,
        config: Config = None,
        log: LogPath = None,
        as_json: AsJson = False,
    ) -> None:
        output = Output(as_json=as_json)
        command = make_command(verb, workflow_id, reason=reason)
        within_s = patience(dry_run, no_wait, wait)
        ask(output, Where(config, log), partial(_command, output, command, within_s))

    give.__doc__ = about
    return give


pause = _asking(
    Verb.PAUSE, "Stop one workflow: its events wait, its timers stay due, until `resume`."
)
resume = _asking(Verb.RESUME, "Let a paused workflow go on with what waited for it.")
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
    "End one workflow where it is, as cancelled: what waits is refused, what it owes given up.",
)


def set_state(
    workflow_id: Id,
    state: Annotated[str, typer.Argument(metavar="STATE", help="A state of its machine.")],
    *,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why: it must be told.")],
    dry_run: DryRun = False,
    wait: Wait = WAIT,
    no_wait: NoWait = False,
    config: Config = None,
    log: LogPath = None,
    as_json: AsJson = False,
) -> None:
    """Put one workflow into a state, as if a transition had led there: its entry and timers begin."""
    output = Output(as_json=as_json)
    command = make_command(Verb.SET_STATE, workflow_id, reason=reason, args={"state": state})
    within_s = patience(dry_run, no_wait, wait)
    ask(output, Where(config, log), partial(_command, output, command, within_s))


def forget(
    workflow_id: Id,
    *,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why: it must be told.")],
    dry_run: DryRun = False,
    wait: Wait = WAIT,
    no_wait: NoWait = False,
    config: Config = None,
    log: LogPath = None,
    as_json: AsJson = False,
) -> None:
    """Remove one workflow, whatever its state: what waits is discarded, what it owes given up."""
    output = Output(as_json=as_json)
    command = make_command(Verb.FORGET, workflow_id, reason=reason)
    within_s = patience(dry_run, no_wait, wait)
    ask(output, Where(config, log), partial(_command, output, command, within_s))


def patience(dry_run: bool, no_wait: bool, wait_s: float) -> float | None:
    """Seconds to wait for an answer; None: only say what would be done."""
    if dry_run:
        return None
    return 0.0 if no_wait else wait_s


async def _command(
    output: Output, command: Command, within_s: float | None, session: Session
) -> Exit:
    snapshot = await snapshot_of(session.log, session.app, command.workflow_id)
    if snapshot is None:
        return await not_found(output, command.workflow_id, session)
    if within_s is None:
        return _would(output, command, snapshot)
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
    if within_s:
        told = await answer(session.log, session.app, command, since=since, within_s=within_s)
    if output.as_json:
        output.json(_answer(command, told))
    elif told is None:
        output.say(_unanswered(command, within_s))
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
    return f"{what}; it is in state {told.get('to')}, {told.get('status')}"


def _unanswered(command: Command, within_s: float) -> str:
    what = f"{command.verb} {command.workflow_id}: sent"
    if not within_s:
        return what
    return (
        f"{what}, but no daemon has answered within {within_s:g} s; the command is in the log and "
        "will be decided when a daemon runs"
    )
