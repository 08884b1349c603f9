"""
One member of the group that consumes a log on Kafka.

Promises what `port.Group` says. The share that the group gives becomes changes here: a new shard is
Assigned, one that is called back is Revoked and given up once its lease is released or its time is
over, one that has gone elsewhere is Lost. The order of a takeover is the protocol's heart: the gate is
shut, the producer fences, memory is restored, only then the gate opens. `log.py` makes groups at
`join`; the engine room holds them.
"""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import Callable, Collection, Mapping

from event_center.log.bell import Bell
from event_center.log.gates import Gates, Place
from event_center.log.kafka.assignor import Claim, Share
from event_center.log.kafka.calling import FAILURES
from event_center.log.kafka.lease import Cluster, KafkaLease
from event_center.log.kafka.membership import Membership
from event_center.log.kafka.supply import Supply
from event_center.log.port import FETCH_WAIT_S, Assigned, Batch, Change, Lost, Revoked
from event_center.log.right import Right, outdated
from event_center.model import Shard, Token


class KafkaGroup:
    """A member, from `join` to `leave`."""

    def __init__(self, cluster: Cluster, gates: Gates, *, paced: Callable[[], None]) -> None:
        self.shards = gates.shards
        self._paced = paced
        self._cluster = cluster
        self._options = cluster.clients.options
        self._bell = Bell()
        self._supply = Supply(cluster.clients, cluster.packer.catalog, gates, self._bell)
        self._changes: asyncio.Queue[Change | BaseException] = asyncio.Queue()
        """What the owner is told; an error that nothing in here can mend comes out of `changes` too."""
        self._changed = 0
        self._name = uuid.uuid4().hex
        self._epoch = 0
        self._tokens: dict[Shard, Token] = {}
        """The assignments that the owner was told of and that still stand."""
        self._newest: dict[Shard, int] = {}
        self._revoked: dict[Shard, Token] = {}
        """Those of them that the owner was told to release."""
        self._leases: dict[Shard, KafkaLease] = {}
        self._leasing: set[Shard] = set()
        self._durable: dict[Place, int] = {}
        self._last_cuts: dict[Shard, float] = {}
        self._rejoining = False
        self._left = False
        real = cluster.packer.catalog.real
        self._membership = Membership(
            cluster.clients,
            [real(name) for name in gates.topics],
            self.shards,
            claim=self._claim,
            shared=self.shared,
            returned=self.returned,
            broken=self._changes.put_nowait,
            note=lambda: cluster.notes.text,
        )

    async def enter(self) -> None:
        """Become a member; what it gives at once is told at once."""
        await self._membership.enter(self._offsets)
        self._supply.start(self._changes.put_nowait)

    async def changes(self) -> Change:
        """Wait for the next change of assignment."""
        change = await self._changes.get()
        if isinstance(change, BaseException):
            raise change
        return change

    async def fetch(
        self, ready: Mapping[Shard, Token], limit: int, paused: Collection[Shard] = ()
    ) -> list[Batch]:
        """Wait for records of the ready shards and return them, at most `limit`."""
        await asyncio.sleep(0)
        await self._supply.look()
        changed = self._changed
        loop = asyncio.get_running_loop()
        deadline = loop.time() + FETCH_WAIT_S
        while True:
            self._supply.complain(ready)
            batches = self._supply.take(ready, limit, paused)
            left = deadline - loop.time()
            if batches or left <= 0 or self._changed != changed:
                return batches
            await self._bell.wait(left)

    async def lease(self, shard: Shard, token: Token) -> KafkaLease:
        """Become the one writer of the shard."""
        self._check(shard, token)
        self._supply.close(shard)
        former = self._leases.pop(shard, None)
        if former is not None:
            former.supersede()
        self._leasing.add(shard)
        try:
            # Somebody who was asleep learns here that the group has gone on without him.
            await self._membership.at_rest(2 * self._options.heartbeat_s)
            name = self._options.transactional_id(shard)
            if self._options.at_least_once:
                name = ""  # which fences nobody
                if former is not None and former.ending is not None:
                    await asyncio.wait([former.ending])  # no broker cuts its last words off
            self._check(shard, token)
            producer = await self._cluster.clients.producer(name or None)
        finally:
            self._leasing.discard(shard)
            self._give_up_later()
        if not self._stands(shard, token):
            self._cluster.clients.dispose(producer)
            self._check(shard, token)
        lease = KafkaLease(
            self._cluster,
            producer,
            shard=shard,
            token=token,
            places=lambda: self._places(shard),
            confirm=lambda: self._confirm(shard),
            certain_until=lambda: self._certain_until(shard),
            opened=self._gate_opened,
            committed=self._cut_committed,
            ended=self._lease_ended,
        )
        self._leases[shard] = lease
        return lease

    async def watermarks(self, shard: Shard) -> Mapping[str, int]:
        """The offset after the newest committed record of each topic of the shard."""
        places = self._places(shard)
        ends = await self._cluster.reading.ends(places.values())
        return {name: await self._watermark(place, ends[place]) for name, place in places.items()}

    async def look(self) -> bool:
        """Look at the topics anew."""
        catalog, gates = self._cluster.packer.catalog, self._supply.gates
        return gates.resize(await catalog.counts(gates.topics, self.shards))

    async def leave(self) -> None:
        """Leave the group: shards go to the others."""
        if self._left:
            return
        words = [one.ending for one in self._leases.values() if one.ending and self._has_words(one)]
        if words:
            await asyncio.wait(words)
        self.vanish()
        await self._membership.leave()

    def vanish(self) -> None:
        """Take no further part in the group; what it has stays with it until others find out."""
        self._left = True
        for shard in self._tokens:
            self._supply.gates.close(shard)
        self._supply.stop()
        self._bell.ring()

    def drop_leases(self) -> None:
        """Let go of every producer."""
        for lease in list(self._leases.values()):
            lease.supersede()

    def busy(self, since_s: float) -> int:
        """How many shards have made a cut since then."""
        return sum(at >= since_s for at in self._last_cuts.values())

    # -- shares --------------------------------------------------------------------------------

    def shared(self, share: Share, generation: int) -> None:
        """The group has given this member its share."""
        if self._left:
            return
        self._epoch = generation
        for shard in [one for one in self._tokens if one not in share.shards]:
            self._lose(shard)
        for number in share.shards:
            shard = Shard(number)
            if shard in self._tokens:
                continue
            if number in share.called_back:
                # Given up already: the others do not know it yet.
                self._rejoin_soon()
                continue
            newest = max(generation, self._newest.get(shard, 0) + 1)
            self._newest[shard] = newest
            self._tokens[shard] = Token(newest)
            self._tell(Assigned(shard=shard, token=Token(newest)))
        for number in share.called_back:
            if number in self._tokens and number not in self._revoked:
                self._revoke(Shard(number))

    def returned(self) -> None:
        """
        We were out of the group, and others may have had what we still claim.

        Without fences nobody would find out: everything is lost, and taken over anew if it is ours again.
        """
        if self._options.at_least_once:
            for shard in list(self._tokens):
                self._lose(shard)

    def _claim(self) -> Claim:
        return Claim(self._name, self._epoch, tuple(self._tokens))

    def _lose(self, shard: Shard) -> None:
        del self._tokens[shard]
        self._silence(shard)
        if self._revoked.pop(shard, None) is None:
            self._supply.close(shard)
            self._tell(Lost(shard=shard))

    def _revoke(self, shard: Shard) -> None:
        token = self._tokens[shard]
        self._revoked[shard] = token
        self._supply.close(shard)
        self._tell(Revoked(shard=shard))
        loop = asyncio.get_running_loop()
        loop.call_later(self._options.handover_timeout_s, self._give_up, shard, token)
        self._give_up_later()

    def _give_up_later(self) -> None:
        asyncio.get_running_loop().call_soon(self._give_up_free)

    def _give_up_free(self) -> None:
        """Give up what was called back and can not be written any more."""
        for shard, token in list(self._revoked.items()):
            lease = self._leases.get(shard)
            writes = lease is not None and (lease.right is Right.VALID or self._has_words(lease))
            if not writes and shard not in self._leasing:
                self._give_up(shard, token)

    def _give_up(self, shard: Shard, token: Token) -> None:
        if self._revoked.get(shard) == token and not self._left:
            del self._revoked[shard], self._tokens[shard]
            self._silence(shard)
            self._rejoin_soon()

    def _silence(self, shard: Shard) -> None:
        """Without fences: the shard may be somebody else's, and no broker refuses what we would write."""
        if self._options.at_least_once and shard in self._leases:
            self._leases[shard].supersede()

    def _has_words(self, lease: KafkaLease) -> bool:
        """Without fences: what a lease that has ended did send may still be on its way."""
        ending = lease.ending
        return self._options.at_least_once and ending is not None and not ending.done()

    def _rejoin_soon(self) -> None:
        if not self._rejoining:
            self._rejoining = True
            _ = self._cluster.clients.spawn(self._rejoin(), "join again", self._changes.put_nowait)

    async def _rejoin(self) -> None:
        self._rejoining = False
        self._membership.rejoin()

    def _tell(self, change: Change) -> None:
        self._changes.put_nowait(change)
        self._changed += 1
        self._bell.ring()

    # -- leases --------------------------------------------------------------------------------

    async def _confirm(self, shard: Shard) -> float:
        """
        Without fences: ask the group now and then whether we are still one of it, before we write.

        Returns:
            What `_certain_until` says then.

        Raises:
            LogUnavailable: it does not say so.
        """
        if self._options.at_least_once:
            await self._membership.confirm()
        return self._certain_until(shard)

    def _certain_until(self, shard: Shard) -> float:
        """Until when nobody else can write the shard, by the clock of the event loop."""
        if not self._options.at_least_once:
            return math.inf
        return self._membership.certain_until if shard in self._tokens else -math.inf

    def _stands(self, shard: Shard, token: Token) -> bool:
        return not self._left and self._tokens.get(shard) == token and shard not in self._revoked

    def _check(self, shard: Shard, token: Token) -> None:
        if not self._stands(shard, token):
            raise outdated(shard, token)

    def _places(self, shard: Shard) -> dict[str, Place]:
        return {name: (topic, q) for name, topic, q in self._supply.gates.topics_of(shard)}

    def _gate_opened(
        self, lease: KafkaLease, offsets: Mapping[str, int], begins: Mapping[Place, int]
    ) -> None:
        if self._stands(lease.shard, lease.token):
            self._note(lease.shard, offsets)
            self._supply.open(lease.shard, lease.token, offsets, begins)
            self._bell.ring()

    def _cut_committed(self, lease: KafkaLease, offsets: Mapping[str, int]) -> None:
        self._note(lease.shard, offsets)
        self._last_cuts[lease.shard] = asyncio.get_running_loop().time()
        self._paced()

    def _note(self, shard: Shard, offsets: Mapping[str, int]) -> None:
        """These offsets are durable."""
        places = self._places(shard)
        self._durable.update((places[name], at) for name, at in offsets.items() if name in places)

    def _lease_ended(self, lease: KafkaLease) -> None:
        if self._leases.get(lease.shard) is lease:
            self._supply.close(lease.shard)
            self._give_up_later()
            if lease.ending is not None:
                lease.ending.add_done_callback(lambda _: self._give_up_later())

    def _offsets(self) -> Mapping[Place, int]:
        """The durable offsets, by the names that topics have in the cluster."""
        real = self._cluster.packer.catalog.real
        return {(real(topic), q): offset for (topic, q), offset in self._durable.items()}

    async def _watermark(self, place: Place, end: int) -> int:
        try:
            reached = await self._supply.reached(place)
        except FAILURES:
            # The supply says itself what troubles it; the partition is looked at without it.
            reached = None
        if reached is not None and reached.position >= end:
            return reached.after
        low = 0 if reached is None else reached.after
        return await self._cluster.reading.watermark(place, low=low, end=end)
