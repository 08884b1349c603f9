"""
YAML text → nodes that know their line and column; every mistake of the text itself is a problem.

The text is always read as YAML 1.2 with its core schema, so that `on`, `off`, `no` and dates stay
text. Keys written twice, tags, several documents, and what would not end (aliases to themselves,
or aliases that multiply) are refused. Built on the parser's events, without recursion: no text can
make it fail in any other way than by problems. Called by `loading`; the next step is `reading`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
)
from ruamel.yaml.reader import ReaderError

from event_center.machine.problems import Code, Place, Problems
from event_center.machine.spelling import quoted

MAX_CHARACTERS = 1_000_000
"""A hundred times the longest machine that people write; what is longer is another file."""
MAX_NODES = 100_000
"""Nodes that aliases may blow a small file up to: a hundred times the largest machine."""
MAX_DEPTH = 50
"""Levels of nesting: reading goes down by calls, and Python has room for about a thousand."""

_OFTEN = (
    "; the cause is often a colon, a quote or an indentation a little before this place: "
    "`event-center check --explain E101`"
)
"""What to do about what the YAML library says, which names the place where it noticed."""

_BOOLEANS = {
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_NULLS = {"", "~", "null", "Null", "NULL"}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = {
    **{
        sign + word: float(sign + "inf")
        for sign in ("", "+", "-")
        for word in (".inf", ".Inf", ".INF")
    },
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_LONGEST_INTEGER = 40
"""Digits: 64 bits have 20, and what is far longer is a mistake that would only take time to read."""

Plain = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ScalarNode:
    """A text, number, boolean or null."""

    place: Place
    value: Plain


@dataclass(frozen=True, kw_only=True, slots=True)
class SequenceNode:
    """A list; `size` counts all nodes below it, aliases expanded, and `depth` their levels."""

    place: Place
    items: tuple[Node, ...]
    size: int
    depth: int


@dataclass(frozen=True, kw_only=True, slots=True)
class MappingNode:
    """Keys and values in the order of the file, each key once."""

    place: Place
    pairs: tuple[tuple[ScalarNode, Node], ...]
    size: int
    depth: int


Node = ScalarNode | SequenceNode | MappingNode


def read_document(text: str, problems: Problems) -> Node | None:
    """The one document of the text, or None where there is none to be read."""
    if len(text) > MAX_CHARACTERS:
        problems.add(
            Place(1, 1),
            Code.SYNTAX,
            f"the text is longer than {MAX_CHARACTERS:,} characters: make two machines of it",
        )
        return None
    composer = _Composer(problems)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            composer.take(event)
            if composer.stopped:
                return None
    except MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark
        place = Place(at.line + 1, at.column + 1) if at else Place(1, 1)
        problems.add(place, Code.SYNTAX, f"not YAML: {error.problem or error.context}{_OFTEN}")
        return None
    except ReaderError as error:
        before = text[: error.position]
        place = Place(before.count("\n") + 1, error.position - before.rfind("\n"))
        character = ascii(text[error.position : error.position + 1])
        problems.add(
            place,
            Code.SYNTAX,
            f"not YAML: the character {character} is not allowed: take it away, or write it as an "
            "escape in quotes",
        )
        return None
    except (YAMLError, ValueError, LookupError, ArithmeticError) as error:
        # A few escapes and directives make the library fail in Python's own types, without a mark.
        problems.add(Place(1, 1), Code.SYNTAX, f"not YAML: {' '.join(str(error).split())}{_OFTEN}")
        return None
    if composer.root is None:
        problems.add(Place(1, 1), Code.SYNTAX, "there is no machine here: the text is empty")
    return composer.root


@dataclass(kw_only=True, slots=True)
class _Open:
    """A sequence or mapping whose end has not come yet."""

    place: Place
    anchor: str | None
    mapping: bool
    children: list[Node]


class _Composer:
    """Builds nodes from the events of the parser."""

    def __init__(self, problems: Problems) -> None:
        self.root: Node | None = None
        self.stopped = False
        self._problems = problems
        self._open: list[_Open] = []
        self._anchors: dict[str, Node] = {}

    def take(self, event: Event) -> None:
        """Take the next event of the parser."""
        place = Place(event.start_mark.line + 1, event.start_mark.column + 1)
        match event:
            case DocumentStartEvent():
                self._document(event, place)
            case ScalarEvent():
                self._scalar(event, place)
            case AliasEvent():
                self._alias(event, place)
            case CollectionStartEvent():
                self._start(event, place)
            case CollectionEndEvent():
                self._end()
            case _:
                pass

    def _stop(self, place: Place, message: str) -> None:
        self._problems.add(place, Code.SYNTAX, message)
        self.stopped = True

    def _document(self, event: DocumentStartEvent, place: Place) -> None:
        if event.version not in {None, (1, 2)}:
            self._stop(place, "machines are written in YAML 1.2; remove the %YAML directive")
        elif self.root is not None:
            self._stop(place, "a second document begins here; write one machine per file")

    def _tagged(self, event: ScalarEvent | CollectionStartEvent, place: Place) -> None:
        if event.tag is not None:
            self._problems.add(
                place, Code.SYNTAX, f"tags are not used here; remove {quoted(event.tag)}"
            )

    def _scalar(self, event: ScalarEvent, place: Place) -> None:
        self._tagged(event, place)
        text: str = event.value
        if not text.isascii() and _has_half(text):
            # JSON writes what is beyond 16 bits as two halves.
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
            if _has_half(text):
                self._problems.add(
                    place, Code.SYNTAX, "this text has half of a character (a surrogate)"
                )
                text = ""
        self._add(
            ScalarNode(place=place, value=text if event.style else resolved(text)), event.anchor
        )

    def _alias(self, event: AliasEvent, place: Place) -> None:
        name = event.anchor
        node = self._anchors.get(name)
        if any(opened.anchor == name for opened in self._open):
            self._stop(place, f"the alias '*{name}' stands inside of what it names")
        elif node is None:
            self._stop(place, f"the alias '*{name}' names nothing: no '&{name}' stands before it")
        else:
            self._add(node, None)

    def _start(self, event: CollectionStartEvent, place: Place) -> None:
        self._tagged(event, place)
        mapping = isinstance(event, MappingStartEvent)
        if len(self._open) >= MAX_DEPTH:
            self._stop(place, f"nested deeper than {MAX_DEPTH} levels")
        self._open.append(_Open(place=place, anchor=event.anchor, mapping=mapping, children=[]))

    def _end(self) -> None:
        opened = self._open.pop()
        size, depth = 1, 0
        for child in opened.children:
            if not isinstance(child, ScalarNode):
                size += child.size - 1
                depth = max(depth, child.depth)
            size += 1
        node: Node
        if opened.mapping:
            pairs = self._pairs(opened.children)
            node = MappingNode(place=opened.place, pairs=pairs, size=size, depth=depth + 1)
        else:
            items = tuple(opened.children)
            node = SequenceNode(place=opened.place, items=items, size=size, depth=depth + 1)
        if size > MAX_NODES:
            self._stop(opened.place, f"this expands to more than {MAX_NODES:,} values")
        elif len(self._open) + node.depth > MAX_DEPTH:
            self._stop(opened.place, f"nested deeper than {MAX_DEPTH} levels")
        self._add(node, opened.anchor)

    def _add(self, node: Node, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        if self._open:
            self._open[-1].children.append(node)
        else:
            self.root = node

    def _pairs(self, children: list[Node]) -> tuple[tuple[ScalarNode, Node], ...]:
        seen: dict[tuple[type, Plain], ScalarNode] = {}
        pairs: list[tuple[ScalarNode, Node]] = []
        for key, value in zip(children[::2], children[1::2], strict=True):
            if not isinstance(key, ScalarNode):
                self._problems.add(
                    key.place, Code.SYNTAX, "a key is one plain text, not a collection"
                )
                continue
            first = seen.setdefault((type(key.value), key.value), key)
            if first is not key:
                self._problems.add(key.place, Code.DUPLICATE_KEY, _twice(key, first))
                continue
            pairs.append((key, value))
        return tuple(pairs)


def _has_half(text: str) -> bool:
    """Whether there is half of a character in a text: a surrogate."""
    return any("\ud800" <= char <= "\udfff" for char in text)


def _twice(key: ScalarNode, first: ScalarNode) -> str:
    line, column = first.place
    return (
        f"key {quoted(key.value)} is written twice in the same mapping; "
        f"the other one is in line {line}, column {column}: keep one of them"
    )


def resolved(text: str) -> Plain:
    """What an unquoted text means in the core schema of YAML 1.2."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    number = _number(text)
    return text if number is None else number


def _number(text: str) -> float | None:
    if _INTEGER.fullmatch(text):
        # Far beyond 64 bits the exact digits do not matter: whoever reads the value refuses it.
        return int(text) if len(text) <= _LONGEST_INTEGER else float(text)
    if _BASED.fullmatch(text) and len(text) <= _LONGEST_INTEGER:
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    return _SPECIAL.get(text)
