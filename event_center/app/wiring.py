"""
The wiring: from settings to topics, loaded machines, bound plugins and the engine's plan.

The one place where the rooms are put together. The center, the publishers and every command of the
terminal come through here, so that they agree on topics, homes and clocks. `engine.member` takes the
plan from here; `opening.py` opens the log that goes with it.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from event_center.app.machines import check_emits, check_topics, load_versions
from event_center.app.settings import Settings
from event_center.client.app import App
from event_center.engine.home import Home
from event_center.engine.plan import EngineLimits, OwnTopics, Plan
from event_center.engine.topics import Sizes
from event_center.errors import ExpressionError
from event_center.log import kafka as kafka_log
from event_center.log import sqlite as sqlite_log
from event_center.log.detail import Use
from event_center.log.partitioner import PARTITIONERS
from event_center.machine import Machine
from event_center.plugins.callbacks import Callbacks
from event_center.plugins.discovery import discover
from event_center.plugins.listening import listeners_of
from event_center.plugins.registry import NOTHING, Bound, resolve
from event_center.wire.envelope import Envelope, Rules, inbox_envelope


def wall_clock_ms() -> int:
    """Milliseconds since the Unix epoch, by this machine's clock: the one that a center is given."""
    return time.time_ns() // 1_000_000


def own_topics(settings: Settings) -> OwnTopics:
    """The names of the app's own topics."""
    app = settings.app
    return OwnTopics(
        inbox=f"{app}.inbox",
        commands=f"{app}.commands",
        history=f"{app}.history",
        dead_letters=f"{app}.dead-letters",
    )


def home_of(settings: Settings) -> Home:
    """Where workflows live."""
    return Home(PARTITIONERS[settings.engine.partitioner], settings.log.partitions)


def uses(settings: Settings) -> dict[str, Use]:
    """The topics of an app, the users' included, and what it does with each."""
    own = own_topics(settings)
    used = {
        own.inbox: Use.INBOX,
        own.commands: Use.COMMANDS,
        own.history: Use.HISTORY,
        own.dead_letters: Use.LETTERS,
    }
    if settings.log.kind == "kafka":  # the embedded log keeps snapshots in a table
        used[f"{settings.app}.snapshots"] = Use.SNAPSHOTS
    used |= dict.fromkeys(settings.publish.topics, Use.PUBLISHED)
    return used | dict.fromkeys(settings.topics, Use.EVENTS)


def partitions_wanted(settings: Settings) -> dict[str, int]:
    """How many partitions each of these topics is made with."""
    count = settings.log.partitions
    events = {name: topic.partitions or count for name, topic in settings.topics.items()}
    return dict.fromkeys(uses(settings), count) | events


def sizes_of(settings: Settings) -> Sizes:
    """How many partitions the topics have to have."""
    own = own_topics(settings)
    return Sizes(
        shards=settings.log.partitions,
        own=(own.inbox, own.commands),
        written=(own.history, own.dead_letters),
        strict=_strict(settings),
    )


def _strict(settings: Settings) -> frozenset[str]:
    """Topics whose records on a wrong partition become letters instead of being forwarded."""
    topics = settings.topics.items()
    return frozenset(name for name, topic in topics if topic.wrong_partition != "forward")


def consumed(settings: Settings) -> list[str]:
    """The topics that a center reads."""
    own = own_topics(settings)
    return [own.inbox, own.commands, *settings.topics]


def plugins_of(settings: Settings, machines: Iterable[Machine]) -> list[Callbacks]:
    """
    The callbacks of all plugins.

    Raises:
        PluginError: a plugin can not be imported.
    """
    files = [Path(machine.source) for machine in machines]
    return discover(files, settings.plugins, settings.root)


def bind(
    machines: Mapping[str, Machine],
    found: Iterable[Callbacks],
    pinned: Iterable[Machine] = (),
    instead: Mapping[str, Callable[..., Any]] = NOTHING,
) -> dict[str, Bound]:
    """
    Every machine with its callbacks.

    Raises:
        PluginError: a plugin does not fit its machine.
    """
    found = list(found)
    pinned = list(pinned)
    return {
        name: resolve(machine, found, _versions(machine, machines, pinned), instead)
        for name, machine in machines.items()
    }


def _versions(
    machine: Machine, machines: Mapping[str, Machine], pinned: Iterable[Machine]
) -> list[Machine]:
    """The other versions of a machine."""
    versions = [machines[machine.name], *(one for one in pinned if one.name == machine.name)]
    return [one for one in versions if one is not machine]


def envelopes(settings: Settings) -> dict[str, Envelope]:
    """
    How the records of each topic are read, the inbox included.

    Raises:
        ExpressionError: a rule is not in the language; the message says where it was written.
    """
    inbox = own_topics(settings).inbox
    read = {inbox: inbox_envelope(inbox)}
    for name, topic in settings.topics.items():
        rules = Rules(
            machine=topic.machine,
            workflow_id=topic.workflow_id,
            event=topic.event,
            id=topic.id,
            payload=topic.payload,
            time=topic.time,
        )
        try:
            read[name] = Envelope(name, rules)
        except ExpressionError as error:
            key = error.where.rpartition(" ")[2]
            raise ExpressionError(f"{settings.place('topics', name, key)}: {error}") from error
    return read


def app_of(settings: Settings) -> App:
    """
    The app that the settings describe.

    Raises:
        ExpressionError: a topic's rule is not in the language.
    """
    own = own_topics(settings)
    home = home_of(settings)
    return App(
        inbox=own.inbox,
        commands=own.commands,
        history=own.history,
        dead_letters=own.dead_letters,
        envelopes=envelopes(settings),
        shards=home.shards,
        home=home.of,
    )


def max_event_bytes(settings: Settings) -> int:
    """What a daemon takes in of one event, on the log of these settings."""
    kafka = settings.log.kind == "kafka"
    return kafka_log.MAX_EVENT_BYTES if kafka else sqlite_log.MAX_EVENT_BYTES


def make_plan(settings: Settings, clock: Callable[[], int] = wall_clock_ms) -> Plan:
    """
    Everything that the engine works with.

    Raises:
        DefinitionError: machines have problems.
        PluginError: plugins do not fit them.
        ConfigurationError: a topic names a machine that is not there.
        ExpressionError: a topic's rule is not in the language.
    """
    loaded, pinned = load_versions(settings)
    found = plugins_of(settings, [*loaded.values(), *pinned])
    return plan_of(settings, (loaded, pinned), found, clock=clock)


def plan_of(
    settings: Settings,
    versions: tuple[Mapping[str, Machine], Sequence[Machine]],
    found: Sequence[Callbacks],
    *,
    clock: Callable[[], int],
    instead: Mapping[str, Callable[..., Any]] = NOTHING,
) -> Plan:
    """
    The same of machines (the newest, and older ones) and callbacks that are loaded already.

    Functions in `instead` stand in for callbacks and guards of these names. Raises as `make_plan`.
    """
    loaded, pinned = versions
    bound = bind(loaded, found, pinned, instead)
    older = [resolve(one, found, _versions(one, loaded, pinned), instead) for one in pinned]
    machines = {name: one.machine for name, one in bound.items()}
    check_topics(settings, machines)
    check_emits(settings, machines)
    kafka = settings.log.kind == "kafka"
    keep_s = settings.engine.keep_finished
    return Plan(
        app=settings.app,
        bound=bound,
        machines=machines,
        older={(one.machine.name, one.machine.version): one for one in older},
        envelopes=envelopes(settings),
        dead_letter_strays=_strict(settings),
        topics=own_topics(settings),
        publishable=frozenset(settings.publish.topics),
        home=home_of(settings),
        clock=clock,
        limits=EngineLimits(
            max_waiting=settings.engine.max_waiting,
            waiting_bytes=settings.engine.waiting_bytes,
            max_held=settings.engine.max_held,
            max_held_in_shard=settings.engine.max_held_in_shard,
            keep_finished_ms=None if keep_s is None else round(keep_s * 1000),
            callbacks=settings.engine.callbacks,
            jobs=settings.engine.jobs,
            threads=settings.engine.threads,
            mailbox=settings.engine.mailbox,
            mailbox_bytes=settings.engine.mailbox_bytes,
            cut_records=settings.engine.cut_records,
            cut_bytes=settings.engine.cut_bytes,
            snapshot_bytes=settings.engine.snapshot_bytes,
            record_bytes=max_event_bytes(settings),
            warm=settings.engine.warm,
            kept_bytes=settings.engine.kept,
            grace_s=settings.engine.grace,
        ),
        continue_after_loss=settings.log.on_data_loss == "continue",
        owner=f"{socket.gethostname()}/{os.getpid()}",
        at_least_once=kafka and settings.log.kafka.delivery == "at_least_once",
        listeners=listeners_of(found),
        every_outcome=settings.engine.history == "all",
    )
