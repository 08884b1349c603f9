"""
A drawing as SVG, without any program outside: for pages, for dashboards, for `graph --format svg`.

Each state is a group with `data-state`, each arrow one with `data-on`, so that a page can find and
change them. The marks of a trail are classes: `at`, `seen`, `taken`. Pure; `drawing_layout` says
where things stand.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from event_center.machine.definition import Kind
from event_center.machine.drawing import ANYWHERE, Box, Drawing
from event_center.machine.drawing_layout import (
    DOT,
    HEAD,
    LINE,
    PAD,
    Line,
    Spot,
    laid_out,
    smooth,
)
from event_center.machine.layering import Point

MARGIN, TITLE = 20.0, 28.0

_STYLE = """
svg { font: 12px ui-monospace, Menlo, Consolas, monospace; background: #fff }
.title { font-size: 14px; font-weight: bold }
rect, circle, polygon { fill: #fff; stroke: #455a64; stroke-width: 1.2 }
.compound > rect { fill: #f7f9fa } .region > rect { stroke-dasharray: 5 4 }
.anywhere > rect { stroke-dasharray: 2 3 } .name { font-weight: bold } .line { fill: #546e7a }
.final > rect { stroke-width: 3 } .success > rect { stroke: #2e7d32 }
.failure > rect { stroke: #c62828 } .cancelled > rect { stroke: #ef6c00 }
.seen > rect, .seen > polygon { fill: #fff3c4 }
.at > rect { fill: #ffd54f; stroke: #e65100; stroke-width: 3 } .compound.at > rect { fill: #fffbea }
.compound.seen > rect { fill: #fffef7 }
.arrow path { fill: none; stroke: #78909c; stroke-width: 1.2 }
.arrow rect { fill: #fff; stroke: none } .arrow text { font-size: 11px }
.arrow.dashed path { stroke-dasharray: 5 4 } .arrow.taken path { stroke: #e65100; stroke-width: 2.5 }
.dot { fill: #263238; stroke: none }
""".strip()

_HEAD = (
    '<marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" '
    'orient="auto"><path d="M0,1 L10,5 L0,9 z" fill="#546e7a"/></marker>'
)


def svg_of(drawing: Drawing) -> str:
    """The picture, as the text of an SVG file."""
    layout = laid_out(drawing)
    width, height = layout.width + 2 * MARGIN, layout.height + 2 * MARGIN + TITLE
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    named = f'role="img" aria-label={quoteattr(drawing.title)}'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {named}>',
        f"<title>{escape(drawing.title)}</title>",
        f"<style>{_STYLE}</style>",
        f"<defs>{_HEAD}</defs>",
        f'<text class="title" x="{MARGIN:.0f}" y="{MARGIN + 4:.0f}">{escape(drawing.title)}</text>',
        f'<g transform="translate({MARGIN:.0f},{MARGIN + TITLE - 8:.0f})">',
    ]
    boxes = drawing.boxes
    if ANYWHERE in layout.spots:
        parts += _anywhere(drawing, layout.spots[ANYWHERE])
    for name, box in boxes.items():
        parts += _state(drawing, box, layout.spots[name])
    parts += [_dot(way) for way in layout.dots.values()]
    for line in layout.lines:
        parts += _arrow(line)
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _anywhere(drawing: Drawing, spot: Spot) -> Iterator[str]:
    yield '<g class="anywhere">'
    yield _rect(spot, 10)
    yield from _texts(spot, "any state", drawing.anywhere)
    yield "</g>"


def _state(drawing: Drawing, box: Box, spot: Spot) -> Iterator[str]:
    state = box.state
    around = None if state.parent is None else drawing.boxes[state.parent].state.kind
    classes = [
        "state",
        str(state.kind) if not state.children else "compound",
        "region" if around is Kind.PARALLEL else "",
        state.result or "",
        "at" if box.at else "seen" if box.seen else "",
    ]
    yield f'<g class="{" ".join(filter(None, classes))}" data-state={quoteattr(box.name)}>'
    yield f"<title>{escape(_told(box))}</title>"
    x, y = spot.middle
    if state.kind is Kind.HISTORY:
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{spot.w / 2:.1f}"/>'
        yield _text(x, y + 4, "H*" if state.deep else "H", "name", middle=True)
    elif state.kind is Kind.CHOICE:
        corners = ((spot.x, y), (x, spot.y), (spot.x + spot.w, y), (x, spot.y + spot.h))
        yield f'<polygon points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in corners)}"/>'
        yield _text(x, y + 4, box.name, "name", middle=True)
    else:
        yield _rect(spot, 14 if state.final else 8)
        yield from _texts(spot, box.name, box.lines)
    yield "</g>"


def _told(box: Box) -> str:
    """What a mouse that rests on a state is told."""
    state = box.state
    said = [box.name, str(state.kind), state.result or ""]
    texts = state.title if isinstance(state.title, str) else " / ".join(state.title.values())
    return ", ".join(part for part in (*said, texts) if part)


def _rect(spot: Spot, radius: int) -> str:
    place = f'x="{spot.x:.1f}" y="{spot.y:.1f}" width="{spot.w:.1f}" height="{spot.h:.1f}"'
    return f'<rect {place} rx="{radius}"/>'


def _texts(spot: Spot, name: str, lines: tuple[str, ...]) -> Iterator[str]:
    yield _text(spot.x + PAD, spot.y + 18, name, "name")
    for number, line in enumerate(lines):
        yield _text(spot.x + PAD, spot.y + HEAD + LINE * number + 10, line, "line")


def _text(x: float, y: float, text: str, kind: str, *, middle: bool = False) -> str:
    anchor = ' text-anchor="middle"' if middle else ""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}"{anchor}>{escape(text)}</text>'


def _dot(way: list[Point]) -> str:
    x, y = way[0]
    return (
        f'<g class="arrow"><path d="{smooth(way)}" marker-end="url(#head)"/>'
        f'<circle class="dot" cx="{x:.1f}" cy="{y - DOT / 2:.1f}" r="{DOT / 2:.0f}"/></g>'
    )


def _arrow(line: Line) -> Iterator[str]:
    taken = " taken" if any(arrow.taken for arrow in line.arrows) else ""
    dashed = " dashed" if line.source == ANYWHERE else ""
    names = ", ".join(arrow.name for arrow in line.arrows)
    yield f'<g class="arrow{dashed}{taken}" data-on={quoteattr(names)}>'
    yield f'<path d="{smooth(line.points)}" marker-end="url(#head)"/>'
    label = line.label
    texts = [arrow.label for arrow in line.arrows if arrow.label]
    if texts:
        yield _rect(label, 2)
    for number, text in enumerate(texts):
        yield _text(label.middle[0], label.y + LINE * number + 12, text, "label", middle=True)
    yield "</g>"
