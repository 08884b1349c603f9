"""
What the engine is simulated with: machines that use everything at once, and a stormy life for them.

Four variants of one machine, each in two versions: entries, exits, actions, eager runs, jobs, regions,
choices, timers, holds, defers and letters. Every callback does what the seed says. Which variant a world
has depends on its seed.
"""

from __future__ import annotations

import asyncio
from functools import cache
from random import Random
from textwrap import dedent
from typing import Any

import orjson

from event_center.engine.home import Home
from event_center.engine.plan import EngineLimits, OwnTopics, Plan
from event_center.log.memory import MAX_EVENT_BYTES
from event_center.log.partitioner import murmur2
from event_center.machine import parse
from event_center.model import Event
from event_center.plugins.callbacks import callbacks
from event_center.plugins.context import Context
from event_center.plugins.registry import Bound, resolve
from event_center.testing.simulation_calls import CALLS, simulated
from event_center.testing.simulation_scenery import Scenery, chance_of
from event_center.testing.simulation_schedule import (
    AFTERWARDS_MS,
    Happening,
    Schedule,
    changes,
    commanded,
    faults,
    published,
    spoiling,
)
from event_center.wire.command import Command, Verb
from event_center.wire.envelope import Envelope, Rules, inbox_envelope

MACHINE = """
machine: storm
version: {version}
initial: a
perpetual: true
data: {n: 0, log: null{more_data}}
{migrate}
{extra}
retries:
  default: {max_attempts: 3, interval: 300ms}
events:
  add: {missing: {hold: 2s, expiry: {expiry}}}
  back: {missing: dead_letter}
  end: {missing: create}
  jump: {}
  go: {}
  wild: {}
  fork: {}
  build: {missing: create}
  done: {}
  again: {}
  twice: {missing: reject}
on: {end: over, jump: {target: c, actions: act}, add: {assign: {n: =data.n + payload.n}}}
states:
  a:
    exit: leave
    on:
      go: b
      wild: {target: b, guard: =payload.yes}
      fork: regions
      build: building
    unhandled: defer
    after: {3s: {actions: act, repeat: true}}
  b:
    entry: [work, {do: more, eager: true, timeout: 2s}]
    on:
      done: {target: a, assign: {log: =payload}}
      again: {target: b, reenter: true}
      twice: {actions: act}
    after: {5s: c, 1s: {repeat: true}}
    on_done: c
    on_error: {target: c, actions: act}
  building:
    invoke:
      - {do: build, timeout: 3s, on_done: a, on_error: {target: c}}
      - do: watch
        timeout: 10s
        retry: none
        on_done: {actions: act}
        on_error: {assign: {log: =payload.type}}
    on: {back: a, again: {target: building, reenter: true}, twice: {assign: {n: =data.n + 1}}}
    after: {6s: a}
  regions:
    type: parallel
    states:
      left:
        initial: l1
        states:
          l1: {entry: work, on: {go: l2, twice: {actions: act}}, on_error: l2}
          l2: {after: {1s: l3}, on: {back: l1}}
          l3: {type: final}
      right:
        initial: r1
        states:
          r1: {on: {again: r2}, unhandled: defer}
          r2: {entry: {do: more, timeout: 5s}, on_done: r3, on_error: r3}
          r3: {type: final}
    on: {done: a, jump: c}
    after: {8s: a}
  c:
    entry: {do: work, retry: none}
    on: {back: sorted, wild: {guard: =payload.yes, target: a}, go: b}
    unhandled: {unhandled}
  sorted:
    type: choice
    always: [{target: building, guard: =data.n > 3}, {target: a}]
  over: {type: final}
"""
VARIANTS = [
    ("on_failure: park", "reject", "dead_letter"),
    ("on_failure: dead_letter", "defer", "reject"),
    ("on_error: {target: a, guard: =data.n > 1}", "dead_letter", "reject"),
    ("on_failure: dead_letter\non_error: {actions: act}", "ignore", "dead_letter"),
    ("on_failure: park\non_upgrade: pin", "defer", "dead_letter"),
]
PINNED = 4
"""The variant whose workflows stay under the version that they were born under."""
NEWER = (", tries: 1", "migrate: [{from: 1, data: {tries: =data.n}}]")
FUNCTIONS = ("act", "leave", "work", "more", "build", "watch")
EVENTS = ("go", "wild", "jump", "add", "back", "done", "again", "twice", "fork", "build", "unheard")
VERBS = tuple(Verb)
STATES = ("a", "b", "c", "building", "over", "nowhere")
WORKFLOWS = 6
SHARDS = 2
PUBLISHED = 60
"""Events of one world."""
SPANS_MS = (500, 4_000, 12_000)
"""How long the publishers take for them: all at once, or with time for timers between."""
TO_ALL = 0.15
"""The share of commands that go to all workflows at once."""
LIMITS = {
    "max_waiting": (1, 5, 20, 10_000),
    "max_held": (1, 3, 100),
    "max_held_in_shard": (1, 10_000),
    "waiting_bytes": (2_000, 256 * 1024**2),
    "callbacks": (1, 3, 1_000),
    "jobs": (1, 1_000),
    "mailbox": (2, 10_000),
    "cut_records": (3, 20_000),
    "cut_bytes": (1_000, 64 * 1024**2),
    "snapshot_bytes": (700, 16 * 1024**2),
    "warm": (0, 2, 100),
    "keep_finished_ms": (1, 1_000, 4_000, None),
    "kept_bytes": (0, 2_000, 256 * 1024**2),
    "grace_s": (0.01, 1.0, 20.0),
}
"""What deploys set the limits to: so low that they are reached, and as they are elsewhere."""
OWN = OwnTopics(
    inbox="app.inbox",
    commands="app.commands",
    history="app.history",
    dead_letters="app.dead-letters",
)


async def by_chance(ctx: Context) -> Any:
    """Wait or not, emit or not, return or not, as the seed says."""
    chance = CALLS.get().chance(ctx)
    if chance.random() < 0.3:
        await asyncio.sleep(chance.choice([0.0, 0.01, 0.5]))
    if chance.random() < 0.15:
        ctx.emit("add", {"n": 0}, workflow_id=f"w{chance.randrange(WORKFLOWS)}")
    if CALLS.get().calm.is_set():
        return None
    returned = [None, None, None, "done", "back", "twice", Event("done", {"by": "it"}), 5]
    return chance.choice(returned)


def _machine(variant: int, version: int) -> Bound:
    extra, unhandled, expiry = VARIANTS[variant]
    more_data, migrate = NEWER if version == 2 and variant != PINNED else ("", "")
    text = dedent(MACHINE)
    for name, value in {
        "version": str(version),
        "more_data": more_data,
        "migrate": migrate,
        "extra": extra,
        "unhandled": unhandled,
        "expiry": expiry,
    }.items():
        text = text.replace("{" + name + "}", value)
    machine = parse(text)
    found = callbacks("storm")
    for name in FUNCTIONS:
        (found.job if name in {"build", "watch"} else found.action)(name)(by_chance)
    return simulated(resolve(machine, [found]))


SIZES = dict.fromkeys(("events", OWN.inbox, OWN.commands, OWN.history, OWN.dead_letters), SHARDS)


def schedule(seed: int) -> Schedule:
    """Events, commands and faults of a seed."""
    chance = chance_of(seed)
    span_ms = chance.choice(SPANS_MS)
    happenings = faults(chance, span_ms + AFTERWARDS_MS)
    happenings += changes(chance, span_ms + AFTERWARDS_MS, LIMITS)
    happenings += [_event(chance, span_ms) for _ in range(PUBLISHED)]
    for number in range(chance.randint(0, 8)):
        happenings += _commands(chance, span_ms + AFTERWARDS_MS, number)
    workflows = [f"w{one}" for one in range(WORKFLOWS)]
    happenings += spoiling(chance, span_ms, workflows, STATES)
    return tuple(sorted(happenings, key=lambda one: one.at_ms))


def _plan(bound: Bound, *older: Bound) -> Plan:
    return Plan(
        app="app",
        bound={"storm": bound},
        machines={"storm": bound.machine},
        envelopes={
            "events": Envelope("events", Rules(machine="storm")),
            OWN.inbox: inbox_envelope(OWN.inbox),
        },
        dead_letter_strays=frozenset(),
        topics=OWN,
        publishable=frozenset(),
        home=Home(murmur2, SHARDS),
        clock=lambda: 0,
        limits=EngineLimits(
            max_waiting=20,
            warm=2,
            grace_s=1.0,
            max_held=3,
            keep_finished_ms=4_000,
            record_bytes=MAX_EVENT_BYTES,
        ),
        older={("storm", one.machine.version): one for one in older},
    )


def _event(chance: Random, span_ms: int) -> Happening:
    workflow_id = f"w{chance.randrange(WORKFLOWS)}"
    at_ms = chance.randrange(span_ms)
    roll = chance.random()
    if roll < 0.02:
        return published(at_ms, "events", "poison", partition=0)
    body: dict[str, Any] = {"workflow_id": workflow_id, "event": chance.choice(EVENTS)}
    body["payload"] = chance.choice([{"n": 1, "yes": True}, {"yes": False}, None])
    if chance.random() < 0.4:
        body["id"] = f"e{chance.randrange(30)}"
    strays = chance.choice([None, None, None, None, 0])
    value = orjson.dumps(body).decode()
    return published(at_ms, "events", value, key=workflow_id, partition=strays)


def _commands(chance: Random, span_ms: int, number: int) -> list[Happening]:
    """What an operator asks of one workflow, or at once of all."""
    verb = chance.choice(VERBS)
    args: dict[str, Any] = {}
    if verb is Verb.SET_STATE:
        args["state"] = chance.choice(STATES)
    elif verb in {Verb.REPLAY, Verb.DISCARD}:
        args |= {"number": chance.randrange(3), "event": "add", "payload": {"n": 1}}
    at_ms, workflow_id = chance.randrange(span_ms), f"w{chance.randrange(WORKFLOWS)}"
    if chance.random() >= TO_ALL:
        return [commanded(at_ms, Command(f"c-{number}", verb, workflow_id, args=args))]
    everybody = [f"w{one}" for one in range(WORKFLOWS)]
    return [
        commanded(at_ms, Command(f"c-{number}/{one}", verb, one, args=args)) for one in everybody
    ]


@cache
def storm(variant: int) -> Scenery:
    """The scenery of a variant, made once a process."""
    old, new = (_machine(variant, version) for version in (1, 2))
    return Scenery(
        plans=[_plan(old), _plan(new, old) if variant == PINNED else _plan(new)],
        machines=[old.machine, new.machine],
        sizes=SIZES,
        schedule=schedule,
    )


def scenery_of(seed: int) -> Scenery:
    """The scenery of a seed."""
    return storm(seed % len(VARIANTS))
