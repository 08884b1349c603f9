"""
Topics of the cluster as an administrator sees them: partitions, copies, offsets and settings.

Promises only a look: nothing is changed. `log.py` asks for the commands of the terminal; `wanted.py`
says what is wrong with what is found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code

from event_center.errors import LogUnavailable
from event_center.log.detail import PartitionDetail, TopicDetail
from event_center.log.kafka.calling import FAILURES, bounded
from event_center.log.kafka.catalog import Catalog
from event_center.log.kafka.client import Clients
from event_center.log.kafka.reading import Reading


async def inspect(clients: Clients, catalog: Catalog, reading: Reading) -> list[TopicDetail]:
    """
    All topics of this log, its snapshots included.

    Raises:
        LogUnavailable: the cluster does not answer, or does not tell settings to this user.
    """
    copies = await catalog.copies()
    names = sorted(copies)
    places = [(name, q) for name in names for q in range(await catalog.partitions(name))]
    begins, ends = await reading.begins(places), await reading.highs(places)
    settings = await _settings(clients, catalog, names)
    return [
        TopicDetail(
            name,
            tuple(PartitionDetail(q, begins[t, q], ends[t, q]) for t, q in places if t == name),
            *copies[name],
            settings[name],
        )
        for name in names
    ]


async def _settings(
    clients: Clients, catalog: Catalog, names: Sequence[str]
) -> Mapping[str, Mapping[str, str]]:
    """Kafka's own settings of each topic, defaults included."""
    if not names:
        return {}
    real = {catalog.real(name): name for name in names}
    asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in real]
    admin = await clients.admin()
    try:
        answers: list[Any] = await bounded(admin.describe_configs(asked), clients.options.call_s)
    except FAILURES as error:
        raise clients.unavailable(error) from error
    finally:
        clients.dispose(admin)
    found = {}
    for answer in answers:
        for code, why, _, topic, entries, *_ in answer.resources:
            if code:
                raise LogUnavailable(
                    f"the Kafka cluster at {clients.options.bootstrap} does not tell the settings of "
                    f"{topic}: {for_code(code).__name__} {why or ''}; this user needs DescribeConfigs"
                )
            found[real[topic]] = {name: value for name, value, *_ in entries if value is not None}
    return found
