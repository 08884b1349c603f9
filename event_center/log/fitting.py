"""
What a process says of itself, as JSON that fits the place where it is said.

Pure, and shared by the engines of the log: the file of a daemon's lock and a note beside an offset have
room for so much and no more. Promises: what comes out is whole JSON, however much was told; only of
lists something is left out. `sqlite/lock.py` and `kafka/note.py` write it; the app room's pulse says what.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson


def fitted(told: Mapping[str, Any], most_bytes: int) -> bytes:
    """
    What is told, as JSON of at most so many bytes: of the longest lists the last items are left out.

    Args:
        told: names with lists, and with numbers and short texts, which always fit.
        most_bytes: the room there is.
    """
    text = orjson.dumps(told)
    over = len(text) - most_bytes
    if over <= 0:
        return text
    # Written once, not once for each item left out: this is said every second, beside events.
    sizes = {
        name: [len(orjson.dumps(one)) + len(",") for one in value]
        for name, value in told.items()
        if isinstance(value, list)
    }
    over += len(sizes)  # the last item of a list has no comma
    while over > 0 and any(sizes.values()):
        over -= max(sizes.values(), key=len).pop()
    return orjson.dumps({**told, **{name: told[name][: len(left)] for name, left in sizes.items()}})
