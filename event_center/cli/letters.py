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
from typing import Annotated, Any

import typer

from event_center.cli.exits import Exit
from event_center.cli.explaining import print_calls
from event_center.cli.groups import Asked
from event_center.cli.options import choice
from event_center.cli.output import Output
from event_center.cli.session import Session, ask
from event_center.client.letters import Filed, Sought, find_letter, newest_letters
from event_center.model import Reason
from event_center.wire.history import rfc3339

GROUPED = 100_000
"""Letters that are grouped, the newest: what an operator acts on is among them."""


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


@dataclass(frozen=True, kw_only=True, slots=True)
class WhichLetters:
    """Which letters, by what they have in common."""

    workflow_id: Annotated[
        str | None, typer.Option(metavar="ID", help="Letters of this workflow.")
    ] = None
    machine: Annotated[str | None, typer.Option(help="Letters of this machine.")] = None
    error: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Those with this in the error's name or text."),
    ] = None
    because: Annotated[
        Reason | None, choice(Reason, about="Those that are here for this reason.")
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
    limit: Annotated[int, typer.Option(min=1, help="Show at most so many, the newest.")] = 100,
    asked: Asked,
) -> None:
    """List dead letters, oldest first, with the reason of each and what was done about it."""
    work = partial(_groups if grouped else _list, asked.output, which.sought, limit)
    ask(asked.output, asked.where, work)


async def _list(output: Output, sought: Sought, limit: int, session: Session) -> Exit:
    newest, count = await newest_letters(session.log, session.app, limit, sought)
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
                "to_do": states["open"] + states["kept"],
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


async def _show(output: Output, place: tuple[int, int], session: Session) -> Exit:
    filed = await find_letter(session.log, session.app, place)
    if filed is None:
        return no_letter(output, place)
    letter = filed.letter
    shown = row_of(filed) | {
        "key": _text(letter.key),
        "value": _text(letter.value),
        "headers": [[name, _text(value)] for name, value in letter.headers],
    }
    if output.as_json:
        output.json(shown | {"traceback": letter.traceback})
        return Exit.OK
    output.pairs((name, value) for name, value in shown.items() if value not in (None, []))
    if letter.traceback:
        print_calls(output, letter.callback or "it", letter.traceback)
    return Exit.OK


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "backslashreplace")


def no_letter(output: Output, place: tuple[int, int]) -> Exit:
    """Say that there is no such letter."""
    output.error(
        f"there is no letter {place[0]}/{place[1]}; `event-center dead-letters list` shows those "
        "there are"
    )
    return Exit.NOT_FOUND
