"""
The faults of a chaos run: what each does, how it is mended, and what it must be seen to have done.

A fault is over when its function returns: nothing is held, stopped or missing any more. `running.py`
then waits until the centers have caught up, looks, and asks `effect` what the fault has done; one
that has done nothing does not count.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections.abc import Awaitable, Callable
from random import Random
from typing import NamedTuple

from aiokafka import AIOKafkaClient
from aiokafka.admin import NewTopic
from aiokafka.client import CoordinationType
from aiokafka.errors import KafkaError

from scripts.broker import Broker
from tests import waiting
from tests.chaos.proxy import Proxy, Request
from tests.chaos.site import LOOK_S, SHARDS, Center, Seen, Site
from tests.kafka.harness import KafkaHarness

SESSION_S = 3.0
PATIENCE_S = 6.5
"""After this a center has given up a cut: twice its `request_timeout`."""
FAILOVER_S = 20.0
"""Nodes agree on another coordinator, or one with a full disk gives up, within this, or not at all."""
YOUNG_S = 3.0
"""A process that is younger may not have come to hear signals yet."""
LONG = 0.05
"""So many of the pauses are long ones: up to a minute, which no timeout here outlives."""


class Kind(NamedTuple):
    """One kind of fault."""

    harm: Callable[[Site, Random], Awaitable[None]]
    effect: Callable[[Seen], str]
    """What it did, in words; empty if nothing is to be seen of it."""


def pause_s(chance: Random, least: float) -> float:
    """How long something stands still."""
    if chance.random() < LONG:
        return chance.uniform(10.0, 60.0)
    return chance.uniform(least, least + 4.0)


# -- centers -------------------------------------------------------------------------------------


def moved(since: Seen) -> str:
    """Shards have been taken over; some are with their former owner again by now."""
    if not since.takeovers:
        return ""
    return f"{since.takeovers} takeovers, {len(since.owners)} shards have another owner"


async def center_killed(site: Site, chance: Random) -> None:
    """A center is killed with -9, and started again a little later, or at once."""
    center = chance.choice(await site.owning())
    await _killed(center)
    await asyncio.sleep(chance.choice([0.0, 0.5, SESSION_S]))
    center.start()
    await _born(center)


async def center_stopped(site: Site, chance: Random) -> None:
    """A center stands still for longer than its session, and wakes up as a former owner."""
    center = chance.choice(await site.owning())
    center.signal(signal.SIGSTOP)
    await asyncio.sleep(pause_s(chance, SESSION_S + 2))
    center.signal(signal.SIGCONT)


async def center_terminated(site: Site, chance: Random) -> None:
    """A center is asked to end, as a deployment does, and another is started."""
    center = chance.choice(await site.owning())
    center.signal(signal.SIGTERM)
    code = await center.ended()
    if code != 0:
        site.complaints.append(f"center {center.number} ended with {code} when it was asked to end")
    center.start()
    await _born(center)


async def center_storm(site: Site, chance: Random) -> None:
    """All centers end and start several times, so fast that the group never comes to rest."""
    for _ in range(4):
        center = chance.choice(site.centers)
        if chance.random() < 0.5:
            await _killed(center)
        else:
            center.signal(signal.SIGTERM)
            await center.ended()
        center.start()
        await asyncio.sleep(chance.uniform(0.2, 1.5))
    await asyncio.sleep(YOUNG_S)


async def _killed(center: Center) -> None:
    center.signal(signal.SIGKILL)
    await center.ended()


async def _born(center: Center) -> None:
    """Give it the time to become a member: else the next fault meets nobody."""
    before = center.site.logged()["center.started"]
    for _ in range(round(YOUNG_S / LOOK_S)):
        if center.site.logged()["center.started"] > before:
            break
        await asyncio.sleep(LOOK_S)


# -- brokers -------------------------------------------------------------------------------------


def cut_off(since: Seen) -> str:
    """Connections were cut."""
    return f"{since.cut} connections cut, {since.trouble} complaints" if since.cut else ""


def doubted(since: Seen) -> str:
    """A connection was cut, and whoever had a cut under way there has lost its lease."""
    lost = since.logged["shard.lease_lost"]
    return f"{since.cut} connections cut, {lost} leases lost" if since.cut and lost else ""


def noticed(since: Seen) -> str:
    """Centers have noticed."""
    return f"{since.trouble} complaints, {len(since.owners)} owners" if since.trouble else ""


async def broker_killed(site: Site, chance: Random) -> None:
    """The broker is killed with -9 in the middle of a transaction, and started again."""
    await _mid_transaction(site)
    await _restarted(site.nodes[0], chance, hard=True)


async def broker_restarted(site: Site, chance: Random) -> None:
    """The broker is restarted as it should be, in the middle of a transaction."""
    await _mid_transaction(site)
    await _restarted(site.nodes[0], chance, hard=False)


async def broker_stopped(site: Site, chance: Random) -> None:
    """The broker stands still for longer than any session, request and transaction."""
    await _stood_still(site.nodes[0], pause_s(chance, PATIENCE_S))


async def disk_full(site: Site, chance: Random) -> None:
    """The disk takes nothing more in the middle of a transaction, until the broker gives up."""
    await _mid_transaction(site)
    broker = site.nodes[0]
    pid = broker.pid
    assert pid is not None
    # A quota on files, and not a small file system: to mount one takes an administrator.
    _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, most))
    for _ in range(round(FAILOVER_S / LOOK_S)):
        await asyncio.sleep(LOOK_S)
        if broker.pid is None:
            site.full += 1
            break
    await _restarted(broker, chance, hard=True)


def given_up(since: Seen) -> str:
    """The broker has ended by itself."""
    return f"the broker gave up, {since.trouble} complaints" if since.full else ""


async def topic_deleted(site: Site, chance: Random) -> None:
    """A topic to which callbacks publish is deleted under them, and made anew."""
    name = f"{site.project.prefix}postcards"
    async with KafkaHarness(site.project.bootstrap).admin() as admin:
        await admin.delete_topics([name])
        await asyncio.sleep(chance.uniform(PATIENCE_S, PATIENCE_S + 3))
        await admin.create_topics([NewTopic(name, SHARDS, 1)])


async def _mid_transaction(site: Site) -> None:
    """Return when a transaction was begun a moment ago."""
    assert site.proxy is not None
    async with asyncio.timeout(waiting.PATIENCE_S):
        await site.proxy.next_request(Request.PARTITIONS_TO_TRANSACTION)


async def _restarted(broker: Broker, chance: Random, *, hard: bool) -> None:
    await asyncio.to_thread(broker.kill if hard else broker.stop)
    await asyncio.sleep(chance.choice([0.0, 1.0, SESSION_S]))
    await asyncio.to_thread(broker.start)


async def _stood_still(broker: Broker, seconds: float) -> None:
    pid = broker.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(seconds)
    os.kill(pid, signal.SIGCONT)


# -- the network ---------------------------------------------------------------------------------


def held(since: Seen) -> str:
    """Something was held, and centers have noticed."""
    if not since.held or not since.trouble:
        return ""
    return f"{since.held} pieces held, {since.trouble} complaints"


def slowed(since: Seen) -> str:
    """Something was slow."""
    return f"{since.slow} pieces came late" if since.slow > 20 else ""


async def network_stalled(site: Site, chance: Random) -> None:
    """Nothing passes in either direction; then all of it does."""
    await _held(site, chance, up=True, down=True)


async def network_mute(site: Site, chance: Random) -> None:
    """What clients say does not arrive; it does later."""
    await _held(site, chance, up=True, down=False)


async def network_deaf(site: Site, chance: Random) -> None:
    """What clients say arrives, and the answers do not."""
    await _held(site, chance, up=False, down=True)


async def network_slow(site: Site, chance: Random) -> None:
    """Everything takes its time, one way and the other."""
    proxy = _proxy(site)
    proxy.up.delay_s = proxy.down.delay_s = chance.uniform(0.02, 0.2)
    await asyncio.sleep(chance.uniform(4.0, 8.0))
    proxy.up.delay_s = proxy.down.delay_s = 0.0


async def network_reset(site: Site, chance: Random) -> None:
    """All connections are cut, several times."""
    for _ in range(chance.randint(1, 5)):
        _proxy(site).reset()
        await asyncio.sleep(chance.uniform(0.1, 1.0))


async def commit_unanswered(site: Site, chance: Random) -> None:
    """A commit arrives, and nobody answers for a while: its owner does not know how it ended."""
    await _at_a_commit(site, chance, arrives=True)


async def commit_lost(site: Site, chance: Random) -> None:
    """A commit never arrives, which looks no different to its owner."""
    await _at_a_commit(site, chance, arrives=False)


async def _at_a_commit(site: Site, chance: Random, *, arrives: bool) -> None:
    """Cut the connection, and let no other be of use: the client would ask again, and be answered."""
    proxy = _proxy(site)
    proxy.cut_at(Request.END_OF_TRANSACTION, arrives=arrives)
    async with asyncio.timeout(waiting.PATIENCE_S):
        await proxy.next_request(Request.END_OF_TRANSACTION)
    await _held(site, chance, up=True, down=True)


async def _held(site: Site, chance: Random, *, up: bool, down: bool) -> None:
    proxy = _proxy(site)
    ways = [way for way, wanted in ((proxy.up, up), (proxy.down, down)) if wanted]
    for way in ways:
        way.hold()
    await asyncio.sleep(pause_s(chance, PATIENCE_S))
    for way in ways:
        way.go_on()


def _proxy(site: Site) -> Proxy:
    assert site.proxy is not None
    return site.proxy


# -- three nodes ---------------------------------------------------------------------------------


def elsewhere(since: Seen) -> str:
    """Another node coordinates, while the one that did is gone."""
    return f"coordinated by another node, {since.trouble} complaints" if since.failovers else ""


async def group_coordinator_killed(site: Site, chance: Random) -> None:
    """The node that coordinates the group of the centers is killed, and started again later."""
    await _failed_over(site, CoordinationType.GROUP, "", hard=True)


async def transaction_coordinator_killed(site: Site, chance: Random) -> None:
    """The node that coordinates the transactions of a shard is killed, and started again later."""
    shard = f".{chance.randrange(SHARDS)}"
    await _failed_over(site, CoordinationType.TRANSACTION, shard, hard=True)


async def transaction_coordinator_stopped(site: Site, chance: Random) -> None:
    """The node that coordinates the transactions of a shard stands still, and wakes up as a former one."""
    shard = f".{chance.randrange(SHARDS)}"
    await _failed_over(site, CoordinationType.TRANSACTION, shard, hard=False)


async def _failed_over(site: Site, kind: CoordinationType, of: str, *, hard: bool) -> None:
    """Take a coordinator away until another node does its work."""
    name = f"{site.project.prefix}event-center.center{of}"
    number = await _coordinator(site.project.bootstrap, kind, name)
    node = site.nodes[number - 1]
    others = ",".join(one.bootstrap for one in site.nodes if one is not node)
    pid = node.pid
    assert pid is not None
    if hard:
        await asyncio.to_thread(node.kill)
    else:
        os.kill(pid, signal.SIGSTOP)
    for _ in range(round(FAILOVER_S / LOOK_S)):
        await asyncio.sleep(LOOK_S)
        if await _coordinator(others, kind, name) not in {0, number}:
            site.failovers += 1
            break
    if hard:
        await asyncio.to_thread(node.start)
    else:
        os.kill(pid, signal.SIGCONT)


async def _coordinator(bootstrap: str, kind: CoordinationType, name: str) -> int:
    """The number of the node that coordinates; 0 if nobody says."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    try:
        async with asyncio.timeout(waiting.PATIENCE_S):
            await client.bootstrap()
            node: int = await client.coordinator_lookup(kind, name)
    except (KafkaError, TimeoutError):
        return 0
    finally:
        await client.close()
    return node


CENTERS: dict[str, Kind] = {
    "center killed": Kind(center_killed, moved),
    "center stopped": Kind(center_stopped, moved),
    "center terminated": Kind(center_terminated, moved),
    "restart storm": Kind(center_storm, moved),
}
ONE_NODE: dict[str, Kind] = CENTERS | {
    "broker killed": Kind(broker_killed, cut_off),
    "broker restarted": Kind(broker_restarted, cut_off),
    "broker stopped": Kind(broker_stopped, noticed),
    "disk full": Kind(disk_full, given_up),
    "topic deleted": Kind(topic_deleted, noticed),
    "network stalled": Kind(network_stalled, held),
    "network mute": Kind(network_mute, held),
    "network deaf": Kind(network_deaf, held),
    "network slow": Kind(network_slow, slowed),
    "network reset": Kind(network_reset, cut_off),
    "commit unanswered": Kind(commit_unanswered, doubted),
    "commit lost": Kind(commit_lost, doubted),
}
THREE_NODES: dict[str, Kind] = {
    "group coordinator killed": Kind(group_coordinator_killed, elsewhere),
    "transaction coordinator killed": Kind(transaction_coordinator_killed, elsewhere),
    "transaction coordinator stopped": Kind(transaction_coordinator_stopped, elsewhere),
    "center killed": CENTERS["center killed"],
}
