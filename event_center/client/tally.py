"""
What a heap of records or entries holds, in a number and a digest that do not depend on their order.

Promises: two heaps with the same members, each as often, have equal tallies; others have not, as far as
128 bits tell. `survey` makes tallies of what is to move, `migration` compares them with what arrived.
"""

from __future__ import annotations

from hashlib import blake2b

from event_center.model import Record

BITS = 128
"""Of a digest: two different tallies are the same once in 10^38, and a sum costs Python little."""


class Tally:
    """A count and the sum of digests."""

    __slots__ = ("count", "digest")

    def __init__(self) -> None:
        self.count = 0
        self.digest = 0

    def add(self, *parts: bytes | None) -> None:
        """One member, by its parts; None is a part that is not there."""
        told = blake2b(digest_size=BITS // 8)
        for part in parts:
            told.update(b"-" if part is None else b"%d:%b" % (len(part), part))
        self.count += 1
        self.digest = (self.digest + int.from_bytes(told.digest(), "big")) % 2**BITS

    def record(self, record: Record) -> None:
        """One record: key, value and headers; a log may stamp it anew."""
        headers = [part for name, value in record.headers for part in (name.encode(), value)]
        self.add(record.key, record.value, *headers)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tally):
            return NotImplemented
        return (self.count, self.digest) == (other.count, other.digest)

    __hash__ = None  # type: ignore[assignment]  # it grows

    def __str__(self) -> str:
        return f"{self.count:,} ({self.digest:032x})"
