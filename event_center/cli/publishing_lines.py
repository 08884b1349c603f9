"""
A file of events on its way into a topic: its options, its pace, what it came to.

What was counted as published is durable, also after Ctrl-C. A line that a center could not read is named
with its number and stops the command, or is passed over if that was asked for. Called by `publishing`;
`event_lines` reads the lines, `client.publisher` writes the records.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import anyio
import typer
from rich.progress import Progress

from event_center.app.publishing import check_topic, known_topics
from event_center.app.wiring import max_event_bytes
from event_center.cli.event_lines import STDIN, Line, line_record, read_lines
from event_center.cli.exits import Exit, end_on_signal
from event_center.cli.options import choice
from event_center.cli.output import Output, many
from event_center.cli.progress import bar
from event_center.cli.session import Session, Where, opened
from event_center.client.publisher import BATCH, EventPublisher, check_size
from event_center.errors import Undecodable
from event_center.model import Outgoing

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


def check_file(file: Path, id_from: IdFrom | None, given: list[str]) -> None:
    """Whether the options beside `--file` go with it."""
    if given:
        raise typer.BadParameter(f"--file takes events from a file; leave {given[0]} out")
    if file == STDIN:
        if id_from is not None:
            raise typer.BadParameter("--id-from line needs a file's name, which stdin has not")
    elif not file.exists():
        raise typer.BadParameter(f"--file {file} does not exist; write - for stdin")


class _Publishing:
    """A file on its way into a topic."""

    def __init__(self, session: Session, lines: Lines, progress: Progress, max_bytes: int) -> None:
        self.published = 0
        self.bad: list[dict[str, Any]] = []
        self.skipped = 0
        self.ended = False
        """Whether it came to its end; if not, Ctrl-C ended it."""
        self.through = 0
        """The line up to which all are published or passed over."""
        self.started = anyio.current_time()
        self._at = 0
        self._lines = lines
        self._max_bytes = max_bytes
        self._envelope = session.app.envelopes.get(lines.topic)
        self._publisher = EventPublisher(session.log, max_bytes)
        self._progress = progress
        size = None if lines.path == STDIN or lines.path.suffix == ".gz" else _size(lines.path)
        self._task = progress.add_task("publishing", total=size, count=0)

    async def run(self, output: Output) -> None:
        """Publish line after line; stops at a bad one unless they are to be passed over."""
        async for records in self._batches(output):
            # What has begun comes to its end, so that it can be told what is published.
            with anyio.CancelScope(shield=True):
                await self._publisher.append(records)
            self.published += len(records)
            self.through = self._at
            size = sum(len(record.value or b"") + 1 for record in records)
            self._progress.update(self._task, advance=size, count=self.published)
            if self._lines.rate:
                due = self.started + self.published / self._lines.rate
                await anyio.sleep(max(0.0, due - anyio.current_time()))
        self.ended = True

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
        self._at = line.number
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


async def publish_lines(output: Output, where: Where, lines: Lines) -> Exit:
    """Publish a file, and say what it came to, also if Ctrl-C ended it."""
    settings = where.settings()
    check_topic(lines.topic, known_topics(settings))
    async with opened(where, make=True) as session:
        with bar() as progress:
            publishing = _Publishing(session, lines, progress, max_event_bytes(settings))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(end_on_signal, tasks.cancel_scope)
                await publishing.run(output)
                tasks.cancel_scope.cancel()
            took_s = anyio.current_time() - publishing.started
    _print(output, lines, publishing, took_s)
    if publishing.ended and not publishing.skipped:
        return Exit.OK
    return Exit.PARTLY if publishing.published else Exit.NOTHING


def _print(output: Output, lines: Lines, done: _Publishing, took_s: float) -> None:
    rate = done.published / took_s if took_s else 0.0
    if output.as_json:
        answer = {"topic": lines.topic, "published": done.published, "skipped": done.skipped}
        answer |= {"ended": done.ended, "line": done.through}
        output.json(answer | {"bad": done.bad, "seconds": round(took_s, 3)})
        return
    events = many(done.published, "event")
    text = f"published {events} to {lines.topic} in {took_s:.1f} s ({rate:,.0f}/s)"
    if done.stopped:
        text += f"; stopped at line {done.bad[0]['line']}, --on-error skip passes over it"
    elif done.skipped:
        text += f"; passed over {many(done.skipped, 'bad line')}"
    if not done.ended:
        text += f"; stopped behind line {done.through}"
        if lines.id_from is not None:
            text += ": the same command publishes the rest, and counts nothing twice"
        elif lines.path != STDIN:
            text += f": `tail -n +{done.through + 1}` of the file is the rest"
    output.say(text)
