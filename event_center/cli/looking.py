"""
The commands that look: `list`, `show`, `history`, `stats`.

They answer from the log alone, with or without a daemon, and say which cut their answer is of. The
client room finds the answers; here they become tables or JSON.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import orjson
import typer

from event_center.app.health import daemon_of, named, said_by
from event_center.cli.exits import Exit
from event_center.cli.groups import Asked, Which
from event_center.cli.naming import no_such_name, with_machines
from event_center.cli.options import Id
from event_center.cli.output import Output, plain
from event_center.cli.session import Session, ask, not_found
from event_center.client.advice import advice_if_parked
from event_center.client.history import history as history_of
from event_center.client.stats import Stats
from event_center.client.stats import stats as stats_of
from event_center.client.workflows import Wanted, list_workflows, snapshot_of
from event_center.client.workflows import show as show_of

LONGEST_DATA = 2_000
"""Characters of a workflow's data that `show` prints: what a screen holds beside the rest."""
_PARTS = re.compile(r"(?<=T\d\d:\d\d:\d\d)\.\d{3}Z$")
_ROW = {
    "WORKFLOW": "workflow_id",
    "MACHINE": "machine",
    "STATE": "state",
    "STATUS": "status",
    "SEQ": "seq",
    "SINCE": "entered_at",
    "WAITING": "waiting",
    "RESULT": "result",
}


def list_(
    *,
    which: Which,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Show at most so many.")] = 100,
    asked: Asked,
) -> None:
    """List workflows with their state and status."""
    ask(asked.output, asked.where, partial(_list, asked.output, which.wanted, limit))


async def _list(output: Output, wanted: Wanted, limit: int, session: Session) -> Exit:
    known = with_machines(wanted, session.settings)
    rows, total = await list_workflows(session.log, session.app, known, limit)
    if not rows and (mistaken := await no_such_name(wanted, session)):
        output.error(mistaken)
        return Exit.NOT_FOUND
    if output.as_json:
        output.json(rows)
        return Exit.OK
    if not rows:
        output.say("no workflows")
        return Exit.OK
    cells = ([_cell(row.get(name)) for name in _ROW.values()] for row in rows)
    output.table(list(_ROW), cells, below=("RESULT", "WAITING"), spare=("SEQ",))
    if total > len(rows):
        output.note(f"{len(rows)} of {total} workflows; --limit shows more")
    return Exit.OK


def _cell(value: object) -> object:
    """Zeros only fill a list, and so do parts of seconds."""
    return None if value == 0 else _PARTS.sub("Z", value) if isinstance(value, str) else value


def show(workflow_id: Id, *, asked: Asked) -> None:
    """Show everything known of one workflow: state, data, what it waits for and what failed."""
    ask(asked.output, asked.where, partial(_show, asked.output, workflow_id))


async def _show(output: Output, workflow_id: str, session: Session) -> Exit:
    shown = await show_of(session.log, session.app, workflow_id)
    if shown is None:
        return await not_found(output, workflow_id, session)
    if output.as_json:
        output.json(shown)
    else:
        _print_workflow(output, shown)
    return Exit.OK


def _print_workflow(output: Output, shown: dict[str, Any]) -> None:
    failure, letters, as_of = shown["failure"], shown["letters"], shown["as_of"]
    output.pairs(
        [
            ("workflow_id", shown["workflow_id"]),
            ("machine", f"{shown['machine']} version {shown['version']}"),
            ("state", shown["state"]),
            ("status", shown["status"]),
            ("since", shown["entered_at"]),
            ("result", shown["result"]),
            ("parked", shown["parked"]),
            ("seq", shown["seq"]),
            ("data", _shortened(shown["data"])),
            ("deciding", shown["deciding"] and _attempts(shown["deciding"])),
            (
                "failure",
                failure
                and "{callback}, attempt {attempt}, at {at}: {type}: {message}".format_map(failure),
            ),
            (
                "letters",
                f"{letters['open']} open, number {letters['next']} is next"
                if letters["open"]
                else None,
            ),
        ]
    )
    for title, columns, rows in (
        ("timers", ("id", "due"), shown["timers"]),
        ("owed runs", ("callback", "seq", "attempt", "due"), shown["owed"]),
        ("jobs", ("callback", "seq", "attempt", "due"), shown["jobs"]),
        (
            "waiting",
            ("number", "event", "at", "deferred", "topic", "offset"),
            shown["waiting"]["first"],
        ),
        ("refused", ("at", "event", "reason", "detail"), shown["refusals"]),
    ):
        if rows:
            count = shown["waiting"]["count"] if title == "waiting" else len(rows)
            output.say(f"\n{title} ({count})", style="bold")
            output.table(columns, ([row[name] for name in columns] for row in rows))
    if helps := advice_if_parked(shown):
        output.say("\nwhat would help", style="bold")
        output.pairs((one["command"], one["when"]) for one in helps)
    read = ", ".join(f"{topic} {offset}" for topic, offset in as_of["offsets"].items())
    output.note(
        f"as of cut {as_of['cut']} of shard {as_of['shard']}, read up to: {read or 'nothing'}"
    )


def _attempts(deciding: Mapping[str, Any]) -> str:
    due = deciding["due"]
    return f"attempt {deciding['attempt']}, {f'due {due}' if due else 'not tried again'}"


def _shortened(data: dict[str, Any]) -> object:
    """A workflow's data, or what a reader can take of them."""
    text = orjson.dumps(data).decode()
    if len(text) <= LONGEST_DATA:
        return data
    return f"{text[:LONGEST_DATA]}... ({len(text):,} characters; --json has all of them)"


def history(workflow_id: Id, *, asked: Asked) -> None:
    """Print what happened to one workflow: events, refused ones too, timers, runs, commands."""
    ask(asked.output, asked.where, partial(_history, asked.output, workflow_id))


async def _history(output: Output, workflow_id: str, session: Session) -> Exit:
    lines = await history_of(session.log, session.app, workflow_id)
    if not lines and await snapshot_of(session.log, session.app, workflow_id) is None:
        return await not_found(output, workflow_id, session)
    if output.as_json:
        output.json(lines)
    elif lines:
        columns = ["SEQ", "AT", "KIND", "EVENT", "FROM", "TO", "OUTCOME", "WHY", "ORIGIN"]
        output.table(columns, map(_history_row, lines), below=("WHY", "ORIGIN", "OUTCOME"))
    else:
        output.say("its history has left the log")
    return Exit.OK


def _history_row(line: dict[str, Any]) -> list[object]:
    what = line["event"]
    if line.get("callback"):
        what = f"{line['callback']} (attempt {line.get('attempt')})"
    error = f"{line['error']}: {line.get('message', '')}" if line.get("error") else None
    said = [line.get("why"), line.get("by")]  # by an operator
    why = [line["reason"], line.get("detail"), error, line.get("returned"), *said]
    return [
        line["seq"],
        line["at"],
        line["kind"],
        what,
        line["from"],
        line["to"],
        line["outcome"],
        "; ".join(plain(part) for part in why if part),
        line.get("origin"),
    ]


def stats(*, asked: Asked) -> None:
    """Count events by what became of them, workflows by state, and what is still to be read."""
    ask(asked.output, asked.where, partial(_stats, asked.output))


async def _stats(output: Output, session: Session) -> Exit:
    counted = await stats_of(session.log, session.app)
    daemon = daemon_of(session.settings)
    said = await said_by(daemon, session.log)
    # None: nobody tells. On Kafka several daemons may, and each is named.
    told: dict[str, list[dict[str, Any]] | None] = dict.fromkeys(("limits", "blocked"))
    if said:
        told = {name: _by(said, name, alone=daemon is not None) for name in told}
    if output.as_json:
        output.json(counted | told)
        return Exit.OK
    print_stats(output, counted)
    for one in told["limits"] or ():
        where = "" if one["shard"] is None else f", shard {one['shard']}"
        line = f"at its limit {one['limit']}{where}: {one['meaning']}"
        output.say(f"\n{_whose(one)}{line}", style="yellow")
    for one in told["blocked"] or ():
        who = one["plugin"] or "no plugin"
        line = f"event loop blocked for {one['blocked_s']} s by {who}, {one['where']} ({one['at']})"
        output.say(f"\n{_whose(one)}{line}", style="yellow")
    return Exit.OK


def _by(said: Sequence[dict[str, Any]], name: str, *, alone: bool) -> list[dict[str, Any]]:
    """What daemons say under a name, with whose it is unless there can be but one."""
    both = [
        (one, {} if alone else {"by": named(each)}) for each in said for one in each.get(name, ())
    ]
    return [one | whose for one, whose in both]


def _whose(one: Mapping[str, Any]) -> str:
    return f"{one['by']}: " if "by" in one else ""


def print_stats(output: Output, counted: Stats) -> None:
    """The counters as tables."""
    events, workflows = counted["events"], counted["workflows"]
    output.table(
        ("EVENTS", "COUNT"),
        [(name, str(count)) for name, count in events.items() if count or name == "read"],
    )
    rest = ("redelivered", "lost", "transitions", "timers", "runs", "jobs", "letters", "lag")
    rows = [(f"waiting, {name}", n) for name, n in counted["waiting"].items() if n]
    rows += [(name, counted[name]) for name in rest if counted[name] or name == "lag"]
    output.say("")
    output.table(("ALSO", "COUNT"), [(name, str(count)) for name, count in rows])
    if len(counted["shards"]) > 1:
        output.say("")
        names = ("shard", "cut", "read", "takeovers", "owner")
        output.table(
            [name.upper() for name in names],
            [[str(one[name]) for name in names] for one in counted["shards"]],
        )
    if not workflows["total"]:
        output.say("\nno workflows")
        return
    output.say("")
    states = [
        (machine, state, str(count))
        for machine, counts in workflows["by_state"].items()
        for state, count in counts.items()
    ]
    output.table(("MACHINE", "STATE", "WORKFLOWS"), states)
    output.say("")
    output.table(
        ("STATUS", "WORKFLOWS"), [(name, str(n)) for name, n in workflows["by_status"].items()]
    )
