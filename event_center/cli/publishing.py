"""
The commands that publish: `publish` to a topic, one event or a file of them, and `send` to a
workflow.

What was counted as published is durable. A line that a center could not read is named with its
number and stops the command, or is passed over if that was asked for.
`event_lines` reads the lines, `client.publisher` writes the records.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import anyio
import typer
from rich.progress import Progress

from event_center.app.publishing import check_topic, known_topics
from event_center.app.wiring import max_event_bytes, wall_clock_ms
from event_center.cli.awaiting import event_outcome
from event_center.cli.event_lines import STDIN, Line, line_record, read_lines
from event_center.cli.exits import Exit, perform
from event_center.cli.groups import Asked
from event_center.cli.naming import machine_under, no_such_event, unsent
from event_center.cli.options import Id, choice, duration, json_value
from event_center.cli.output import Output, many
from event_center.cli.progress import bar
from event_center.cli.session import Session, Where, ask, not_found, opened
from event_center.client.publisher import (
    BATCH,
    EventPublisher,
    check_event_name,
    check_size,
    check_workflow_id,
    event_record,
)
from event_center.client.workflows import snapshot_of
from event_center.errors import Undecodable
from event_center.model import Event, Outgoing
from event_center.wire.envelope import inbox_record

BAD_LINES = 100
"""Bad lines that are named in the answer; all are counted."""
STEP_S = 0.1
"""With a rate: how much time the events of one write may stand for."""


class OnError(StrEnum):
    """What to do with a line that can not be published."""

    STOP = "stop"
    SKIP = "skip"


class IdFrom(StrEnum):
    """Where the id of an event without one comes from."""

    LINE = "line"


class Lines(NamedTuple):
    """A file of events, and how to publish it."""

    topic: str
    path: Path
    rate: float | None
    on_error: OnError
    id_from: IdFrom | None


@dataclass(frozen=True, kw_only=True, slots=True)
class FromFile:
    """A file of events, in the options."""

    file: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            allow_dash=True,
            metavar="FILE",
            help="Publish the lines of a file, each a JSON object; .gz too, and - for stdin.",
        ),
    ] = None
    rate: Annotated[
        float | None,
        typer.Option(min=0.01, metavar="N", help="With --file: at most so many events a second."),
    ] = None
    on_error: Annotated[
        OnError, choice(OnError, about="With --file: what to do at a line that can not be read.")
    ] = OnError.STOP
    id_from: Annotated[
        IdFrom | None,
        choice(
            IdFrom,
            about="With --file: events without an id get one of the file's name and the line's "
            "number, so that the same file can be published again without harm.",
        ),
    ] = None


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
        _check_file(file, id_from, [name for name, value in single.items() if value is not None])
        lines = Lines(topic, file, from_file.rate, from_file.on_error, id_from)
        perform(output, partial(_publish_lines, output, where, lines))
        return
    if workflow_id is None or event is None:
        raise typer.BadParameter("give --workflow-id and --event, or --file")
    record = _record(topic, workflow_id, event, (json_value(payload), event_id))
    perform(output, partial(_publish_one, output, where, record, wait))


def _check_file(file: Path, id_from: IdFrom | None, given: list[str]) -> None:
    """Whether the options beside `--file` go with it."""
    if given:
        raise typer.BadParameter(f"--file takes events from a file; leave {given[0]} out")
    if file == STDIN:
        if id_from is not None:
            raise typer.BadParameter("--id-from line needs a file's name, which stdin has not")
    elif not file.exists():
        raise typer.BadParameter(f"--file {file} does not exist; write - for stdin")


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
            now_ms=wall_clock_ms(),
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
    told = None
    async with opened(where, make=True) as session:
        workflow_id = (record.key or b"").decode()
        home = session.app.home(workflow_id)
        since = await session.log.watermark(session.app.history, home) if within_s else 0
        position = (await session.log.publish([record]))[0]
        if within_s:
            told = await event_outcome(
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
            output.say(_became(shown, within_s))
    if not within_s or shown["outcome"] == "applied":
        return Exit.OK
    return Exit.PARTLY if told is None else Exit.NOTHING


def _became(shown: dict[str, Any], within_s: float) -> str:
    """What became of the event, as a sentence."""
    if shown["outcome"] is None:
        return f"nobody has decided it within {within_s:g} s; it is in the log, and will be"
    why = ", ".join(str(shown[name]) for name in ("reason", "detail") if shown[name])
    where = f"; the workflow is in {shown['state']}" if shown["state"] else ""
    return f"{shown['outcome']}{f' ({why})' if why else ''}{where}"


class _Publishing:
    """A file on its way into a topic."""

    def __init__(self, session: Session, lines: Lines, progress: Progress, max_bytes: int) -> None:
        self.published = 0
        self.bad: list[dict[str, Any]] = []
        self.skipped = 0
        self.started = anyio.current_time()
        self._lines = lines
        self._max_bytes = max_bytes
        self._envelope = session.app.envelopes.get(lines.topic)
        self._publisher = EventPublisher(session.log, wall_clock_ms, max_bytes)
        self._progress = progress
        size = None if lines.path == STDIN or lines.path.suffix == ".gz" else _size(lines.path)
        self._task = progress.add_task("publishing", total=size, count=0)

    async def run(self, output: Output) -> None:
        """Publish line after line; stops at a bad one unless they are to be passed over."""
        async for records in self._batches(output):
            await self._publisher.append(records)
            self.published += len(records)
            size = sum(len(record.value or b"") + 1 for record in records)
            self._progress.update(self._task, advance=size, count=self.published)
            if self._lines.rate:
                due = self.started + self.published / self._lines.rate
                await anyio.sleep(max(0.0, due - anyio.current_time()))

    async def _batches(self, output: Output) -> AsyncIterator[list[Outgoing]]:
        """Records that are there by now, in batches that fit the rate."""
        rate, batch = self._lines.rate, list[Outgoing]()
        limit = BATCH if rate is None else max(1, min(BATCH, int(rate * STEP_S)))
        async for lines in read_lines(self._lines.path):
            for line in lines:
                record = self._read(line, output)
                if record is not None:
                    batch.append(record)
                if self.stopped or len(batch) == limit:
                    if batch:
                        yield batch
                    batch = []
                if self.stopped:
                    return
            if batch:
                yield batch
                batch = []

    @property
    def stopped(self) -> bool:
        """A bad line ends it."""
        return self.skipped > 0 and self._lines.on_error is OnError.STOP

    def _read(self, line: Line, output: Output) -> Outgoing | None:
        lines = self._lines
        event_id = f"{lines.path.name}:{line.number}" if lines.id_from is IdFrom.LINE else None
        try:
            record = line_record(lines.topic, line, envelope=self._envelope, event_id=event_id)
            check_size(record, self._max_bytes)
        except (Undecodable, ValueError) as error:
            self.skipped += 1
            if len(self.bad) < BAD_LINES:
                self.bad.append({"line": line.number, "error": str(error)})
                if not output.as_json:
                    output.error(f"{lines.path}:{line.number}: {error}")
            return None
        return record


def _size(path: Path) -> int:
    return path.stat().st_size


async def _publish_lines(output: Output, where: Where, lines: Lines) -> Exit:
    settings = where.settings()
    check_topic(lines.topic, known_topics(settings))
    async with opened(where, make=True) as session:
        with bar() as progress:
            publishing = _Publishing(session, lines, progress, max_event_bytes(settings))
            await publishing.run(output)
            took_s = anyio.current_time() - publishing.started
    _print(output, lines, publishing, took_s)
    if not publishing.skipped:
        return Exit.OK
    return Exit.PARTLY if publishing.published else Exit.NOTHING


def _print(output: Output, lines: Lines, done: _Publishing, took_s: float) -> None:
    rate = done.published / took_s if took_s else 0.0
    if output.as_json:
        answer = {"topic": lines.topic, "published": done.published, "skipped": done.skipped}
        output.json(answer | {"bad": done.bad, "seconds": round(took_s, 3)})
        return
    events = many(done.published, "event")
    text = f"published {events} to {lines.topic} in {took_s:.1f} s ({rate:,.0f}/s)"
    if done.stopped:
        text += f"; stopped at line {done.bad[0]['line']}, --on-error skip passes over it"
    elif done.skipped:
        text += f"; passed over {many(done.skipped, 'bad line')}"
    output.say(text)


def send(
    workflow_id: Id,
    event: Annotated[str, typer.Argument(help="The event's name.", show_default=False)],
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
