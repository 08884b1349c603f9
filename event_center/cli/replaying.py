"""
The commands about dead letters that do something: `dead-letters replay`, `discard`; one letter, or many.

Promises: what was done about a letter is on record with it, and is not done again. `client.replaying` makes
what is sent of one letter, `dealing` deals with many.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated

import click
import orjson
import typer

from event_center.app.wiring import max_event_bytes
from event_center.cli.dealing import Dealing, ManyLetters, closed, deal_with
from event_center.cli.exits import Exit
from event_center.cli.groups import Asked
from event_center.cli.letters import LetterPlace, Place, WhichLetters, letter_at, named
from event_center.cli.operating import lacks_reason
from event_center.cli.options import json_value
from event_center.cli.output import Output
from event_center.cli.repairing import Giving, deliver
from event_center.cli.session import Session, ask
from event_center.client.letters import ALL, Filed, open_numbers
from event_center.client.replaying import DISCARDED, Edited, event_of
from event_center.client.replaying import discard as discarding
from event_center.client.replaying import replay as replaying
from event_center.client.workflows import UNREADABLE
from event_center.errors import Undecodable
from event_center.wire.command import Command, Verb
from event_center.wire.history import rfc3339
from event_center.wire.letter import Letter


def replay(
    *,
    place: LetterPlace = None,
    payload: Annotated[
        str | None, typer.Option(metavar="JSON", help="Replay one letter with this payload.")
    ] = None,
    edit: Annotated[
        bool, typer.Option("--edit", help="Change the payload of one letter in $EDITOR first.")
    ] = False,
    which: WhichLetters,
    many: ManyLetters,
    giving: Giving,
    asked: Asked,
) -> None:
    """Let the events of letters be decided again. Of a sequence, the next open one comes first."""
    if place is None:
        if payload is not None or edit:
            raise typer.BadParameter("--payload and --edit change one letter: name it")
        deal_with(Dealing("replay", giving, many.rate), which, many, asked)
        return
    if payload is not None and edit:
        raise typer.BadParameter("give --payload or --edit, not both")
    _check_one(which, many)
    made = None if payload is None else Edited(payload=json_value(payload))
    one = partial(_replay, asked.output, place, giving, edited=made, edit=edit)
    ask(asked.output, asked.where, one)


def discard(
    *,
    place: LetterPlace = None,
    which: WhichLetters,
    many: ManyLetters,
    giving: Giving,
    asked: Asked,
) -> None:
    """Say that nobody wants letters any more; those of a sequence let the ones after them pass."""
    if place is None:
        deal_with(Dealing("discard", giving, many.rate), which, many, asked)
        return
    _check_one(which, many)
    ask(asked.output, asked.where, partial(_discard, asked.output, place, giving))


def _check_one(which: WhichLetters, many: ManyLetters) -> None:
    if which.sought != ALL or many.every:
        raise typer.BadParameter("name a LETTER, or say which ones, not both")


# -- one letter ------------------------------------------------------------------------------------


async def _found(output: Output, place: Place, session: Session) -> Filed | Exit:
    """The letter if something can be done about it, else how the command ends."""
    filed = await letter_at(output, place, session)
    if isinstance(filed, Exit):
        return filed
    if filed.state in {"open", "untouched"}:
        return filed
    if filed.state == UNREADABLE:
        workflow_id = filed.letter.workflow_id
        output.error(
            f"the snapshot of {workflow_id!r} can not be read, so nobody knows whether letter "
            f"{named(filed)} is open; nothing was sent. `event-center show {workflow_id}` says what to do"
        )
        return Exit.LOG
    closing = filed.closing
    by = "" if closing is None else f" by {closing.by} at {rfc3339(closing.at_ms)}"
    again = (
        "" if filed.state == DISCARDED else ". If its event failed again, that is another letter"
    )
    output.error(f"letter {named(filed)} is {filed.state} already{by}; nothing was sent{again}")
    return Exit.NOTHING


async def _replay(
    output: Output,
    place: Place,
    giving: Giving,
    session: Session,
    *,
    edited: Edited | None,
    edit: bool,
) -> Exit:
    filed = await _found(output, place, session)
    if isinstance(filed, Exit):
        return filed
    letter = filed.letter
    if edit:
        edited = _edited(letter, session)
        if edited is None:
            output.error(
                "nothing was changed, and nothing was sent; without --edit it goes as it is"
            )
            return Exit.NOTHING
    most = max_event_bytes(session.settings)
    sent = replaying(session.app, letter, edited, giving.reason, max_bytes=most)
    if giving.within_s is None:
        what = "replay" if isinstance(sent, Command) else f"publish it to {sent[0].topic} again"
        return _would(output, letter, what)
    if isinstance(sent, Command):
        code = await deliver(output, sent, giving.within_s, session)
        if code is Exit.OK and giving.within_s:
            return await _closed(output, letter, giving.within_s, session)
        return code
    position = (await session.log.publish(sent))[0]
    if output.as_json:
        output.json({"letter": str(letter.position), "published": str(position)})
    else:
        output.say(f"published again: {position}")
    return Exit.OK


def _edited(letter: Letter, session: Session) -> Edited | None:
    """What an editor made of the payload, or of an event that can not be read; None: nothing."""
    try:
        _, _, event = event_of(session.app, letter)
    except Undecodable:
        if letter.number is not None:
            raise
        text = _in_editor((letter.value or b"").decode("utf-8", "backslashreplace"), ".txt")
        return None if text is None else Edited(value=text.rstrip("\n").encode())
    before = orjson.dumps(event.payload, option=orjson.OPT_INDENT_2).decode()
    text = _in_editor(before, ".json")
    return None if text is None else Edited(payload=json_value(text))


def _in_editor(text: str, ending: str) -> str | None:
    """The text as somebody left it in $VISUAL or $EDITOR; None: it was not saved."""
    try:
        return click.edit(text, extension=ending)
    except click.ClickException as error:
        raise typer.BadParameter(
            f"{error.message}; nothing was sent. Name another editor in $EDITOR, or give --payload"
        ) from error


async def _closed(output: Output, letter: Letter, within_s: float, session: Session) -> Exit:
    """Say whether the letter is closed, and end so: its event may fail once more, or still be tried."""
    done = await closed(letter, within_s, session)
    workflow_id = letter.workflow_id or ""
    if not output.as_json:
        rest = len(await open_numbers(session.log, session.app, workflow_id))
        still = f"letter {letter.number} is still open; `event-center why {workflow_id}` says why"
        output.say(f"letter {letter.number} is closed, {rest} still open" if done else still)
    return Exit.OK if done else Exit.PARTLY


async def _discard(output: Output, place: Place, giving: Giving, session: Session) -> Exit:
    filed = await _found(output, place, session)
    if isinstance(filed, Exit):
        return filed
    if giving.within_s is None:
        return _would(output, filed.letter, "discard")
    if lacks_reason(output, Verb.DISCARD, giving.reason):
        return Exit.USAGE
    sent = discarding(filed.letter, giving.reason)
    if isinstance(sent, Command):
        return await deliver(output, sent, giving.within_s, session)
    await session.log.publish(sent)
    if output.as_json:
        output.json({"letter": str(filed.letter.position), "discarded": True})
    else:
        output.say(f"discarded: letter {named(filed)}; it stays in the log, with the reason")
    return Exit.OK


def _would(output: Output, letter: Letter, what: str) -> Exit:
    """The answer of a dry run."""
    if output.as_json:
        output.json({"dry_run": True, "letter": str(letter.position), "would": what})
    else:
        output.say(f"would {what}: letter {letter.position}, {letter.reason}; nothing was sent")
    return Exit.OK
