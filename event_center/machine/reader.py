"""
Reads one node as one kind of value; what does not fit becomes a problem, and reading goes on.

Every method returns None (or nothing) where it noted a problem, so that all problems are found in
one pass. Used by `reading` and `branches`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from math import isfinite
from typing import TypeVar

from event_center.errors import ExpressionError
from event_center.machine.arithmetic import GREATEST, LEAST
from event_center.machine.decision import Retry
from event_center.machine.document import MappingNode, Node, ScalarNode, SequenceNode
from event_center.machine.duration import duration_ms
from event_center.machine.expression import (
    Expression,
    compile_expression,
    is_expression,
    unescaped,
)
from event_center.machine.grammar import ELSEWHERE, SYNONYMS, Grammar
from event_center.machine.problems import Code, Place, Problems
from event_center.machine.scope import ROOTS
from event_center.machine.spelling import hint, quoted
from event_center.machine.value import Value
from event_center.model import RESERVED

Word = TypeVar("Word", bound=StrEnum)
Fields = dict[str, Node]

_LONGEST_NAME = 200
"""Characters: names stand in keys of runs, in first lines of snapshots and in terminals."""


def noun_of(node: Node) -> str:
    """What a node is, in words."""
    match node:
        case MappingNode():
            return "a mapping"
        case SequenceNode():
            return "a list"
        case ScalarNode(value=None):
            return "nothing"
        case ScalarNode(value=str(text)):
            return f"the text {quoted(text)}"
        case ScalarNode(value=bool(flag)):
            return "true" if flag else "false"
        case ScalarNode(value=value):
            return f"the number {value}"


class Reader:
    """Reads the nodes of one document."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.retries: Mapping[str, Retry] = {}
        """The policies declared by the machine, once they are read."""

    def wrong(self, node: Node, message: str) -> None:
        """Note a value of the wrong kind."""
        self.problems.add(node.place, Code.VALUE, message)

    def where(self, place: Place) -> str:
        """A place with its file, for messages of the running machine."""
        return f"{self.problems.source}:{place.line}:{place.column}"

    def fields(self, node: Node, grammar: Grammar) -> Fields:
        """The values of a mapping by key; keys that the grammar does not have are problems."""
        if not isinstance(node, MappingNode):
            self.wrong(node, f"{grammar.noun} is a mapping, not {noun_of(node)}")
            return {}
        known: Fields = {}
        for key, value in node.pairs:
            if isinstance(key.value, str) and key.value in grammar.keys:
                known[key.value] = value
            else:
                self._unknown(key, grammar)
        for name in grammar.required:
            if name not in known:
                message = f"{grammar.noun} needs the key {quoted(name)}"
                self.problems.add(node.place, Code.VALUE, message)
        return known

    def _unknown(self, key: ScalarNode, grammar: Grammar) -> None:
        name = "null" if key.value is None else str(key.value)
        if name in grammar.later or name == "<<":
            message = f"{quoted(name)} is not supported by this release"
            self.problems.add(key.place, Code.NOT_SUPPORTED, message)
            return
        ours = SYNONYMS.get(name)
        place = ELSEWHERE.get((grammar.noun, name))
        if place is not None:
            guess = f"; {place}"
        elif ours in grammar.keys:
            guess = f"; did you mean {quoted(ours)}?"
        else:
            guess = hint(name, sorted(grammar.keys), "keys")
        message = f"{quoted(name)} is not a key of {grammar.noun}{guess}"
        self.problems.add(key.place, Code.UNKNOWN_KEY, message)

    def named(self, node: Node, what: str, plural: str) -> list[tuple[str, ScalarNode, Node]]:
        """The pairs of a mapping whose keys are names that the user chose."""
        if not isinstance(node, MappingNode):
            self.wrong(node, f"{plural} are written as a mapping, not as {noun_of(node)}")
            return []
        pairs = ((self.name(key, what), key, value) for key, value in node.pairs)
        return [(name, key, value) for name, key, value in pairs if name is not None]

    def name(self, node: Node, what: str) -> str | None:
        """The name of a state or event."""
        name = self.text(node, f"the name of {what}")
        if name is None:
            return None
        if not name.strip() or len(name) > _LONGEST_NAME:
            self.wrong(node, f"the name of {what} has 1 to {_LONGEST_NAME} characters")
        elif name.startswith(RESERVED) or "|" in name or not name.isprintable():
            message = "does not begin with '@' and has no '|', tabs or control characters"
            self.wrong(node, f"the name of {what} {message}: {quoted(name)}")
        else:
            return name
        return None

    def text(self, node: Node, what: str) -> str | None:
        """A text."""
        if isinstance(node, ScalarNode) and isinstance(node.value, str):
            return node.value
        quote = ""
        if isinstance(node, ScalarNode) and node.value is not None:
            quote = "; put it in quotes to make it a text"
        self.wrong(node, f"{what} is a text, not {noun_of(node)}{quote}")
        return None

    def flag(self, node: Node | None, what: str) -> bool:
        """True or false; absent or wrong is false."""
        if node is None:
            return False
        if isinstance(node, ScalarNode) and isinstance(node.value, bool):
            return node.value
        self.wrong(node, f"{what} is true or false, not {noun_of(node)}")
        return False

    def number(self, node: Node, what: str, least: int) -> float | None:
        """A number that is not less than `least`."""
        value = node.value if isinstance(node, ScalarNode) else None
        if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value):
            if least <= value <= GREATEST:
                return value
            self.wrong(node, f"{what} is at least {least} and within 64 bits, not {value}")
        else:
            self.wrong(node, f"{what} is a number, not {noun_of(node)}")
        return None

    def whole(self, node: Node, what: str, least: int) -> int | None:
        """A whole number that is not less than `least`."""
        value = self.number(node, what, least)
        if isinstance(value, float):
            self.wrong(node, f"{what} is a whole number, not {value}")
            return None
        return value

    def choice(self, node: Node, what: str, among: type[Word]) -> Word | None:
        """One of a closed set of words."""
        value = node.value if isinstance(node, ScalarNode) else None
        words = [str(word) for word in among]
        if isinstance(value, str):
            if value in words:
                return among(value)
            self.wrong(
                node, f"{quoted(value)} is not a value of {what}{hint(value, words, 'values')}"
            )
        else:
            self.wrong(node, f"{what} is one of {', '.join(words)}, not {noun_of(node)}")
        return None

    def duration(self, node: Node, least: int = 0) -> int | None:
        """A duration in milliseconds, not less than `least`."""
        value = node.value if isinstance(node, ScalarNode) else None
        text = str(value) if isinstance(value, str | int | float) else noun_of(node)
        try:
            result = duration_ms(text)
        except ValueError as error:
            self.problems.add(node.place, Code.DURATION, str(error))
            return None
        if result < least:
            message = f"{quoted(text)} is too short here; it is at least {least}ms"
            self.problems.add(node.place, Code.DURATION, message)
            return None
        return result

    def expression(self, node: ScalarNode, text: str) -> Expression | None:
        """A compiled expression over the roots of a machine."""
        where = self.where(node.place)
        try:
            return compile_expression(text, ROOTS, where)
        except ExpressionError as error:
            message = str(error).removeprefix(f"{where}: ")
            self.problems.add(node.place, Code.EXPRESSION, f"expression {message}")
            return None

    def value(self, node: Node, *, computed: bool) -> Value:
        """A JSON value; with `computed`, texts that begin with `=` are expressions."""
        match node:
            case MappingNode(pairs=pairs):
                items = (
                    (self.text(key, "a key"), self.value(part, computed=computed))
                    for key, part in pairs
                )
                return {key: part for key, part in items if key is not None}
            case SequenceNode(items=parts):
                return [self.value(part, computed=computed) for part in parts]
            case ScalarNode(value=str(text)) if is_expression(text):
                if computed:
                    return self.expression(node, text)
                self.wrong(
                    node,
                    f"{quoted(text)} looks like an expression, but only guard and assign have "
                    "them; write '==' at the beginning for a text that begins with '='",
                )
            case ScalarNode(value=str(text)):
                return unescaped(text)
            case ScalarNode(value=int(number)) if not LEAST <= number <= GREATEST:
                self.wrong(node, "a number has more than 64 bits; write it as a text")
            case ScalarNode(value=float(number)) if not isfinite(number):
                self.wrong(node, "a number is too large or is not a number: JSON has no such value")
            case ScalarNode(value=plain):
                return plain
        return None
