"""
The ids that a workflow remembers of events and commands, by which one that comes twice is found.

Intake and commands ask here for each id, before anything else is decided of it.
"""

from __future__ import annotations

from hashlib import blake2b

from event_center.model import Snapshot

IDS = 64
"""Event ids that a workflow remembers to find duplicates: 8 bytes each, in every snapshot."""


def knows(snapshot: Snapshot, event_id: str) -> bool:
    """Whether this id is among the last that the workflow recorded; records it if not."""
    number = id_hash(event_id)
    if number in snapshot.ids:
        return True
    snapshot.ids = (*snapshot.ids[1 - IDS :], number)
    return False


def written(ids: tuple[int, ...]) -> bytes:
    """The ids as a standing workflow has them: in decimal, a comma before and after each."""
    return b",%b," % ",".join(map(str, ids)).encode() if ids else b""


def with_id(ids: bytes, event_id: str) -> bytes | None:
    """Such ids with this one, and without the oldest if they are too many; None: it is among them."""
    number = b"%d," % id_hash(event_id)
    if b"," + number in ids:
        return None
    if ids.count(b",") > IDS:
        ids = ids[ids.index(b",", 1) :]
    return (ids or b",") + number


def id_hash(event_id: str) -> int:
    """64 bits of an event's id: what a snapshot keeps of it."""
    return int.from_bytes(
        blake2b(event_id.encode("utf-8", "replace"), digest_size=8).digest(), "big"
    )
