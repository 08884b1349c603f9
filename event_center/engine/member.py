"""
This process as a member of the group: changes of assignment become owners of shards, records reach them.

The center runs one member. It starts an owner for each shard that the group assigns, ends it when the
group takes the shard away, and hands fetched batches to the owners that can take them.
"""

from __future__ import annotations

from contextlib import nullcontext

import anyio
import anyio.abc
import anyio.lowlevel
import structlog

from event_center.engine.backoff import Backoff
from event_center.engine.kept import KeptShards
from event_center.engine.limits import Reached, of_process
from event_center.engine.listening import Listening
from event_center.engine.plan import Plan
from event_center.engine.run import Runners
from event_center.engine.shard import Owner
from event_center.engine.topics import Sizes, check_same
from event_center.engine.watchdog import Blocks, watched
from event_center.errors import LogUnavailable, NotCommitted, Unknown, UnknownTopic
from event_center.log.port import Assigned, Batch, Change, Group, Log, Lost
from event_center.model import Shard, Token

log = structlog.get_logger()

FETCH = 500
"""
Records of one fetch: enough to make large cuts, and few enough to leave the event loop free, and that
what they make of objects is still in the processor's cache when their cut is built.
"""
TOPICS_S = 10.0
"""Between two looks whether somebody has changed the topics, which is rare."""
IDLE_POLL_S = 0.02
"""
How often `until_idle` looks: what ends is not told, and a run that ends 20 ms late harms nobody.
"""


class Member:
    """Owns the shards that the group assigns to this process."""

    def __init__(self, log: Log, plan: Plan, *, watches: bool = True) -> None:
        self._log = log
        self._plan = plan
        self._watches = watches
        """A thread looks whether the event loop is free; under virtual time none may touch it."""
        self._group: Group | None = None
        self._runners: Runners | None = None
        self._job_runners: Runners | None = None
        self._tasks: anyio.abc.TaskGroup | None = None
        self._fetching: anyio.CancelScope | None = None
        self._stopping = False
        self._late = False
        """The group could not be joined at once: `run` has said already that it runs."""
        self._ready: dict[Shard, Token] = {}
        """The shards that the fetch under way serves."""
        self._leaves_records = False
        """The fetch under way leaves records of some shards where they are."""
        self.owners: dict[Shard, Owner] = {}
        self.blocks = Blocks(plan.clock)
        """What has blocked the event loop."""
        self._kept = KeptShards(plan.limits.kept_bytes)
        self._listening: Listening | None = None
        if plan.listeners:
            self._listening = Listening(plan.listeners, plan.topics.history)
        self._leaving: dict[Shard, Owner] = {}
        """Those whose shards were taken away: a shard that comes back waits for the end of its last one."""

    async def run(
        self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Own shards until `stop`; an error of ours, or of the definitions, comes out of here."""
        group = await self._join(task_status)
        if group is None:
            return
        self._group = group
        try:
            if self._stopping:  # asked to while the log was slow to let us in
                if not self._late:
                    task_status.started()
                return
            watch = watched(self._log.session_timeout_s, self.blocks)
            with watch if self._watches else nullcontext():
                await self._serve(group, task_status)
        finally:
            with anyio.CancelScope(shield=True):
                await self._leave(group)

    async def _serve(self, group: Group, task_status: anyio.abc.TaskStatus[None]) -> None:
        plan = self._plan
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            threads = plan.limits.threads
            self._runners = Runners(tasks, plan.limits.callbacks, threads=threads)
            self._job_runners = Runners(tasks, plan.limits.jobs, threads=threads)
            tasks.start_soon(self._follow_changes, group, name="group changes")
            tasks.start_soon(self._take_in, group, name="intake")
            if not plan.steady:
                tasks.start_soon(self._look_at_topics, group, name="topics")
            if self._listening is not None:
                tasks.start_soon(self._listening.run, name="listeners")
            if not self._late:
                task_status.started()

    async def _join(self, task_status: anyio.abc.TaskStatus[None]) -> Group | None:
        """Join the group; a log that refuses is asked again until `stop`. None: stopped."""
        plan = self._plan
        topics = plan.consumed()
        backoff = Backoff()
        while not self._stopping:
            try:
                return await self._log.join(topics, plan.home.shards, (plan.topics.commands,))
            except (LogUnavailable, NotCommitted, Unknown) as error:
                if not self._late:
                    self._late = True
                    task_status.started()  # so that `stop` is heard meanwhile
                with anyio.CancelScope() as self._fetching:
                    await backoff.wait("group.join_failed", error)
                self._fetching = None
        return None

    async def _leave(self, group: Group) -> None:
        try:
            await group.leave()
        except (LogUnavailable, NotCommitted, Unknown) as error:
            # Nothing is lost: the others find out that this process is gone.
            log.warning("group.leave_failed", error=str(error))

    async def stop(self) -> None:
        """Drain every shard within the grace time, then end `run`."""
        self._stopping = True
        self._interrupt()
        owners = [*self.owners.values(), *self._leaving.values()]
        for owner in owners:
            owner.stop(self._plan.limits.grace_s)
        for owner in owners:
            await owner.gone()
        if self._listening is not None:
            await self._listening.last()
        for runners in (self._runners, self._job_runners):
            if runners is not None:
                runners.close()
        if self._tasks is not None:
            self._tasks.cancel_scope.cancel()

    async def until_idle(self) -> None:
        """Wait until all shards are ours, all that the log holds is decided, and nothing runs."""
        while True:
            owners = list(self.owners.values())
            if len(owners) == self._plan.home.shards:
                for owner in owners:
                    if not await owner.quiet():
                        break
                else:
                    return
            await anyio.sleep(IDLE_POLL_S)

    async def quiet(self) -> list[Shard]:
        """The shards of ours of which all is decided and durable, and no callback runs."""
        return [owner.shard for owner in list(self.owners.values()) if await owner.quiet()]

    @property
    def lag(self) -> int:
        """Records not taken in yet, as far as the last batches told."""
        return sum(owner.lag for owner in self.owners.values())

    def reached(self) -> list[Reached]:
        """The limits that are reached now: why events of this process wait, or are refused."""
        if self._runners is None or self._job_runners is None:
            return []
        owners = list(self.owners.values())
        waiting = self._waiting(), self._waiting_bytes()
        found = of_process(self._plan, waiting, self._runners, self._job_runners)
        return found + [one for owner in owners for one in owner.reached()]

    # -- the group -----------------------------------------------------------------------------

    async def _follow_changes(self, group: Group) -> None:
        while True:
            change = await group.changes()
            log.info("shard.change", change=type(change).__name__, shard=change.shard)
            self._change(group, change)

    def _change(self, group: Group, change: Change) -> None:
        """Nobody is waited for here: a shard that drains does not hold up what others are told."""
        former = self.owners.pop(change.shard, None)
        if former is not None:
            self._leaving[change.shard] = former
            if isinstance(change, Lost):
                former.abandon()
            else:
                former.stop(0.0, keep=True)
        if isinstance(change, Assigned) and not self._stopping:
            self._own(group, change)

    def _own(self, group: Group, change: Assigned) -> None:
        if self._tasks is None or self._runners is None or self._job_runners is None:
            return
        owner = Owner(
            shard=change.shard,
            token=change.token,
            log=self._log,
            group=group,
            plan=self._plan,
            runners=self._runners,
            job_runners=self._job_runners,
            kept=self._kept,
            on_room=self._room,
            on_cut=None if self._listening is None else self._listening.hear,
        )
        self.owners[change.shard] = owner
        former = self._leaving.pop(change.shard, None)
        self._tasks.start_soon(self._follow_on, former, owner, name=f"shard {change.shard}")

    async def _follow_on(self, former: Owner | None, owner: Owner) -> None:
        if former is not None:
            await former.gone()
        await owner.run()

    # -- topics --------------------------------------------------------------------------------

    async def _look_at_topics(self, group: Group) -> None:
        """
        Look now and then whether the topics are the ones that they were; more partitions are read.

        Raises:
            ConfigurationError, UnknownTopic, DataLost: somebody has changed what may not change.
        """
        plan = self._plan
        sizes = Sizes(
            shards=plan.home.shards,
            own=(plan.topics.inbox, plan.topics.commands),
            written=(plan.topics.history, plan.topics.dead_letters),
            strict=plan.dead_letter_strays,
        )
        known: dict[str, str] = {}
        missed = False
        while True:
            await anyio.sleep(TOPICS_S)
            try:
                infos = await self._log.topics()
                known = known or {t: infos[t].id for t in plan.consumed() if t in infos}
                sizes.check(infos)
                check_same(known, infos)
                wider = await group.look()
            except LogUnavailable as error:
                log.warning("log.not_read", error=str(error), again_in_s=TOPICS_S)
                continue
            except UnknownTopic:
                if missed:
                    raise
                missed = True  # a broker that has just come up may not know all of them yet
                continue
            missed = False
            if wider:
                for owner in self.owners.values():
                    owner.widen()

    # -- records -------------------------------------------------------------------------------

    async def _take_in(self, group: Group) -> None:
        """Fetch for the shards that can take records; of full ones only commands."""
        backoff = Backoff()
        while not self._stopping:
            batches = []
            try:
                batches = await self._fetch(group)
                backoff.reset()
            except (LogUnavailable, NotCommitted) as error:
                await backoff.wait("log.not_read", error)
            for batch in batches:
                owner = self.owners.get(batch.shard)
                if owner is not None:
                    owner.take(batch)
            await anyio.lowlevel.checkpoint()

    async def _fetch(self, group: Group) -> list[Batch]:
        """Fetch once; nothing if something changed meanwhile that the fetch does not know."""
        batches: list[Batch] = []
        try:
            with anyio.CancelScope() as self._fetching:
                self._ready = {o.shard: o.token for o in self.owners.values() if o.ready}
                batches = await group.fetch(self._ready, FETCH, self._paused())
        finally:
            self._fetching = None
        return batches

    def _paused(self) -> list[Shard]:
        """The shards that can take commands only: full ones, or all while too much waits."""
        limits = self._plan.limits
        crowded = self._waiting() >= limits.mailbox or self._waiting_bytes() >= limits.mailbox_bytes
        paused = [shard for shard, owner in self.owners.items() if crowded or owner.full]
        self._leaves_records = bool(paused)
        return paused

    def _waiting(self) -> int:
        """Events that wait in this process for their turn, and runs that wait for a runner."""
        waiting = 0 if self._runners is None else self._runners.queued
        for owner in self.owners.values():  # before each fetch, so without a generator
            waiting += owner.waiting
        return waiting

    def _waiting_bytes(self) -> int:
        """What the events weigh that wait in this process for their turn."""
        return sum(owner.waiting_bytes for owner in self.owners.values())

    def _room(self) -> None:
        """A shard was opened or has made a cut: what was left in the log may be taken now."""
        unread = self.owners.keys() - self._ready.keys()
        if self._leaves_records or any(self.owners[shard].ready for shard in unread):
            self._interrupt()

    def _interrupt(self) -> None:
        """Something changed that the fetch under way does not know: fetch anew."""
        if self._fetching is not None:
            self._fetching.cancel()
