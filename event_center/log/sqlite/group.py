"""
One member of the group that consumes an embedded log.

Promises what `port.Group` says. What is in the file about the group is `assignment.py`'s; this
module keeps what its owner was told of it, and asks for a new look whenever the file, a lease or a
dead member gives a reason. `log.py` makes groups at `join` and polls them; the engine room holds
them.
"""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from event_center.errors import (
    DataLost,
    InvariantError,
    LogError,
    LogUnavailable,
    UnknownTopic,
)
from event_center.log.bell import Bell
from event_center.log.gates import Gates, Place
from event_center.log.port import FETCH_WAIT_S, Assigned, Batch, Change, Lost, Revoked
from event_center.log.right import Right, outdated
from event_center.log.sqlite import assignment
from event_center.log.sqlite.assignment import View, Wish
from event_center.log.sqlite.lease import SqliteLease
from event_center.log.sqlite.presence import Presence, forget, is_alive
from event_center.log.sqlite.reader import EVENTS, PIECE_BYTES, FileReader
from event_center.log.sqlite.transaction import Transaction
from event_center.log.sqlite.writer import Writer
from event_center.model import Shard, Token, size_of

log = structlog.get_logger(__name__)

PROBE_S = 0.1
"""
Between two looks whether the other members live: a lock is asked for each, some 10 us, and a shard
of a dead one stands still as long.
"""
AGAIN_S = 0.1
"""After a look that failed: soon, for what a disk or a folder refuses seldom lasts, and no faster."""


@dataclass(kw_only=True, slots=True)
class OpenFile:
    """What the groups of one open log share."""

    path: str
    reader: FileReader
    writer: Writer
    handover_timeout_s: float
    watermarks: dict[Place, int] = field(default_factory=dict)
    trouble: LogError | None = None
    """The last look at the file has failed; fetches say so."""


class SqliteGroup:
    """A member, from `join` to `leave`."""

    def __init__(self, file: OpenFile, gates: Gates, presence: Presence) -> None:
        self.shards = gates.shards
        self._file = file
        self._gates = gates
        self._presence = presence
        self._changes: asyncio.Queue[Change | Exception] = asyncio.Queue()
        """What the owner is told; an error that no later look can mend comes out of `changes` too."""
        self._changed = 0
        self._bell = Bell()
        self._view = View(-1, (), {}, {})
        self._tokens: dict[Shard, Token] = {}
        """The assignments that the owner was told of and that still stand."""
        self._revoked: dict[Shard, Token] = {}
        """Those of them that the owner was told to release."""
        self._leases: dict[Shard, SqliteLease] = {}
        self._leasing: set[Shard] = set()
        self._awaited: set[tuple[Shard, Token]] = set()
        self._overdue: set[tuple[Shard, Token]] = set()
        self._sharing: asyncio.Future[View] | None = None
        self._again_s = math.inf
        """When there is a reason to share out again: at once (0.0), or some time after trouble."""
        self._probe_s = 0.0
        self._left = False

    async def enter(self) -> None:
        """Become a member in the file; what it gives at once is told at once."""
        dead = self._file.reader.dead_members(is_alive)
        self._apply(await self._file.writer.submit(self._joining(dead)))
        self._forget(dead)

    async def changes(self) -> Change:
        """Wait for the next change of assignment."""
        change = await self._changes.get()
        if isinstance(change, Exception):
            raise change
        return change

    async def fetch(
        self, ready: Mapping[Shard, Token], limit: int, paused: Collection[Shard] = ()
    ) -> list[Batch]:
        """Wait for records of the ready shards and return them, at most `limit`."""
        await asyncio.sleep(0)
        changed = self._changed
        loop = asyncio.get_running_loop()
        deadline = loop.time() + FETCH_WAIT_S
        while True:
            if isinstance(self._file.trouble, DataLost):
                raise DataLost(str(self._file.trouble)) from self._file.trouble
            if self._file.trouble is not None:
                raise LogUnavailable(str(self._file.trouble)) from self._file.trouble
            batches = self._take(ready, limit, paused)
            left = deadline - loop.time()
            if batches or left <= 0 or self._changed != changed:
                return batches
            await self._bell.wait(left)

    def _take(
        self, ready: Mapping[Shard, Token], limit: int, paused: Collection[Shard]
    ) -> list[Batch]:
        watermarks = self._file.watermarks
        portions = self._gates.portions(
            ready, lambda place: watermarks.get(place, 0), limit, paused
        )
        # All is read before anything moves on: a read that fails must not lose what came before it.
        read = []
        size = 0
        for tap, count in portions:
            if size > PIECE_BYTES:
                tap.served = 0  # it waits, and is the first to have its turn
                continue
            place = tap.place
            piece = self._file.reader.records(
                place, tap.next, watermarks[place], limit=count, rows=EVENTS
            )
            size += sum(size_of(one.key, one.value, one.headers) for one in piece[0])
            read.append((tap, *piece))
        batches = []
        for tap, records, after in read:
            token, watermark = ready[tap.shard], watermarks[tap.place]
            batch = Batch(tap.shard, token, tap.topic, tap.partition, records, watermark)
            found = records[0].offset if records else after
            if found > tap.next:
                # Retention has removed all up to there, and the shard has to know.
                batches.append(batch._replace(records=[], after=found))
            if records:
                batches.append(batch)
            tap.next = after
        return batches

    async def lease(self, shard: Shard, token: Token) -> SqliteLease:
        """Become the one writer of the shard."""
        if self._tokens.get(shard) != token or shard in self._revoked:
            raise outdated(shard, token)
        self._gates.close(shard)
        self._leasing.add(shard)
        try:
            epoch = await self._file.writer.submit(
                functools.partial(
                    assignment.lease, me=self._presence.name, shard=shard, token=token
                )
            )
            lease = SqliteLease(
                self._file.reader,
                self._file.writer,
                shard=shard,
                token=token,
                epoch=epoch,
                opened=self._gate_opened,
                ended=self._lease_ended,
            )
            self._leases[shard] = lease
        finally:
            self._leasing.discard(shard)
            self._give_up()
        return lease

    async def watermarks(self, shard: Shard) -> Mapping[str, int]:
        """The offset after the newest committed record of each topic of the shard."""
        watermarks = self._file.reader.look().watermarks
        return {
            name: watermarks.get((topic, partition), 0)
            for name, topic, partition in self._gates.topics_of(shard)
        }

    async def look(self) -> bool:
        """Look at the topics anew."""
        infos = self._file.reader.topics()
        for name in self._gates.topics:
            if name not in infos:
                raise UnknownTopic(f"topic {name} is gone from the log {self._file.path}")
        return self._gates.resize([(name, infos[name].partitions) for name in self._gates.topics])

    async def leave(self) -> None:
        """Leave the group: shards go to the others."""
        if self._left:
            return
        self.vanish()
        try:
            await self._file.writer.submit(
                functools.partial(assignment.leave, me=self._presence.name)
            )
        finally:
            self._presence.remove()

    def vanish(self) -> None:
        """Take no further part in the group; what it has stays with it until others find out."""
        self._left = True
        for shard in self._tokens:
            self._gates.close(shard)
        self.ring()

    def ring(self) -> None:
        """Wake the fetches: there is something new."""
        self._bell.ring()

    def poll(self, generation: int, now_s: float) -> None:
        """Look whether anything asks for a new assignment."""
        dead: list[str] = []
        others = [name for name in self._view.members if name != self._presence.name]
        if others and now_s >= self._probe_s:
            self._probe_s = now_s + PROBE_S
            dead = self._dead(others)
        if dead or now_s >= self._again_s or generation != self._view.generation:
            self._share_out(dead)

    def _dead(self, others: Sequence[str]) -> list[str]:
        """Those of the others who are dead; none while nobody can tell."""
        try:
            return [name for name in others if not is_alive(self._file.path, name)]
        except LogUnavailable as error:
            log.warning("log.sharing_failed", path=self._file.path, error=str(error))
            return []

    def _share_out(self, dead: Sequence[str] = ()) -> None:
        if self._left:
            return
        if self._sharing is not None:
            self._again_s = 0.0
            return
        self._again_s = math.inf
        wish = Wish(
            self._presence.name,
            self.shards,
            dead,
            [one for one in self._revoked.items() if not self._writes(one[0])],
            tuple(self._overdue),
        )
        self._send(functools.partial(assignment.share_out, wish=wish), dead)

    def _send(self, work: Callable[[Transaction], View], dead: Sequence[str] = ()) -> None:
        """Have the writer change the assignment; what comes of it is heard by `_shared`."""
        try:
            self._sharing = self._file.writer.send(work)
        except (LogError, InvariantError) as error:
            self._broken(error)
            return
        self._sharing.add_done_callback(functools.partial(self._shared, dead))

    def _shared(self, dead: Sequence[str], ended: asyncio.Future[View]) -> None:
        self._sharing = None
        if self._left:
            ended.exception()  # Nobody waits for it any more.
            return
        error = ended.exception()
        if isinstance(error, InvariantError):
            self._broken(error)
            return
        if isinstance(error, LogError):
            self._later(error)
            return
        self._overdue.clear()
        self._apply(ended.result())
        self._forget(dead)
        if self._presence.name not in self._view.members:
            self._enter_again()
        elif self._again_s <= asyncio.get_running_loop().time():
            self._share_out()
        else:
            self._give_up()

    def _later(self, error: LogError) -> None:
        """Look again after a while; nobody hears what is raised here, so it is said in the log."""
        log.warning("log.sharing_failed", path=self._file.path, error=str(error))
        self._again_s = asyncio.get_running_loop().time() + AGAIN_S

    def _broken(self, error: Exception) -> None:
        """No later look can mend this; nobody hears what is raised here, so `changes` raises it."""
        self._left = True
        self._changes.put_nowait(error)

    def _apply(self, view: View) -> None:
        self._view = view
        me = self._presence.name
        for number in range(self.shards):
            shard = Shard(number)
            holder, token = view.holders.get(shard, (None, Token(0)))
            if shard in self._tokens and (holder != me or token != self._tokens[shard]):
                self._drop(shard)
            if holder == me and shard not in self._tokens:
                self._tokens[shard] = token
                self._tell(Assigned(shard=shard, token=token))
            wanted = view.wanted.get(number)
            if holder == me and wanted != me and shard not in self._revoked:
                self._revoked[shard] = token
                self._gates.close(shard)
                self._tell(Revoked(shard=shard))
            if holder not in {me, None} and wanted == me:
                self._await(shard, token)

    def _drop(self, shard: Shard) -> None:
        del self._tokens[shard]
        if self._revoked.pop(shard, None) is None:
            self._gates.close(shard)
            self._tell(Lost(shard=shard))

    def _enter_again(self) -> None:
        """Others took this member for dead, because its lock file was removed: start anew."""
        try:
            self._presence.remove()
            self._presence = Presence(self._file.path)
        except LogUnavailable as error:
            self._later(error)
            return
        self._send(self._joining(()))

    def _forget(self, dead: Sequence[str]) -> None:
        """Remove what the dead have left; a file that stays is in nobody's way."""
        try:
            for name in dead:
                forget(self._file.path, name)
        except LogUnavailable as error:
            log.warning("log.sharing_failed", path=self._file.path, error=str(error))

    def _joining(self, dead: Sequence[str]) -> Callable[[Transaction], View]:
        wish = Wish(self._presence.name, self.shards, dead)
        return functools.partial(assignment.join, wish=wish, topics=self._gates.topics)

    def _await(self, shard: Shard, token: Token) -> None:
        """Give the holder its time to let go; then the shard is taken."""
        if (shard, token) in self._awaited:
            return
        self._awaited.add((shard, token))
        loop = asyncio.get_running_loop()
        loop.call_later(self._file.handover_timeout_s, self._hurry, shard, token)

    def _hurry(self, shard: Shard, token: Token) -> None:
        self._awaited.discard((shard, token))
        holder, now = self._view.holders.get(shard, (None, Token(0)))
        if holder not in {self._presence.name, None} and now == token:
            self._overdue.add((shard, token))
            self._share_out()

    def _tell(self, change: Change) -> None:
        self._changes.put_nowait(change)
        self._changed += 1
        self.ring()

    def _writes(self, shard: Shard) -> bool:
        lease = self._leases.get(shard)
        writes = lease is not None and lease.right is Right.VALID
        return writes or shard in self._leasing

    def _give_up(self) -> None:
        if any(not self._writes(shard) for shard in self._revoked):
            self._share_out()

    def _gate_opened(self, lease: SqliteLease, offsets: Mapping[str, int]) -> None:
        if self._tokens.get(lease.shard) == lease.token and lease.shard not in self._revoked:
            self._gates.open(lease.shard, lease.token, offsets)
            self.ring()

    def _lease_ended(self, lease: SqliteLease) -> None:
        if self._leases.get(lease.shard) is lease:
            self._gates.close(lease.shard)
            self._give_up()
