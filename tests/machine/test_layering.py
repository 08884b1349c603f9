"""Layers of boxes: whatever is joined with whatever, boxes stand apart and arrows lead down or back."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from event_center.machine.layering import layered

GAP = 10.0
SIZES = st.lists(st.tuples(st.floats(1, 200), st.floats(1, 50)), min_size=1, max_size=12)
ENDS = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=24)


@given(SIZES, ENDS)
def test_boxes_stand_apart(sizes: list[tuple[float, float]], ends: list[tuple[int, int]]) -> None:
    """No two boxes are nearer than the gap, each arrow ends in its boxes, and none is level."""
    edges = [(a % len(sizes), b % len(sizes)) for a, b in ends]
    edges = [(a, b) for a, b in edges if a != b]
    middles, ways = layered(sizes, edges, GAP)
    for one, other in combinations(range(len(sizes)), 2):
        (x, y), (w, h) = middles[one], sizes[one]
        (ox, oy), (ow, oh) = middles[other], sizes[other]
        beside = abs(x - ox) >= (w + ow) / 2 + GAP - 1e-6
        assert beside or abs(y - oy) >= (h + oh) / 2 + GAP - 1e-6
    for (source, target), way in zip(edges, ways, strict=True):
        assert (way[0], way[-1]) == (middles[source], middles[target])
        heights = [y for _, y in way]
        assert heights in (sorted(heights), sorted(heights, reverse=True))
        assert heights[0] != heights[-1]
    assert layered(sizes, edges, GAP) == (middles, ways)


def test_arrows_lead_down_unless_they_lead_back() -> None:
    """Of a circle one arrow goes up, along points of its own in the layers between."""
    middles, ways = layered([(20, 10)] * 4, [(0, 1), (1, 2), (2, 3), (3, 0)], GAP)
    assert [y for _, y in middles] == [5, 25, 45, 65]
    assert [len(way) for way in ways] == [2, 2, 2, 4]
    assert {x for x, _ in ways[3][1:3]}.isdisjoint(x for x, _ in middles[1:3])


def test_arrows_that_need_not_cross_do_not() -> None:
    """Two pairs that were given crosswise stand below each other, straight."""
    middles, _ = layered([(20, 10)] * 5, [(0, 1), (0, 2), (1, 4), (2, 3)], GAP)
    left, right, below_right, below_left = (x for x, _ in middles[1:])
    assert (left < right) == (below_left < below_right)
    assert abs(left - below_left) < 1e-6
