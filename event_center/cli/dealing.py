"""
Many dead letters: shown before, then replayed or discarded, each workflow's in their order.

Promises: where a letter of a sequence stays open the later ones of its workflow are left alone; what was
done about a letter is on record with it, so that a second run deals with the rest and with nothing twice.
Called by `replaying`; `client.replaying` makes what is sent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, NamedTuple

import anyio
import typer

from event_center.app.wiring import max_event_bytes
from event_center.cli.exits import Exit
from event_center.cli.groups import Asked
from event_center.cli.letters import GROUPED, WhichLetters, groups_of, named, print_groups
from event_center.cli.naming import no_such_letters, unsent
from event_center.cli.operating import NO_DAEMON, lacks_reason
from event_center.cli.output import Output
from event_center.cli.progress import bar
from event_center.cli.repairing import Giving
from event_center.cli.session import Session, ask, said_yes, served
from event_center.client.commands import answer, send
from event_center.client.letters import ALL, Filed, Sought, newest_letters, open_numbers
from event_center.client.replaying import discard, replay
from event_center.client.workflows import UNREADABLE
from event_center.errors import EventCenterError
from event_center.model import Outgoing
from event_center.wire.command import Command
from event_center.wire.letter import Letter

POLL_S = 0.05
"""
How often to look whether a replayed letter has left its sequence: at once for who sits before it.
"""
AT_ONCE = 8
"""Workflows whose letters are dealt with side by side: each waits for the daemon between two letters."""
Sent = Command | list[Outgoing]


@dataclass(frozen=True, kw_only=True, slots=True)
class ManyLetters:
    """How many letters are dealt with."""

    every: Annotated[
        bool, typer.Option("--all", help="All letters that are open or untouched.")
    ] = False
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before many are dealt with.")] = (
        False
    )
    rate: Annotated[
        float | None, typer.Option(min=0.01, metavar="N", help="At most so many letters a second.")
    ] = None


async def closed(letter: Letter, within_s: float, session: Session) -> bool:
    """Whether the letter leaves its sequence within this time."""
    with anyio.move_on_after(within_s):
        while True:
            numbers = await open_numbers(session.log, session.app, letter.workflow_id or "")
            if letter.number not in numbers:
                return True
            await anyio.sleep(POLL_S)
    return False


class Dealt(NamedTuple):
    """What became of one letter."""

    letter: str
    outcome: str
    good: bool


@dataclass(slots=True)
class Dealing:
    """Many letters under way."""

    verb: str
    giving: Giving
    rate: float | None
    yes: bool = False
    total: int = 0
    results: list[Dealt] = field(default_factory=list)
    due: float = 0.0
    moved: Callable[[], None] = lambda: None

    async def run(self, filed: list[Filed], session: Session) -> None:
        """Deal with all: each workflow's sequence in its order, the workflows side by side."""
        lines: dict[object, list[Filed]] = {}
        for one in filed:
            letter = one.letter
            line = letter.position if letter.number is None else letter.workflow_id
            lines.setdefault(line, []).append(one)
        limiter = anyio.CapacityLimiter(AT_ONCE if self.rate is None else 1)
        async with anyio.create_task_group() as tasks:
            for line_of in lines.values():
                line_of.sort(key=lambda one: one.letter.number or 0)
                tasks.start_soon(self._line, line_of, limiter, session)

    async def _line(
        self, line: list[Filed], limiter: anyio.CapacityLimiter, session: Session
    ) -> None:
        async with limiter:
            stopped = False
            for one in line:
                if stopped:
                    self._note(Dealt(named(one), "left alone, behind one that is open", good=False))
                    continue
                await self._pace()
                result = await self._one(one, session)
                stopped = not result.good
                self._note(result)

    def _note(self, result: Dealt) -> None:
        self.results.append(result)
        self.moved()

    async def _pace(self) -> None:
        if self.rate is None:
            return
        now = anyio.current_time()
        await anyio.sleep(max(0.0, self.due - now))
        self.due = max(now, self.due) + 1 / self.rate

    async def _one(self, filed: Filed, session: Session) -> Dealt:
        letter, name = filed.letter, named(filed)
        try:
            sent = self._sent(letter, session)
        except EventCenterError as error:
            return Dealt(name, str(error), good=False)
        if not isinstance(sent, Command):
            await session.log.publish(sent)
            done = "published again" if self.verb == "replay" else "discarded"
            return Dealt(name, done, good=True)
        return await self._commanded(letter, name, sent, session)

    async def _commanded(self, letter: Letter, name: str, sent: Command, session: Session) -> Dealt:
        """What became of a letter of a sequence, which the daemon decides."""
        within_s = self.giving.wait
        since = await send(session.log, session.app, sent)
        if not await served(session):
            return Dealt(name, f"not answered: {NO_DAEMON}", good=False)
        told = await answer(session.log, session.app, sent, since=since, within_s=within_s)
        if told is None:
            return Dealt(name, "not answered: no daemon decides it", good=False)
        if told["outcome"] != "applied":
            why = ", ".join(str(told[part]) for part in ("reason", "detail") if told.get(part))
            return Dealt(name, f"{told['outcome']} ({why})", good=False)
        if self.verb == "discard":
            return Dealt(name, "discarded", good=True)
        good = await closed(letter, within_s, session)
        return Dealt(name, "decided" if good else "still open: why says why", good=good)

    def _sent(self, letter: Letter, session: Session) -> Sent:
        if self.verb == "discard":
            return discard(letter, self.giving.reason)
        most = max_event_bytes(session.settings)
        return replay(session.app, letter, reason=self.giving.reason, max_bytes=most)


def deal_with(dealing: Dealing, which: WhichLetters, many: ManyLetters, asked: Asked) -> None:
    """
    Show the letters that are meant, ask, and deal with them.

    Raises:
        typer.BadParameter: it is not clear which are meant.
        typer.Exit: unless all of them were dealt with.
    """
    output = asked.output
    if which.sought == ALL and not many.every:
        raise typer.BadParameter(
            "name a LETTER, or say which ones: --workflow-id, --machine, --error, --because, or --all"
        )
    if dealing.giving.no_wait:
        raise typer.BadParameter("letters of a sequence wait for each other: leave --no-wait out")
    dealing.yes = many.yes
    try:
        ask(output, asked.where, partial(_deal, output, dealing, which.sought))
    except KeyboardInterrupt:
        output.error(
            f"stopped: {len(dealing.results)} of {dealing.total} letters are dealt with, on record; the "
            "same command goes on with the rest"
        )
        raise typer.Exit(Exit.PARTLY if dealing.results else Exit.NOTHING) from None


async def _deal(output: Output, dealing: Dealing, sought: Sought, session: Session) -> Exit:
    newest, _ = await newest_letters(session.log, session.app, GROUPED, sought)
    chosen = [one for one in newest if one.state in {"open", "untouched"}]
    if hidden := sum(one.state == UNREADABLE for one in newest):
        output.note(
            f"left alone: {hidden} of workflows whose snapshot can not be read; "
            "`event-center dead-letters list` shows which"
        )
    if not chosen:
        mistaken = await no_such_letters(sought, session)
        output.error(unsent(mistaken or "no letter that is open or untouched is like that"))
        return Exit.NOT_FOUND
    if not output.as_json:
        print_groups(output, groups_of(chosen))
    elif dealing.giving.dry_run:
        output.json({"dry_run": True, "letters": [named(one) for one in chosen]})
    if dealing.giving.dry_run:
        output.note(f"would {dealing.verb} {len(chosen)}; nothing was sent")
        return Exit.OK
    if lacks_reason(output, dealing.verb, dealing.giving.reason):
        return Exit.USAGE
    if not (dealing.yes or said_yes(output, f"{dealing.verb} {len(chosen)} letters?")):
        return Exit.NOTHING
    dealing.total = len(chosen)
    with bar() as progress:
        task = progress.add_task(dealing.verb, total=len(chosen))
        dealing.moved = partial(progress.advance, task)
        await dealing.run(chosen, session)
    return _print(output, dealing)


def _print(output: Output, dealing: Dealing) -> Exit:
    outcomes = Counter(result.outcome for result in dealing.results)
    good = sum(result.good for result in dealing.results)
    if output.as_json:
        each = [{"letter": one.letter, "outcome": one.outcome} for one in dealing.results]
        output.json({"command": dealing.verb, "letters": dealing.total, "done": good, "each": each})
    else:
        told = "; ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
        output.say(f"{dealing.verb}: {told}")
    if good == dealing.total:
        return Exit.OK
    return Exit.PARTLY if good else Exit.NOTHING
