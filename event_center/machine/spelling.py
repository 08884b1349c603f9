"""
What the messages of this room share: names in quotes, and a guess at the name that was meant.

Both are bounded, because the names come from files and payloads that somebody else wrote. Called by
whatever reports a wrong name; nothing follows.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from itertools import islice

_SHOWN = 60
"""Characters of a name that a message shows: it has to stay on a line or two."""
_COMPARED = 100
"""Characters of a name that is compared with others: the time grows with its square."""
_CANDIDATES = 200
"""Names that are compared with it: the time grows with them, and they may be a stranger's."""
_LISTED = 16
"""Names at the end of a message, for the same reason."""


def quoted(name: object) -> str:
    """The name in single quotes, on one line, cut where it gets long."""
    text = str(name)
    shown = text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
    return f"'{shown}'" if shown.isprintable() else ascii(shown)


def listed(names: Iterable[str]) -> str:
    """The first names of a collection, for the end of a message."""
    some = list(islice(names, _LISTED + 1))
    more = ", ..." if len(some) > _LISTED else ""
    return ", ".join(quoted(name) for name in some[:_LISTED]) + more


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like this one, or None."""
    if len(name) > _COMPARED:
        return None
    folded = {one.casefold(): one for one in islice(known, _CANDIDATES)}
    near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return folded[near[0]] if near else None


def meant(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'X'?` with the known name nearest to this one, or nothing."""
    near = nearest(name, known)
    return f"; did you mean {quoted(near)}?" if near else ""


def hint(name: str, known: Iterable[str], plural: str) -> str:
    """As `meant`, but where nothing is near it names the known ones instead."""
    names = list(known)
    guess = meant(name, names)
    if guess or not names:
        return guess
    return f"; the {plural} are {listed(names)}"
