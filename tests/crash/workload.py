"""
The events of the crash tests: parcels and claims with everything that can go wrong on the way.

Deterministic: the same seed makes the same records. Beside plain events there are duplicates, events
that come too early, or before their workflow, illegal ones, poison, strays on a wrong partition,
commands that fit and that do not, and letters that are replayed.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import orjson

from event_center.model import Outgoing
from event_center.wire.command import Verb
from tests.crash.project import HERE, PARTITIONS, Project

TOPICS = {"parcels": 'machine = "parcel"', "claims": 'machine = "claim"'}
MACHINES = HERE / "machines"


def event(topic: str, workflow_id: str, name: str, **parts: Any) -> Outgoing:
    """One event in the plain form; `partition` puts it on that partition."""
    partition = parts.pop("partition", None)
    body = {"workflow_id": workflow_id, "event": name, **parts}
    key, value = workflow_id.encode(), orjson.dumps(body)
    return Outgoing(topic, key, value, (), partition)


def parcel(number: int) -> list[Outgoing]:
    """The events of one parcel, in the order in which they are published."""
    one = f"parcel-{number}"
    send = {"paid": number % 4 != 3, "bounced": number % 8 == 7}
    events = [
        event("parcels", one, "pack", id=f"{one}-pack", payload={"weight": number}),
        event("parcels", one, "send", id=f"{one}-send", payload=send),
        event("parcels", one, "note"),
    ]
    if number % 5 == 2:
        events.insert(0, event("parcels", one, "hint", id=f"{one}-hint"))
    if number % 6 != 0:
        events.append(event("parcels", one, "deliver", id=f"{one}-deliver"))
    if number % 4 == 3:
        events.append(event("parcels", one, "send", payload={"paid": True}))
    if number % 3 == 0:
        events.append(events[0])
    if number % 5 == 1:
        events.append(event("parcels", one, "fly"))
    if number % 9 == 2:
        events.insert(2, event("parcels", one, "note", partition=number % PARTITIONS))
    return events


def claim(number: int) -> list[Outgoing]:
    """The events of one claim; some of them are bad."""
    one = f"claim-{number}"
    events = [
        event("claims", one, "add", id=f"{one}-{n}", payload={"amount": n, "bad": bad})
        for n, bad in enumerate((False, number % 2 == 0, False, number % 4 == 0, False))
    ]
    if number % 3 == 0:
        events.append(event("claims", one, "close"))
    return events


def poison() -> list[Outgoing]:
    """Records that carry no event, or one for nobody."""
    return [
        Outgoing("parcels", b"poison", b"\xff{", (), 0),
        Outgoing("parcels", None, b"[]", (), 1),
        Outgoing("claims", b"poison", None, (), 1),
        event("claims", "bad\nid", "add"),
        event("parcels", "nobody-1", "deliver"),
        event("parcels", "nobody-3", "hint"),
        *[event("parcels", "nobody-4", "hint", id="nobody-4-hint")] * 2,
        Outgoing("crash.commands", b"poison", b"{}", (), 0),
    ]


def commands(project: Project, seed: int) -> Iterator[Outgoing]:
    """What operators ask for, whether it fits or not."""
    chance = random.Random(seed)
    for number in chance.sample(range(40), 12):
        verb = chance.choice([Verb.PAUSE, Verb.SKIP, Verb.CANCEL, Verb.RETRY])
        yield project.command(verb, f"parcel-{number}")
        if verb is Verb.PAUSE and chance.random() < 0.5:
            yield project.command(Verb.RESUME, f"parcel-{number}")
    for number in chance.sample(range(40), 4):
        yield project.command(Verb.SET_STATE, f"parcel-{number}", state="packed")
    for number in range(12):
        yield project.command(chance.choice([Verb.PAUSE, Verb.CANCEL]), f"claim-{number}")
    for number in chance.sample(range(12), 3):
        yield project.command(Verb.FORGET, f"claim-{number}")
    yield project.command(Verb.FORGET, "nobody-4")
    yield project.command(Verb.SET_STATE, "parcel-1", state="nowhere")
    yield project.command(Verb.PAUSE, "nobody-2")
    yield project.command(Verb.DISCARD, f"claim-{chance.randrange(12)}", number=0)


def chunk(
    project: Project, part: int, parts: int, *, parcels: int = 40, seed: int = 0
) -> list[Outgoing]:
    """A part of the whole workload, shuffled among workflows and not within one."""
    chance = random.Random(1_000 * seed + part)
    queues = [parcel(n) for n in range(parcels) if n % parts == part]
    queues += [claim(n) for n in range(12) if n % parts == part]
    queues.append(list(commands(project, 1_000 * seed + part)))
    if part == 0:
        queues.append(poison())
    records = []
    while queues:
        queue = chance.choice(queues)
        records.append(queue.pop(0))
        if not queue:
            queues.remove(queue)
    return records


def repairs(project: Project) -> list[Outgoing]:
    """Commands after the crashes: everything that was stopped goes on, open letters are dealt with."""
    records = []
    for key, value in project.rows(
        "SELECT key, value FROM entries WHERE substr(key, 1, 2) = x'733a'"
    ):
        workflow_id = key[2:].decode()
        line, _, text = value.partition(b"\n")
        status = line.split(b"\t")[4]
        if status == b"paused":
            records.append(project.command(Verb.RESUME, workflow_id))
        if status in {b"parked", b"paused"}:
            records.append(project.command(Verb.SKIP, workflow_id))
        following, last = json.loads(text).get("letters", (0, 0))
        for number in range(following, last):
            args = {"number": number, "event": "add", "payload": {"amount": 100}}
            verb = Verb.DISCARD if number % 3 == 2 else Verb.REPLAY
            records.append(project.command(verb, workflow_id, **args))
    return records
