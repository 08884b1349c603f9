"""
The wiring: from settings to an open log, loaded machines, bound plugins and the engine's plan.

The one place where the rooms are put together. The center, the publishers and every command of the
terminal come through here, so that they agree on topics, homes and clocks. `engine.member` takes the
plan and the log from here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from math import inf
from pathlib import Path

from event_center.app.kafka_access import access_of
from event_center.app.settings import Settings
from event_center.app.sources import DEFAULT_FILES
from event_center.engine.home import Home
from event_center.engine.plan import EngineLimits, OwnTopics, Plan
from event_center.errors import ConfigurationError, DefinitionError, Problem
from event_center.log.kafka import KafkaOptions, open_kafka
from event_center.log.partitioner import PARTITIONERS
from event_center.log.port import Log
from event_center.log.sqlite import Retention, open_sqlite
from event_center.machine import Machine, load
from event_center.machine.spelling import hint
from event_center.plugins.discovery import discover
from event_center.plugins.registry import Bound, resolve
from event_center.wire.envelope import Envelope, Rules, inbox_envelope

YAML = frozenset({".yaml", ".yml"})
Kept = Mapping[str, tuple[float | None, int | None]]
"""How long each topic keeps its records, in seconds, and how many bytes; None has no limit."""


def wall_clock_ms() -> int:
    """Milliseconds since the Unix epoch, by this machine's clock: the one place that asks it."""
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
    untouched: bool = False,
) -> Log:
    """
    Open the log that the settings name, and make the topics that it lacks.

    Args:
        settings: what the log is.
        clock: says the time in ms.
        wait_s: wait no longer than this for a log that does not answer, whatever the settings say.
        untouched: make no topics, and let retention remove nothing meanwhile.

    Raises:
        LogUnavailable: it can not be opened.
        ConfigurationError: it was made with another number of partitions.
    """
    own = own_topics(settings)
    consumed = _consumed(settings)
    told = [own.history, own.dead_letters, *settings.publish.topics]
    keep = settings.log.retention
    rules = dict.fromkeys(consumed, (keep.events.max_age, keep.events.max_bytes))
    history = (keep.history.max_age, keep.history.max_bytes)
    rules = dict.fromkeys((t for t in told if t != own.dead_letters), history) | rules
    if settings.log.kind == "kafka":
        options = _kafka_options(settings, rules, clock, wait_s)
        partitioner = PARTITIONERS[settings.engine.partitioner]
        log: Log = await open_kafka(options, clock=clock, partitioner=partitioner)
    else:
        log = await _open_sqlite(settings, {} if untouched else rules, clock)
    wanted = dict.fromkeys([*consumed, *told], settings.log.partitions)
    try:
        await _make_topics(log, wanted, make=not untouched)
    except BaseException:
        await log.close()
        raise
    return log


def _consumed(settings: Settings) -> list[str]:
    """The topics that a center reads."""
    own = own_topics(settings)
    return [own.inbox, own.commands, *settings.topics]


async def _open_sqlite(settings: Settings, rules: Kept, clock: Callable[[], int]) -> Log:
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
    settings: Settings, rules: Kept, clock: Callable[[], int], wait_s: float
) -> KafkaOptions:
    kafka = settings.log.kafka
    kept = {name: _kept(*rule, settings.log.partitions) for name, rule in rules.items()}
    return KafkaOptions(
        bootstrap=kafka.bootstrap,
        app=settings.app,
        group=kafka.group,
        topic_prefix=kafka.topic_prefix,
        replication_factor=kafka.replication_factor,
        topic_configs={own_topics(settings).dead_letters: _kept(None, None, 1)} | kept,
        transaction_timeout_s=kafka.transaction_timeout,
        session_timeout_s=kafka.session_timeout,
        heartbeat_s=kafka.heartbeat,
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


async def _make_topics(log: Log, topics: Mapping[str, int], *, make: bool) -> None:
    existing = await log.topics()
    for name, partitions in topics.items():
        if name in existing and existing[name].partitions != partitions:
            msg = (
                f"[log] partitions is {partitions}, but topic {name!r} of this log was made with "
                f"{existing[name].partitions}; workflows live where that number put them: write "
                f"partitions = {existing[name].partitions}, or begin another log"
            )
            raise ConfigurationError(msg)
    if make and any(name not in existing for name in topics):
        await log.create(topics)


def machine_files(settings: Settings) -> list[Path]:
    """
    The YAML files that `machines` names, directories looked into.

    Raises:
        ConfigurationError: a file or directory does not exist, or none holds a machine.
    """
    files: list[Path] = []
    for named in settings.machines:
        path = settings.under_root(named)
        if path.is_dir():
            files += sorted(one for one in path.iterdir() if one.suffix in YAML)
        elif path.is_file():
            files.append(path)
        else:
            raise ConfigurationError(_no_machines_at(path, settings))
    return files


def _no_machines_at(path: Path, settings: Settings) -> str:
    """What to say of a file or folder that `machines` names and that is not there."""
    if settings.file is not None:
        return f"machines names {path}, which does not exist; create it, or correct the settings"
    places = " and ".join(str(file.absolute()) for file in DEFAULT_FILES)
    return (
        f"no settings file was found: {places} do not exist; name one with --config, or go to the "
        f"project's folder. Without one, `machines` names {path}, which does not exist either"
    )


def load_machines(settings: Settings) -> dict[str, Machine]:
    """
    Every machine by its name.

    Raises:
        DefinitionError: with all problems of all files.
        ConfigurationError: two files define a machine of one name.
    """
    machines: dict[str, Machine] = {}
    problems: list[Problem] = []
    for path in machine_files(settings):
        try:
            machine = load(path)
        except DefinitionError as error:
            problems += error.problems
            continue
        if machine.name in machines:
            msg = (
                f"{path} and {machines[machine.name].source} both define machine {machine.name!r}; "
                "rename one of them"
            )
            raise ConfigurationError(msg)
        machines[machine.name] = machine
    if problems:
        raise DefinitionError(problems)
    return machines


def bind(settings: Settings, machines: Mapping[str, Machine]) -> dict[str, Bound]:
    """
    Every machine with its callbacks.

    Raises:
        PluginError: a plugin can not be imported, or does not fit its machine.
    """
    files = [Path(machine.source) for machine in machines.values()]
    found = discover(files, settings.plugins, settings.root)
    return {name: resolve(machine, found) for name, machine in machines.items()}


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


def make_plan(settings: Settings, clock: Callable[[], int] = wall_clock_ms) -> Plan:
    """
    Everything that the engine works with.

    Raises:
        DefinitionError: machines have problems.
        PluginError: plugins do not fit them.
        ConfigurationError: a topic names a machine that is not there.
        ExpressionError: a topic's rule is not in the language.
    """
    bound = bind(settings, load_machines(settings))
    machines = {name: one.machine for name, one in bound.items()}
    _check_topics(settings, machines)
    return Plan(
        app=settings.app,
        bound=bound,
        machines=machines,
        envelopes=envelopes(settings),
        dead_letter_strays=frozenset(
            name for name, topic in settings.topics.items() if topic.wrong_partition != "forward"
        ),
        topics=own_topics(settings),
        publishable=frozenset(settings.publish.topics),
        home=home_of(settings),
        clock=clock,
        limits=EngineLimits(
            max_waiting=settings.engine.max_waiting,
            callbacks=settings.engine.callbacks,
            threads=settings.engine.threads,
            mailbox=settings.engine.mailbox,
            cut_records=settings.engine.cut_records,
            grace_s=settings.engine.grace,
        ),
        every_outcome=settings.engine.history == "all",
    )


def _check_topics(settings: Settings, machines: Iterable[str]) -> None:
    known = sorted(machines)
    for name, topic in settings.topics.items():
        if not topic.machine.startswith("=") and topic.machine not in known:
            msg = (
                f"[topics.{name}] machine {topic.machine!r} is not defined in any of the files that "
                f"`machines` names{hint(topic.machine, known, 'machines')}"
            )
            raise ConfigurationError(msg)
