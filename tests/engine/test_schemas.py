"""Schemas of payloads: what does not fit is refused at the door, with the path of the fault."""

from __future__ import annotations

from typing import Any

import pytest

from event_center.machine import Machine, parse
from event_center.machine.decision import Refused, Transition
from event_center.model import Event, Snapshot
from tests.engine.world import World

ACCOUNT = """
machine: account
version: 1
initial: open
perpetual: true
data: {balance: 0}
SCHEMA
states:
  open:
    unhandled: UNHANDLED
    on:
      deposit: [{guard: =payload.amount > 100, target: rich}, {assign: {balance: =payload.amount}}]
      book: {}
      go: away
  rich: {on: {go: open, '*': {assign: {balance: -1}}}}
  away:
    defer: [deposit]
    on: {go: open}
"""
SCHEMA = """
events:
  deposit:
    schema:
      type: object
      required: [amount]
      properties:
        amount: {type: integer, default: 7}
        lines: {type: array, items: {properties: {sku: {type: string}}}}
  book: {schema: {$ref: '#/definitions/tree', definitions: {tree: {items: {$ref: '#/definitions/tree'}}}}}
  other: {schema: {type: string, format: date}}
  go:
"""


def account(schema: str = SCHEMA, unhandled: str = "reject") -> str:
    """The machine; without the schema it is the same otherwise."""
    return ACCOUNT.replace("SCHEMA", schema).replace("UNHANDLED", unhandled)


FAULT = "payload.lines[1].sku must be string"
WRONG = {"amount": 3, "lines": [{"sku": "a"}, {"sku": 5}]}


async def test_a_payload_that_does_not_fit_is_rejected_with_its_path() -> None:
    """The outcome has reason and path, its workflow does not move, and none is made of it."""
    async with World(account()) as world:
        world.send("w", "deposit", WRONG)
        await world.idle()
        assert not world.exists("w")
        world.send("w", "deposit", {"amount": 5})
        world.send("w", "deposit", WRONG)
        world.send("w", "deposit", None)
        await world.idle()
        assert world.outcomes("w") == [
            "deposit rejected(invalid_payload)",
            "deposit applied",
            "deposit rejected(invalid_payload)",
            "deposit rejected(invalid_payload)",
        ]
        rejected = world.history("w", "rejected")
        assert [one["detail"] for one in rejected] == [FAULT, FAULT, "payload must be object"]
        snapshot = world.snapshot("w")
        assert (snapshot.seq, snapshot.data) == (1, {"balance": 5})
        assert [one.reason for one in snapshot.refusals] == ["invalid_payload"] * 2


async def test_without_the_schema_the_same_event_is_applied() -> None:
    """The twin: it is the schema that refuses."""
    async with World(account(schema="")) as world:
        world.send("w", "deposit", WRONG)
        await world.idle()
        assert world.outcomes("w") == ["deposit applied"]


async def test_what_does_not_fit_is_not_set_aside() -> None:
    """A state that defers an event defers only what fits; `dead_letter` keeps the rest."""
    async with World(account(unhandled="dead_letter")) as world:
        world.send("w", "go")
        world.send("w", "deposit", WRONG)
        world.send("w", "deposit", {"amount": 500})
        await world.idle()
        assert world.outcomes("w")[1:] == ["deposit rejected(invalid_payload)"]
        world.send("w", "go")
        await world.idle()
        assert world.state("w") == "rich"
        world.send("w", "go")
        world.send("w", "deposit", WRONG)
        await world.idle()
        assert world.outcomes("w")[-1] == "deposit dead_lettered(invalid_payload)"
        [letter] = world.letters()
        assert letter.reason == "invalid_payload"


def stepped(machine: Machine, state: str, event: str, payload: Any) -> Transition | Refused:
    """What an event does in a state."""
    snapshot = Snapshot("w", "account", 1, state)
    snapshot.data = {"balance": 0}
    return machine.step(snapshot, Event(event, payload), 0)


@pytest.mark.parametrize(
    ("state", "event", "payload"),
    [
        ("open", "deposit", {"amount": 5}),
        ("open", "deposit", {"amount": 500}),
        ("open", "book", [[], [[]]]),
        ("open", "other", "2026-01-01"),
        ("open", "go", 3),
        ("rich", "deposit", {"amount": 5}),
        ("away", "deposit", {"amount": 5}),
        ("away", "other", "2026-01-01"),
        ("away", "book", 5),
    ],
)
def test_what_fits_is_decided_as_without_a_schema(state: str, event: str, payload: Any) -> None:
    """A schema only refuses: all else (guards, `'*'`, defer, not accepted) is as without it."""
    with_schema = stepped(parse(account()), state, event, payload)
    without = stepped(parse(account(schema="")), state, event, payload)
    assert type(with_schema) is type(without)
    fields = without.__slots__
    assert [getattr(with_schema, one) for one in fields if one != "reason"] == [
        getattr(without, one) for one in fields if one != "reason"
    ]


def test_a_schema_changes_no_payload() -> None:
    """`default` fills nothing in: what an event says is what its publisher wrote."""
    payload: dict[str, list[int]] = {"lines": []}
    decision = stepped(parse(account()), "open", "deposit", payload)
    assert isinstance(decision, Refused)
    assert (decision.detail, payload) == (
        "payload must contain ['amount'] properties",
        {"lines": []},
    )


def test_a_payload_that_is_too_deep_is_a_fault() -> None:
    """A recursive schema meets a payload that is deeper than the stack: refused, not a crash."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    decision = stepped(parse(account()), "open", "book", deep)
    assert isinstance(decision, Refused)
    assert decision.detail == "payload is nested too deeply for its schema"


def test_a_schema_is_content() -> None:
    """Another schema is another machine, and `to_yaml` writes it."""
    machine = parse(account())
    assert parse(account(SCHEMA.replace("integer", "number"))).hash != machine.hash
    assert parse(machine.to_yaml()).hash == machine.hash


def test_events_without_a_schema_are_looked_up_as_ever() -> None:
    """Only events with a schema take the longer way."""
    machine = parse(account())
    assert stepped(machine, "open", "go", None) is stepped(machine, "open", "go", None)
