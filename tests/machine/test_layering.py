"""Layers of boxes: whatever is joined with whatever, boxes stand apart and arrows lead down or back."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_center.machine.layering import layered

GAP = 10.0
SIZES = st.lists(st.tuples(st.floats(1, 200), st.floats(1, 50)), min_size=1, max_size=12)
ENDS = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=24)


@given(SIZES, ENDS)
def test_boxes_stand_apart(sizes: list[tuple[float, float]], ends: list[tuple[int, int]]) -> None:
    """No two boxes are nearer than the gap; arrows go from border to border, and through no other box."""
    edges = [(a % len(sizes), b % len(sizes)) for a, b in ends]
    edges = [(a, b) for a, b in edges if a != b]
    middles, ways = layered(sizes, edges, GAP)
    for one, other in combinations(range(len(sizes)), 2):
        (x, y), (w, h) = middles[one], sizes[one]
        (ox, oy), (ow, oh) = middles[other], sizes[other]
        beside = abs(x - ox) >= (w + ow) / 2 + GAP - 1e-6
        assert beside or abs(y - oy) >= (h + oh) / 2 + GAP - 1e-6
    for (source, target), way in zip(edges, ways, strict=True):
        heights = [y for _, y in way]
        down = heights[0] < heights[-1]
        assert heights == sorted(heights, reverse=not down)
        for one, (x, y), side in ((source, way[0], 1), (target, way[-1], -1)):
            (mx, my), (w, h) = middles[one], sizes[one]
            assert abs(x - mx) < w / 2
            assert y == pytest.approx(my + side * h / 2 * (1 if down else -1))
        for (x, y), (ox, oy) in pairwise(way):
            for (mx, my), (w, h) in zip(middles, sizes, strict=True):
                level = max(y, oy) <= my - h / 2 + 1e-6 or min(y, oy) >= my + h / 2 - 1e-6
                assert level or max(x, ox) <= mx - w / 2 or min(x, ox) >= mx + w / 2
    assert layered(sizes, edges, GAP) == (middles, ways)


def test_arrows_lead_down_unless_they_lead_back() -> None:
    """Of a circle one arrow goes up, along points of its own in the layers between."""
    middles, ways = layered([(20, 10)] * 4, [(0, 1), (1, 2), (2, 3), (3, 0)], GAP)
    assert [y for _, y in middles] == [5, 25, 45, 65]
    assert [way[0][1] < way[-1][1] for way in ways] == [True, True, True, False]
    assert {x for x, _ in ways[3][2:-2]}.isdisjoint(x for x, _ in middles[1:3])


def test_an_arrow_begins_and_ends_where_it_is_told_to() -> None:
    """An offset is kept, and what is pinned stands above or below everything."""
    sizes = [(100.0, 20.0), (100.0, 20.0), (0.0, 0.0), (0.0, 0.0)]
    edges = [(0, 1), (2, 1), (0, 3)]
    offsets = {0: (30.0, None), 1: (None, -40.0)}
    middles, ways = layered(sizes, edges, GAP, offsets=offsets, pinned={2: True, 3: False})
    assert ways[0][0][0] == pytest.approx(middles[0][0] + 30)
    assert ways[1][-1][0] == pytest.approx(middles[1][0] - 40)
    assert middles[2][1] <= middles[0][1]
    assert middles[3][1] >= middles[1][1]


def test_arrows_that_need_not_cross_do_not() -> None:
    """Two pairs that were given crosswise stand below each other, straight."""
    middles, _ = layered([(20, 10)] * 5, [(0, 1), (0, 2), (1, 4), (2, 3)], GAP)
    left, right, below_right, below_left = (x for x, _ in middles[1:])
    assert (left < right) == (below_left < below_right)
    assert abs(left - below_left) < 1e-6
