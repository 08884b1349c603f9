"""Who waits where in a mailbox: a deferred event that comes back is among its like, in its place."""

from __future__ import annotations

from event_center.engine.workflow import Mailbox, Waiting
from event_center.model import Event, Record


def waits(offset: int, number: int = -1, *, deferred: bool = True) -> Waiting:
    """A record that waits, as the machine set it aside."""
    item = Waiting(Event("e"), Record(offset, 0, b"w", b"{}"), "events", 0)
    item.number, item.deferred = number, deferred
    return item


def test_a_new_state_puts_who_was_to_be_tried_again_in_its_place() -> None:
    """P4: it is no more the head of the queue, before older ones that the new state may accept."""
    mailbox = Mailbox()
    older, retried, newer, last = waits(1, 1), waits(2, 2), waits(3, 3), waits(4, deferred=False)
    mailbox.deferred.extend([older, newer])
    mailbox.queue.extend([retried, last])
    mailbox.entered()
    assert (list(mailbox.queue), list(mailbox.deferred)) == ([last], [older, retried, newer])
    assert mailbox.recheck


def test_what_has_no_entry_yet_comes_back_by_its_offset() -> None:
    """Behind those that a cut has written, and before what came later."""
    mailbox = Mailbox()
    written, newer, back = waits(9, 1), waits(5), waits(3)
    mailbox.deferred.extend([written, newer])
    mailbox.put_back(back)
    assert list(mailbox.deferred) == [written, back, newer]


def test_who_is_taken_out_before_those_looked_at_counts_no_more() -> None:
    """The next look goes on where the last one ended."""
    mailbox = Mailbox()
    items = [waits(number, number) for number in range(3)]
    mailbox.deferred.extend(items)
    mailbox.looked_at = 2
    mailbox.remove(items[0])
    assert (list(mailbox.deferred), mailbox.looked_at) == (items[1:], 1)
