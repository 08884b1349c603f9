"""
This process in the consumer group: it joins, hears its share, joins again to give shards up, leaves.

The consumer of the group reads no records: it stands for membership alone, and its partitions stay
paused, so that a rebalance disturbs nobody who keeps his shards. Promises: a share is told once per
generation of the group, in order; a consumer whose coordination has ended is replaced; leaving is
bounded. `group.py` decides what a share means.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from aiokafka import ConsumerRebalanceListener
from aiokafka.errors import (
    CommitFailedError,
    GroupAuthorizationFailedError,
    IllegalStateError,
)

from event_center.errors import LogInUse, LogUnavailable
from event_center.log.gates import Place
from event_center.log.kafka.assignor import Claim, KeepPlace, Share
from event_center.log.kafka.calling import FAILURES, bounded
from event_center.log.kafka.client import Clients, partitions

log = structlog.get_logger(__name__)

TEND_S = 1.0
"""Between two looks for trouble in the group, which holds its coordination up until it is looked at."""

FENCED_INSTANCE = "UnknownError()"
"""In this way aiokafka tells code 82, by which brokers refuse one of two members of one instance id."""

PUT_OUT = 2
"""
As many times is the second of two members of one instance id put out until it ends. The first one then
has been put out once since it joined again, and goes on.
"""


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """One member, from `enter` to `leave`."""

    def __init__(
        self,
        clients: Clients,
        topics: Sequence[str],
        shards: int,
        *,
        claim: Callable[[], Claim],
        shared: Callable[[Share, int], None],
        returned: Callable[[], None],
        broken: Callable[[BaseException], None],
        note: Callable[[], str],
    ) -> None:
        self._clients = clients
        self._topics = list(topics)
        self._shared = shared
        self._returned = returned
        """Hears, before the share is told, that this process has been out of the group."""
        self._broken = broken
        self._note = note
        """Says what this process tells of itself."""
        self._share: Share | None = None
        self._assignor = KeepPlace(shards, claim, self._received)
        self._consumer = clients.member(self._assignor)
        self._at_rest = asyncio.Event()
        self._tending: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._member = ""
        """What the group calls this process; who was put out has another name when he is back."""
        self._told = -1
        """The generation of the group whose share was told last."""
        self._confirmed = -math.inf
        """When the group was last asked whether we are one of it, and said so."""
        self._joined = -math.inf
        """When the client last joined."""
        self._put_out = 0
        """How many times running the group had another in our place, too soon for a silence of ours."""
        self._lag: Callable[[], Mapping[Place, int]] = dict

    async def enter(self, lag: Callable[[], Mapping[Place, int]]) -> None:
        """
        Join, and wait for the first share.

        Args:
            lag: says the durable offsets by the names that topics have in the cluster.

        Raises:
            LogUnavailable: the group does not let this process in.
            LogInUse: another process is the member of this instance_id.
        """
        self._lag = lag
        try:
            await self._start()
        except BaseException:  # whatever it was goes on, and the consumer is let go of
            _ = self.vanish()
            raise
        self._tending = self._clients.spawn(self._tend(), "tend the membership", self._broken)

    async def _start(self) -> None:
        options = self._clients.options
        self._consumer.subscribe(self._topics, listener=self)
        try:
            await bounded(self._consumer.start(), options.call_s + options.session_timeout_s)
        except FAILURES as error:
            if self._is_twin(error):
                raise self._twin() from error
            raise await self._clients.explained(error) from error

    def rejoin(self) -> None:
        """Join again, to tell the others a new claim."""
        if self._leaving is None:
            # A new subscription, though the same: it makes the consumer join again also while it
            # is in the middle of joining with the old claim.
            self._consumer.subscribe(self._topics, listener=self)

    async def at_rest(self, limit_s: float) -> None:
        """Wait while the group changes hands, for a bounded time."""
        try:
            await bounded(self._at_rest.wait(), limit_s)
        except TimeoutError:
            log.debug("log.group_moving", waited_s=limit_s)

    @property
    def certain_until(self) -> float:
        """Until when, by the clock of the event loop, nobody else can have been given our shards."""
        return self._confirmed + self._clients.options.certain_s

    async def confirm(self) -> None:
        """
        Make sure, by an answer that is no older than a heartbeat, that we are in the group.

        It counts for the generation whose share was told: in a later one others may have our shards.

        Raises:
            LogUnavailable: the group says that we are not, or does not answer.
        """
        options = self._clients.options
        now = asyncio.get_running_loop().time()
        if now - self._confirmed < min(options.heartbeat_s, options.certain_s):
            return
        if self._leaving is not None:
            raise LogUnavailable(f"this process has left the group {options.group_id}")
        told = self._told
        assigned = self._consumer.assignment()
        known = {one: offset for one, offset in self._durable().items() if one in assigned}
        # An offset of 0 is what the group has as long as nothing is durable.
        offsets = known or dict.fromkeys(list(assigned)[:1], 0)
        why = "the group changes hands"
        try:
            if offsets:  # about nothing aiokafka asks nobody
                commit = self._consumer.commit(self._noted(offsets))
                await self._clients.begun(commit, options.session_timeout_s)
                if self._generation() == told == self._told and self._leaving is None:
                    self._confirmed = now
                    return
        except FAILURES as error:
            why = f"{type(error).__name__}: {error}"
        raise LogUnavailable(
            f"the group {options.group_id} does not confirm that this process is a member ({why}); "
            "nothing is written until it does"
        )

    async def leave(self) -> None:
        """Leave the group, and wait until the others can know it."""
        await asyncio.wait([self.vanish()])

    def vanish(self) -> asyncio.Task[None]:
        """Hear nothing more, and leave the group beside the calls."""
        if self._leaving is None:
            self._confirmed = -math.inf
            if self._tending is not None:
                self._tending.cancel()
            self._leaving = self._clients.stopping(self._consumer)
        return self._leaving

    async def on_partitions_revoked(self, revoked: object) -> None:
        """Aiokafka joins anew, and who keeps which shard is told after it; one twin of two does not."""
        del revoked
        self._at_rest.clear()
        if self._replaced():
            self._broken(self._twin())
            _ = self.vanish()
            # Joining would put the other one out, who would end by it too: this ends the coordination.
            raise asyncio.CancelledError

    def on_partitions_assigned(self, assigned: Sequence[Any]) -> None:
        """Aiokafka has joined: keep its own fetching shut, then tell our share."""
        if assigned:
            self._consumer.pause(*assigned)
            for partition in assigned:
                self._consumer.seek(partition, 0)  # so that it looks for no offset by itself
        self._at_rest.set()
        self._joined = asyncio.get_running_loop().time()
        if self._share is None or self._leaving is not None:
            return
        try:
            member = self._consumer._coordinator.member_id  # noqa: SLF001 - as of `_generation`
            if member != self._member:
                self._member = member
                self._returned()
            self._told = self._generation()
            self._shared(self._share, self._told)
        except BaseException as error:  # it goes on; aiokafka drops what a listener raises
            self._broken(error)
            raise

    def _generation(self) -> int:
        """Which generation of the group the client is in; it has no public name."""
        coordinator = self._consumer._coordinator  # noqa: SLF001
        return -1 if coordinator is None else int(coordinator.generation)

    def _received(self, share: Share) -> None:
        self._share = share

    async def _tend(self) -> None:
        loop = asyncio.get_running_loop()
        options = self._clients.options
        due = loop.time() + options.lag_interval_s
        while True:
            await asyncio.sleep(TEND_S)
            if self._ended():
                await self._renew()
                continue
            try:
                # It delivers nothing; it hears what went wrong, so that the coordination goes on.
                await bounded(self._consumer.getmany(timeout_ms=0), options.call_s)
                if loop.time() >= due:
                    due = loop.time() + options.lag_interval_s
                    await self._show_lag()
            except FAILURES as error:
                if self._is_twin(error):
                    raise self._twin() from error
                log.warning("log.group_trouble", error=self._clients.said(error))
                if isinstance(error, GroupAuthorizationFailedError):
                    # Aiokafka's heartbeat has ended with it, and begins again with a new joining.
                    self.rejoin()

    def _ended(self) -> bool:
        """Whether the consumer has given the group up, or did not come so far as to join it."""
        coordinator = self._consumer._coordinator  # noqa: SLF001 - it has no public name
        if coordinator is None:
            return True
        ended = coordinator._coordination_task  # noqa: SLF001 - as above
        if ended.done():
            why = "cancelled" if ended.cancelled() else repr(ended.exception())
            log.warning("log.group_trouble", error=f"the coordination has ended: {why}")
        return bool(ended.done())

    async def _renew(self) -> None:
        """Join anew; what we have is claimed again."""
        self._confirmed = self._joined = -math.inf
        self._clients.dispose(self._consumer)
        self._consumer = self._clients.member(self._assignor)
        try:
            await self._start()
        except LogUnavailable as error:
            log.warning("log.group_trouble", error=str(error))

    def _is_twin(self, error: BaseException) -> bool:
        """Whether the brokers have refused us for another member of our instance id."""
        return bool(self._clients.options.instance_id) and FENCED_INSTANCE in str(error)

    def _replaced(self) -> bool:
        """
        Whether another process comes into our place again and again.

        Of a member that joins under the id of another, brokers tell this one that they do not know it.
        They do so after a silence of a session as well, and then nobody else has to be there.
        """
        options = self._clients.options
        if not options.instance_id or self._consumer._coordinator.member_id:  # noqa: SLF001 - as above
            return False
        member_s = asyncio.get_running_loop().time() - self._joined
        self._put_out = self._put_out + 1 if member_s < options.session_timeout_s else 0
        return self._put_out >= PUT_OUT

    def _twin(self) -> LogInUse:
        """What to say to one of two members that have the same name."""
        options = self._clients.options
        return LogInUse(
            f"another member of the group {options.group_id} at {options.bootstrap} has the same "
            f"[log.kafka] instance_id {options.instance_id!r}, and both would take the shards from "
            "each other for ever: give every process an id of its own, or none"
        )

    def _durable(self) -> dict[Any, int]:
        """The durable offsets by the clients' names."""
        return {
            partition: offset
            for (topic, number), offset in self._lag().items()
            for partition in partitions(topic, [number])
        }

    def _noted(self, offsets: Mapping[Any, int]) -> dict[Any, tuple[int, str]]:
        """These as they are committed for those who look; the first of them has our note."""
        first = min(offsets)
        return {one: (at, self._note() if one == first else "") for one, at in offsets.items()}

    async def _show_lag(self) -> None:
        """Commit the offsets that are durable, for the tools that show lag; nobody restores them."""
        assigned = self._consumer.assignment()
        offsets = {one: offset for one, offset in self._durable().items() if one in assigned}
        if not offsets:
            return
        try:
            commit = self._consumer.commit(self._noted(offsets))
            await self._clients.begun(commit, self._clients.options.call_s)
        except (CommitFailedError, IllegalStateError) as error:
            log.debug("log.lag_not_shown", error=f"{type(error).__name__}: {error}")
