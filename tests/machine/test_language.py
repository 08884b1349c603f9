"""
The keys of the language and what they come to: policies, events, hashes, names, drawing of values.
"""

from __future__ import annotations

from typing import Any

import pytest

from event_center.machine import Machine, parse
from event_center.machine.decision import Retry, Transition
from event_center.machine.definition import Missing, OnFailure
from event_center.machine.duration import duration_ms
from event_center.model import Event, Snapshot, Unhandled

FRAME = """\
machine: m
version: 2
initial: A
{root}
states:
  A: {{{a}}}
  B: {{on: {{end: C}}}}
  C: {{type: final}}
"""


def made(a: str = "on: {go: B}", root: str = "") -> Machine:
    return parse(FRAME.format(a=a, root=root))


def assigned(value: str, payload: Any = None) -> Any:
    machine = made(f"on: {{go: {{target: B, assign: {{x: {value}}}}}}}", "data: {old: [1]}")
    snapshot = Snapshot("w", "m", 2, "A")
    snapshot.data = {"old": [1]}
    headers = (("k", b"v"), ("k", b"w"), ("bad", b"\xff"))
    event = Event("go", payload, "id1", 77, headers)
    decision = machine.step(snapshot, event, 99)
    assert isinstance(decision, Transition)
    assert decision.data is not None
    return decision.data["x"]


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("24h", 86_400_000), ("3d", 259_200_000)],
)
def test_durations(text: str, milliseconds: int) -> None:
    """A duration is a whole number and a unit."""
    assert duration_ms(text) == milliseconds


@pytest.mark.parametrize(
    "text", ["", "5", "5 s", "1h30m", "-1s", "1.5s", "5S", "s", "5s\n", "1" * 13 + "s"]
)
def test_no_durations(text: str) -> None:
    """Anything else is not; the message shows how durations are written."""
    with pytest.raises(
        ValueError, match=r"is not a duration; write e\.g\. 500ms, 30s, 5m, 24h, 3d"
    ):
        duration_ms(text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text", "text"), ("3", 3), ("null", None), ("true", True), ("'3'", "3"), ("'==a'", "=a"),
        ("[1, {a: b}]", [1, {"a": "b"}]), ("=payload.n + 1", 6),
        ("{a: ['=payload.n']}", {"a": [5]}),
        ("=data.old", [1]), ("=event.name", "go"), ("=event.id", "id1"), ("=event.time", 77),
        ("'=event.headers[\"k\"]'", "w"), ("=event.headers.bad", "\ufffd"), ("=workflow_id", "w"),
        ("=now", 99), ("=state", "A"), ("=payload", {"n": 5}),
    ],
)  # fmt: skip
def test_values(value: str, expected: object) -> None:
    """An assigned value is JSON with expressions anywhere in it, over the six roots."""
    assert assigned(value, {"n": 5}) == expected


@pytest.mark.parametrize(
    ("retries", "call", "expected"),
    [
        ("", "x", Retry()),
        ("", "{do: x, retry: default}", Retry()),
        ("", "{do: x, retry: none}", Retry(max_attempts=1)),
        ("retries: {default: {max_attempts: 5}}", "x", Retry(max_attempts=5)),
        ("retries: {default: {max_attempts: 5}}", "{do: x, retry: none}", Retry(max_attempts=1)),
        ("retries: {slow: {interval: 1m}}", "x", Retry()),
        ("retries: {slow: {interval: 1m, max_delay: 1h, jitter: full, backoff_rate: 1.5}}",
         "{do: x, retry: slow}", Retry(3, 60_000, 1.5, 3_600_000, "full")),
        ("", "{do: x, retry: {max_attempts: 2, interval: 0s}}", Retry(2, 0)),
        ("", "{do: x, retry: {errors: [TimeoutError, Busy]}}",
         Retry(errors=("TimeoutError", "Busy"))),
        ("", "{do: x, retry: {errors: Busy}}", Retry(errors=("Busy",))),
    ],
)  # fmt: skip
def test_retries(retries: str, call: str, expected: Retry) -> None:
    """
    A callback has the policy it names, else `default`, else three attempts; `none` is one attempt.
    """
    assert made(f"entry: {call}, on: {{go: B}}", retries).effect("A", "x").retry == expected


@pytest.mark.parametrize(
    ("root", "event", "expected"),
    [
        ("", "go", Missing.CREATE),
        ("", "end", Missing.REJECT),
        ("", "unheard", Missing.REJECT),
        ("", "@done", Missing.REJECT),
        ("on: {halt: C}", "halt", Missing.CREATE),
        ("events: {go: {missing: reject}, end: {missing: dead_letter}}", "go", Missing.REJECT),
        ("events: {go: , end: {missing: dead_letter}}", "end", Missing.DEAD_LETTER),
        ("events: {go: , end: {missing: create, description: over}}", "end", Missing.CREATE),
        ("events: {go: , end: {}}", "go", Missing.CREATE),
    ],
)
def test_missing(root: str, event: str, expected: Missing) -> None:
    """
    An event of a workflow that does not exist: as declared, else by what the initial state
    accepts.
    """
    assert made(root=root).missing(event) is expected


def test_defaults() -> None:
    """What a definition does not say."""
    machine = made()
    assert (machine.name, machine.version, machine.initial) == ("m", 2, "A")
    assert machine.on_failure is OnFailure.PARK
    assert not machine.perpetual
    assert machine.unhandled("A") is Unhandled.REJECT
    assert machine.definition.data == {}
    assert machine.source == "<text>"


def test_words_for_readers() -> None:
    """Titles, descriptions, tags and meta are kept for whoever shows the machine."""
    machine = made(
        "title: First, description: d, tags: [human, slow], meta: {x: [1]}, on: {go: B}",
        "title: T\ndescription: D\non_failure: dead_letter\nunhandled: defer",
    )
    state = machine.definition.states["A"]
    assert (state.title, state.description, state.tags) == ("First", "d", ("human", "slow"))
    assert state.meta == {"x": [1]}
    assert (machine.definition.title, machine.definition.description) == ("T", "D")
    assert machine.on_failure is OnFailure.DEAD_LETTER
    assert machine.unhandled("A") is Unhandled.DEFER
    spoken = made("title: {en: Draft, zh: 草稿}, on: {go: B}").definition.states["A"]
    assert spoken.title == {"en": "Draft", "zh": "草稿"}
    assert made("tags: human, on: {go: B}").definition.states["A"].tags == ("human",)


def test_names_with_blanks() -> None:
    """State and event names may be words of any language."""
    machine = parse(
        "machine: desk-1.b\nversion: 1\ninitial: 草稿\nstates:\n"
        "  草稿: {on: {Assign seriousness: In charge}}\n  In charge: {on: {on: off}}\n"
        "  off: {type: final}\n"
    )
    decision = machine.step(Snapshot("w", "m", 1, "草稿"), Event("Assign seriousness"), 0)
    assert isinstance(decision, Transition)
    assert decision.target == "In charge"
    assert machine.has("In charge", "on")


SAME = [
    ("a comment", lambda text: "# hello\n" + text),
    ("other layout",
     lambda text: text.replace("{go: B}", "{\n      go: {\n        target: B\n    }}")),
    ("a title", lambda text: text + "title: Other\n"),
    ("a description", lambda text: text.replace("type: final", "type: final, description: end")),
    ("tags", lambda text: text.replace("type: final", "type: final, tags: [x], meta: 3")),
    ("a default written out",
     lambda text: text.replace("type: final", "type: final, result: success")),
    ("a policy nobody uses", lambda text: text + "retries: {slow: {interval: 5s}}\n"),
    ("the order of states", lambda text: text.replace("  C: {type: final}\n", "")
     .replace("states:\n", "states:\n  C: {type: final}\n")),
]  # fmt: skip
OTHER = [
    ("version: 2", "version: 3"),
    ("machine: m", "machine: n"),
    ("initial: A", "initial: B"),
    ("go: B", "go: C"),
    ("go: B", "gone: B"),
    ("go: B", "go: {target: B, guard: g}"),
    ("go: B", "go: {target: B, guard: =payload.x}"),
    ("go: B", "go: {target: B, guard: {not: g}}"),
    ("go: B", "go: {target: B, guard: {and: [g, h]}}"),
    ("go: B", "go: {target: B, guard: {or: [g, h]}}"),
    ("go: B", "go: {target: B, assign: {x: 1}}"),
    ("go: B", "go: {target: B, assign: {x: '1'}}"),
    ("go: B", "go: {target: B, assign: {x: '==payload'}}"),
    ("go: B", "go: {target: B, assign: {x: =payload}}"),
    ("go: B", "go: {target: B, assign: {x: [=payload]}}"),
    ("go: B", "go: {target: B, actions: [a, b]}"),
    ("go: B", "go: {target: B, actions: [b, a]}"),
    ("go: B", "go: {target: B, before: a}"),
    ("go: B", "go: {target: B, before: {do: a, timeout: 5s}}"),
    ("go: B", "go: {target: B, before: {do: a, retry: none}}"),
    ("go: B", "go: {target: B, raise: y}"),
    ("go: B", "go: {target: B, raise: {event: y, payload: =now}}"),
    ("go: B", "go: {target: B, before: {do: a, retry: {errors: E}}}"),
    ("go: B", "go: {target: B, guard: {in: A}}"),
    ("go: B", "go: B, '*': B"),
    ("go: B", "go: B, x: {}"),
    ("go: B", "go: B, x: A"),
    ("go: B", "go: B, x: {target: A, reenter: true}"),
    ("also: B}", "also: B}, after: {1h: C}"),
    ("also: B}", "also: B}, after: {60m: C}"),
    ("also: B}", "also: B}, after: {60m: {}}"),
    ("also: B}", "also: B}, after: {60m: {repeat: true}}"),
    ("also: B}", "also: B}, entry: a"),
    ("also: B}", "also: B}, entry: {do: a, eager: true}"),
    ("also: B}", "also: B}, entry: a, on_done: C"),
    ("also: B}", "also: B}, exit: a"),
    ("also: B}", "also: B}, on_error: C"),
    ("also: B}", "also: B}, on_error: {target: C, errors: E}"),
    ("back: A}", "back: A}, always: {target: C, guard: g}"),
    ("also: B}", "also: B}, defer: x"),
    ("also: B}", "also: B}, after: {=now: C}"),
    ("also: B}", "also: B, h: H}, initial: D, states: {D: , H: {type: history}}"),
    ("also: B}", "also: B, h: H}, initial: D, states: {D: , H: {type: history, history: deep}}"),
    ("also: B}", "also: B}, type: parallel, states: {D: , E: }"),
    ("also: B}", "also: B}, type: parallel, states: {E: , D: }"),
    ("initial: A\n", "initial: A\ntimeout: {1d: C}\n"),
    ("also: B}", "also: B}, unhandled: ignore"),
    ("also: B}", "also: B}, perpetual: true"),
    ("type: final", "type: final, result: failure"),
    ("initial: A\n", "initial: A\non: {halt: C}\n"),
    ("initial: A\n", "initial: A\ndata: {x: 1}\n"),
    ("initial: A\n", "initial: A\nperpetual: true\n"),
    ("initial: A\n", "initial: A\non_failure: dead_letter\n"),
    ("initial: A\n", "initial: A\nunhandled: ignore\n"),
    ("initial: A\n", "initial: A\non_error: C\n"),
]
PLAIN = FRAME.format(a="on: {go: B}", root="")


@pytest.mark.parametrize(("what", "change"), SAME, ids=[what for what, _ in SAME])
def test_same_hash(what: str, change: Any) -> None:
    """What does not change the machine does not change its hash."""
    assert change(PLAIN) != PLAIN
    assert parse(change(PLAIN)).hash == parse(PLAIN).hash, what


def test_other_hash() -> None:
    """Whatever changes what the machine does changes its hash, each in its own way."""
    # A loop through all states, so that each change leaves all of them within reach.
    plain = PLAIN.replace("end: C", "end: C, back: A").replace("go: B", "go: B, also: B")
    texts = [plain, *(plain.replace(old, new) for old, new in OTHER)]
    assert len(set(texts)) == len(texts)
    assert len({parse(text).hash for text in texts}) == len(texts)


def test_hash_is_durable() -> None:
    """The hash is written into the log: this one may never change."""
    assert parse(PLAIN).hash == "3a71536809277f6fa631ef69155ed418c04fe9ef34b5a74ca93bc4ff5b4c1b99"


def test_what_is_for_readers_has_languages() -> None:
    """Titles, descriptions and tags of machines, states and events, in one language or several."""
    root = (
        "title: {en: Order, zh: 订单}\ntags: {en: [a, b], zh: 甲}\nmeta: {en: {x: 1}, zh: {x: 2}}\n"
        "events: {go: {title: {en: Go, zh: 走}}, end: {description: over}}"
    )
    machine = made("tags: {en: [one], zh: [二]}, meta: [1], on: {go: B}", root)
    for same in (machine, parse(machine.to_yaml())):
        told = same.definition
        assert told.title == {"en": "Order", "zh": "订单"}
        assert told.tags == {"en": ("a", "b"), "zh": ("甲",)}
        assert told.meta == {"en": {"x": 1}, "zh": {"x": 2}}
        assert told.states["A"].tags == {"en": ("one",), "zh": ("二",)}
        assert told.events is not None
        assert told.events["go"].title == {"en": "Go", "zh": "走"}
        assert told.events["end"].description == "over"
    plain = made("on: {go: B}", "events: {go: , end: }")
    assert machine.hash == plain.hash
