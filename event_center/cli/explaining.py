"""
The command `why`: why a workflow is where it is, and what can be done about it.

It answers from the log alone, with or without a daemon. `client.why` finds everything out; here it
becomes sentences and tables.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

from event_center.app.health import daemon_of, said_by
from event_center.app.machines import load_versions
from event_center.app.settings import Settings
from event_center.app.wiring import wall_clock_ms
from event_center.cli.exits import Exit
from event_center.cli.groups import Asked
from event_center.cli.lasting import lasting
from event_center.cli.options import Id
from event_center.cli.output import Output, many, plain
from event_center.cli.session import Session, ask, not_found
from event_center.client.why import Known, Told, last_known
from event_center.client.why import why as why_of
from event_center.client.workflows import snapshot_of
from event_center.errors import ConfigurationError, DefinitionError, PluginError
from event_center.machine import Machine
from event_center.model import Status


def why(
    workflow_id: Id,
    *,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Also the calls in which the last error was raised.")
    ] = False,
    asked: Asked,
) -> None:
    """Say why a workflow is where it is, what would move it, and which commands would help."""
    output = asked.output
    ask(output, asked.where, partial(_why, output, workflow_id, verbose))


async def _why(output: Output, workflow_id: str, verbose: bool, session: Session) -> Exit:
    snapshot = await snapshot_of(session.log, session.app, workflow_id)
    if snapshot is None:
        return await _unknown(output, workflow_id, session)
    machine, wrong = machine_of(session.settings, snapshot.machine, snapshot.version)
    known = await _known(session, machine)
    told = await why_of(session.log, session.app, workflow_id, known)
    if told is None:  # it was removed between two looks
        return await _unknown(output, workflow_id, session)
    if output.as_json:
        output.json(told | {"definition": wrong})
        return Exit.OK
    _print(output, told, wrong)
    if verbose and told["failure"]:
        print_calls(output, told["failure"]["callback"], told["failure"]["traceback"])
    return Exit.OK


def print_calls(output: Output, callback: str, traceback: str) -> None:
    """The calls in which a callback failed."""
    output.say(f"\nwhere {callback} failed", style="bold")
    for line in traceback.splitlines() or ["no call of it was noted"]:
        output.say(plain(line))


def machine_of(settings: Settings, name: str, version: int) -> tuple[Machine | None, str | None]:
    """The version of a machine, or the loaded one; else why it can not be told of."""
    try:
        loaded, pinned = load_versions(settings)
    except (ConfigurationError, DefinitionError, PluginError) as error:
        return None, f"the machines can not be loaded: {error}"
    for one in pinned:
        if (one.name, one.version) == (name, version):
            return one, None
    if name not in loaded:
        return None, f"no machine {name} is loaded"
    return loaded[name], None


async def _known(session: Session, machine: Machine | None) -> Known:
    """What the daemon says of itself, where it can be heard."""
    now_ms = wall_clock_ms()
    daemon = daemon_of(session.settings)
    if daemon is None:
        said = await said_by(None, session.log)
        told = tuple(one for each in said for one in each["limits"])
        return Known(now_ms, machine, bool(await session.log.members()), told)
    limits = tuple(daemon.said.get("limits", ())) if daemon.alive else ()
    return Known(now_ms, machine, daemon.alive, limits)


async def _unknown(output: Output, workflow_id: str, session: Session) -> Exit:
    """What is known of a workflow that is not there: perhaps it was, or nobody has read of it."""
    code = await not_found(output, workflow_id, session)
    past = await last_known(session.log, session.app, workflow_id)
    if past and not output.as_json:
        last = past[-1]
        why_not = last.get("reason") or last.get("outcome") or ""
        what = last.get("event") or last.get("command") or ""
        told = " ".join(part for part in (last["kind"], what, f"({why_not})") if part)
        output.note(f"the last that the history tells of it: {told} at {last['at']}")
    return code


_STYLES = {Status.PARKED: "bold red", Status.PAUSED: "bold yellow", Status.RETRYING: "bold yellow"}


def _print(output: Output, told: Told, wrong: str | None) -> None:
    name, status = told["workflow_id"], told["status"]
    where = f"in {told['state']}" if told["state"] else "not there"
    headline = plain(f"{name} is {where}, {status}: {told['because']}")
    output.say(headline, style=_STYLES.get(status, "bold"))
    output.say("")
    output.pairs(_facts(told))
    _ways(output, told, wrong)
    for title, columns, rows in _tables(told):
        if rows:
            output.say(f"\n{title}", style="bold")
            output.table(columns, rows, below=("ERROR", "DETAIL", "MESSAGE"))
    output.say("\nwhat would help", style="bold")
    output.pairs((one["command"], one["when"]) for one in told["helps"])
    shard, as_of = told["shard"], told["as_of"]
    read = ", ".join(f"{topic} {offset}" for topic, offset in as_of["offsets"].items())
    output.note(
        f"as of cut {as_of['cut']} of shard {shard['shard']}, read up to: {read or 'nothing'}"
    )


def _facts(told: Told) -> list[tuple[str, object]]:
    shard = told["shard"]
    served = {True: "a daemon runs", False: "no daemon runs", None: ""}[shard["served"]]
    owner = f"{shard['owner'] or 'nobody'} made the last cut" + (f"; {served}" if served else "")
    vain = ", ".join(f"{count} {outcome}" for outcome, count in told["came_in_vain"].items())
    open_letters = told["letters"]["open"]
    letters = told["dead_letters"]["count"]
    return [
        ("machine", f"{told['machine']} version {told['version']}" if told["machine"] else None),
        ("since", _stay(told)),
        ("compared", _compared(told["stay"])),
        ("came in vain", vain),
        ("letters", f"{letters}, of which {open_letters} open" if letters else None),
        ("owner", owner),
        ("unread", f"{shard['unread']} records of its shard" if shard["unread"] else None),
        *(("limit", one["meaning"]) for one in shard["limits"]),
    ]


def _stay(told: Told) -> str | None:
    if told["stayed_s"] is None:
        return None
    return f"{told['entered_at']}, for {lasting(int(told['stayed_s'] * 1_000))}"


def _compared(stay: dict[str, Any] | None) -> str | None:
    """How long others stayed where it is."""
    if stay is None:
        return None
    count = stay["stays"]
    if not count:
        return "no other stay in this state has ended in the last 7 days"
    left_out = "" if stay["complete"] else ", of the newest history"
    half, most = (lasting(int(stay[name] * 1_000)) for name in ("median_s", "p95_s"))
    return (
        f"longer than {stay['longer_than_percent']} % of {many(count, 'stay')} "
        f"here in the last 7 days{left_out} (half ended within {half}, 95 % within {most})"
    )


def _ways(output: Output, told: Told, wrong: str | None) -> None:
    """What would move it, by its machine."""
    if told["status"] in {Status.FINAL, Status.EXPECTED}:
        return
    output.say("\nwhat would move it", style="bold")
    if told["moves"] is None:
        output.say(wrong or f"the loaded {told['machine']} has no state {told['state']}")
        return
    if not told["moves"]:
        output.say("nothing")
        return
    output.table(
        ("EVENT", "IF", "TO"),
        [
            (
                way["event"],
                way["guard"],
                "(deferred)" if way["deferred"] else way["target"] or "(stays)",
            )
            for way in told["moves"]
        ],
    )


Block = tuple[str, tuple[str, ...], list[tuple[object, ...]]]


def _tables(told: Told) -> list[Block]:
    waiting = told["waiting"]
    more = (
        f", the first {len(waiting['first'])}" if waiting["count"] > len(waiting["first"]) else ""
    )
    return [
        ("timers", ("TIMER", "DUE"), [(one["id"], one["due"]) for one in told["timers"]]),
        (
            "callbacks that are owed",
            ("CALLBACK", "ATTEMPTS", "OF", "NEXT", "ERROR"),
            [_owed(one, told["failure"]) for one in (*told["owed"], *told["jobs"])],
        ),
        (
            f"events that wait ({waiting['count']}{more})",
            ("EVENT", "AT", "WHY", "FROM"),
            [_waiting(one, told["status"]) for one in waiting["first"]],
        ),
        (
            "refused lately",
            ("AT", "EVENT", "REASON", "DETAIL"),
            [(one["at"], one["event"], one["reason"], one["detail"]) for one in told["refusals"]],
        ),
        (
            "dead letters",
            ("LETTER", "AT", "EVENT", "REASON", "MESSAGE"),
            [
                (one["letter"], one["at"], one["event"], one["reason"], one["message"])
                for one in told["dead_letters"]["newest"]
            ],
        ),
    ]


def _owed(run: Told, failure: Told | None) -> tuple[object, ...]:
    own = failure is not None and failure["callback"] == run["callback"]
    error = f"{failure['type']}: {failure['message']}" if own and failure else None
    return (run["callback"], str(run["attempt"]), _count(run["max_attempts"]), run["due"], error)


def _count(number: int | None) -> str | None:
    return None if number is None else str(number)


def _waiting(one: Told, status: str) -> tuple[object, ...]:
    reason = "held" if one["held_until"] else "deferred" if one["deferred"] else "queued"
    if status in {Status.PARKED, Status.PAUSED} and not one["deferred"]:
        reason = f"it is {status}"
    place = f"{one['topic']}/{one['partition']}/{one['offset']}"
    return (one["event"], one["at"], reason, place)
