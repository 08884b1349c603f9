"""
Boxes in layers from top to bottom, by Sugiyama's method: where each stands, and how the arrows run.

Arrows that lead back are turned round, layers are numbered along the longest way, boxes are put in order so
that few arrows cross, and then each is moved as near to what it is joined with as its neighbours allow.
A long arrow has a place of its own in each layer that it passes, straight down; only between two layers,
where nothing stands, does it lead sideways: so no arrow crosses a box. Pure; called by `drawing_layout` for
each level.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean

Point = tuple[float, float]
Edge = tuple[int, int]

Offsets = tuple[float | None, float | None]
"""How far from the middle of its boxes an arrow begins and ends; None: wherever there is room."""

SWEEPS = 12
"""Times that the order, and then the places, are looked over downwards and upwards: more change nothing."""
STUB = 0.25
"""The part of a gap that an arrow goes straight, at both of its ends: its head looks at the box."""
SLOPE, STEEPEST = 0.1, 50.0
"""How much a gap grows with the longest way sideways in it, and how much at most: less would look level."""


@dataclass(slots=True)
class Node:
    """A box, or a point of an arrow on its way through a layer."""

    w: float
    h: float
    x: float = 0.0
    """The middle, as `y`."""
    y: float = 0.0
    layer: int = 0
    above: list[int] = field(default_factory=list)
    """What it is joined with in the layer above."""
    below: list[int] = field(default_factory=list)


def layered(
    sizes: Sequence[Point],
    edges: Sequence[Edge],
    gap: float,
    *,
    offsets: Mapping[int, Offsets] | None = None,
    pinned: Mapping[int, bool] | None = None,
) -> tuple[list[Point], list[list[Point]]]:
    """
    The middles of the boxes, and the points of each arrow from border to border.

    Args:
        sizes: width and height of each box; those that others lead from come first.
        edges: the numbers of the boxes that each arrow joins.
        gap: room between two boxes.
        offsets: of arrows that begin or end at a given place of their boxes.
        pinned: boxes that stand in the first layer (True), or in the last (False).
    """
    layers = _Layers(sizes, edges, gap, offsets=offsets or {}, pinned=pinned or {})
    return layers.middles(), layers.ways()


class _Layers:
    """The boxes and arrows of one picture."""

    def __init__(
        self,
        sizes: Sequence[Point],
        edges: Sequence[Edge],
        gap: float,
        *,
        offsets: Mapping[int, Offsets],
        pinned: Mapping[int, bool],
    ) -> None:
        self._gap = gap
        self._count = len(sizes)
        self._nodes = [Node(*size) for size in sizes]
        self._back = backward(len(sizes), edges)
        self._edges = [
            (target, source) if number in self._back else (source, target)
            for number, (source, target) in enumerate(edges)
        ]
        self._number_layers(pinned)
        self._ends: dict[Edge, float] = {}
        """How far from the middle of the first box an arrow to the second begins, where that is given."""
        self._chains = [self._chain(source, target) for source, target in self._edges]
        for number, (first, last) in offsets.items():
            self._offset(self._chains[number], *self._turned(number, (first, last)))
        self._bands: list[Point] = []
        """Where each layer begins and ends, from top to bottom."""
        self._layers: list[list[int]] = [[] for _ in range(self._height())]
        self._order()
        self._place()

    def middles(self) -> list[Point]:
        """Of all boxes."""
        return [(node.x, node.y) for node in self._nodes[: self._count]]

    def ways(self) -> list[list[Point]]:
        """The points of all arrows, from the border of one box to that of the other."""
        ends = self._spaced()
        found = []
        for number, chain in enumerate(self._chains):
            way = list(self._way(chain, ends))
            found.append(way[::-1] if number in self._back else way)
        return found

    def _way(self, chain: Sequence[int], ends: Mapping[Edge, float]) -> Iterator[Point]:
        """Straight through each layer, with a little of the gaps on both sides; sideways between two."""
        first, last = self._nodes[chain[0]], self._nodes[chain[-1]]
        stub = self._gap * STUB
        x = ends[chain[0], chain[1]]
        yield x, first.y + first.h / 2
        yield x, self._bands[first.layer][1] + stub
        for one in chain[1:-1]:
            node = self._nodes[one]
            top, bottom = self._bands[node.layer]
            yield node.x, top - stub
            yield node.x, bottom + stub
        x = ends[chain[-1], chain[-2]]
        yield x, self._bands[last.layer][0] - stub
        yield x, last.y - last.h / 2

    def _spaced(self) -> dict[Edge, float]:
        """Where arrows begin and end at each box: over all its width, in the order of their other ends."""
        found: dict[Edge, float] = {}
        for one, node in enumerate(self._nodes):
            for others in (node.above, node.below):
                for at, other in enumerate(sorted(others, key=lambda to: self._nodes[to].x), 1):
                    share = node.w * (at / (len(others) + 1) - 0.5)
                    found[one, other] = node.x + self._ends.get((one, other), share)
        return found

    def _turned(self, number: int, pair: Offsets) -> Offsets:
        return pair[::-1] if number in self._back else pair

    def _offset(self, chain: Sequence[int], first: float | None, last: float | None) -> None:
        if first is not None:
            self._ends[chain[0], chain[1]] = first
        if last is not None:
            self._ends[chain[-1], chain[-2]] = last

    def _height(self) -> int:
        return 1 + max((node.layer for node in self._nodes), default=0)

    # -- layers ----------------------------------------------------------------------------------

    def _number_layers(self, pinned: Mapping[int, bool]) -> None:
        """Each box below the lowest that leads to it; what nothing leads to, right above the next."""
        after: dict[int, list[int]] = {}
        waits = [0] * self._count
        for source, target in self._edges:
            after.setdefault(source, []).append(target)
            waits[target] += 1
        first = [one for one in range(self._count) if not waits[one]]
        free = list(first)
        for one in free:
            for target in after.get(one, ()):
                self._nodes[target].layer = max(
                    self._nodes[target].layer, self._nodes[one].layer + 1
                )
                waits[target] -= 1
                if not waits[target]:
                    free.append(target)
        for one in first:
            lower = [self._nodes[target].layer for target in after.get(one, ())]
            self._nodes[one].layer = min(lower, default=1) - 1
        lowest = self._height() - 1
        for one, top in pinned.items():
            self._nodes[one].layer = 0 if top else lowest

    def _chain(self, source: int, target: int) -> list[int]:
        """The nodes that an arrow goes through, with a point for each layer between its ends."""
        chain = [source]
        for layer in range(self._nodes[source].layer + 1, self._nodes[target].layer):
            self._nodes.append(Node(0.0, 0.0, layer=layer))
            chain.append(len(self._nodes) - 1)
        chain.append(target)
        for upper, lower in pairwise(chain):
            self._nodes[upper].below.append(lower)
            self._nodes[lower].above.append(upper)
        return chain

    # -- the order in a layer ----------------------------------------------------------------------

    def _order(self) -> None:
        """Begin as the arrows lead, then by the middle of what each is joined with; the best is kept."""
        seen: set[int] = set()
        for first in range(len(self._nodes)):
            self._walk(first, seen)
        place = {one: at for layer in self._layers for one, at in _evenly(layer)}
        best, fewest = [list(layer) for layer in self._layers], self._crossings(place)
        for sweep in range(SWEEPS):
            down = sweep % 2 == 0
            for layer in self._layers if down else reversed(self._layers):
                self._sort(layer, place, down=down)
            crossings = self._crossings(place)
            if crossings < fewest:
                best, fewest = [list(layer) for layer in self._layers], crossings
        self._layers = best

    def _walk(self, first: int, seen: set[int]) -> None:
        pending = [first]
        while pending:
            one = pending.pop()
            if one not in seen:
                seen.add(one)
                node = self._nodes[one]
                self._layers[node.layer].append(one)
                pending += reversed([*node.below, *node.above])

    def _sort(self, layer: list[int], place: dict[int, float], *, down: bool) -> None:
        middle = {}
        for one in layer:
            joined = self._nodes[one].above if down else self._nodes[one].below
            ends = [place[other] + self._beside(other, one) for other in joined]
            middle[one] = fmean(ends) if joined else place[one]
        layer.sort(key=lambda one: middle[one])
        place.update(_evenly(layer))

    def _beside(self, one: int, other: int) -> float:
        """How far from the middle of a box an arrow begins, beside places in a layer."""
        end = self._ends.get((one, other))
        if end is None:  # most are steps of a long arrow, between two layers
            return 0.0
        width = len(self._layers[self._nodes[one].layer]) * self._nodes[one].w
        return end / width if width else 0.0

    def _crossings(self, place: Mapping[int, float]) -> int:
        total = 0
        for layer in self._layers:
            ends = sorted(
                (place[one] + self._beside(one, other), place[other] + self._beside(other, one))
                for one in layer
                for other in self._nodes[one].below
            )
            lower: list[float] = []
            for _, end in ends:
                total += len(lower) - bisect_right(lower, end)
                insort(lower, end)
        return total

    # -- places ------------------------------------------------------------------------------------

    def _place(self) -> None:
        for layer in self._layers:
            self._spread(layer, [0.0] * len(layer))
        for sweep in range(SWEEPS):
            down = sweep % 2 == 0
            for layer in self._layers if down else reversed(self._layers):
                self._spread(layer, [self._wished(one, down=down) for one in layer])
        ends = self._spaced()
        y = 0.0
        for layer in self._layers:
            height = max((self._nodes[one].h for one in layer), default=0.0)
            sideways = 0.0
            for one in layer:
                self._nodes[one].y = y + height / 2
                for other in self._nodes[one].below:
                    sideways = max(sideways, abs(ends[one, other] - ends[other, one]))
            self._bands.append((y, y + height))
            y += height + self._gap + min(max(sideways - 2 * self._gap, 0.0) * SLOPE, STEEPEST)

    def _wished(self, one: int, *, down: bool) -> float:
        """The middle of what it is joined with on the side that is placed already."""
        node = self._nodes[one]
        joined = (node.above if down else node.below) or node.above or node.below
        beside = self._ends.get
        ends = [
            self._nodes[other].x + beside((other, one), 0.0) - beside((one, other), 0.0)
            for other in joined
        ]
        return fmean(ends) if joined else node.x

    def _spread(self, layer: Sequence[int], wished: Sequence[float]) -> None:
        """As near to the wishes as order and widths allow: who is in each other's way moves as one."""
        offsets = [0.0] if layer else []
        for before, one in pairwise(layer):
            room = (self._nodes[before].w + self._nodes[one].w) / 2 + self._gap
            offsets.append(offsets[-1] + room)
        blocks: list[tuple[float, int]] = []
        for wish, own in zip(wished, offsets, strict=True):
            middle, size = wish - own, 1
            while blocks and blocks[-1][0] > middle:
                other, others = blocks.pop()
                middle = (middle * size + other * others) / (size + others)
                size += others
            blocks.append((middle, size))
        lefts = [middle for middle, size in blocks for _ in range(size)]
        for one, left, own in zip(layer, lefts, offsets, strict=True):
            self._nodes[one].x = left + own


def _evenly(layer: Sequence[int]) -> Iterator[tuple[int, float]]:
    """Where each node stands in its layer, from 0 to 1."""
    return ((one, (at + 0.5) / len(layer)) for at, one in enumerate(layer))


def backward(count: int, edges: Sequence[Edge]) -> set[int]:
    """The numbers of the arrows that lead back to where one comes from, walking from the first box on."""
    leaving: dict[int, list[int]] = {}
    for number, (source, _) in enumerate(edges):
        leaving.setdefault(source, []).append(number)
    found: set[int] = set()
    entered, left = set[int](), set[int]()
    for first in range(count):
        pending: list[tuple[int, Iterator[int]]] = []
        if first not in entered:
            entered.add(first)
            pending.append((first, iter(leaving.get(first, ()))))
        while pending:
            one, numbers = pending[-1]
            following = next(numbers, None)
            if following is None:
                left.add(one)
                pending.pop()
                continue
            target = edges[following][1]
            if target in entered and target not in left:
                found.add(following)
            elif target not in entered:
                entered.add(target)
                pending.append((target, iter(leaving.get(target, ()))))
    return found
