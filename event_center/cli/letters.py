"""
The commands for dead letters: `dead-letters list`, `show`, `replay`, `discard`.

A letter is named by where it lies, `PARTITION/OFFSET`. Letters with a number belong to a sequence
of their workflow, whose events follow into the dead letters until all of it is replayed or
discarded, in order; the daemon decides that. `client.letters` has the next step.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import anyio
import typer

from event_center.cli.exits import Exit
from event_center.cli.options import AsJson, Config, DryRun, LogPath, NoWait, Wait
from event_center.cli.output import Output
from event_center.cli.repairing import WAIT, Giving, deliver
from event_center.cli.session import Session, Where, ask
from event_center.client import letters as client
from event_center.wire.command import Command
from event_center.wire.history import rfc3339
from event_center.wire.letter import Letter

dead_letters = typer.Typer(
    no_args_is_help=True,
    help="Look at events that could not be dealt with, and send them on their way again.",
)

POLL_S = 0.05
"""
How often to look whether a replayed letter has left its sequence: at once for who sits before it.
"""


def _place(text: str) -> Any:
    """PARTITION/OFFSET."""
    partition, _, offset = text.rpartition("/")
    if not offset.isdigit() or not (partition or "0").isdigit():
        raise typer.BadParameter(f"{text!r} is no letter; write PARTITION/OFFSET, as 0/12")
    return int(partition or 0), int(offset)


LetterPlace = Annotated[
    Any,
    typer.Argument(
        parser=_place,
        metavar="LETTER",
        help="PARTITION/OFFSET, as `dead-letters list` shows it.",
        show_default=False,
    ),
]


@dead_letters.command("list")
def list_(
    *,
    workflow_id: Annotated[
        str | None, typer.Option(metavar="ID", help="Only letters of this workflow.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Show at most so many, the newest.")] = 100,
    config: Config = None,
    log: LogPath = None,
    as_json: AsJson = False,
) -> None:
    """List dead letters, oldest first, with the reason of each."""
    output = Output(as_json=as_json)
    ask(output, Where(config, log), partial(_list, output, workflow_id, limit))


async def _list(output: Output, workflow_id: str | None, limit: int, session: Session) -> Exit:
    newest, count = await client.newest_letters(session.log, session.app, limit, workflow_id)
    rows = [await _row(letter, session) for letter in newest]
    if output.as_json:
        output.json(rows)
        return Exit.OK
    if not rows:
        output.say("no dead letters")
        return Exit.OK
    names = (
        "letter",
        "at",
        "reason",
        "workflow_id",
        "event",
        "number",
        "open",
        "origin",
        "message",
    )
    output.table([n.upper() for n in names], ([row[name] for name in names] for row in rows))
    if count > len(rows):
        output.note(f"the newest {len(rows)} of {count} letters; --limit shows more")
    return Exit.OK


async def _row(letter: Letter, session: Session) -> dict[str, Any]:
    is_open = None
    if letter.number is not None:
        numbers = await client.open_numbers(session.log, session.app, letter.workflow_id or "")
        is_open = letter.number in numbers
    return {
        "letter": f"{letter.position.partition}/{letter.position.offset}",
        "at": rfc3339(letter.at_ms),
        "reason": letter.reason,
        "workflow_id": letter.workflow_id,
        "machine": letter.machine,
        "event": letter.event,
        "number": letter.number,
        "open": is_open,
        "origin": letter.origin,
        "error": letter.error,
        "message": letter.message,
        "callback": letter.callback,
        "attempts": letter.attempts,
    }


@dead_letters.command("show")
def show(
    place: LetterPlace, *, config: Config = None, log: LogPath = None, as_json: AsJson = False
) -> None:
    """Show one dead letter with the bytes of its event."""
    output = Output(as_json=as_json)
    ask(output, Where(config, log), partial(_show, output, place))


async def _show(output: Output, place: tuple[int, int], session: Session) -> Exit:
    letter = await client.find_letter(session.log, session.app, place)
    if letter is None:
        return _no_letter(output, place)
    shown = await _row(letter, session) | {
        "key": _text(letter.key),
        "value": _text(letter.value),
        "headers": [[name, _text(value)] for name, value in letter.headers],
    }
    if output.as_json:
        output.json(shown)
    else:
        output.pairs(shown.items())
    return Exit.OK


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "backslashreplace")


def _no_letter(output: Output, place: tuple[int, int]) -> Exit:
    output.error(
        f"there is no letter {place[0]}/{place[1]}; `event-center dead-letters list` shows those "
        "there are"
    )
    return Exit.NOT_FOUND


@dead_letters.command("replay")
def replay(
    place: LetterPlace,
    *,
    dry_run: DryRun = False,
    wait: Wait = WAIT,
    no_wait: NoWait = False,
    config: Config = None,
    log: LogPath = None,
    as_json: AsJson = False,
) -> None:
    """Let the event of a letter be decided again. Of a sequence, the next open one comes first."""
    output = Output(as_json=as_json)
    within_s = Giving(dry_run=dry_run, wait=wait, no_wait=no_wait).within_s
    ask(output, Where(config, log), partial(_replay, output, place, within_s))


async def _replay(
    output: Output, place: tuple[int, int], within_s: float | None, session: Session
) -> Exit:
    letter = await client.find_letter(session.log, session.app, place)
    if letter is None:
        return _no_letter(output, place)
    sent = client.replay(session.app, letter)
    if within_s is None:
        what = "replay" if isinstance(sent, Command) else f"publish it to {sent.topic} again"
        return _would(output, letter, what)
    if isinstance(sent, Command):
        code = await deliver(output, sent, within_s, session)
        if code is Exit.OK and within_s and not output.as_json:
            await _closed(output, letter, within_s, session)
        return code
    position = (await session.log.publish([sent]))[0]
    if output.as_json:
        output.json({"letter": str(letter.position), "published": str(position)})
    else:
        output.say(f"published again: {position}")
    return Exit.OK


async def _closed(output: Output, letter: Letter, within_s: float, session: Session) -> None:
    """Say whether the letter is closed: its event may fail once more."""
    with anyio.move_on_after(within_s):
        while True:
            numbers = await client.open_numbers(session.log, session.app, letter.workflow_id or "")
            if letter.number not in numbers:
                output.say(f"letter {letter.number} is closed, {len(numbers)} still open")
                return
            await anyio.sleep(POLL_S)
    output.say(f"letter {letter.number} is still open; `event-center show` says why")


@dead_letters.command("discard")
def discard(
    place: LetterPlace,
    *,
    dry_run: DryRun = False,
    wait: Wait = WAIT,
    no_wait: NoWait = False,
    config: Config = None,
    log: LogPath = None,
    as_json: AsJson = False,
) -> None:
    """Drop the next open letter of a sequence, so that the one after it can be dealt with."""
    output = Output(as_json=as_json)
    within_s = Giving(dry_run=dry_run, wait=wait, no_wait=no_wait).within_s
    ask(output, Where(config, log), partial(_discard, output, place, within_s))


async def _discard(
    output: Output, place: tuple[int, int], within_s: float | None, session: Session
) -> Exit:
    letter = await client.find_letter(session.log, session.app, place)
    if letter is None:
        return _no_letter(output, place)
    command = client.discard(letter)
    if command is None:
        output.error(
            f"letter {place[0]}/{place[1]} is in no sequence and in nobody's way; there is nothing "
            "to discard"
        )
        return Exit.NOTHING
    if within_s is None:
        return _would(output, letter, "discard")
    return await deliver(output, command, within_s, session)


def _would(output: Output, letter: Letter, what: str) -> Exit:
    """The answer of a dry run."""
    if output.as_json:
        output.json({"dry_run": True, "letter": str(letter.position), "would": what})
    else:
        output.say(f"would {what}: letter {letter.position}, {letter.reason}; nothing was sent")
    return Exit.OK
