"""`unhandled`: what becomes of events that are not accepted, by the innermost state that says so."""

from __future__ import annotations

import pytest

from tests.engine.world import World

MACHINE = """
machine: desk
version: 1
initial: outer
perpetual: true
unhandled: {machine}
states:
  outer:
    initial: inner
    unhandled: {outer}
    on: {{leave: other}}
    states:
      inner:
        unhandled: {inner}
        on: {{start: {{}}, guarded: {{guard: =payload.yes}}}}
  other: {{unhandled: reject, on: {{late: {{}}, guarded: {{}}, leave: {{}}}}}}
"""
SENT = ["late", "guarded", "typo"]
REASONS = {"late": "not_accepted", "guarded": "guard", "typo": "unknown_event"}
WORDS = ["reject", "ignore", "defer", "dead_letter"]


def desk(machine: str, outer: str, inner: str) -> str:
    """The machine; an empty word leaves the key out."""
    text = MACHINE.format(machine=machine, outer=outer, inner=inner)
    return "\n".join(line for line in text.splitlines() if not line.endswith("unhandled: "))


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("level", ["machine", "outer", "inner"])
async def test_the_innermost_word_counts(word: str, level: str) -> None:
    """On each level each word does what it says, for each kind of refusal; inner ones win."""
    other = "ignore" if word == "reject" else "reject"
    levels = {"machine": other, "outer": other, "inner": other}
    levels[level] = word
    if level != "inner":
        levels["inner"] = ""
    if level == "machine":
        levels["outer"] = ""
    async with World(desk(**levels)) as world:
        world.send("w", "start")
        for event in SENT:
            world.send("w", event, {"yes": False})
        await world.idle()
        outcomes = world.outcomes("w")[1:]
        if word == "defer":
            assert outcomes == []
            assert world.entry().waiting["deferred"] == 3
            world.send("w", "leave")
            await world.idle()
            assert world.outcomes("w")[1:] == ["leave applied", "late applied", "guarded applied"]
            assert world.entry().waiting["deferred"] == 1
            return
        became = {"reject": "rejected", "ignore": "ignored", "dead_letter": "dead_lettered"}[word]
        assert outcomes == [f"{event} {became}({REASONS[event]})" for event in SENT]
        assert len(world.letters()) == (3 if word == "dead_letter" else 0)
        assert [letter.number for letter in world.letters() if letter.number is not None] == []
        assert world.snapshot("w").seq == 1


async def test_of_parallel_regions_the_first_that_says_something_counts() -> None:
    """Regions are asked in the order of the file, then what is around them."""
    text = """
    machine: desk
    version: 1
    initial: both
    perpetual: true
    states:
      both:
        type: parallel
        unhandled: dead_letter
        on: {start: {}}
        states:
          one: {initial: a, states: {a: {on: {go: b}}, b: {unhandled: ignore, on: {go: a}}}}
          two: {initial: c, states: {c: {}}}
    """
    async with World(text) as world:
        for event in ("start", "x", "go", "x"):
            world.send("w", event)
        await world.idle()
        assert world.outcomes("w") == [
            "start applied",
            "x dead_lettered(unknown_event)",
            "go applied",
            "x ignored(unknown_event)",
        ]


async def test_timers_and_results_are_never_set_aside() -> None:
    """What is no record is refused at once, whatever the machine says: nobody could give it back."""

    async def work() -> str:
        return "typo"

    text = """
    machine: desk
    version: 1
    initial: new
    perpetual: true
    unhandled: defer
    states:
      new: {on: {go: busy}}
      busy: {entry: work, after: {1h: {target: new, guard: =data.n}}}
    data: {n: 0}
    """
    async with World((text, {"work": work})) as world:
        world.send("w", "go")
        await world.idle()
        await world.leap(2)
        await world.idle()
        assert world.outcomes("w") == [
            "go applied",
            "typo rejected(unknown_event)",
            "@after/1h rejected(guard)",
        ]
        assert world.waiting() == 0
