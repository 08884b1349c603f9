"""
The commands of administrators about topics: `topics create`, `topics check`, `topics describe`.

They answer for the settings file: its app's own topics, and the users' topics (`--events`) that
it names. `create` makes what is missing and changes nothing that exists; the others only look, at all.
`app.wiring` knows which topics there have to be, the log what is wrong with them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any, NamedTuple

import typer

from event_center.app.opening import reach_log
from event_center.app.settings import Settings
from event_center.app.topic_flaws import FOREIGN, flaws_of, told
from event_center.app.wiring import partitions_wanted, uses
from event_center.cli.exits import Exit, perform
from event_center.cli.groups import Asked
from event_center.cli.log_lines import set_up_quiet_logging
from event_center.cli.options import DryRun
from event_center.cli.output import Output, many
from event_center.cli.session import WAIT_S, Where, require_log
from event_center.log.detail import TopicDetail, Use
from event_center.log.port import Log

Events = Annotated[
    bool, typer.Option("--events", help="Also the topics of events and those published to.")
]
SHOWN = ("cleanup.policy", "retention.ms", "max.message.bytes", "min.insync.replicas")
"""The settings that a table has room for; --json has all."""


class AskedTopics(NamedTuple):
    """The topics in question: their use, and how many partitions they are made with."""

    settings: Settings
    log: Log
    uses: dict[str, Use]
    partitions: dict[str, int]


def create(*, events: Events = False, dry_run: DryRun = False, asked: Asked) -> None:
    """Make the topics that are missing, with the settings that they have to have."""
    output = asked.output
    work = partial(_create, output, dry_run=dry_run)
    perform(output, partial(_answer, asked.where, work, events=events, make=not dry_run))


async def _create(output: Output, asked: AskedTopics, *, dry_run: bool) -> Exit:
    there = {detail.name for detail in await asked.log.describe()}
    missing = {name: asked.partitions[name] for name in asked.uses if name not in there}
    if missing and not dry_run:
        await asked.log.create(missing)
    if output.as_json:
        existing = sorted(asked.uses.keys() & there)
        output.json({"created": missing, "existing": existing, "dry_run": dry_run})
        return Exit.OK
    what = "would be created" if dry_run else "created"
    for name, count in missing.items():
        output.say(f"{what}: {name} ({many(count, 'partition')})")
    if not missing:
        output.say(f"nothing to do: all {len(asked.uses)} topics exist")
    return Exit.OK


def check(*, asked: Asked) -> None:
    """Name what is wrong with the topics and what can happen; exit code 1 if anything is grave."""
    _look(asked, _check)


async def _check(output: Output, asked: AskedTopics) -> Exit:
    details = {detail.name: detail for detail in await asked.log.describe()}
    flaws = flaws_of(asked.settings, asked.log, details, asked.uses)
    grave = any(flaw.grave for flaw in flaws)
    if output.as_json:
        output.json({"ok": not grave, "flaws": [flaw._asdict() for flaw in flaws]})
    else:
        for flaw in flaws:
            kind = "error" if flaw.grave else "warning"
            output.say(f"{kind}: {told(flaw)}", style="red" if flaw.grave else "yellow")
        if not flaws:
            output.say(f"ok: {len(asked.uses)} topics")
    return Exit.NOTHING if grave else Exit.OK


def describe(*, asked: Asked) -> None:
    """Show partitions, copies, offsets and settings of the topics."""
    _look(asked, _describe)


async def _describe(output: Output, asked: AskedTopics) -> Exit:
    found = [detail for detail in await asked.log.describe() if detail.name in asked.uses]
    if output.as_json:
        output.json([_as_json(detail, asked.uses[detail.name]) for detail in found])
        return Exit.OK
    output.table(
        ("TOPIC", "USE", "PARTITIONS", "COPIES", "IN SYNC", "OFFSETS", *map(str.upper, SHOWN)),
        [
            (
                detail.name,
                str(asked.uses[detail.name]),
                str(len(detail.partitions)),
                str(detail.replicas),
                str(detail.in_sync),
                str(sum(part.next - part.first for part in detail.partitions)),
                *(detail.settings.get(name) for name in SHOWN),
            )
            for detail in found
        ],
    )
    return Exit.OK


def _as_json(detail: TopicDetail, use: Use) -> dict[str, Any]:
    told = detail._asdict()
    told["partitions"] = [part._asdict() for part in detail.partitions]
    return {**told, "settings": dict(detail.settings), "use": str(use)}


def _look(asked: Asked, work: Callable[[Output, AskedTopics], Awaitable[Exit]]) -> None:
    """Answer from a log that is there, about all topics."""
    perform(asked.output, partial(_answer, asked.where, partial(work, asked.output)))


async def _answer(
    where: Where,
    work: Callable[[AskedTopics], Awaitable[Exit]],
    *,
    events: bool = True,
    make: bool = False,
) -> Exit:
    settings = where.settings()
    if not make:
        require_log(settings)
    used = {name: use for name, use in uses(settings).items() if events or use not in FOREIGN}
    set_up_quiet_logging(settings.logging)
    log = await reach_log(settings, wait_s=WAIT_S)
    try:
        return await work(AskedTopics(settings, log, used, partitions_wanted(settings)))
    finally:
        await log.close()
