"""
What the compacted partition of a shard holds: entries, large ones in several records, and a journal.

A value that does not fit one record lies in *parts*: the later ones under keys of their own, the first
under the entry's key and last of all, so that it is there only if all are. The *journal* is an entry
of this room: a cut that `delivery.py` had begun to write without a transaction, and whose end nobody
saw. Promises: what `complete` returns is the last committed cut, whole. `packing.py` makes parts,
`reading.py` fills a store, leases write on what a journal asks for.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from event_center.errors import LogUnavailable
from event_center.log.kafka.options import MAX_PART_BYTES
from event_center.model import Headers

JOURNAL = b"journal"
"""The key of the cut that is being written; no entry of the engine has it."""
PART = "__event_center.part"
"""The header of a part: which value it is of, its number, and how many there are."""
_LENGTHS = struct.Struct(">Iq")
_REMOVED = -1
Piece = tuple[bytes, bytes | None, Headers]
"""Key, value and headers of one record of a value in parts."""


def part_key(key: bytes, number: int) -> bytes:
    """Where a later part of an entry's value lies."""
    return b"%b\x00part\x00%d" % (key, number)


def parts_of(key: bytes, value: bytes) -> list[Piece]:
    """The records of a value that does not fit one, in the order to be written."""
    name = uuid.uuid4().hex.encode()
    pieces = [value[at : at + MAX_PART_BYTES] for at in range(0, len(value), MAX_PART_BYTES)]
    count = len(pieces)
    told = [((PART, b"%b/%d/%d" % (name, number, count)),) for number in range(count)]
    later = [(part_key(key, n), pieces[n], told[n]) for n in range(1, count)]
    return [*later, (key, pieces[0], told[0])]


def journal(entries: Mapping[bytes, bytes | None]) -> bytes:
    """All entries of a cut as one value."""
    parts = []
    for key, value in entries.items():
        parts += [_LENGTHS.pack(len(key), _REMOVED if value is None else len(value)), key]
        parts.append(value or b"")
    return b"".join(parts)


def journaled(value: bytes) -> dict[bytes, bytes | None]:
    """The entries of a cut that was in the journal."""
    entries: dict[bytes, bytes | None] = {}
    at = 0
    while at < len(value):
        length, size = _LENGTHS.unpack_from(value, at)
        at += _LENGTHS.size
        key = value[at : at + length]
        at += length
        entries[key] = None if size == _REMOVED else value[at : at + size]
        at += max(size, 0)
    return entries


class Store:
    """The entries of one shard, in the order in which its records tell them."""

    def __init__(self, known: Mapping[bytes, bytes] | None = None, prefix: bytes = b"") -> None:
        self.entries: dict[bytes, bytes] = dict(known or {})
        self.wide = {
            key: -(-len(value) // MAX_PART_BYTES)
            for key, value in self.entries.items()
            if len(value) > MAX_PART_BYTES
        }
        """How many parts the values have that do not fit one record."""
        self.unwritten: dict[bytes, bytes | None] = {}
        """What the journal asks to be written, once `complete` was called."""
        self.fetched = 0
        """The bytes that were read for it, as they came."""
        self._prefix = prefix
        self._firsts: dict[bytes, bytes] = {}
        self._later: dict[bytes, tuple[bytes, bytes]] = {}

    def take(self, records: Iterable[Any]) -> None:
        """The next records of the partition, as the client has them: a restore reads millions."""
        found, wanted = self.entries, (self._prefix, JOURNAL)
        everything = not self._prefix
        firsts, later = self._firsts, self._later
        for one in records:
            key, value, headers = one.key, one.value, one.headers
            if key is None or not (everything or key.startswith(wanted)):
                continue
            if value is None:
                found.pop(key, None)
                later.pop(key, None)
                firsts.pop(key, None)
            elif headers and headers[0][0] == PART:
                self._part(key, value, headers[0][1])
            else:
                found[key] = value
                if firsts:
                    firsts.pop(key, None)

    def _part(self, key: bytes, value: bytes, told: bytes) -> None:
        if told.split(b"/")[1] == b"0":
            self.entries[key] = value
            self._firsts[key] = told
        else:
            self._later[key] = (told, value)

    def complete(self, where: object) -> None:
        """
        Join what lies in parts, and put the journal's cut over it.

        Raises:
            LogUnavailable: a part is not there; a reader without a lease may try again.
        """
        torn = [key for key in self._firsts if not self._join(key)]
        self.unwritten = journaled(self.entries.pop(JOURNAL, b""))
        for key, value in self.unwritten.items():
            if not key.startswith(self._prefix):
                continue
            if value is None:
                self.entries.pop(key, None)
            else:
                self.entries[key] = value
        missing = [key for key in torn if key not in self.unwritten]
        if missing:
            raise LogUnavailable(
                f"a part of the entry {missing[0][:80]!r} is not in {where}: somebody is writing it, "
                "or the topic's records were removed; read again"
            )

    def _join(self, key: bytes) -> bool:
        name, _, count = self._firsts[key].split(b"/")
        pieces = [self.entries[key]]
        for number in range(1, int(count)):
            told, piece = self._later.get(part_key(key, number), (b"", b""))
            if told != b"%b/%d/%b" % (name, number, count):
                return False
            pieces.append(piece)
        self.entries[key] = b"".join(pieces)
        if key != JOURNAL:
            self.wide[key] = int(count)
        return True
