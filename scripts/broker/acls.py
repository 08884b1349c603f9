"""
Access control lists of a secured cluster, given and taken through its plain listener.

Promises: a list is as `give` or `take` left it when that returns; nodes may take some milliseconds more to
obey it. The client library has the requests and no methods for them: hence this file. Tests and
`scripts/kafka` call it; docs/security.md has the lists that a center needs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from enum import IntEnum
from typing import Any, NamedTuple

from aiokafka import AIOKafkaClient
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest

ANY, ALLOW = 1, 3


class On(IntEnum):
    """What an entry is about, in Kafka's numbers."""

    TOPIC = 2
    GROUP = 3
    CLUSTER = 4
    TRANSACTIONAL_ID = 5


class May(IntEnum):
    """What it allows."""

    READ = 3
    WRITE = 4
    CREATE = 5
    DESCRIBE = 8


class Pattern(IntEnum):
    """Whether the name is a whole one or the beginning of one."""

    LITERAL = 3
    PREFIXED = 4


class Entry(NamedTuple):
    """Somebody may do something."""

    on: On
    name: str
    may: May
    pattern: Pattern = Pattern.LITERAL


def everything() -> list[Entry]:
    """What lets a user do all that a center does, in any name."""
    topics = [Entry(On.TOPIC, "*", may) for may in (May.READ, May.WRITE, May.CREATE)]
    rest = [Entry(On.GROUP, "*", May.READ), Entry(On.TRANSACTIONAL_ID, "*", May.WRITE)]
    return topics + rest


async def give(bootstrap: str, user: str, entries: Iterable[Entry]) -> None:
    """Let this user do this, besides what he may do already."""
    async with _client(bootstrap) as client:
        for one in entries:
            given = CreateAclsRequest(*_told(one, user), ALLOW)
            answer = await client.send(client.get_random_node(), given)
            for code, why, *_ in answer.creation_responses:
                if code:
                    raise ValueError(f"{one}: {code} {why}")


async def take(bootstrap: str, user: str, entry: Entry | None = None) -> None:
    """Take this from the user, or everything."""
    told = (ANY, None, ANY, f"User:{user}", None, ANY) if entry is None else _told(entry, user)
    async with _client(bootstrap) as client:
        await client.send(client.get_random_node(), DeleteAclsRequest(*told, ANY))


def _told(entry: Entry, user: str) -> tuple[int, str, int, str, str, int]:
    return entry.on, entry.name, entry.pattern, f"User:{user}", "*", entry.may


@asynccontextmanager
async def _client(bootstrap: str) -> AsyncIterator[Any]:
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    try:
        yield client
    finally:
        await client.close()
