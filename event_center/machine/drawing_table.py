"""
A machine as a table: what each event would do in each state, empty cells included.

A row is a state, a column an event (or timer, `on_done`, `on_error`), and a cell where it leads, also
if a state around it or the machine itself says so: "what if this comes here?". An empty cell is an
event that is not accepted; the last column says what becomes of those. As in automaton's tables,
`@` is where the workflow is, `[^]` where workflows begin and `[$]` where they end. Pure; called by the
CLI's `graph`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from event_center.machine.decision import ANY
from event_center.machine.definition import Branch, Definition, Kind, On, State
from event_center.machine.drawing import Box, Drawing
from event_center.machine.guard import text_of

Row = tuple[str, ...]

_OWN = frozenset({"on_done", "always"})
"""What a state around does not answer for those inside."""
_PASSING = frozenset({Kind.CHOICE, Kind.HISTORY})


def table_of(drawing: Drawing) -> str:
    """The table in Markdown, which terminals and pages show alike."""
    names = columns(drawing.definition)
    head = ("state", *names, "else")
    rows = [_row(drawing, box, names) for box in drawing.boxes.values()]
    widths = [max(wide(row[at]) for row in (head, *rows)) for at in range(len(head))]
    rule = tuple("-" * width for width in widths)
    return "".join(_line(row, widths) for row in (head, rule, *rows))


def columns(definition: Definition) -> tuple[str, ...]:
    """Everything that can move a workflow: events first, then timers and what callbacks come to."""
    tables = (definition.on, *(state.on for state in definition.states.values()))
    events = [name for on in tables for name in on if name != ANY]
    deferred = [name for state in definition.states.values() for name in state.defer]
    ways = [name for state in definition.states.values() for name, _ in state.ways()]
    ways += [name for name, _ in definition.ways()]
    others = [name for name in ways if name not in events and name != ANY]
    return tuple(dict.fromkeys((*events, *deferred, *others)))


def answer(definition: Definition, name: str, event: str) -> tuple[tuple[Branch, ...], bool]:
    """The branches that an event of this name would try in a state, and whether it is deferred."""
    own = definition.states[name]
    if event in _OWN or not _rests(own):
        return _own(dict(own.ways()), event), False
    found: tuple[Branch, ...] = ()
    around: str | None = name
    while around is not None:
        state = definition.states[around]
        found += _own(dict(state.ways()), event)
        if event in state.defer:
            return found, True
        around = state.parent
    return found + _own(dict(definition.ways()), event), False


def _rests(state: State) -> bool:
    """Whether events can come here: a workflow is not over, and does not only pass through."""
    return not (state.final and state.parent is None) and state.kind not in _PASSING


def _own(ways: dict[str, On], event: str) -> tuple[Branch, ...]:
    keys = (event, ANY) if _outside(event) else (event,)
    return tuple(branch for key in keys if key in ways for branch in ways[key].branches)


def _outside(event: str) -> bool:
    """Whether this is an event that `'*'` stands for, and no timer or end of a callback."""
    return event not in {*_OWN, "on_error"} and not event.startswith(("after ", "timeout "))


def _row(drawing: Drawing, box: Box, names: Iterable[str]) -> Row:
    definition = drawing.definition
    cells = (_cell(*answer(definition, box.name, name)) for name in names)
    return (_state(definition, box), *cells, _else(definition, box.state))


def _state(definition: Definition, box: Box) -> str:
    depth, around = 0, box.state.parent
    while around is not None:
        depth, around = depth + 1, definition.states[around].parent
    signs = ["^"] if box.begins else []
    signs += ["$"] if box.state.final else []
    kind = "" if box.state.kind in {Kind.ATOMIC, Kind.FINAL} else f" ({box.state.kind})"
    shown = f"{'· ' * depth}{'@' if box.at else ''}{box.name}{kind}"
    return shown + (f"[{''.join(signs)}]" if signs else "")


def _cell(branches: tuple[Branch, ...], deferred: bool) -> str:
    texts = []
    for branch in branches:
        target = "stays" if branch.target is None else branch.target
        texts.append(target if branch.guard is None else f"{target} [{text_of(branch.guard)}]")
        if branch.guard is None:
            break
    else:
        texts += ["deferred"] if deferred else []
    return " / ".join(dict.fromkeys(texts)).replace("|", "\\|")


def _else(definition: Definition, state: State) -> str:
    """What becomes of all other events in a state."""
    if state.final and state.parent is None:
        return f"{state.result}"
    if state.kind in _PASSING:
        return ""
    around: State | None = state
    while around is not None:
        if ANY in around.on:
            return _cell(around.on[ANY].branches, deferred=False)
        if around.unhandled is not None:
            return str(around.unhandled)
        around = None if around.parent is None else definition.states[around.parent]
    if ANY in definition.on:
        return _cell(definition.on[ANY].branches, deferred=False)
    return str(definition.unhandled)


def wide(text: str) -> int:
    """The columns that a text takes in a terminal."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _line(row: Row, widths: list[int]) -> str:
    cells = (cell + " " * (width - wide(cell)) for cell, width in zip(row, widths, strict=True))
    return f"| {' | '.join(cells)} |\n"
