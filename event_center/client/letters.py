"""
Dead letters as the log has them: which there are, and what was done about each.

Letters never leave the log. One with a number is of its workflow's sequence, whose snapshot says which are
still open; of any other a closing says that it was replayed or discarded. The CLI's `dead-letters` prints
them; `replaying` has what is sent about them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from heapq import heappop, heappush
from typing import NamedTuple

from event_center.client.app import App
from event_center.client.workflows import UNREADABLE, snapshot_of
from event_center.errors import FormatError
from event_center.log.port import Log
from event_center.model import Shard
from event_center.wire import letter as wire
from event_center.wire import snapshot as snapshot_wire
from event_center.wire.entries import SNAPSHOTS, snapshot_key
from event_center.wire.letter import Closing, Letter

FEW = 16
"""Workflows whose snapshots are read one by one: of more, all snapshots are looked at once."""


class Sought(NamedTuple):
    """Which letters; None does not ask."""

    workflow_id: str | None = None
    machine: str | None = None
    error: str | None = None
    """A text in the error's class or message."""
    reason: str | None = None

    def fits(self, letter: Letter) -> bool:
        """Whether it is one of these."""
        return (
            self.workflow_id in {None, letter.workflow_id}
            and self.machine in {None, letter.machine}
            and self.reason in {None, letter.reason}
            and (self.error is None or self.error in f"{letter.error}: {letter.message}")
        )


ALL = Sought()
"""Every letter."""


class Filed(NamedTuple):
    """A letter, and what was done about it."""

    letter: Letter
    closing: Closing | None
    open: bool | None
    """Of a sequence: whether it is still open. None: it is in none, or that can not be told."""

    @property
    def state(self) -> str:
        """
        `open`: it holds later events up; `untouched`: nobody did; else what was done.

        `unreadable`: the snapshot is that would tell whether it is open.
        """
        if self.open is not None:
            return "open" if self.open else "closed"
        if self.letter.number is not None:
            return UNREADABLE
        return "untouched" if self.closing is None else self.closing.how


async def read_all(log: Log, app: App) -> AsyncIterator[Letter | Closing]:
    """Every letter of the app and what was done about it, partition by partition, oldest first."""
    infos = await log.topics()
    for partition in range(infos[app.dead_letters].partitions):
        async for batch in log.read(app.dead_letters, partition):
            for record in batch:
                closing = wire.closing_of(partition, record)
                yield closing or wire.read(app.dead_letters, partition, record)


async def newest_letters(
    log: Log, app: App, limit: int, sought: Sought = ALL
) -> tuple[list[Filed], int]:
    """
    The newest letters, oldest first; and how many there are. No more than these, and what was
    done about them, are ever in memory.

    Args:
        log: where the app is.
        app: whose letters.
        limit: so many at most.
        sought: only these.
    """
    newest: list[tuple[int, int, Letter]] = []
    closings: dict[int, Closing] = {}
    """By the numbers of letters in the heap; `last` has the newest of them by where its record lay."""
    last: dict[tuple[int, str], int] = {}
    count = 0
    async for one in read_all(log, app):
        if isinstance(one, Closing):
            number = last.get((one.partition, one.origin))
            if number is not None:
                closings[number] = one
            continue
        last.pop(_place(one), None)
        if sought.fits(one):
            last[_place(one)] = count
            # The count keeps those of one moment in their order, and letters are never compared.
            heappush(newest, (one.at_ms, count, one))
            count += 1
            if len(newest) > limit:
                _, number, oldest = heappop(newest)
                closings.pop(number, None)
                if last.get(_place(oldest)) == number:
                    del last[_place(oldest)]
    found = [(letter, closings.get(number)) for _, number, letter in sorted(newest)]
    return await _filed(log, app, found), count


def _place(letter: Letter) -> tuple[int, str]:
    """What a closing names of it."""
    return letter.position.partition, letter.origin


async def _filed(log: Log, app: App, found: list[tuple[Letter, Closing | None]]) -> list[Filed]:
    """What was done about each: a closing tells it, or the sequence that the letter is in."""
    numbered = {one.workflow_id or "" for one, _ in found if one.number is not None}
    numbers = await _open_numbers(log, app, numbered)
    filed = []
    for one, closing in found:
        if one.number is None:
            filed.append(Filed(one, closing, None))
            continue
        still = numbers[one.workflow_id or ""]
        filed.append(Filed(one, None, None if still is None else one.number in still))
    return filed


async def find_letter(log: Log, app: App, place: tuple[int, int]) -> Filed | None:
    """The letter at this partition and offset, or None."""
    partition, offset = place
    if partition >= (await log.topics())[app.dead_letters].partitions:
        return None
    found: Letter | None = None
    how: Closing | None = None
    closings_of_it = True
    async for batch in log.read(app.dead_letters, partition, offset):
        for record in batch:
            one = wire.closing_of(partition, record) or wire.read(
                app.dead_letters, partition, record
            )
            if found is None:
                found = one if isinstance(one, Letter) and record.offset == offset else None
            elif one.origin == found.origin and closings_of_it:
                # Behind a newer letter of the same record closings are of that one.
                closings_of_it = isinstance(one, Closing)
                how = one if isinstance(one, Closing) else how
        if found is None:
            return None
    return None if found is None else (await _filed(log, app, [(found, how)]))[0]


async def open_numbers(log: Log, app: App, workflow_id: str) -> range:
    """
    The numbers of a workflow's open letters: the first is to be dealt with next.

    Raises:
        FormatError: its snapshot can not be read.
    """
    snapshot = await snapshot_of(log, app, workflow_id)
    if snapshot is None:
        return range(0)
    return range(snapshot.letters_next, snapshot.letters_last)


async def _open_numbers(log: Log, app: App, wanted: Collection[str]) -> dict[str, range | None]:
    """The same of many workflows; None: the snapshot can not be read, which stops no other's letters."""
    found: dict[str, range | None] = dict.fromkeys(wanted, range(0))
    if len(wanted) <= FEW:
        for one in wanted:
            try:
                found[one] = await open_numbers(log, app, one)
            except FormatError:
                found[one] = None
        return found
    names = {snapshot_key(one): one for one in wanted}
    for shard in map(Shard, range(app.shards)):
        async for batch in log.entries(shard, SNAPSHOTS):
            for key, value in batch:
                if (name := names.get(key)) is not None:
                    found[name] = _range(name, value)
    return found


def _range(workflow_id: str, value: bytes) -> range | None:
    try:
        snapshot = snapshot_wire.decode(workflow_id, value)
    except FormatError:
        return None
    return range(snapshot.letters_next, snapshot.letters_last)
