"""
Where the boxes and arrows of a drawing stand: positions in pixels, for `drawing_svg`.

`layering` puts boxes into layers from top to bottom, and knows no boxes inside of boxes: so each state with
states inside is laid out by itself first, and is one box of that size for what is around it; regions of a
parallel state stand side by side. What an arrow says is a box of its own on the way, so that no text lies
on another. Pure, and the same for the same machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from event_center.machine.definition import Kind
from event_center.machine.drawing import ANYWHERE, Arrow, Drawing
from event_center.machine.drawing_table import wide
from event_center.machine.layering import Edge, Point, layered

CHAR, LINE = 7.4, 16.0
"""Width of a character and height of a line of the font that is drawn with."""
PAD, GAP = 12.0, 26.0
HEAD = 26.0
"""Height of the name of a state: a line of text, with room around it."""
CORNER = 24.0
"""How far from a corner its rounding begins: shorter bends look like corners, longer ones like loops."""
DOT = 12.0
"""Size of the dot that a beginning is drawn as: seen, and smaller than any state."""


@dataclass(slots=True)
class Spot:
    """A box with its place: `x` and `y` are its upper left corner."""

    name: str
    w: float
    h: float
    x: float = 0.0
    y: float = 0.0

    @property
    def middle(self) -> Point:
        """Its middle."""
        return self.x + self.w / 2, self.y + self.h / 2


@dataclass(slots=True)
class Line:
    """An arrow, or several that join the same boxes, through the box with what they say."""

    arrows: tuple[Arrow, ...]
    source: str
    target: str
    label: Spot
    points: list[Point] = field(default_factory=list)


class Layout(NamedTuple):
    """Everything with its place."""

    width: float
    height: float
    spots: dict[str, Spot]
    """By the name of the state; `ANYWHERE` is any state."""
    dots: dict[str, Point]
    """Where the dot of each state stands that something begins with."""
    lines: tuple[Line, ...]


def begin_of(name: str) -> str:
    """The name of the dot from which an arrow leads to a state that something begins with."""
    return f"|{name}"


def laid_out(drawing: Drawing) -> Layout:
    """The places of all boxes and arrows."""
    return _Table(drawing).layout()


class _Table:
    """The drawing being laid out, from the innermost states on."""

    def __init__(self, drawing: Drawing) -> None:
        self._drawing = drawing
        self._spots: dict[str, Spot] = {}
        self._moved: dict[str | None, list[Spot]] = {}
        self._lines = list(_lines(drawing))
        self._levels: dict[str | None, list[Line]] = {}
        for line in self._lines:
            self._levels.setdefault(self._level(line), []).append(line)

    def layout(self) -> Layout:
        """Lay out all levels, then move what is inside to where its box has come to stand."""
        top = self._drawing.top()
        names = (ANYWHERE, *top) if self._drawing.has_anywhere else top
        width, height = self._inside(None, names)
        self._settle(None, 0.0, 0.0)
        dots = {name[1:]: spot.middle for name, spot in self._spots.items() if name.startswith("|")}
        spots = {name: spot for name, spot in self._spots.items() if not name.startswith("|")}
        return Layout(width, height, spots, dots, tuple(self._lines))

    def _level(self, line: Line) -> str | None:
        """The state inside of which the line is drawn: the innermost around both of its ends."""
        beside = set(self._around(line.target))
        return next(name for name in self._around(line.source) if name in beside)

    def _around(self, name: str) -> list[str | None]:
        found: list[str | None] = []
        while name != ANYWHERE:
            parent = self._drawing.boxes[name].state.parent
            found.append(parent)
            if parent is None:
                return found
            name = parent
        return [None]

    def _child(self, name: str, level: str | None) -> str:
        """The box of a level in which a state stands."""
        while name != ANYWHERE and self._drawing.boxes[name].state.parent != level:
            name = str(self._drawing.boxes[name].state.parent)
        return name

    # -- one level -------------------------------------------------------------------------------

    def _inside(self, level: str | None, names: Sequence[str]) -> tuple[float, float]:
        """Lay out one level with its corner at 0, 0; returns its width and height."""
        spots = [self._box(name) for name in names]
        lines = self._levels.get(level, [])
        begins = [name for name in names if name != ANYWHERE and self._drawing.boxes[name].begins]
        dots = {name: Spot(begin_of(name), DOT, DOT) for name in begins}
        self._spots |= {spot.name: spot for spot in (*spots, *dots.values())}
        self._moved[level] = [*spots, *dots.values(), *(line.label for line in lines)]
        if level is not None and self._drawing.boxes[level].state.kind is Kind.PARALLEL:
            return _beside(spots)
        return self._layered(level, spots, lines, dots)

    def _box(self, name: str) -> Spot:
        if name == ANYWHERE:
            return _sized(name, ("any state", *self._drawing.anywhere))
        box = self._drawing.boxes[name]
        spot = _sized(name, (name, *box.lines))
        if box.state.kind is Kind.HISTORY:
            return Spot(name, 34.0, 34.0)
        if box.state.children:
            width, height = self._inside(name, box.state.children)
            top = HEAD + LINE * len(box.lines)
            return Spot(name, max(width + 2 * PAD, spot.w), top + height + PAD)
        return spot

    def _layered(
        self, level: str | None, spots: list[Spot], lines: list[Line], dots: dict[str, Spot]
    ) -> tuple[float, float]:
        everything = [*dots.values(), *spots, *(line.label for line in lines)]
        number = {spot.name: at for at, spot in enumerate(everything) if spot.name}
        edges: list[Edge] = [(number[dot.name], number[name]) for name, dot in dots.items()]
        label = len(everything) - len(lines)
        for at, line in enumerate(lines, label):
            edges.append((number[self._child(line.source, level)], at))
            edges.append((at, number[self._child(line.target, level)]))
        middles, ways = layered([(spot.w, spot.h) for spot in everything], edges, GAP)
        for spot, (x, y) in zip(everything, middles, strict=True):
            spot.x, spot.y = x - spot.w / 2, y - spot.h / 2
        halves = ways[len(dots) :]
        for line, first, second in zip(lines, halves[::2], halves[1::2], strict=True):
            line.points = [*first, *second[1:]]
        points = [point for line in lines for point in line.points]
        left = min((*(spot.x for spot in everything), *(x for x, _ in points)))
        right = max((*(spot.x + spot.w for spot in everything), *(x for x, _ in points)))
        top = min((*(spot.y for spot in everything), *(y for _, y in points)))
        bottom = max((*(spot.y + spot.h for spot in everything), *(y for _, y in points)))
        self._shifted(level, -left, -top)
        return right - left, bottom - top

    # -- the whole -------------------------------------------------------------------------------

    def _shifted(self, level: str | None, x: float, y: float) -> None:
        """Move one level."""
        for spot in self._moved.get(level, []):
            spot.x, spot.y = spot.x + x, spot.y + y
        for line in self._levels.get(level, []):
            line.points = [(px + x, py + y) for px, py in line.points]

    def _settle(self, level: str | None, x: float, y: float) -> None:
        """Move one level to its place, and what is inside of its boxes with them."""
        self._shifted(level, x, y)
        for spot in self._moved.get(level, []):
            box = self._drawing.boxes.get(spot.name)
            if box is not None and box.state.children:
                self._settle(spot.name, spot.x + PAD, spot.y + HEAD + LINE * len(box.lines))
        for line in self._levels.get(level, []):
            line.points = self._clipped(line)

    def _clipped(self, line: Line) -> list[Point]:
        """The points from border to border of the boxes that it joins, which may stand deep inside."""
        source, target = self._spots[line.source], self._spots[line.target]
        points = [source.middle, *line.points[1:-1], target.middle]
        points[0] = _border(source, points[1])
        points[-1] = _border(target, points[-2])
        return points


def _lines(drawing: Drawing) -> Iterable[Line]:
    """The arrows; those that join the same two boxes are one line with several texts."""
    joined: dict[tuple[str, str], list[Arrow]] = {}
    for arrow in drawing.arrows:
        joined.setdefault((arrow.source, arrow.target), []).append(arrow)
    for (source, target), arrows in joined.items():
        texts = [arrow.label for arrow in arrows if arrow.label]
        width = max((wide(text) for text in texts), default=0) * CHAR * 0.9
        label = Spot("", width + 4, LINE * len(texts) or 4.0)
        yield Line(tuple(arrows), source, target, label)


def _sized(name: str, texts: Sequence[str]) -> Spot:
    width = max(wide(text) for text in texts) * CHAR + 2 * PAD
    return Spot(name, max(width, 64.0), HEAD + LINE * (len(texts) - 1) + 8)


def _beside(spots: list[Spot]) -> tuple[float, float]:
    """Regions from left to right, all as high as the highest."""
    x = 0.0
    height = max(spot.h for spot in spots)
    for spot in spots:
        spot.x, spot.y, spot.h = x, 0.0, height
        x += spot.w + PAD
    return x - PAD, height


def _border(spot: Spot, towards: Point) -> Point:
    """Where the line from the middle of a box towards a point leaves the box."""
    (x, y), (tx, ty) = spot.middle, towards
    dx, dy = tx - x, ty - y
    if not dx and not dy:
        return x, y
    scale = min(
        spot.w / 2 / abs(dx) if dx else float("inf"), spot.h / 2 / abs(dy) if dy else float("inf")
    )
    return x + dx * min(scale, 1.0), y + dy * min(scale, 1.0)


def smooth(points: Sequence[Point]) -> str:
    """The path through some points, as SVG writes it: straight, with round corners at the points."""
    x, y = points[0]
    text = f"M{x:.1f},{y:.1f}"
    for before, (x, y), after in zip(points, points[1:], points[2:], strict=False):
        (ax, ay), (bx, by) = _near((x, y), before), _near((x, y), after)
        text += f" L{ax:.1f},{ay:.1f} Q{x:.1f},{y:.1f} {bx:.1f},{by:.1f}"
    x, y = points[-1]
    return f"{text} L{x:.1f},{y:.1f}"


def _near(corner: Point, towards: Point) -> Point:
    """Where a round corner begins, on the way to another point: half way, if that is near."""
    (x, y), (tx, ty) = corner, towards
    length = max(abs(tx - x), abs(ty - y))
    part = min(0.5, CORNER / length) if length else 0.0
    return x + (tx - x) * part, y + (ty - y) * part
