"""
Opening the log that the settings name: waits for a cluster that is not there yet, makes what it lacks.

Promises: whatever fails while a log is opened, no connection of it stays behind. A cluster that does not
answer is asked again until the time for waiting is over, also one that answered once and then fell
silent; one that is there and refuses is not. The center, the publishers and every command of the terminal
come through here; `wiring.py` says which topics there are, the rooms in `log/` have the next steps.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from math import inf

import anyio
import structlog

from event_center.app.kafka_access import access_of
from event_center.app.settings import Settings
from event_center.app.wiring import (
    consumed,
    own_topics,
    partitions_wanted,
    sizes_of,
    wall_clock_ms,
)
from event_center.errors import ConfigurationError, LogRefused, LogUnavailable
from event_center.log.kafka import KafkaOptions, open_kafka
from event_center.log.partitioner import PARTITIONERS
from event_center.log.port import Log
from event_center.log.sqlite import Retention, Rule, open_sqlite

log = structlog.get_logger()

LOOK_S = 1.0
"""Between two looks for a cluster that is not there yet: each writes a line that people read."""


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

    async def ready() -> Log:
        opened = await _reached(settings, clock, as_it_is=False)
        try:
            await _make_topics(opened, settings)
        except BaseException:  # whatever it was goes on, and the log is not left open
            await opened.close()
            raise
        return opened

    return await _waited_for(ready, settings, wait_s)


async def reach_log(
    settings: Settings,
    *,
    clock: Callable[[], int] = wall_clock_ms,
    wait_s: float = inf,
    as_it_is: bool = False,
) -> Log:
    """
    Open the log that the settings name, with the topics that it has; arguments as of `open_log`.

    If it is to stay as it is, retention removes nothing meanwhile.

    Raises:
        LogUnavailable: it can not be opened.
    """
    return await _waited_for(lambda: _reached(settings, clock, as_it_is=as_it_is), settings, wait_s)


async def _waited_for(
    opened: Callable[[], Awaitable[Log]], settings: Settings, wait_s: float
) -> Log:
    """Open the log, again and again while its cluster does not answer and there is time left."""
    start_wait_s = settings.log.kafka.start_wait if settings.log.kind == "kafka" else 0.0
    limit_s = min(start_wait_s, wait_s)
    deadline = anyio.current_time() + limit_s
    while True:
        try:
            return await opened()
        except LogRefused:
            raise
        except LogUnavailable as error:
            left_s = deadline - anyio.current_time()
            if left_s <= 0:
                if not limit_s:
                    raise
                raise LogUnavailable(f"{error}; waited {limit_s:g} s for it") from error
            log.warning("log.waiting", error=str(error), left_s=round(left_s, 1))
        await anyio.sleep(min(LOOK_S, left_s))


async def _reached(settings: Settings, clock: Callable[[], int], *, as_it_is: bool) -> Log:
    own = own_topics(settings)
    keep = settings.log.retention
    history = Rule(keep.history.max_age, keep.history.max_bytes)
    rules = dict.fromkeys([own.history, *settings.publish.topics], history)
    rules |= dict.fromkeys(consumed(settings), Rule(keep.events.max_age, keep.events.max_bytes))
    if settings.log.kind == "kafka":
        options = _kafka_options(settings, rules, clock)
        partitioner = PARTITIONERS[settings.engine.partitioner]
        return await open_kafka(options, clock=clock, partitioner=partitioner)
    return await _open_sqlite(settings, {} if as_it_is else rules, clock)


async def _open_sqlite(
    settings: Settings, rules: Mapping[str, Rule], clock: Callable[[], int]
) -> Log:
    return await open_sqlite(
        settings.under_root(settings.log.path),
        clock=clock,
        keep_cuts=settings.log.keep_cuts,
        poll_interval_s=settings.log.poll_interval,
        retention=Retention(topics=rules, consumed=frozenset(consumed(settings))),
        busy_timeout_s=settings.log.busy_timeout,
        partitioner=PARTITIONERS[settings.engine.partitioner],
    )


def _kafka_options(
    settings: Settings, rules: Mapping[str, Rule], clock: Callable[[], int]
) -> KafkaOptions:
    kafka = settings.log.kafka
    configs = {name: _retention(*rule, settings.log.partitions) for name, rule in rules.items()}
    return KafkaOptions(
        bootstrap=kafka.bootstrap,
        app=settings.app,
        group=kafka.group,
        topic_prefix=kafka.topic_prefix,
        at_least_once=kafka.delivery == "at_least_once",
        replication_factor=kafka.replication_factor,
        topic_configs={own_topics(settings).dead_letters: _retention(None, None, 1)} | configs,
        transaction_timeout_s=kafka.transaction_timeout,
        session_timeout_s=kafka.session_timeout,
        rebalance_timeout_s=kafka.rebalance_timeout,
        heartbeat_s=kafka.heartbeat,
        instance_id=kafka.instance_id,
        request_timeout_s=kafka.request_timeout,
        handover_timeout_s=kafka.handover_timeout,
        access=access_of(kafka, settings.root, clock),
    )


def _retention(max_age_s: float | None, max_bytes: int | None, partitions: int) -> dict[str, str]:
    """Retention in Kafka's words, which count the bytes of each partition; -1 has no limit."""
    return {
        "retention.ms": str(-1 if max_age_s is None else round(max_age_s * 1000)),
        "retention.bytes": str(-1 if max_bytes is None else max(1, max_bytes // partitions)),
    }


async def _make_topics(opened: Log, settings: Settings) -> None:
    existing = await opened.topics()
    sizes_of(settings).check(existing)
    snapshots = f"{settings.app}.snapshots"  # the log makes it when the first center joins
    wanted = {
        name: count for name, count in partitions_wanted(settings).items() if name != snapshots
    }
    missing = [name for name in wanted if name not in existing]
    if not missing:
        return
    if settings.log.kind == "kafka" and not settings.log.kafka.create_topics:
        raise ConfigurationError(
            f"the Kafka cluster at {settings.log.kafka.bootstrap} has no {', '.join(missing)}; "
            "`event-center topics create --events` makes them, or write create_topics = true in "
            "[log.kafka]"
        )
    await opened.create(wanted)
    # Sizes are checked again: of new topics, whose settings may not fit together.
    sizes_of(settings).check(await opened.topics())
