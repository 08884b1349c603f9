"""
The commands that look at dead letters: `dead-letters list`, `show`.

A letter is named by where it lies, `PARTITION/OFFSET`. Letters with a number belong to a sequence
of their workflow, whose events follow into the dead letters until all of it is replayed or
discarded, in order; the daemon decides that. `replaying` has the commands that do so, `client.letters`
finds the letters.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, NamedTuple

import typer

from event_center.cli.exits import Exit
from event_center.cli.explaining import print_calls
from event_center.cli.groups import Asked
from event_center.cli.naming import no_such_letters
from event_center.cli.options import choice
from event_center.cli.output import Output
from event_center.cli.session import Session, ask
from event_center.client.letters import Filed, Sought, find_letter, newest_letters
from event_center.model import Reason
from event_center.wire.history import rfc3339

GROUPED = 100_000
"""Letters that are grouped, the newest: what an operator acts on is among them."""
MEANT = 5
"""Letters that are named where a number may mean several: enough to see which way to write it."""


class Place(NamedTuple):
    """Where a letter lies, or one number of it alone."""

    partition: int | None
    offset: int


def _place(text: str) -> Any:
    """PARTITION/OFFSET, or a number."""
    partition, slash, offset = text.rpartition("/")
    if not offset.isdecimal() or (slash and not partition.isdecimal()):
        raise typer.BadParameter(
            f"{text!r} is no letter; write PARTITION/OFFSET, as `dead-letters list` shows it: 0/12"
        )
    return Place(int(partition) if slash else None, int(offset))


LetterPlace = Annotated[
    Any,
    typer.Argument(
        parser=_place,
        metavar="LETTER",
        help="PARTITION/OFFSET, as `dead-letters list` shows it.",
        show_default=False,
    ),
]


@dataclass(frozen=True, kw_only=True, slots=True)
class WhichLetters:
    """Which letters, by what they have in common."""

    workflow_id: Annotated[
        str | None, typer.Option(metavar="ID", help="Letters of this workflow.")
    ] = None
    machine: Annotated[
        str | None, typer.Option(metavar="NAME", help="Letters of this machine.")
    ] = None
    error: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Those with this in the error's name or text."),
    ] = None
    because: Annotated[
        Reason | None,
        choice(
            Reason, about="Those that are here for this reason, as in the list.", metavar="REASON"
        ),
    ] = None

    @property
    def sought(self) -> Sought:
        """The same for the client."""
        return Sought(self.workflow_id, self.machine, self.error, self.because)


def list_(
    *,
    which: WhichLetters,
    grouped: Annotated[
        bool, typer.Option("--grouped", help="Count them by machine, reason and error.")
    ] = False,
    limit: Annotated[
        int, typer.Option(min=1, metavar="N", help="Show at most so many, the newest.")
    ] = 100,
    asked: Asked,
) -> None:
    """List dead letters, oldest first, with the reason of each and what was done about it."""
    work = partial(_groups if grouped else _list, asked.output, which.sought, limit)
    ask(asked.output, asked.where, work)


async def _list(output: Output, sought: Sought, limit: int, session: Session) -> Exit:
    newest, count = await newest_letters(session.log, session.app, limit, sought)
    if not newest and (mistaken := await no_such_letters(sought, session)):
        output.error(mistaken)
        return Exit.NOT_FOUND
    rows = [row_of(filed) for filed in newest]
    if output.as_json:
        output.json(rows)
        return Exit.OK
    if not rows:
        output.say("no dead letters")
        return Exit.OK
    names = (
        "letter",
        "at",
        "state",
        "reason",
        "workflow_id",
        "event",
        "number",
        "message",
    )
    cells = ([row[name] for name in names] for row in rows)
    output.table([n.upper() for n in names], cells, below=("MESSAGE", "NUMBER", "EVENT"))
    if count > len(rows):
        output.note(f"the newest {len(rows)} of {count} letters; --limit shows more")
    return Exit.OK


async def _groups(output: Output, sought: Sought, limit: int, session: Session) -> Exit:
    newest, count = await newest_letters(session.log, session.app, GROUPED, sought)
    if not newest and (mistaken := await no_such_letters(sought, session)):
        output.error(mistaken)
        return Exit.NOT_FOUND
    rows = groups_of(newest)
    if output.as_json:
        output.json(rows)
        return Exit.OK
    if not rows:
        output.say("no dead letters")
        return Exit.OK
    print_groups(output, rows[:limit])
    if count > len(newest):
        output.note(f"of the newest {len(newest):,} of {count:,} letters")
    return Exit.OK


def groups_of(filed: list[Filed]) -> list[dict[str, Any]]:
    """Letters counted by what they have in common, the largest group first."""
    groups: dict[tuple[str | None, ...], list[Filed]] = {}
    for one in filed:
        letter = one.letter
        key = (letter.machine, letter.reason, letter.error, letter.callback)
        groups.setdefault(key, []).append(one)
    rows = []
    for (machine, reason, error, callback), ones in groups.items():
        states = Counter(one.state for one in ones)
        rows.append(
            {
                "machine": machine,
                "reason": reason,
                "error": error,
                "callback": callback,
                "letters": len(ones),
                "to_do": states["open"] + states["untouched"],
                "states": dict(sorted(states.items())),
                "oldest": rfc3339(ones[0].letter.at_ms),
                "newest": rfc3339(ones[-1].letter.at_ms),
                "example": named(ones[-1]),
                "message": ones[-1].letter.message,
            }
        )
    return sorted(rows, key=lambda row: (-row["letters"], str(row["machine"])))


def print_groups(output: Output, rows: list[dict[str, Any]]) -> None:
    """The groups as a table."""
    names = ("machine", "reason", "error", "callback", "letters", "to_do", "newest", "example")
    counts = {"letters", "to_do"}
    output.table(
        [name.replace("_", " ").upper() for name in names],
        ([str(row[name]) if name in counts else row[name] for name in names] for row in rows),
        below=("CALLBACK", "ERROR"),
        spare=("NEWEST",),
    )


def named(filed: Filed) -> str:
    """How a letter is called on the command line."""
    return f"{filed.letter.position.partition}/{filed.letter.position.offset}"


def row_of(filed: Filed) -> dict[str, Any]:
    """A letter, ready to be written as JSON, without what it carried."""
    letter, closing = filed.letter, filed.closing
    return {
        "letter": named(filed),
        "at": rfc3339(letter.at_ms),
        "state": filed.state,
        "reason": letter.reason,
        "workflow_id": letter.workflow_id,
        "machine": letter.machine,
        "event": letter.event,
        "number": letter.number,
        "open": filed.open,
        "origin": letter.origin,
        "error": letter.error,
        "message": letter.message,
        "callback": letter.callback,
        "attempts": letter.attempts,
        "closing": closing
        and {
            "how": closing.how,
            "at": rfc3339(closing.at_ms),
            "by": closing.by,
            "reason": closing.reason,
        },
    }


def show(place: LetterPlace, *, asked: Asked) -> None:
    """Show one dead letter: its event, headers, error, and the calls in which that was raised."""
    ask(asked.output, asked.where, partial(_show, asked.output, place))


async def _show(output: Output, place: Place, session: Session) -> Exit:
    filed = await letter_at(output, place, session)
    if isinstance(filed, Exit):
        return filed
    letter = filed.letter
    shown = row_of(filed) | {
        "key": _text(letter.key),
        "value": _text(letter.value),
        "headers": [[name, _text(value)] for name, value in letter.headers],
    }
    if output.as_json:
        output.json(shown | {"traceback": letter.traceback})
        return Exit.OK
    closing = filed.closing
    if closing is not None:
        why = f": {closing.reason}" if closing.reason else ""
        shown["closing"] = f"{closing.how} at {rfc3339(closing.at_ms)} by {closing.by}{why}"
    output.pairs((name, value) for name, value in shown.items() if value not in (None, []))
    if letter.traceback:
        print_calls(output, letter.callback or "it", letter.traceback)
    return Exit.OK


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "backslashreplace")


async def letter_at(output: Output, place: Place, session: Session) -> Filed | Exit:
    """The letter that lies there, or has this number alone; else how the command ends, which is said."""
    if place.partition is not None:
        filed = await find_letter(session.log, session.app, (place.partition, place.offset))
        found = [] if filed is None else [filed]
    else:
        found = await _numbered(place.offset, session)
    if len(found) == 1:
        return found[0]
    called = place.offset if place.partition is None else f"{place.partition}/{place.offset}"
    if not found:
        output.error(
            f"there is no letter {called}; `event-center dead-letters list` shows those there are"
        )
        return Exit.NOT_FOUND
    some = ", ".join(f"{named(one)} of {one.letter.workflow_id}" for one in found[:MEANT])
    more = ", ..." if len(found) > MEANT else ""
    output.error(f"{called} may be {some}{more}; write PARTITION/OFFSET, as {named(found[0])}")
    return Exit.USAGE


async def _numbered(number: int, session: Session) -> list[Filed]:
    """The letters of which a list shows this number: as their offset, or their place in a sequence."""
    newest, _ = await newest_letters(session.log, session.app, GROUPED)
    return [one for one in newest if number in {one.letter.position.offset, one.letter.number}]
