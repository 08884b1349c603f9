"""
The commands that publish: `publish` to a topic, one event or a file of them, and `send` to a
workflow.

What was said to be published is durable. Files are published by `publishing_lines`; `client.publisher`
writes the records.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

from event_center.app.publishing import check_topic, known_topics
from event_center.app.wiring import max_event_bytes, wall_clock_ms
from event_center.cli.awaiting import event_outcome
from event_center.cli.exits import Exit, perform
from event_center.cli.groups import Asked
from event_center.cli.naming import machine_under, no_such_event, unsent
from event_center.cli.options import Id, duration, json_value
from event_center.cli.output import Output
from event_center.cli.publishing_lines import FromFile, Lines, check_file, publish_lines
from event_center.cli.session import Session, Where, ask, not_found, opened
from event_center.client.publisher import (
    check_event_id,
    check_event_name,
    check_size,
    check_workflow_id,
    event_record,
)
from event_center.client.workflows import snapshot_of
from event_center.model import Event, Outgoing
from event_center.wire.envelope import inbox_record


def publish(
    topic: Annotated[
        str, typer.Argument(metavar="TOPIC", help="A topic of the settings.", show_default=False)
    ],
    *,
    workflow_id: Annotated[
        str | None, typer.Option("--workflow-id", metavar="ID", help="The workflow it is for.")
    ] = None,
    event: Annotated[str | None, typer.Option(metavar="NAME", help="The event's name.")] = None,
    payload: Annotated[
        str | None, typer.Option(metavar="JSON", help="The event's payload.")
    ] = None,
    event_id: Annotated[
        str | None,
        typer.Option("--id", metavar="ID", help="The event's id: sent twice, it counts once."),
    ] = None,
    from_file: FromFile,
    wait: Annotated[
        float | None,
        typer.Option(
            parser=duration,
            metavar="DURATION",
            help="Wait so long for what becomes of the event, and say it.",
        ),
    ] = None,
    asked: Asked,
) -> None:
    """
    Publish one event, or a file of them, durably. No daemon has to run.

    event-center publish orders --workflow-id o-1 --event paid --payload '{"cents": 990}'

    event-center publish orders --file events.jsonl
    """
    output, where = asked.output, asked.where
    single = {
        "--workflow-id": workflow_id,
        "--event": event,
        "--payload": payload,
        "--id": event_id,
        "--wait": wait,
    }
    if from_file.file is not None:
        file, id_from = from_file.file, from_file.id_from
        check_file(file, id_from, [name for name, value in single.items() if value is not None])
        lines = Lines(topic, file, from_file.rate, from_file.on_error, id_from)
        perform(output, partial(publish_lines, output, where, lines))
        return
    if workflow_id is None or event is None:
        raise typer.BadParameter("give --workflow-id and --event, or --file")
    record = _record(topic, workflow_id, event, (json_value(payload), event_id))
    perform(output, partial(_publish_one, output, where, record, wait))


def _record(
    topic: str, workflow_id: str, event: str, payload_and_id: tuple[Any, str | None]
) -> Outgoing:
    payload, event_id = payload_and_id
    try:
        return event_record(
            topic,
            workflow_id=workflow_id,
            event=event,
            payload=payload,
            event_id=event_id,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


async def _publish_one(
    output: Output, where: Where, record: Outgoing, within_s: float | None
) -> Exit:
    settings = where.settings()
    check_topic(record.topic, known_topics(settings))
    try:
        check_size(record, max_event_bytes(settings))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    told, waited_s = None, 0.0
    async with opened(where, make=True) as session:
        workflow_id = (record.key or b"").decode()
        home = session.app.home(workflow_id)
        since = await session.log.watermark(session.app.history, home) if within_s else 0
        position = (await session.log.publish([record]))[0]
        if within_s:
            told, waited_s = await event_outcome(
                session, workflow_id, position, since=since, within_s=within_s
            )
    shown: dict[str, Any] = {"topic": record.topic, "published": 1, "position": str(position)}
    if within_s:
        names = ("outcome", "reason", "detail")
        shown |= {name: (told or {}).get(name) for name in names} | {
            "state": (told or {}).get("to")
        }
    if output.as_json:
        output.json(shown)
    else:
        output.say(f"published: {position}")
        if within_s:
            output.say(_became(shown, waited_s))
    if not within_s or shown["outcome"] == "applied":
        return Exit.OK
    return Exit.PARTLY if told is None else Exit.NOTHING


def _became(shown: dict[str, Any], waited_s: float) -> str:
    """What became of the event, as a sentence."""
    if shown["outcome"] is None:
        return f"nobody has decided it within {waited_s:g} s; it is in the log, and will be"
    why = ", ".join(str(shown[name]) for name in ("reason", "detail") if shown[name])
    where = f"; the workflow is in {shown['state']}" if shown["state"] else ""
    return f"{shown['outcome']}{f' ({why})' if why else ''}{where}"


def send(
    workflow_id: Id,
    event: Annotated[
        str, typer.Argument(metavar="EVENT", help="The event's name.", show_default=False)
    ],
    *,
    payload: Annotated[
        str | None, typer.Option(metavar="JSON", help="The event's payload.")
    ] = None,
    event_id: Annotated[
        str | None,
        typer.Option("--id", metavar="ID", help="The event's id: sent twice, it counts once."),
    ] = None,
    asked: Asked,
) -> None:
    """Send an event to a workflow that exists, through the inbox and whatever its topic."""
    sent = Event(event, json_value(payload), event_id, wall_clock_ms())
    try:
        check_workflow_id(workflow_id)
        check_event_name(event)
        check_event_id(event_id)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    ask(asked.output, asked.where, partial(_send, asked.output, workflow_id, sent))


async def _send(output: Output, workflow_id: str, event: Event, session: Session) -> Exit:
    snapshot = await snapshot_of(session.log, session.app, workflow_id)
    if snapshot is None:
        return await not_found(output, workflow_id, session)
    machine = machine_under(snapshot, session.settings)
    if machine is not None and (unknown := no_such_event(machine, event.name)):
        output.error(unsent(unknown))
        return Exit.USAGE
    app = session.app
    record = inbox_record(app.inbox, app.home(workflow_id), workflow_id, None, event)
    try:
        check_size(record, max_event_bytes(session.settings))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    position = (await session.log.publish([record]))[0]
    if output.as_json:
        output.json({"workflow_id": workflow_id, "event": event.name, "position": str(position)})
    else:
        output.say(f"sent {event.name} to {workflow_id}: {position}")
    return Exit.OK
