"""Drawings of machines: every state and way is in each format, and the way of a workflow is marked."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings

from event_center.errors import DefinitionError
from event_center.machine import Machine, load, parse
from event_center.machine.drawing import Drawing, Trail, Went, drawn, label_of, place_in, trail_of
from event_center.machine.drawing_layout import laid_out
from event_center.machine.drawing_svg import svg_of
from event_center.machine.drawing_table import table_of
from event_center.machine.drawing_text import dot_of, json_of, mermaid_of
from tests.machine.test_nested_properties import documents

EXAMPLES = sorted((Path(__file__).parents[2] / "machines").rglob("*.yaml"))
SVG = "{http://www.w3.org/2000/svg}"

PARCEL = """
machine: parcel
version: 1
initial: draft
data: {deadline: null}
timeout: {90d: lost}
on: {cancel: cancelled, note: {actions: write_down}}
states:
  draft: {on: {order: size}}
  size:
    type: choice
    always: [{target: lost, guard: =payload.weight > 100}, handling]
  handling:
    type: parallel
    states:
      payment:
        initial: open
        states:
          open: {on: {pay: paid, "a <c>": {}}, after: {1h: reminded}}
          reminded: {entry: remind, on: {pay: paid}}
          paid: {type: final}
          payment so far: {type: history}
      packing:
        initial: waiting
        states:
          waiting: {on: {pack: {target: packed, guard: {in: paid}}}, defer: [pack]}
          packed: {type: final}
    on: {hold: on hold}
    on_done: sent
  on hold: {on: {go on: payment so far, again: {target: on hold, reenter: true}}}
  sent: {type: final}
  lost: {type: final, result: failure}
  cancelled: {type: final, result: cancelled}
"""


@pytest.fixture(scope="module", name="parcel")
def _parcel() -> Machine:
    return parse(PARCEL)


def cells(table: str, state: str) -> dict[str, str]:
    """The cells of a row, by the names of their columns."""
    rows = [[cell.strip() for cell in line.split(" | ")] for line in table.splitlines()]
    head = [cell.strip("| ") for cell in rows[0]]
    named = [re.sub(r"^\W*|( \(\w+\))?(\[\S+\])?$", "", row[0].strip("| ")) for row in rows]
    row = rows[named.index(state)]
    return dict(zip(head, [cell.strip("| ") for cell in row], strict=True))


def test_a_table_answers_what_if(parcel: Machine) -> None:
    """A cell says what an event does there, also by what is around; an empty one that it is refused."""
    table = table_of(drawn(parcel.definition))
    assert cells(table, "draft")["order"] == "size"
    row = cells(table, "waiting")
    assert row["pack"] == "packed [in paid] / deferred"
    assert (row["cancel"], row["hold"], row["timeout 90d"]) == ("cancelled", "on hold", "lost")
    assert (row["pay"], row["go on"], row["else"]) == ("", "", "reject")
    assert cells(table, "size")["always"] == "lost [=payload.weight > 100] / handling"
    assert cells(table, "cancelled")["cancel"] == ""
    assert cells(table, "cancelled")["else"] == "cancelled"


def test_a_table_agrees_with_the_steps() -> None:
    """In a flat machine a cell is empty exactly where the machine has nothing for the event."""
    for path in EXAMPLES:
        machine = load(path)
        table = table_of(drawn(machine.definition))
        for state in machine.states:
            if machine.rests(state):
                row = cells(table, state)
                for event in machine.events:
                    there = machine.has(state, event) or row[event] == "deferred"
                    assert bool(row[event]) == there, (path.stem, state, event)


def test_columns_stand_below_each_other() -> None:
    """All lines of a table are of one width, in the columns of a terminal, wide letters too."""
    machine = parse(
        "machine: m\nversion: 1\ninitial: 新\nstates:\n  新: {on: {付款: b}}\n  b: {type: final}\n"
    )
    lines = table_of(drawn(machine.definition)).splitlines()
    assert {len(line) + sum(char in "新付款" for char in line) for line in lines} == {len(lines[1])}


def test_every_state_and_way_is_in_each_picture(parcel: Machine) -> None:
    """Mermaid, Graphviz, SVG and JSON name every state, every label, and what happens inside."""
    drawing = drawn(parcel.definition)
    pictures = [mermaid_of(drawing), dot_of(drawing), svg_of(drawing)]
    for picture in pictures:
        for name in parcel.states:
            box = drawing.boxes[name]
            drawn_as_shape = name in {"size", "payment so far"}
            assert name in picture or drawn_as_shape
            assert all(line in picture for line in box.lines if "<" not in line)
        for arrow in drawing.arrows:
            assert re.split(r" ?\[", arrow.label)[0] in picture
        assert "note / write_down" in picture
    told = json_of(drawing)
    assert [one["name"] for one in told["states"]] == list(parcel.states)
    assert {one["on"] for one in told["arrows"]} >= {"timeout 90d", "on_done", "always", "after 1h"}
    assert "again ↻" in drawing.boxes["on hold"].lines


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_picture_is_an_svg(path: Path) -> None:
    """It is XML, each state is a group that a page can find, and boxes stand beside each other."""
    machine = load(path)
    drawing = drawn(machine.definition)
    root = ET.fromstring(svg_of(drawing))
    groups = {group.get("data-state") for group in root.iter(f"{SVG}g")}
    assert groups >= set(machine.states)
    layout = laid_out(drawing)
    beside = [
        (layout.spots[one.name], layout.spots[other.name])
        for one, other in combinations(machine.definition.states.values(), 2)
        if one.parent == other.parent
    ]
    for one, other in beside:
        apart = one.x + one.w <= other.x or other.x + other.w <= one.x
        assert apart or one.y + one.h <= other.y or other.y + other.h <= one.y


def crossed(drawing: Drawing) -> list[str]:
    """What arrows lead through though they have no business there: boxes, and texts of other arrows."""
    layout = laid_out(drawing)
    states = drawing.definition.states
    found = []
    for line in layout.lines:
        own = {line.source, line.target}
        for _ in states:
            own |= {str(states[name].parent) for name in own if name in states}
        for (x, y), (ox, oy) in pairwise(line.points):
            texts = [other.label for other in layout.lines if other is not line]
            others = [spot for name, spot in layout.spots.items() if name not in own]
            found += [
                f"{line.source} -> {line.target} crosses {spot.name or 'a text'}"
                for spot in (*others, *texts)
                if max(x, ox) > spot.x + 0.1
                if min(x, ox) < spot.x + spot.w - 0.1
                if max(y, oy) > spot.y + 0.1
                if min(y, oy) < spot.y + spot.h - 0.1
            ]
    for one, other in combinations([line.label for line in layout.lines], 2):
        apart = one.x + one.w <= other.x or other.x + other.w <= one.x
        if not (apart or one.y + one.h <= other.y or other.y + other.h <= one.y):
            found.append("a text lies on another")
    return found


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_arrows_cross_no_box_and_no_text(path: Path) -> None:
    """Between the boxes there is a way for each arrow, also out of nested states and regions."""
    assert crossed(drawn(load(path).definition)) == []


@settings(suppress_health_check=list(HealthCheck), max_examples=15, deadline=None)
@given(documents())
def test_arrows_of_any_machine_cross_nothing(document: dict[str, Any]) -> None:
    """The same of random machines: nested, with regions, choices and history."""
    try:
        machine = parse(json.dumps(document))
    except DefinitionError:
        assume(False)
    assert crossed(drawn(machine.definition)) == []


def test_states_stand_inside_of_what_is_around_them(parcel: Machine) -> None:
    """Boxes, arrows and their texts lie within the picture, and inner states in their box."""
    layout = laid_out(drawn(parcel.definition))
    for name, state in parcel.definition.states.items():
        inner = layout.spots[name]
        if state.parent is not None:
            outer = layout.spots[state.parent]
            assert outer.x <= inner.x
            assert outer.y <= inner.y
            assert inner.x + inner.w <= outer.x + outer.w
            assert inner.y + inner.h <= outer.y + outer.h
    for line in layout.lines:
        assert all(-1 <= x <= layout.width + 1 for x, _ in line.points)
        assert all(-1 <= y <= layout.height + 1 for _, y in line.points)


def test_a_picture_is_always_the_same(parcel: Machine) -> None:
    """The same machine gives the same bytes, so that a picture in a repository only changes with it."""
    assert svg_of(drawn(parcel.definition)) == svg_of(drawn(parse(PARCEL).definition))


def test_names_can_not_break_a_picture() -> None:
    """Quotes, brackets and colons in names stay text in every format."""
    name = "a\"b<c>&:;#{}'"
    event = "'" + name.replace("'", "''") + "'"
    text = f"machine: m\nversion: 1\ninitial: s\nstates: {{s: {{on: {{{event}: e}}}}, e: {{type: final}}}}"
    drawing = drawn(parse(text).definition)
    assert ET.fromstring(svg_of(drawing)) is not None
    [line] = [line for line in mermaid_of(drawing).splitlines() if "s1 --> s2" in line]
    assert not set(line.partition(": ")[2]) & set('"<{}:')
    assert 'label="a\\"b<c>' in dot_of(drawing)


def test_a_state_is_marked(parcel: Machine) -> None:
    """`--at` marks the active states: a configuration, or what a state begins with."""
    assert place_in(parcel.definition, "handling") == "open|waiting"
    drawing = drawn(parcel.definition, Trail(at="paid|waiting"))
    marked = {name for name, box in drawing.boxes.items() if box.at}
    assert marked == {"handling", "payment", "paid", "packing", "waiting"}
    assert "@paid[$]" in table_of(drawing).replace("· ", "")
    assert 'class="state final at"' in svg_of(drawing)
    with pytest.raises(KeyError, match="did you mean 'draft'"):
        place_in(parcel.definition, "drat")


def test_the_way_of_a_workflow_is_marked(parcel: Machine) -> None:
    """Arrows that a workflow took are marked, through choices and history states; others are not."""
    lines: list[dict[str, object]] = [
        {"from": None, "event": "order", "to": "draft"},
        {"from": "draft", "event": "order", "to": "open|waiting"},
        {"from": "open|waiting", "event": "hold", "to": "on hold"},
        {"from": None, "event": "nonsense", "to": None},
        {"from": "on hold", "event": "go on", "to": "open|waiting"},
        {"from": "open|waiting", "event": "@after/1h/open", "to": "reminded|waiting"},
        {"from": "of another version", "event": "pay", "to": "nowhere"},
    ]
    drawing = drawn(parcel.definition, trail_of(lines, "reminded|waiting"))
    taken = {(arrow.source, arrow.name, arrow.target) for arrow in drawing.arrows if arrow.taken}
    assert taken == {
        ("draft", "order", "size"),
        ("size", "always", "handling"),
        ("handling", "hold", "on hold"),
        ("on hold", "go on", "payment so far"),
        ("open", "after 1h", "reminded"),
    }
    assert {name for name, box in drawing.boxes.items() if box.seen and not box.at} == {
        "draft",
        "open",
        "on hold",
    }


def test_without_a_way_nothing_is_marked(parcel: Machine) -> None:
    """The twin: the same machine without a trail has no mark."""
    drawing = drawn(parcel.definition, Trail(went=(Went("x", "y", "z"),)))
    assert not any(arrow.taken for arrow in drawing.arrows)
    assert not any(box.at or box.seen for box in drawing.boxes.values())


def test_what_a_branch_sends_is_on_its_arrow() -> None:
    """Events that are raised or emitted stand beside the callbacks."""
    machine = parse(
        "machine: m\nversion: 1\ninitial: a\nperpetual: true\nstates:\n"
        "  a: {on: {go: {actions: x, raise: y, emit: {event: z, topic: t}}}}\n"
    )
    [branch] = machine.definition.states["a"].on["go"].branches
    assert label_of("go", branch) == "go / x, raise y, emit z to t"


def test_a_job_is_told_once() -> None:
    """A box has a line for each thing that its state does."""
    volume = drawn(load(Path(__file__).parents[2] / "machines/volume.yaml").definition)
    assert volume.boxes["creating"].lines == ("invoke / create_volume", "defer extend")


RING = """
machine: ring
version: 1
initial: a
perpetual: true
data: {n: 0}
states:
  x: {type: choice, always: [{target: y, guard: =data.n > 1}, a]}
  y: {type: choice, always: [{target: x, guard: =data.n > 2, assign: {n: =0}}, b]}
  a: {on: {go: x, stop: z}}
  z: {type: choice, always: [{target: c, guard: =data.n > 3}, a]}
  b: {on: {back: a}}
  c: {}
"""


def test_choices_that_lead_to_each_other() -> None:
    """A ring of choices is followed once around, wherever in the file its states stand."""
    drawing = drawn(parse(RING).definition, Trail(at="b", went=(Went("a", "go", "b"),)))
    taken = {(arrow.source, arrow.target) for arrow in drawing.arrows if arrow.taken}
    assert taken == {("a", "x"), ("x", "y"), ("y", "x"), ("y", "b")}
    turned = drawn(parse(RING).definition, Trail(at="a", went=(Went("a", "stop", "a"),)))
    assert [(one.source, one.target) for one in turned.arrows if one.taken] == [
        ("a", "z"),
        ("z", "a"),
    ]
