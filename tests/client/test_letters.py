"""Dead letters: what is found, and what is sent so that their events are decided again."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator

import pytest

from event_center.client.app import App
from event_center.client.letters import (
    discard,
    find_letter,
    letters,
    newest_letters,
    open_numbers,
    replay,
)
from event_center.errors import FormatError, Undecodable
from event_center.log.port import Log
from event_center.model import Outgoing, Record
from event_center.wire import letter as letter_wire
from event_center.wire.command import Command, Verb
from event_center.wire.letter import Letter
from tests.client.shelf import Shelf

EVENT = b'{"workflow_id": "o-1", "event": "begin", "id": "e-1", "payload": {"n": 1}}'


async def _only(shelf: Shelf) -> Letter:
    (letter,) = [letter async for letter in letters(shelf.log, shelf.app)]
    return letter


async def test_letters_are_found(shelf: Shelf) -> None:
    """All letters are listed with their reasons, and one is found by its place."""
    await shelf.letter("o-1", EVENT, number="0", attempts="3")
    await shelf.letter("o-2", None)
    found = [letter async for letter in letters(shelf.log, shelf.app)]
    assert [letter.key for letter in found] == [b"o-1", b"o-2"]
    assert (found[0].reason, found[0].number, found[0].attempts) == ("failed", 0, 3)
    assert await find_letter(shelf.log, shelf.app, (0, 1)) == found[1]
    assert await find_letter(shelf.log, shelf.app, (0, 2)) is None
    assert await find_letter(shelf.log, shelf.app, (9, 0)) is None


def _letters(shelf: Shelf, partition: int, *at_ms: int) -> None:
    """Write letters of these times into a partition, from workflows w0, w1 in turns."""
    for number, when_ms in enumerate(at_ms):
        record = Record(number, when_ms, b"w%d" % (number % 2), None)
        why = {"reason": "failed", "workflow_id": f"w{number % 2}"}
        letter = letter_wire.write(shelf.app.dead_letters, partition, record, "orders/0/7", why=why)
        shelf.broker.append([letter], when_ms)


async def test_the_newest_letters(shelf: Shelf) -> None:
    """The newest are those of the latest times in all partitions, oldest first; the rest is counted."""
    _letters(shelf, 0, 1, 4, 5, 2)
    _letters(shelf, 1, 3, 5, 6)
    newest, count = await newest_letters(shelf.log, shelf.app, 4)
    assert [letter.at_ms for letter in newest] == [4, 5, 5, 6]
    assert [letter.position.partition for letter in newest] == [0, 0, 1, 1]
    assert count == 7
    newest, count = await newest_letters(shelf.log, shelf.app, 2, "w1")
    assert [letter.at_ms for letter in newest] == [4, 5]
    assert count == 3
    newest, count = await newest_letters(shelf.log, shelf.app, 9)
    assert len(newest) == count == 7


async def test_letters_that_are_not_shown_are_not_held(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many letters only so many are in memory at once as are asked for, and the one just read."""
    _letters(shelf, 0, *range(300))
    held = []

    async def counted(log: Log, app: App) -> AsyncIterator[Letter]:
        async for letter in letters(log, app):
            if letter.position.offset in {150, 299}:
                held.append(sum(type(one) is Letter for one in gc.get_objects()))
            yield letter

    monkeypatch.setattr("event_center.client.letters.letters", counted)
    before = sum(type(one) is Letter for one in gc.get_objects())
    await newest_letters(shelf.log, shelf.app, 10)
    assert len(held) == 2
    assert max(held) - before <= 10 + 2
    await newest_letters(shelf.log, shelf.app, 300)
    assert held[-1] - before >= 299, "the count sees letters"


async def test_open_letters(shelf: Shelf) -> None:
    """The open letters are those that the workflow's snapshot counts."""
    shelf.workflow("o-1", letters_next=2, letters_last=5)
    assert list(await open_numbers(shelf.log, shelf.app, "o-1")) == [2, 3, 4]
    assert list(await open_numbers(shelf.log, shelf.app, "nobody")) == []


async def test_a_letter_of_a_sequence_is_replayed_by_command(shelf: Shelf) -> None:
    """A letter with a number becomes a command with the event and payload that it holds."""
    await shelf.letter("o-1", EVENT, number="4", workflow_id="o-1", event="begin")
    sent = replay(shelf.app, await _only(shelf))
    assert isinstance(sent, Command)
    assert (sent.verb, sent.workflow_id) == (Verb.REPLAY, "o-1")
    assert sent.args == {"number": 4, "event": "begin", "payload": {"n": 1}}


async def test_a_stray_letter_is_published_again(shelf: Shelf) -> None:
    """A letter that belongs to no workflow goes to its topic again, with its own bytes and headers."""
    await shelf.letter("o-1", b"not JSON", reason="undecodable")
    sent = replay(shelf.app, await _only(shelf))
    assert sent == Outgoing("orders", b"o-1", b"not JSON", (("trace", b"1"),), None)


async def test_a_letter_without_a_key_stays_in_its_partition(shelf: Shelf) -> None:
    """Without a key nothing says where it belongs: it goes where it was."""
    await shelf.letter("o-1", EVENT, origin="orders/1/3")
    sent = replay(shelf.app, (await _only(shelf))._replace(key=None))
    assert isinstance(sent, Outgoing)
    assert (sent.topic, sent.partition, sent.value) == ("orders", 1, EVENT)


async def test_a_recorded_id_is_left_out(shelf: Shelf) -> None:
    """An event whose id its workflow has recorded goes by the inbox, or it would be a duplicate."""
    await shelf.letter("o-1", EVENT, workflow_id="o-1", event="begin")
    sent = replay(shelf.app, await _only(shelf))
    assert isinstance(sent, Outgoing)
    assert (sent.topic, sent.partition) == ("app.inbox", shelf.app.home("o-1"))
    assert b'"event":"begin"' in (sent.value or b"")
    assert b"e-1" not in (sent.value or b"")


async def test_what_can_not_be_replayed_is_told(shelf: Shelf) -> None:
    """A topic that is gone, and an origin that is no place, are errors that name the letter."""
    await shelf.letter("o-1", EVENT, origin="gone/0/1", number="0")
    letter = await _only(shelf)
    with pytest.raises(Undecodable, match=r"app\.dead-letters/0/0 came from topic 'gone'"):
        replay(shelf.app, letter)
    with pytest.raises(Undecodable, match="can not be read"):
        replay(shelf.app, letter._replace(origin="orders/0/1", value=b"{"))
    with pytest.raises(FormatError, match="no place"):
        replay(shelf.app, letter._replace(origin="timer"))


async def test_only_letters_of_a_sequence_are_discarded(shelf: Shelf) -> None:
    """A letter with a number is discarded by command; any other is in nobody's way."""
    await shelf.letter("o-1", EVENT, number="4", workflow_id="o-1")
    letter = await _only(shelf)
    command = discard(letter)
    assert command is not None
    assert (command.verb, command.workflow_id, command.args) == (Verb.DISCARD, "o-1", {"number": 4})
    assert discard(letter._replace(number=None)) is None
