"""
Which partition a key belongs to: the same answer as Java's Kafka clients (murmur2) or librdkafka's (crc32).

The home of a workflow is `partitioner(workflow_id) % N`, so these functions may never change. The
engines of the log call this for records without a partition, the engine room for homes.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from struct import unpack_from

Partitioner = Callable[[bytes], int]
"""Maps a key to a number that is not negative; `% partitions` is the partition."""

_MASK = 0xFFFFFFFF
_M = 0x5BD1E995
_SEED = 0x9747B28C


def murmur2(key: bytes) -> int:
    """Kafka's default partitioner: 32-bit MurmurHash2 of the key, made positive as Java does it."""
    length = len(key)
    h = _SEED ^ length
    for word in unpack_from(f"<{length >> 2}I", key):
        k = word * _M & _MASK
        h = (h * _M ^ (k ^ k >> 24) * _M) & _MASK
    if length & 3:
        h = (h ^ int.from_bytes(key[length & ~3 :], "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return (h ^ h >> 15) & 0x7FFFFFFF


def crc32(key: bytes) -> int:
    """The `consistent` partitioner of librdkafka."""
    return zlib.crc32(key)


PARTITIONERS: dict[str, Partitioner] = {"murmur2": murmur2, "crc32": crc32}
