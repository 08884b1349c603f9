"""Dead letters: what is found, and what is sent so that their events are decided again."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator

import pytest

from event_center.client.letters import (
    Sought,
    find_letter,
    newest_letters,
    open_numbers,
    read_all,
)
from event_center.client.replaying import Edited, discard, replay
from event_center.errors import FormatError, TooLarge, Undecodable
from event_center.log.memory import MemoryLog
from event_center.model import Outgoing, Record, size_of
from event_center.wire import letter as letter_wire
from event_center.wire.command import Command, Verb
from event_center.wire.entries import SNAPSHOTS, snapshot_key
from event_center.wire.letter import Closing, Letter, close
from tests.client.shelf import NOW_MS, Shelf

MOST = 900_000
"""The bytes of the largest event that the log's daemon takes in."""
EVENT = b'{"workflow_id": "o-1", "event": "begin", "id": "e-1", "payload": {"n": 1}}'


async def _only(shelf: Shelf) -> Letter:
    (letter,) = [one async for one in read_all(shelf.log, shelf.app)]
    assert isinstance(letter, Letter)
    return letter


def _published(sent: Command | list[Outgoing]) -> Outgoing:
    """The event that is published, with a closing beside it."""
    assert isinstance(sent, list)
    event, closing = sent
    assert closing.topic == "app.dead-letters"
    return event


async def _states(shelf: Shelf) -> list[str]:
    filed, _ = await newest_letters(shelf.log, shelf.app, 100)
    return [one.state for one in filed]


async def test_letters_are_found(shelf: Shelf) -> None:
    """All letters are listed with their reasons, and one is found by its place."""
    await shelf.letter("o-1", EVENT, number="0", attempts="3")
    await shelf.letter("o-2", None)
    filed, _ = await newest_letters(shelf.log, shelf.app, 100)
    found = [one.letter for one in filed]
    assert [letter.key for letter in found] == [b"o-1", b"o-2"]
    assert (found[0].reason, found[0].number, found[0].attempts) == ("failed", 0, 3)
    assert await find_letter(shelf.log, shelf.app, (0, 1)) == filed[1]
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
    assert [one.letter.at_ms for one in newest] == [4, 5, 5, 6]
    assert [one.letter.position.partition for one in newest] == [0, 0, 1, 1]
    assert count == 7
    newest, count = await newest_letters(shelf.log, shelf.app, 2, Sought("w1"))
    assert [one.letter.at_ms for one in newest] == [4, 5]
    assert count == 3
    newest, count = await newest_letters(shelf.log, shelf.app, 9)
    assert len(newest) == count == 7


class Counting(MemoryLog):
    """The log of a shelf, which counts what its reader holds while letters are read."""

    def __init__(self, shelf: Shelf, kind: type[Letter | Closing]) -> None:
        super().__init__(shelf.broker, clock=lambda: NOW_MS)
        self._kind = kind
        self._before = self._there()
        self.held: list[int] = []
        """How many, after each hundredth record."""

    def _there(self) -> int:
        return sum(type(one) is self._kind for one in gc.get_objects())

    async def read(
        self, topic: str, partition: int, start: int = 0, stop: int | None = None
    ) -> AsyncIterator[list[Record]]:
        """One record at a time."""
        async for batch in super().read(topic, partition, start, stop):
            for record in batch:
                yield [record]
                if record.offset % 100 == 99:
                    self.held.append(self._there() - self._before)


async def test_letters_that_are_not_shown_are_not_held(shelf: Shelf) -> None:
    """Of many letters only so many are in memory at once as are asked for, and the one just read."""
    _letters(shelf, 0, *range(300))
    log = Counting(shelf, Letter)
    await newest_letters(log, shelf.app, 10)
    assert len(log.held) == 3
    assert max(log.held) <= 10 + 2
    await newest_letters(log, shelf.app, 300)
    assert log.held[-1] >= 299, "the count sees letters"


async def _closed_letter(shelf: Shelf, origin: str) -> None:
    """One more letter, and that somebody has discarded it."""
    topic = shelf.app.dead_letters
    await shelf.letter("w", None, origin)
    letter = letter_wire.read(topic, 0, shelf.records(topic)[-1])
    await shelf.log.publish([close(letter, "discarded", "ann", "")])


async def test_closings_of_letters_that_are_not_shown_are_not_held(shelf: Shelf) -> None:
    """Of many closings only those of letters that may still be shown are in memory."""
    for number in range(300):
        await _closed_letter(shelf, f"orders/0/{number}")
    log = Counting(shelf, Closing)
    newest, _ = await newest_letters(log, shelf.app, 10)
    assert [one.state for one in newest] == ["discarded"] * 10
    assert max(log.held) <= 10 + 1
    await newest_letters(log, shelf.app, 300)
    assert log.held[-1] >= 299, "the count sees closings"


async def test_a_closing_is_of_one_letter(shelf: Shelf) -> None:
    """It tells of the newest letter of its record before it: older and later ones have their own."""
    first = await _letter_of(shelf)
    await shelf.log.publish([close(first, "discarded", "ann", "")])
    second = await _letter_of(shelf)
    await shelf.log.publish([close(second, "replayed", "ann", "")])
    await _letter_of(shelf)
    third = await _letter_of(shelf)
    assert await _states(shelf) == ["discarded", "replayed", "untouched", "untouched"]
    found = [
        await find_letter(shelf.log, shelf.app, one.position[1:]) for one in (first, second, third)
    ]
    assert [one and one.state for one in found] == ["discarded", "replayed", "untouched"]


async def _letter_of(shelf: Shelf) -> Letter:
    """One more letter of the same record, the newest."""
    await shelf.letter("o-1", EVENT)
    found = [one async for one in read_all(shelf.log, shelf.app) if isinstance(one, Letter)]
    return found[-1]


async def test_letters_of_others_are_not_held(shelf: Shelf) -> None:
    """Of many letters in a partition only the newest that are sought are in memory; all are counted."""
    _letters(shelf, shelf.app.home("w0"), *range(300))
    log = Counting(shelf, Letter)
    newest, count = await newest_letters(log, shelf.app, 8, Sought("w0"))
    assert ([one.letter.at_ms for one in newest], count) == ([*range(284, 300, 2)], 150)
    assert max(log.held) <= 8 + 2
    del newest
    await newest_letters(log, shelf.app, 300, Sought("w0"))
    assert log.held[-1] >= 150, "the count sees letters"


async def test_open_letters(shelf: Shelf) -> None:
    """The open letters are those that the workflow's snapshot counts."""
    shelf.workflow("o-1", letters_next=2, letters_last=5)
    assert list(await open_numbers(shelf.log, shelf.app, "o-1")) == [2, 3, 4]
    assert list(await open_numbers(shelf.log, shelf.app, "nobody")) == []


async def test_a_letter_of_a_sequence_is_replayed_by_command(shelf: Shelf) -> None:
    """A letter with a number becomes a command with the event and payload that it holds."""
    await shelf.letter("o-1", EVENT, number="4", workflow_id="o-1", event="begin")
    sent = replay(shelf.app, await _only(shelf), max_bytes=MOST)
    assert isinstance(sent, Command)
    assert (sent.verb, sent.workflow_id) == (Verb.REPLAY, "o-1")
    assert sent.args == {"number": 4, "event": "begin", "payload": {"n": 1}}


async def test_a_stray_letter_is_published_again(shelf: Shelf) -> None:
    """A letter that belongs to no workflow goes to its topic again, with its own bytes and headers."""
    await shelf.letter("o-1", b"not JSON", reason="undecodable")
    sent = replay(shelf.app, await _only(shelf), max_bytes=MOST)
    assert isinstance(sent, list)
    assert sent[0] == Outgoing("orders", b"o-1", b"not JSON", (("trace", b"1"),), None)
    with pytest.raises(Undecodable, match="can not be read"):
        replay(shelf.app, await _only(shelf), Edited(payload={"n": 2}), max_bytes=MOST)
    edited = replay(shelf.app, await _only(shelf), Edited(value=EVENT), max_bytes=MOST)
    assert isinstance(edited, list)
    assert edited[0].value == EVENT


async def test_a_letter_without_a_key_stays_in_its_partition(shelf: Shelf) -> None:
    """Without a key nothing says where it belongs: it goes where it was."""
    await shelf.letter("o-1", EVENT, origin="orders/1/3")
    sent = _published(replay(shelf.app, (await _only(shelf))._replace(key=None), max_bytes=MOST))
    assert (sent.topic, sent.partition, sent.value) == ("orders", 1, EVENT)


async def test_a_recorded_id_is_left_out(shelf: Shelf) -> None:
    """An event whose id its workflow has recorded goes by the inbox, or it would be a duplicate."""
    await shelf.letter("o-1", EVENT, workflow_id="o-1", event="begin")
    sent = _published(replay(shelf.app, await _only(shelf), max_bytes=MOST))
    assert (sent.topic, sent.partition) == ("app.inbox", shelf.app.home("o-1"))
    assert b'"event":"begin"' in (sent.value or b"")
    assert b"e-1" not in (sent.value or b"")
    assert b'"id":"replay/orders/0/7"' in (sent.value or b"")


async def test_another_payload(shelf: Shelf) -> None:
    """An event with another payload goes by the inbox, also if no workflow was known of it."""
    await shelf.letter("o-1", EVENT, reason="unknown_machine")
    sent = _published(
        replay(shelf.app, await _only(shelf), Edited(payload={"n": 2}), max_bytes=MOST)
    )
    assert sent.topic == "app.inbox"
    assert b'"payload":{"n":2}' in (sent.value or b"")


async def test_what_can_not_be_replayed_is_told(shelf: Shelf) -> None:
    """A topic that is gone, and an origin that is no place, are errors that name the letter."""
    await shelf.letter("o-1", EVENT, origin="gone/0/1", number="0")
    letter = await _only(shelf)
    with pytest.raises(Undecodable, match=r"app\.dead-letters/0/0 came from topic 'gone'"):
        replay(shelf.app, letter, max_bytes=MOST)
    with pytest.raises(Undecodable, match="can not be read"):
        replay(shelf.app, letter._replace(origin="orders/0/1", value=b"{"), max_bytes=MOST)
    with pytest.raises(FormatError, match="no place"):
        replay(shelf.app, letter._replace(origin="timer"), max_bytes=MOST)


# 150,000 numbers of five bytes, each written anew as one of twenty.
GROWING = b'{"workflow_id":"o-1","event":"go","id":"e","payload":[1e15' + b",1e15" * 149_999 + b"]}"
FULL = b'{"workflow_id":"o-1","event":"go","id":"e","payload":"' + b"p" * 899_930 + b'"}'


@pytest.mark.parametrize("number", [None, "4"])
@pytest.mark.parametrize("value", [GROWING, FULL])
async def test_what_got_too_large_is_not_sent(
    shelf: Shelf, value: bytes, number: str | None
) -> None:
    """What the daemon would refuse is refused before anything is sent, with sizes and a way on."""
    assert len(value) <= MOST
    of_sequence = {} if number is None else {"number": number}
    await shelf.letter("o-1", value, workflow_id="o-1", event="go", **of_sequence)
    letter = await _only(shelf)
    told = rf"letter app\.dead-letters/0/0 .* record of \d+ bytes .* at most {MOST}: .*--payload"
    with pytest.raises(TooLarge, match=told):
        replay(shelf.app, letter, max_bytes=MOST)
    assert replay(shelf.app, letter, Edited(payload="less"), max_bytes=MOST)
    assert replay(shelf.app, letter, max_bytes=10 * MOST), "it is the size that was refused"


async def test_the_size_counts_to_the_byte(shelf: Shelf) -> None:
    """A record of just the limit is sent, with its key and headers; of one byte more it is not."""
    await shelf.letter("o-1", EVENT, workflow_id="o-1", event="begin")
    letter = await _only(shelf)
    sent = _published(replay(shelf.app, letter, max_bytes=MOST))
    size = size_of(sent.key, sent.value, sent.headers)
    replay(shelf.app, letter, max_bytes=size)
    with pytest.raises(TooLarge):
        replay(shelf.app, letter, max_bytes=size - 1)


async def test_what_came_in_goes_again(shelf: Shelf) -> None:
    """As it was, if the log takes it: it may have come with a migration from one that takes more."""
    await shelf.letter("o-1", b"not JSON", reason="undecodable")
    letter = await _only(shelf)
    size = size_of(letter.key, letter.value, letter.headers)
    assert _published(replay(shelf.app, letter, max_bytes=size)).value == letter.value
    for edited, most in ((None, size - 1), (Edited(value=EVENT), 1)):
        with pytest.raises(TooLarge):
            replay(shelf.app, letter, edited, max_bytes=most)


async def test_letters_are_discarded_on_record(shelf: Shelf) -> None:
    """A letter with a number is discarded by command; of any other a closing says why."""
    await shelf.letter("o-1", EVENT, number="4", workflow_id="o-1")
    letter = await _only(shelf)
    command = discard(letter, "a test")
    assert isinstance(command, Command)
    assert (command.verb, command.workflow_id, command.args) == (Verb.DISCARD, "o-1", {"number": 4})
    assert command.reason == "a test"
    await shelf.letter("o-1", EVENT)
    filed = await find_letter(shelf.log, shelf.app, (0, 1))
    assert filed is not None
    sent = discard(filed.letter, "nobody wants it")
    assert isinstance(sent, list)
    await shelf.log.publish(sent)
    closed = await find_letter(shelf.log, shelf.app, (0, 1))
    assert closed is not None
    assert closed.closing is not None
    assert (closed.state, closed.closing.reason) == ("discarded", "nobody wants it")
    assert "@" in closed.closing.by
    assert await find_letter(shelf.log, shelf.app, (0, 2)) is None, "a closing is no letter"


async def test_what_was_done_about_letters(shelf: Shelf) -> None:
    """A closing is of the newest letter before it from its place; the snapshot tells of numbers."""
    shelf.workflow("o-1", letters_next=1, letters_last=2)
    for number in (0, 1):
        await shelf.letter("o-1", EVENT, number=str(number), workflow_id="o-1")
    await shelf.letter("o-2", EVENT)
    filed = await find_letter(shelf.log, shelf.app, (0, 2))
    assert filed is not None
    assert await _states(shelf) == ["closed", "open", "untouched"]
    await shelf.log.publish([close(filed.letter, "replayed", "ann", "")])
    assert await _states(shelf) == ["closed", "open", "replayed"]
    await shelf.letter("o-2", EVENT)
    assert (await _states(shelf))[3] == "untouched", "another letter than the one that was replayed"


async def test_snapshots_are_looked_at_once_for_many(shelf: Shelf) -> None:
    """Of more workflows than are read one by one, the open letters come out the same."""
    for number in range(20):
        shelf.workflow(f"o-{number}", letters_next=number % 2, letters_last=1)
        await shelf.letter(f"o-{number}", EVENT, number="0", workflow_id=f"o-{number}")
    assert await _states(shelf) == ["open", "closed"] * 10


@pytest.mark.parametrize("count", [3, 20])
async def test_a_damaged_snapshot_hides_no_letters(shelf: Shelf, count: int) -> None:
    """Letters of its sequence are `unreadable`, as it is; those of all others are as they are."""
    for number in range(count):
        shelf.workflow(f"o-{number}", letters_next=number % 2, letters_last=1)
        await shelf.letter(f"o-{number}", EVENT, number="0", workflow_id=f"o-{number}")
    await shelf.letter("o-0", EVENT, workflow_id="o-0", reason="unreadable_snapshot")
    home = shelf.app.home("o-0")
    shelf.cut(home, {snapshot_key("o-0"): b"{", SNAPSHOTS + b"\xff": b""})
    states = [("open", "closed")[number % 2] for number in range(1, count)]
    assert await _states(shelf) == ["unreadable", *states, "untouched"]
    found = await find_letter(shelf.log, shelf.app, (0, 0))
    assert found is not None
    assert (found.state, found.open) == ("unreadable", None)


async def test_letters_are_sought(shelf: Shelf) -> None:
    """By workflow, machine, reason, and a text in the error."""
    why = {"exception.class.name": "OSError", "exception.message": "no room", "machine": "order"}
    await shelf.letter("o-1", EVENT, reason="failed", workflow_id="o-1", **why)
    for sought, count in (
        (Sought("o-1"), 1),
        (Sought("o-2"), 0),
        (Sought(machine="order", error="OSError: no"), 1),
        (Sought(error="KeyError"), 0),
        (Sought(reason="failed"), 1),
        (Sought(reason="expired"), 0),
    ):
        assert (await newest_letters(shelf.log, shelf.app, 9, sought))[1] == count
