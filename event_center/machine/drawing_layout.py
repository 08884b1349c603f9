"""
Where the boxes and arrows of a drawing stand: positions in pixels, for `drawing_svg`.

`layering` puts boxes into layers from top to bottom, and knows no boxes inside of boxes: so each state with
states inside is laid out by itself first, and is one box of that size for what is around it; regions of a
parallel state stand side by side. An arrow that leads into such a box, or out of it, has a passage through
the border, which has a place in the layers on both sides. What an arrow says is a box of its own on the
way. So no arrow crosses a box or a text. Pure, and the same for the same machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from event_center.machine.definition import Kind
from event_center.machine.drawing import ANYWHERE, Arrow, Drawing
from event_center.machine.drawing_table import wide
from event_center.machine.layering import Edge, Offsets, Point, backward, layered

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
    passages: list[Passage] = field(default_factory=list)
    """Of both ends, those of inner boxes first."""


@dataclass(slots=True)
class Passage:
    """Where one end of a line goes through the border of a box, and its way there from the inside."""

    line: Line
    leaving: bool
    """The line begins inside; else it ends there."""
    top: bool
    x: float = 0.0
    """From the left of the box."""
    points: list[Point] = field(default_factory=list)

    @property
    def end(self) -> str:
        """The state inside."""
        return self.line.source if self.leaving else self.line.target


class Layout(NamedTuple):
    """Everything with its place."""

    width: float
    height: float
    spots: dict[str, Spot]
    """By the name of the state; `ANYWHERE` is any state."""
    dots: dict[str, list[Point]]
    """The way from the dot to each state that something begins with."""
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
        self._passages: dict[str | None, list[Passage]] = {}
        """By the box that has them."""
        self._dots: dict[str | None, dict[str, list[Point]]] = {}
        for line in self._lines:
            self._levels.setdefault(self._level(line), []).append(line)

    def layout(self) -> Layout:
        """Lay out all levels, then move what is inside to where its box has come to stand."""
        top = self._drawing.top()
        names = (ANYWHERE, *top) if self._drawing.has_anywhere else top
        width, height = self._inside(None, names)
        self._settle(None, 0.0, 0.0)
        self._joined()
        dots = {name: way for found in self._dots.values() for name, way in found.items()}
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
        lines = self._levels.get(level, [])
        begins = [name for name in names if name != ANYWHERE and self._drawing.boxes[name].begins]
        self._open_passages(level, begins, names, lines)
        spots = [self._box(name) for name in names]
        dots = {name: Spot(begin_of(name), DOT, DOT) for name in begins}
        self._spots |= {spot.name: spot for spot in (*spots, *dots.values())}
        self._moved[level] = [*spots, *dots.values(), *(line.label for line in lines)]
        if level is not None and self._drawing.boxes[level].state.kind is Kind.PARALLEL:
            size = _beside(spots)
            for passage in self._passages.get(level, []):
                region = self._spots[self._child(passage.end, level)]
                through = self._through(passage, region.name)
                x = region.x + (region.w / 2 if through is None else through)
                passage.x = x + PAD
                passage.points = [(x, 0.0 if passage.top else region.h)]
            return size
        return self._layered(level, spots, lines, dots)

    def _open_passages(
        self, level: str | None, begins: Sequence[str], names: Sequence[str], lines: Sequence[Line]
    ) -> None:
        """Say on which side each line enters and leaves the boxes inside of which it ends."""
        first = len(begins)
        number = {name: at for at, name in enumerate(names, first)}
        edges: list[Edge] = [(at, number[name]) for at, name in enumerate(begins)]
        for at, line in enumerate(lines, first + len(names)):
            edges.append((number[self._child(line.source, level)], at))
            edges.append((at, number[self._child(line.target, level)]))
        back = backward(first + len(names) + len(lines), edges)
        for at, line in enumerate(lines):
            out, into = first + 2 * at, first + 2 * at + 1
            for end, leaving, top in (
                (line.source, True, out in back),
                (line.target, False, into not in back),
            ):
                for around in self._around(end):
                    if around == level:
                        break
                    line.passages.append(Passage(line, leaving, top))
                    self._passages.setdefault(around, []).append(line.passages[-1])

    def _through(self, passage: Passage, name: str) -> float | None:
        """Where a line goes through the border of a box, from its left; None: it ends at the box."""
        for inner in self._passages.get(name, []):
            if inner.line is passage.line and inner.leaving == passage.leaving:
                return inner.x
        return None

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
        passages = self._passages.get(level, [])
        everything = [*dots.values(), *spots, *(line.label for line in lines)]
        number = {spot.name: at for at, spot in enumerate(everything) if spot.name}
        edges: list[Edge] = [(number[dot.name], number[name]) for name, dot in dots.items()]
        offsets: dict[int, Offsets] = {}
        label = len(everything) - len(lines)
        for at, line in enumerate(lines, label):
            source, target = self._child(line.source, level), self._child(line.target, level)
            offsets[len(edges)] = (self._offset(Passage(line, True, top=False), source), None)
            edges.append((number[source], at))
            offsets[len(edges)] = (None, self._offset(Passage(line, False, top=False), target))
            edges.append((at, number[target]))
        outside = len(edges)
        for at, passage in enumerate(passages, len(everything)):
            inner = self._child(passage.end, level)
            offset = self._offset(passage, inner)
            offsets[len(edges)] = (None, offset) if passage.top else (offset, None)
            edges.append((at, number[inner]) if passage.top else (number[inner], at))
        sizes = [(spot.w, spot.h) for spot in everything] + [(0.0, 0.0)] * len(passages)
        pinned = {at: passage.top for at, passage in enumerate(passages, len(everything))}
        middles, ways = layered(sizes, edges, GAP, offsets=offsets, pinned=pinned)
        for spot, (x, y) in zip(everything, middles, strict=False):
            spot.x, spot.y = x - spot.w / 2, y - spot.h / 2
        self._dots[level] = dict(zip(dots, ways, strict=False))
        halves = ways[len(dots) : outside]
        for line, first, second in zip(lines, halves[::2], halves[1::2], strict=True):
            y = line.label.middle[1]
            line.points = [*first, (first[-1][0], y), (second[0][0], y), *second]
        for passage, way in zip(passages, ways[outside:], strict=True):
            passage.points = way if passage.leaving != passage.top else way[::-1]
        return self._cornered(level, everything, passages)

    def _offset(self, passage: Passage, name: str) -> float | None:
        """As `_through`, from the middle of the box."""
        through = self._through(passage, name)
        return None if through is None else through - self._spots[name].w / 2

    def _cornered(
        self, level: str | None, everything: Sequence[Spot], passages: Sequence[Passage]
    ) -> tuple[float, float]:
        """Move a level so that its corner is at 0, 0, and its passages to its border; returns its size."""
        points = [point for line in self._levels.get(level, []) for point in line.points]
        points += [point for passage in passages for point in passage.points]
        left = min((*(spot.x for spot in everything), *(x for x, _ in points)))
        right = max((*(spot.x + spot.w for spot in everything), *(x for x, _ in points)))
        top = min((*(spot.y for spot in everything), *(y for _, y in points)))
        bottom = max((*(spot.y + spot.h for spot in everything), *(y for _, y in points)))
        self._shifted(level, -left, -top)
        for passage in passages:
            passage.x = passage.points[-1 if passage.leaving else 0][0] + PAD
        return right - left, bottom - top

    # -- the whole -------------------------------------------------------------------------------

    def _shifted(self, level: str | None, x: float, y: float) -> None:
        """Move one level."""
        for spot in self._moved.get(level, []):
            spot.x, spot.y = spot.x + x, spot.y + y
        for way in (
            *(line.points for line in self._levels.get(level, [])),
            *(passage.points for passage in self._passages.get(level, [])),
            *self._dots.get(level, {}).values(),
        ):
            way[:] = [(px + x, py + y) for px, py in way]

    def _settle(self, level: str | None, x: float, y: float) -> None:
        """Move one level to its place, and what is inside of its boxes with them."""
        self._shifted(level, x, y)
        for spot in self._moved.get(level, []):
            box = self._drawing.boxes.get(spot.name)
            if box is not None and box.state.children:
                self._settle(spot.name, spot.x + PAD, spot.y + HEAD + LINE * len(box.lines))

    def _joined(self) -> None:
        """Put the ways through passages before and behind those that they lead to."""
        for line in self._lines:
            out = [point for one in line.passages if one.leaving for point in one.points]
            into = [one.points for one in reversed(line.passages) if not one.leaving]
            line.points = [*out, *line.points, *(point for points in into for point in points)]
        for line in self._lines:
            if not line.points:  # beside regions, where nothing is in layers
                line.points = [self._spots[line.source].middle, self._spots[line.target].middle]
                line.label.x, line.label.y = line.points[0]
            self._touch(line.points, 0, line.source)
            self._touch(line.points, -1, line.target)

    def _touch(self, points: list[Point], at: int, name: str) -> None:
        """Let a line end at the border of what is no rectangle, too."""
        if name == ANYWHERE:
            return
        spot, kind = self._spots[name], self._drawing.boxes[name].state.kind
        (x, y), (middle, level) = points[at], spot.middle
        part = min(abs(x - middle) / (spot.w / 2), 1.0)
        if kind is Kind.CHOICE:
            points[at] = x, level + (y - level) * (1 - part)
        elif kind is Kind.HISTORY:
            points[at] = x, level + (y - level) * (1 - part * part) ** 0.5


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
