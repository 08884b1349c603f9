"""`emit`: what the machine itself sends leaves in the cut of its transition."""

from __future__ import annotations

import json

import orjson
import pytest

from event_center.engine.plan import EngineLimits
from event_center.log.partitioner import murmur2
from event_center.machine import Machine, parse
from event_center.machine.decision import Transition
from event_center.model import Event, Snapshot
from event_center.plugins.context import Context
from tests.engine.world import OWN, World

ORDER = """
machine: order
version: 1
initial: open
data: {lines: 0}
states:
  open:
    on:
      add: {assign: {lines: =data.lines + 1}}
      ask: {emit: {event: asked, workflow_id: =payload.to, payload: {by: =workflow_id}}}
      ship:
        target: shipped
        ACTIONS
        assign: {lines: 0}
        emit:
          - {event: parcel, workflow_id: "='p-' + workflow_id", machine: parcel, payload: =data.lines}
          - {event: order_shipped, topic: outside, payload: {lines: =data.lines, at: =now}}
  shipped: {type: final}
"""
PARCEL = """
machine: parcel
version: 1
initial: waiting
perpetual: true
data: {lines: null, by: null}
states:
  waiting: {on: {parcel: {assign: {lines: =payload}}, asked: {assign: {by: =payload.by}}}}
"""


def order(actions: str = "") -> str:
    """The machine of orders, with callbacks for `ship`."""
    return ORDER.replace("ACTIONS", actions)


async def test_what_a_branch_emits_leaves_with_its_transition() -> None:
    """An event reaches the workflow that it names, a topic gets the plain form, both with the old data."""
    async with World(order(), PARCEL, publishable=["outside"]) as world:
        for event in ("add", "add", "ship"):
            world.send("o", event)
        await world.idle()
        assert world.state("o") == "shipped"
        assert world.snapshot("p-o").data["lines"] == 2
        [record] = world.records("outside")
        assert record.key == b"o"
        body = orjson.loads(record.value or b"")
        assert body == {
            "workflow_id": "o",
            "event": "order_shipped",
            "payload": {"lines": 2, "at": body["payload"]["at"]},
        }


async def test_an_emit_goes_with_the_callbacks_or_not_at_all() -> None:
    """With an action that fails nothing leaves; once it succeeds both leave in one cut."""
    tried: list[int] = []

    async def pack(ctx: Context) -> None:
        ctx.emit("asked", {"by": "pack"}, workflow_id="p-o")
        tried.append(ctx.attempt)
        if len(tried) == 1:
            raise OSError

    machine = order("actions: {do: pack, retry: {max_attempts: 2, interval: 5s}}")
    async with World((machine, {"pack": pack}), PARCEL, publishable=["outside"]) as world:
        world.send("o", "ship")
        await world.rest(1)
        assert (tried, world.records("outside"), world.exists("p-o")) == ([1], [], False)
        await world.crash_and_recover()
        await world.rest(10)
        await world.idle()
        assert tried == [1, 2]
        assert len(world.records("outside")) == 1
        assert world.snapshot("p-o").data == {"lines": 0, "by": "pack"}


async def test_an_emit_to_nobody_parks_the_workflow() -> None:
    """A workflow_id that is none is a mistake of the event: nothing moves, and the message says where."""
    async with World(order(), PARCEL) as world:
        world.send("o", "ask", {"to": 7})
        await world.idle()
        snapshot = world.snapshot("o")
        assert (snapshot.seq, snapshot.parked) == (0, "failed")
        assert snapshot.failure is not None
        assert "the workflow_id of 'asked' is a number; it is a text" in snapshot.failure.message
        assert world.records(OWN.inbox) == []


async def test_an_emit_that_the_log_could_not_hold_parks_the_workflow() -> None:
    """What is too large is found before the accept, which can not fail."""
    limits = EngineLimits(record_bytes=100)
    async with World(order(), PARCEL, limits=limits) as world:
        world.send("o", "ask", {"to": "p" * 100})
        await world.idle()
        snapshot = world.snapshot("o")
        assert (snapshot.seq, snapshot.parked) == (0, "failed")
        assert snapshot.failure is not None
        assert "a record of this log at most 100" in snapshot.failure.message


async def test_many_emits_in_a_row() -> None:
    """Events that waited are decided one after another, however many of them emit."""
    async with World(order(), PARCEL) as world:
        for _ in range(2_000):
            world.send("o", "ask", {"to": "p"})
        world.command("pause", "p")
        await world.idle()
        assert world.snapshot("o").seq == len(world.records(OWN.inbox)) == 2_000


EMIT = {"event": "a", "machine": "m", "workflow_id": "y", "payload": 1}


@pytest.mark.parametrize(
    "other", [{"event": "b"}, {"machine": "n"}, {"workflow_id": "x"}, {"payload": 2}]
)
def test_an_emit_is_part_of_what_a_machine_does(other: dict[str, object]) -> None:
    """Each of its keys counts in the hash, and `to_yaml` writes it."""

    def machine(emit: dict[str, object]) -> Machine:
        return parse(
            order().replace(
                "{emit: {event: asked", f"{{emit: {json.dumps(emit)}}}\n      x: {{emit: {{event: b"
            )
        )

    given = machine(EMIT)
    assert machine(EMIT | other).hash != given.hash
    assert parse(given.to_yaml()).hash == given.hash


def test_a_step_tells_what_it_emits() -> None:
    """The pure decision has the events, worked out."""
    machine = parse(order())
    snapshot = Snapshot("o", "order", 1, "open")
    snapshot.data = {"lines": 3}
    decision = machine.step(snapshot, Event("ship"), 5)
    assert isinstance(decision, Transition)
    assert [tuple(one) for one in decision.emits] == [
        ("parcel", "p-o", 3, None, "parcel"),
        ("order_shipped", "o", {"lines": 3, "at": 5}, "outside", None),
    ]


@pytest.mark.parametrize("partitions", [4, 3])
async def test_what_is_emitted_lies_where_its_key_belongs(partitions: int) -> None:
    """Whoever reads the topic finds a key where any producer puts it, however many partitions there are."""
    sizes = {"outside": partitions}
    async with World(order(), PARCEL, shards=4, partitions=sizes, publishable=["outside"]) as world:
        for number in range(20):
            world.send(f"o-{number}", "add")
            world.send(f"o-{number}", "ask", {"to": f"o-{number}" if number % 2 else "p"})
            world.send(f"o-{number}", "ship")
        await world.idle()
        found = {
            (record.key, q)
            for q in range(partitions)
            for record in world.broker.line(("outside", q))
        }
        keys = [f"o-{number}".encode() for number in range(20)]
        assert found == {(key, murmur2(key) % partitions) for key in keys}
        at_home = {
            (record.key, q) for q in range(4) for record in world.broker.line((OWN.inbox, q))
        }
        assert {key for key, _ in at_home} > set(keys[1::2])
        assert all(murmur2(key or b"") % 4 == q for key, q in at_home)
