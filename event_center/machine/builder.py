"""
A class of Python → the nodes that the same machine in YAML would be read into.

So everything after it is the same: the definition, its checks, the table, the hash. Places are
those of the calls in the class. Functions that stand where YAML has names are kept beside the nodes,
for plugins. Called by `loading`, and by the plugins' discovery; the next step is `reading`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from event_center.machine.authoring import ANYWHERE, WRITTEN
from event_center.machine.blueprint import (
    AnyState,
    Blueprint,
    Do,
    Nest,
    Part,
    State,
    Transitions,
    Vertex,
    Way,
)
from event_center.machine.document import MAX_DEPTH, MappingNode, Node, ScalarNode, SequenceNode
from event_center.machine.problems import Code, Place, Problems
from event_center.machine.spelling import quoted

Functions = dict[str, Callable[..., Any]]
Pairs = list[tuple[ScalarNode, Node]]

_DRAWN = {
    "on": "state.to(...)",
    "after": "state.after(...)",
    "timeout": "AnyState().after(...)",
    "on_error": "state.on_error(...)",
    "on_done": "state.on_done(...)",
    "always": "state.always(...)",
    "states": "attributes of the class",
    "initial": "initial=True of a state",
}
"""Keys of YAML that are no keywords, and what is written instead."""
_KEYWORDS = {"raises": "raise"}
"""Keys of YAML that Python keeps for itself."""
_LED = frozenset({"on_done", "on_error"})
"""Options of a job that hold branches."""


@dataclass(kw_only=True, slots=True)
class Built:
    """What a class says."""

    source: str
    name: str
    root: Node
    problems: Problems
    callbacks: Functions = field(default_factory=dict)
    """Functions that stand in the class, by the names that the machine knows them by."""
    guards: Functions = field(default_factory=dict)
    upgrades: Functions = field(default_factory=dict)


def built(blueprint: type[Blueprint]) -> Built:
    """The nodes of a class, what was wrong with it so far, and the functions in it."""
    part = blueprint.__part__
    builder = _Builder(Problems(part.file))
    if blueprint.__bases__ != (Blueprint,):
        message = (
            f"{quoted(blueprint.__name__)} derives from another machine; derive from Blueprint"
        )
        builder.problems.add(part.place, Code.VALUE, message)
    root = builder.machine(blueprint)
    return Built(
        source=part.file,
        name=part.name,
        root=root,
        problems=builder.problems,
        callbacks=builder.callbacks,
        guards=builder.guards,
        upgrades=builder.upgrades,
    )


class _Builder:
    """Makes the nodes of one class."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.callbacks: Functions = {}
        self.guards: Functions = {}
        self.upgrades: Functions = {}

    def machine(self, blueprint: type[Blueprint]) -> Node:
        part = blueprint.__part__
        pairs = self._options(part)
        pairs += self._ways(part.place, _anywhere(blueprint), {"after": "timeout"})
        return _mapping(part.place, pairs + self._inside(blueprint, part, "a machine"))

    def _inside(self, owner: type, part: Part, what: str) -> Pairs:
        """The states in the body of a class, and which of them it begins with."""
        states = [one for one in vars(owner).values() if isinstance(one, State | Nest)]
        for state in vars(owner).get(WRITTEN, ()):
            if state not in states:
                message = f"no attribute of {quoted(owner.__name__)} holds this state; give it one"
                self.problems.add(state.__part__.place, Code.VALUE, message)
        if isinstance(owner, Nest):
            for way in _anywhere(owner):
                message = (
                    f"AnyState() is every state of the machine, and this stands inside of "
                    f"{quoted(part.name)}; move it to the class of the machine"
                )
                self.problems.add(way.place, Code.MISPLACED, message)
        parts = [one.__part__ for one in states]
        first = [one for one in parts if one.initial]
        for extra in first[1:]:
            message = f"{quoted(extra.name)} and {quoted(first[0].name)} are both initial; keep one"
            self.problems.add(extra.place, Code.INITIAL, message)
        if part.type == "parallel":
            for one in first:
                message = f"all states inside of {quoted(part.name)} begin; remove initial=True"
                self.problems.add(one.place, Code.INITIAL, message)
        elif not first and parts:
            message = f"{what} begins in a state with initial=True; {quoted(part.name)} has none"
            self.problems.add(part.place, Code.INITIAL, message)
            first = parts
        pairs: Pairs = []
        if first and part.type != "parallel":
            pairs.append(_pair(first[0].place, "initial", _scalar(first[0].place, first[0].name)))
        inside = [_pair(one.__part__.place, one.__part__.name, self._state(one)) for one in states]
        return [*pairs, _pair(part.place, "states", _mapping(part.place, inside))]

    def _state(self, state: State | Nest) -> Node:
        part = state.__part__
        pairs = self._options(part)
        if part.type is not None:
            pairs.append(_pair(part.place, "type", _scalar(part.place, part.type)))
        pairs += self._ways(part.place, part.ways, {})
        if isinstance(state, Nest):
            pairs += self._inside(state, part, "a compound state")
        return _mapping(part.place, pairs)

    def _options(self, part: Part) -> Pairs:
        """What stands in the brackets, then the callbacks that decorators add to it."""
        pairs: Pairs = []
        options = dict(part.options)
        for key, do in part.decorated:
            given = options.get(key, ())
            options[key] = [*(given if isinstance(given, list | tuple) else (given,)), do]
        for key, value in options.items():
            if key in _DRAWN:
                message = f"{quoted(key)} is no keyword of {quoted(part.name)}; write {_DRAWN[key]}"
                self.problems.add(part.place, Code.UNKNOWN_KEY, message)
            else:
                functions = self.upgrades if key == "migrate" else None
                pairs.append(_pair(part.place, key, self._node(value, part.place, functions)))
        return pairs

    def _ways(self, place: Place, ways: Iterable[Way], renamed: Mapping[str, str]) -> Pairs:
        """Branches below their keys, in the order in which they were written."""
        tables: dict[str, dict[str, list[tuple[Place, Node]]]] = {}
        for way in ways:
            node = self._branch(way.place, way.branch)
            names = way.names if way.key in {"on", "after"} else [""]
            if not names:
                message = "this transition has no event; keep it as an attribute, or write event="
                self.problems.add(way.place, Code.VALUE, message)
            for name in names:
                branches = tables.setdefault(way.key, {}).setdefault(str(name), [])
                branches.append((way.place, node))
        pairs: Pairs = []
        for key, table in tables.items():
            lists = {name: _branches(branches) for name, branches in table.items()}
            named = [_pair(node.place, name, node) for name, node in lists.items()]
            drawn = _mapping(place, named) if key in {"on", "after"} else lists[""]
            pairs.append(_pair(drawn.place, renamed.get(key, key), drawn))
        return pairs

    def _branch(self, place: Place, branch: Mapping[str, object]) -> Node:
        pairs: Pairs = []
        for key, value in branch.items():
            functions = self.guards if key == "guard" else self.callbacks
            node = self._node(value, place, functions)
            pairs.append(_pair(place, _KEYWORDS.get(key, key), node))
        return _mapping(place, pairs)

    def _node(
        self, value: object, place: Place, functions: Functions | None = None, depth: int = 0
    ) -> Node:
        """What YAML would have in the place of a value of Python."""
        if depth > MAX_DEPTH:
            self.problems.add(place, Code.SYNTAX, f"nested deeper than {MAX_DEPTH} levels")
            return _scalar(place, None)
        node: Node
        match value:
            case None | bool() | int() | float():
                node = _scalar(place, value)
            case str():
                node = _scalar(place, str(value))
            case Vertex():
                node = _scalar(place, value.__part__.name)
            case Do():
                node = self._do(value, depth)
            case Mapping():
                items = value.items()
                inside = ((key, self._node(one, place, functions, depth + 1)) for key, one in items)
                node = _mapping(place, [_pair(place, key, part) for key, part in inside])
            case list() | tuple():
                parts = [self._node(one, place, functions, depth + 1) for one in value]
                node = _sequence(place, parts)
            case staticmethod():
                node = self._function(value.__func__, place, functions)
            case _:
                node = self._function(value, place, functions)
        return node

    def _led(self, value: object, place: Place) -> Node:
        """What the end of a job moves: a target, a branch, or a list of them."""
        if isinstance(value, list | tuple):
            return _sequence(place, [self._led_by(one, place) for one in value])
        return self._led_by(value, place)

    def _led_by(self, value: object, place: Place) -> Node:
        return (
            self._branch(place, value) if isinstance(value, Mapping) else self._node(value, place)
        )

    def _do(self, do: Do, depth: int) -> Node:
        pairs: Pairs = []
        for key, value in {"do": do.callback, **do.options}.items():
            if key in _LED:
                node = self._led(value, do.place)
            else:
                node = self._node(value, do.place, depth=depth + 1)
            pairs.append(_pair(do.place, key, node))
        return _mapping(do.place, pairs)

    def _function(self, value: object, place: Place, functions: Functions | None) -> Node:
        """A function stands for its name, and is kept under it."""
        name = getattr(value, "__name__", None)
        if not callable(value) or not isinstance(name, str):
            kind = type(value).__name__
            self.problems.add(
                place, Code.VALUE, f"a machine can not hold this value of type {kind}"
            )
            return _scalar(place, None)
        known = self.callbacks if functions is None else functions
        if known.setdefault(name, value) is not value:
            message = f"two functions are called {quoted(name)}; rename one of them"
            self.problems.add(place, Code.SAME_CALLBACK, message)
        return _scalar(place, name)


def _anywhere(blueprint: type) -> list[Way]:
    """What is written for every state at once, in the body of the class or on a state that it keeps."""
    found: dict[int, Way] = {id(way): way for way in vars(blueprint).get(ANYWHERE, ())}
    for one in vars(blueprint).values():
        ways: Iterable[Way] = ()
        if isinstance(one, AnyState):
            ways = one.__part__.ways
        elif isinstance(one, Transitions):
            ways = (way for way in one.ways if way.anywhere)
        found |= {id(way): way for way in ways}
    return sorted(found.values(), key=lambda way: way.place)


def _scalar(place: Place, value: str | float | bool | None) -> ScalarNode:
    return ScalarNode(place=place, value=value)


def _pair(place: Place, key: Any, value: Node) -> tuple[ScalarNode, Node]:
    return _scalar(place, str(key) if isinstance(key, str) else key), value


def _measures(children: Iterable[Node]) -> dict[str, int]:
    """The nodes and levels of a collection, as `document` counts them."""
    nested = [(1, 0) if isinstance(one, ScalarNode) else (one.size, one.depth) for one in children]
    return {
        "size": 1 + sum(size for size, _ in nested),
        "depth": 1 + max((depth for _, depth in nested), default=0),
    }


def _mapping(place: Place, pairs: Pairs) -> MappingNode:
    return MappingNode(place=place, pairs=tuple(pairs), **_measures(node for _, node in pairs))


def _sequence(place: Place, items: list[Node]) -> SequenceNode:
    return SequenceNode(place=place, items=tuple(items), **_measures(items))


def _branches(branches: list[tuple[Place, Node]]) -> Node:
    """One branch stands alone, several make a list."""
    (place, first), *others = branches
    return first if not others else _sequence(place, [node for _, node in branches])
