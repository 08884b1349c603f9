"""
A drawing in the languages of others: Mermaid for pages, Graphviz for its tools, JSON for programs.

Names of states are free text, so each picture calls them s1, s2, ... and shows the name. Pure; called
by the CLI's `graph`; the drawing comes from `drawing`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from event_center.machine.definition import Kind
from event_center.machine.drawing import ANYWHERE, Arrow, Box, Drawing

_AT, _SEEN = "#ffd54f", "#fff3c4"
"""Colours of the state that a workflow is in, and of those that it was in."""


def _ids(drawing: Drawing) -> dict[str, str]:
    """A name for each state that every language takes."""
    return {ANYWHERE: "any"} | {name: f"s{at}" for at, name in enumerate(drawing.boxes, 1)}


# -- Mermaid -------------------------------------------------------------------------------------


def mermaid_of(drawing: Drawing) -> str:
    """A `stateDiagram-v2` of Mermaid."""
    ids = _ids(drawing)
    lines = ["stateDiagram-v2", f"    %% {drawing.title}"]
    for name in drawing.top():
        lines += _mermaid_box(drawing, name, ids, "    ")
    if drawing.has_anywhere:
        lines.append('    state "any state" as any')
        lines += [f"    any : {_mermaid_text(text)}" for text in drawing.anywhere]
    for arrow in drawing.arrows:
        text = f": {_mermaid_text(arrow.label)}" if arrow.label else ""
        lines.append(f"    {ids[arrow.source]} --> {ids[arrow.target]}{text}")
    for box in drawing.boxes.values():
        if box.state.final:
            lines.append(f"    {ids[box.name]} --> [*]")
    lines += [f"    classDef at fill:{_AT},stroke-width:3px", f"    classDef seen fill:{_SEEN}"]
    for box in drawing.boxes.values():
        if (box.at or box.seen) and not box.state.children:
            lines.append(f"    class {ids[box.name]} {'at' if box.at else 'seen'}")
    return "\n".join(lines) + "\n"


def _mermaid_box(drawing: Drawing, name: str, ids: dict[str, str], indent: str) -> Iterator[str]:
    box, own = drawing.boxes[name], ids[name]
    if box.state.kind is Kind.CHOICE:
        yield f"{indent}state {own} <<choice>>"
    elif box.state.children:
        yield f'{indent}state "{_mermaid_text(name)}" as {own} {{'
        separated = False
        for child in box.state.children:
            region = box.state.kind is Kind.PARALLEL
            if region and separated:
                yield f"{indent}    --"
            separated = True
            yield from _mermaid_box(drawing, child, ids, indent + "    ")
        yield f"{indent}}}"
        for text in box.lines:
            yield f"{indent}note right of {own} : {_mermaid_text(text)}"
    else:
        yield f'{indent}state "{_mermaid_text(_shown(box))}" as {own}'
        for text in box.lines:
            yield f"{indent}{own} : {_mermaid_text(text)}"
    if box.begins:
        yield f"{indent}[*] --> {own}"


def _mermaid_text(text: str) -> str:
    """A text in which nothing is read as Mermaid's own."""
    codes = {'"': "quot", "#": "35", ";": "59", ":": "58", "{": "123", "}": "125", "<": "lt"}
    return "".join(f"#{codes[char]};" if char in codes else char for char in text)


def _shown(box: Box) -> str:
    """The name of a state, with what kind of end or memory it is."""
    if box.state.kind is Kind.HISTORY:
        return f"{box.name} ({'H*' if box.state.deep else 'H'})"
    return box.name if box.state.result is None else f"{box.name} ({box.state.result})"


# -- Graphviz ------------------------------------------------------------------------------------


def dot_of(drawing: Drawing) -> str:
    """A digraph of Graphviz; states inside of others are clusters."""
    ids = _ids(drawing)
    lines = [
        "digraph machine {",
        f"  label={_dot_text(drawing.title)}; labelloc=t; compound=true; fontname=Helvetica;",
        '  node [shape=box, style="rounded,filled", fillcolor=white, fontname=Helvetica];',
        "  edge [fontname=Helvetica, fontsize=10];",
    ]
    for name in drawing.top():
        lines += _dot_box(drawing, name, ids, "  ")
    if drawing.has_anywhere:
        text = "\n".join(("any state", *drawing.anywhere))
        lines.append(f"  any [label={_dot_text(text)}, style=dashed];")
    lines += [f"  {_dot_arrow(drawing, arrow, ids)}" for arrow in drawing.arrows]
    return "\n".join([*lines, "}"]) + "\n"


def _dot_box(drawing: Drawing, name: str, ids: dict[str, str], indent: str) -> Iterator[str]:
    box, own = drawing.boxes[name], ids[name]
    label = _dot_text("\n".join((_shown(box), *box.lines)))
    colour = _AT if box.at else _SEEN if box.seen else "white"
    if box.state.children:
        style = "dashed" if _is_region(drawing, box) else "rounded"
        yield f"{indent}subgraph cluster_{own} {{"
        yield f"{indent}  label={label}; style={style};"
        for child in box.state.children:
            yield from _dot_box(drawing, child, ids, indent + "  ")
        yield f"{indent}}}"
        if box.begins:
            yield f"{indent}{own}_begin [shape=point];"
            first = _leaf(drawing, name)
            yield f"{indent}{own}_begin -> {ids[first]} [lhead=cluster_{own}];"
        return
    shape = {Kind.CHOICE: ", shape=diamond", Kind.HISTORY: ", shape=circle"}.get(box.state.kind, "")
    ends = ", peripheries=2" if box.state.final else ""
    yield f'{indent}{own} [label={label}, fillcolor="{colour}"{shape}{ends}];'
    if box.begins:
        yield f"{indent}{own}_begin [shape=point]; {own}_begin -> {own};"


def _is_region(drawing: Drawing, box: Box) -> bool:
    around = box.state.parent
    return around is not None and drawing.boxes[around].state.kind is Kind.PARALLEL


def _leaf(drawing: Drawing, name: str) -> str:
    """A state without states inside, which stands for what is around it: edges join nodes only."""
    state = drawing.boxes[name].state
    while state.children:
        state = drawing.boxes[state.initial or state.children[0]].state
    return state.name


def _dot_arrow(drawing: Drawing, arrow: Arrow, ids: dict[str, str]) -> str:
    said = [f"label={_dot_text(arrow.label)}"]
    ends = []
    for name, side in ((arrow.source, "ltail"), (arrow.target, "lhead")):
        inner = name if name == ANYWHERE else _leaf(drawing, name)
        ends.append(ids[inner])
        said += [f"{side}=cluster_{ids[name]}"] if inner != name else []
    said += ["style=dashed"] if arrow.source == ANYWHERE else []
    said += ["penwidth=3"] if arrow.taken else []
    return f"{ends[0]} -> {ends[1]} [{', '.join(said)}];"


def _dot_text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


# -- JSON ----------------------------------------------------------------------------------------


def json_of(drawing: Drawing) -> dict[str, Any]:
    """The drawing as data: what other programs make their own pictures of."""
    definition = drawing.definition
    return {
        "machine": definition.name,
        "version": definition.version,
        "source": definition.source,
        "initial": definition.initial,
        "states": [_json_box(box) for box in drawing.boxes.values()],
        "arrows": [
            {
                "from": None if arrow.source == ANYWHERE else arrow.source,
                "to": arrow.target,
                "on": arrow.name,
                "label": arrow.label,
                "line": arrow.place.line,
                "taken": arrow.taken,
            }
            for arrow in drawing.arrows
        ],
        "anywhere": list(drawing.anywhere),
    }


def _json_box(box: Box) -> dict[str, Any]:
    state = box.state
    return {
        "name": state.name,
        "type": state.kind,
        "in": state.parent,
        "begins": box.begins,
        "result": state.result,
        "title": state.title if isinstance(state.title, str) else dict(state.title),
        "tags": list(state.tags),
        "inside": list(box.lines),
        "line": state.place.line,
        "at": box.at,
        "seen": box.seen,
    }
