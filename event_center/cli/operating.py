"""
A command to many workflows: which ones, shown before; sent at a rate; and what became of each.

Promises: nothing is sent before it was shown and said yes to; the set stays what was shown, whatever
happens meanwhile; cut short, it says how to go on, and no workflow gets the command twice. Called by
`repairing`; `client.operation` has the next step.
"""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
import typer

from event_center.cli.exits import Exit
from event_center.cli.naming import no_such_name, unsent, with_machines
from event_center.cli.output import Output, many
from event_center.cli.progress import bar
from event_center.cli.session import Session, Where, ask, said_yes, served
from event_center.client.commands import requester
from event_center.client.operation import Operating, Operation, ends, place_of, save, saved
from event_center.client.stats import stats
from event_center.client.workflows import UNREADABLE, Row, Wanted, list_workflows
from event_center.errors import ConfigurationError, LogError
from event_center.model import Json
from event_center.wire.command import Verb

MOST = 100_000
"""Workflows of one operation: all their ids are in memory, and a daemon has minutes of work with them."""
NAMED = 5
"""Workflows that are named before they are asked for: the table says what they have in common."""
KINDS = 10
"""Kinds of answers that are listed: there are fewer than this to any one command."""


NEEDS_REASON = frozenset({Verb.SET_STATE, Verb.FORGET, Verb.DISCARD})
"""What nobody can make out later from the workflow itself."""
NO_DAEMON = "no daemon runs; what is in the log is decided when one does"
"""Why nobody is waited for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Orders:
    """What the command line asks for."""

    verb: Verb
    wanted: Wanted
    reason: str
    args: dict[str, Json]
    within_s: float | None
    """None: only show."""
    rate: float | None
    yes: bool
    operation: str | None


def operate(output: Output, where: Where, orders: Orders) -> None:
    """
    Do all of it.

    Raises:
        typer.Exit: unless every workflow has taken the command.
    """
    under_way: list[Operating] = []
    try:
        ask(output, where, partial(_operate, output, orders, under_way))
    except KeyboardInterrupt:
        output.error(_stopped(orders.verb, under_way))
        raise typer.Exit(Exit.PARTLY if under_way else Exit.NOTHING) from None


def _stopped(verb: Verb, under_way: list[Operating]) -> str:
    if not under_way:
        return "stopped; nothing was sent"
    [one] = under_way
    count, sent = len(one.operation.workflows), len(one.sent)
    if sent == count:
        return f"stopped waiting: all {count} are in the log, {len(one.answers)} are answered"
    return (
        f"stopped: {sent} of {count} were sent; the rest of them with `event-center {verb} --operation "
        f"{one.operation.id}`"
    )


async def _operate(
    output: Output, orders: Orders, under_way: list[Operating], session: Session
) -> Exit:
    if orders.operation is not None:
        operation = saved(orders.operation)
        _check(operation, orders, session)
        if orders.within_s is None:
            return _shown_again(output, operation)
    else:
        made = await _decided_on(output, orders, session)
        if isinstance(made, Exit):
            return made
        operation = made
    operating = Operating(session.log, session.app, operation)
    under_way.append(operating)
    if orders.operation is not None:
        await operating.catch_up()
    await _carry_out(output, orders, operating, session)
    return await _print(output, operating, session, waited=bool(orders.within_s))


def _check(operation: Operation, orders: Orders, session: Session) -> None:
    """Whether the saved operation is the one that is meant."""
    if operation.verb is not orders.verb:
        raise ConfigurationError(
            f"operation {operation.id} is a {operation.verb}, no {orders.verb}; go on with "
            f"`event-center {operation.verb} --operation {operation.id}`"
        )
    if operation.log != session.log.where:
        raise ConfigurationError(
            f"operation {operation.id} is for the log {operation.log}, not {session.log.where}; name its "
            "settings with --config"
        )


async def _decided_on(output: Output, orders: Orders, session: Session) -> Operation | Exit:
    """The operation, shown and said yes to; or how the command ends without one."""
    log, app = session.log, session.app
    begun = await ends(log, app.commands, app.shards), await ends(log, app.history, app.shards)
    wanted = with_machines(orders.wanted, session.settings)
    found, count = await list_workflows(log, app, wanted, MOST)
    rows = [row for row in found if row["status"] != UNREADABLE]  # they take no command
    count -= len(found) - len(rows)
    if not rows:
        mistaken = await no_such_name(orders.wanted, session)
        mute = found and "what is like that can not be read, and takes no command"
        output.error(unsent(mistaken or mute or "no workflow is like that"))
        return Exit.NOT_FOUND
    if count > MOST:
        output.error(
            f"{count:,} workflows are like that, more than {MOST:,} at once; ask for fewer"
        )
        return Exit.NOTHING
    if orders.within_s is None and output.as_json:
        names = [row["workflow_id"] for row in rows]
        output.json({"dry_run": True, "command": orders.verb, "workflows": names})
    if not output.as_json:
        there_are = (await stats(log, app))["workflows"]["total"]
        _show(output, orders, rows, every=count == there_are)
    if orders.within_s is None:
        return Exit.OK
    if lacks_reason(output, orders.verb, orders.reason):
        return Exit.USAGE
    if not (orders.yes or said_yes(output, f"{orders.verb} {many(count, 'workflow')}?")):
        return Exit.NOTHING
    operation = Operation(
        id=uuid.uuid4().hex[:12],
        log=log.where,
        verb=orders.verb,
        workflows=[row["workflow_id"] for row in rows],
        by=requester(),
        reason=orders.reason,
        args=orders.args,
        commands_from=begun[0],
        history_from=begun[1],
    )
    save(operation)
    return operation


def lacks_reason(output: Output, verb: str, reason: str) -> bool:
    """Whether a reason is needed and was not given, which is said; a dry run needs none."""
    if reason or verb not in NEEDS_REASON:
        return False
    output.error(f"{verb} needs --reason: why, for the history; nothing was sent")
    return True


def _show(output: Output, orders: Orders, rows: list[Row], *, every: bool) -> None:
    """The workflows in question."""
    counts = Counter((row["machine"], row["state"], row["status"]) for row in rows)
    output.table(
        ("MACHINE", "STATE", "STATUS", "WORKFLOWS"),
        [(*place, str(count)) for place, count in sorted(counts.items())],
    )
    first = ", ".join(row["workflow_id"] for row in rows[:NAMED])
    more = f", and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    whole = " That is every workflow there is." if every else ""
    output.say(f"would {orders.verb} {first}{more}.{whole}")
    if orders.within_s is None:
        output.say("nothing was sent")


def _shown_again(output: Output, operation: Operation) -> Exit:
    """The dry run of an operation that was cut short."""
    if output.as_json:
        output.json({"dry_run": True, "command": operation.verb, "workflows": operation.workflows})
    else:
        output.say(
            f"would go on with operation {operation.id}: {operation.verb} "
            f"{len(operation.workflows)} workflows; nothing was sent"
        )
    return Exit.OK


async def _carry_out(
    output: Output, orders: Orders, operating: Operating, session: Session
) -> None:
    """Send and wait, under a bar."""
    operation = operating.operation
    if not output.as_json:
        output.note(f"operation {operation.id}")
    with bar() as progress:
        task = progress.add_task(str(operation.verb), total=len(operation.workflows), count=0)

        def moved() -> None:
            count = len(operating.answers)
            progress.update(task, completed=len(operating.sent), count=count)

        try:
            await operating.send(orders.rate, moved)
        except LogError:
            output.note(_stopped(operation.verb, [operating]))
            raise
        await anyio.Path(place_of(operation.id)).unlink(missing_ok=True)
        if orders.within_s and await served(session):
            await operating.listen(orders.within_s, moved)


async def _print(output: Output, operating: Operating, session: Session, *, waited: bool) -> Exit:
    """What became of it, and the exit code that says so."""
    operation, answers = operating.operation, operating.answers
    outcomes = Counter(_outcome(told) for told in answers.values())
    applied = sum(1 for told in answers.values() if told["outcome"] in {"applied", "duplicate"})
    silent = len(operation.workflows) - len(answers)
    if output.as_json:
        output.json(_as_json(operating))
    else:
        parts = [f"{count} {outcome}" for outcome, count in outcomes.most_common(KINDS)]
        if silent and waited:
            running = await served(session)
            why = "they are in the log, and a daemon decides them" if running else NO_DAEMON
            parts.append(f"{silent} not answered yet: {why}")
        elif silent:
            parts.append(f"{silent} sent")
        output.say(f"{operation.verb}: {'; '.join(parts)}")
    if silent:
        return Exit.PARTLY if waited or applied < len(answers) else Exit.OK
    if applied == len(answers):
        return Exit.OK
    return Exit.PARTLY if applied else Exit.NOTHING


def _outcome(told: dict[str, Any]) -> str:
    why = ", ".join(str(told[name]) for name in ("reason", "detail") if told.get(name))
    return f"{told['outcome']} ({why})" if why else str(told["outcome"])


def _as_json(operating: Operating) -> dict[str, Any]:
    operation = operating.operation
    names = ("outcome", "reason", "detail", "status")
    return {
        "operation": operation.id,
        "command": operation.verb,
        "by": operation.by,
        "workflows": len(operation.workflows),
        "answered": len(operating.answers),
        "answers": [
            {"workflow_id": workflow_id, "state": told.get("to")}
            | {name: told.get(name) for name in names}
            for workflow_id, told in operating.answers.items()
        ],
    }
