"""
The codes of what can be wrong with a definition, and the list that collects all of it in one pass.

Reading and checking add to one `Problems`; whoever loads a machine raises it at the end, sorted by
position. The codes are listed for users in docs/machine-language.md.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from event_center.errors import DefinitionError, Problem


class Place(NamedTuple):
    """Where something stands in a file; both numbers begin at 1."""

    line: int
    column: int


class Code(StrEnum):
    """What kind of mistake a problem is."""

    SYNTAX = "E101"
    DUPLICATE_KEY = "E102"
    DURATION = "E103"
    UNKNOWN_KEY = "E104"
    NOT_SUPPORTED = "E105"
    VALUE = "E106"
    INITIAL = "E201"
    TARGET = "E202"
    UNDECLARED_EVENT = "E203"
    UNREACHABLE_BRANCH = "E204"
    FINAL_WITH_EXITS = "E205"
    NO_DEFAULT = "E206"
    UNREACHABLE_STATE = "E207"
    LIVELOCK = "E208"
    DEAD_END = "E209"
    ENDLESS = "E210"
    MISPLACED = "E211"
    NEVER_DONE = "E212"
    NEVER_HOLDS = "E213"
    CROSSING = "E214"
    EXPRESSION = "E303"
    SCHEMA = "E304"
    UNKNOWN_RETRY = "E305"
    SAME_CALLBACK = "E306"
    UNKNOWN_DATA = "E308"
    TEST = "E401"
    LOST_STATE = "E502"


class Problems:
    """The problems of one definition, in the order in which they are found."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._found: list[Problem] = []

    def __len__(self) -> int:
        return len(self._found)

    def add(self, place: Place, code: Code, message: str) -> None:
        """Note one problem."""
        self._found.append(Problem(self.source, place.line, place.column, code, message))

    def error(self) -> DefinitionError:
        """All problems so far as one error, each once, in the order of the file."""
        once = dict.fromkeys(self._found)
        return DefinitionError(sorted(once, key=lambda found: found[1:]))
