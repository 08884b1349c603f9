"""
The wiring: from settings to an open log, loaded machines, bound plugins and the engine's plan.

The one place where the rooms are put together. The center, the publishers and every command of the
terminal come through here, so that they agree on topics, homes and clocks. `engine.member` takes the
plan and the log from here.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any

from event_center.app.kafka_access import access_of
from event_center.app.machines import check_emits, check_topics, load_versions
from event_center.app.settings import Settings
from event_center.client.app import App
from event_center.engine.home import Home
from event_center.engine.plan import EngineLimits, OwnTopics, Plan
from event_center.engine.topics import Sizes
from event_center.errors import ConfigurationError
from event_center.log import kafka as kafka_log
from event_center.log import sqlite as sqlite_log
from event_center.log.detail import Use
from event_center.log.kafka import KafkaOptions, open_kafka
from event_center.log.partitioner import PARTITIONERS
from event_center.log.port import Log
from event_center.log.sqlite import Retention, Rule, open_sqlite
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


async def open_log(
    settings: Settings,
    *,
    clock: Callable[[], int] = wall_clock_ms,
    wait_s: float = inf,
) -> Log:
    """
    Open the log that the settings name, and make the topics that it lacks.

    Args:
        settings: what the log is.
        clock: says the time in ms.
        wait_s: wait no longer than this for a log that does not answer, whatever the settings say.

    Raises:
        LogUnavailable: it can not be opened.
        ConfigurationError: a topic has another number of partitions than it has to have.
    """
    log = await reach_log(settings, clock=clock, wait_s=wait_s)
    try:
        await _make_topics(log, settings)
    except BaseException:  # whatever it was goes on, and the log is not left open
        await log.close()
        raise
    return log


async def reach_log(
    settings: Settings,
    *,
    clock: Callable[[], int] = wall_clock_ms,
    wait_s: float = inf,
    untouched: bool = False,
) -> Log:
    """
    Open the log that the settings name, with the topics that it has; arguments as of `open_log`.

    If it is to be left untouched, retention removes nothing meanwhile.

    Raises:
        LogUnavailable: it can not be opened.
    """
    own = own_topics(settings)
    keep = settings.log.retention
    history = Rule(keep.history.max_age, keep.history.max_bytes)
    rules = dict.fromkeys([own.history, *settings.publish.topics], history)
    rules |= dict.fromkeys(_consumed(settings), Rule(keep.events.max_age, keep.events.max_bytes))
    if settings.log.kind == "kafka":
        options = _kafka_options(settings, rules, clock, wait_s)
        partitioner = PARTITIONERS[settings.engine.partitioner]
        return await open_kafka(options, clock=clock, partitioner=partitioner)
    return await _open_sqlite(settings, {} if untouched else rules, clock)


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


def _consumed(settings: Settings) -> list[str]:
    """The topics that a center reads."""
    own = own_topics(settings)
    return [own.inbox, own.commands, *settings.topics]


async def _open_sqlite(
    settings: Settings, rules: Mapping[str, Rule], clock: Callable[[], int]
) -> Log:
    return await open_sqlite(
        settings.under_root(settings.log.path),
        clock=clock,
        keep_cuts=settings.log.keep_cuts,
        poll_interval_s=settings.log.poll_interval,
        retention=Retention(topics=rules, consumed=frozenset(_consumed(settings))),
        busy_timeout_s=settings.log.busy_timeout,
        partitioner=PARTITIONERS[settings.engine.partitioner],
    )


def _kafka_options(
    settings: Settings, rules: Mapping[str, Rule], clock: Callable[[], int], wait_s: float
) -> KafkaOptions:
    kafka = settings.log.kafka
    kept = {name: _kept(*rule, settings.log.partitions) for name, rule in rules.items()}
    return KafkaOptions(
        bootstrap=kafka.bootstrap,
        app=settings.app,
        group=kafka.group,
        topic_prefix=kafka.topic_prefix,
        at_least_once=kafka.delivery == "at_least_once",
        replication_factor=kafka.replication_factor,
        topic_configs={own_topics(settings).dead_letters: _kept(None, None, 1)} | kept,
        transaction_timeout_s=kafka.transaction_timeout,
        session_timeout_s=kafka.session_timeout,
        rebalance_timeout_s=kafka.rebalance_timeout,
        heartbeat_s=kafka.heartbeat,
        instance_id=kafka.instance_id,
        request_timeout_s=kafka.request_timeout,
        handover_timeout_s=kafka.handover_timeout,
        access=access_of(kafka, settings.root, clock),
        start_wait_s=min(kafka.start_wait, wait_s),
    )


def _kept(max_age_s: float | None, max_bytes: int | None, partitions: int) -> dict[str, str]:
    """Retention in Kafka's words, which count the bytes of each partition; -1 has no limit."""
    return {
        "retention.ms": str(-1 if max_age_s is None else round(max_age_s * 1000)),
        "retention.bytes": str(-1 if max_bytes is None else max(1, max_bytes // partitions)),
    }


async def _make_topics(log: Log, settings: Settings) -> None:
    existing = await log.topics()
    sizes_of(settings).check(existing)
    kept = f"{settings.app}.snapshots"  # the log makes it when the first center joins
    wanted = {name: count for name, count in partitions_wanted(settings).items() if name != kept}
    missing = [name for name in wanted if name not in existing]
    if not missing:
        return
    if settings.log.kind == "kafka" and not settings.log.kafka.create_topics:
        raise ConfigurationError(
            f"the Kafka cluster at {settings.log.kafka.bootstrap} has no {', '.join(missing)}; "
            "`event-center topics create --events` makes them, or write create_topics = true in "
            "[log.kafka]"
        )
    await log.create(wanted)
    # Sizes are checked again: of new topics, whose settings may not fit together.
    sizes_of(settings).check(await log.topics())


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
    """How the records of each topic are read, the inbox included."""
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
        read[name] = Envelope(name, rules)
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
