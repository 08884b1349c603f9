"""
The log port: what the engine needs of a log, and promises that each engine keeps.

The engines are `memory`, `sqlite` and `kafka`. One contract suite (tests/log/contract) runs on
all of them without engine-specific branches. The engine room calls this; nothing here calls back.

A log holds *topics* of numbered partitions, and one keyed store of *entries* per shard. Of N shards,
shard p owns partitions p, p + N, p + 2N, ... of every topic that its group joined, and the entries of
shard p. What a shard makes durable
goes through its *lease*, as a *cut*: entries, records and offsets, all or nothing.

A log takes records up to a size of its own: Kafka 1,000,000 bytes of key, value and headers, the log in
memory as many unless a test says otherwise, SQLite a billion of one row. A larger one is refused with all
that was to be written beside it, each time (`Lease.commit`, `Log.publish`): whoever makes records has to
keep them below. Entries have no such limit but SQLite's. Others may have written larger records to a
topic: of an event that no cut could hold a fetch delivers `TOO_LARGE` in its place, and a read the whole.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from event_center.log.detail import Flaw, TopicDetail, Use
from event_center.model import Outgoing, OutgoingParts, Position, Record, Shard, Token

TOO_LARGE = "__event_center.too_large"
"""The only header of a record that is larger than the log could write again; its value is left out."""
FETCH_WAIT_S = 1.0
"""
How long a fetch waits for records before it returns none: its caller looks at other things then.
"""
Entry = tuple[bytes, bytes]
"""Key and value of the keyed store; a removed key is absent."""


class TopicInfo(NamedTuple):
    """One topic: `id` changes when a topic is deleted and made anew under the same name."""

    name: str
    partitions: int
    id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Assigned:
    """The shard is this member's from now on: lease it, restore it, open its gate."""

    shard: Shard
    token: Token


@dataclass(frozen=True, kw_only=True, slots=True)
class Revoked:
    """The shard goes to another member: release its lease."""

    shard: Shard


@dataclass(frozen=True, kw_only=True, slots=True)
class Lost:
    """The shard went to another member while we were not looking: its lease is fenced or will be."""

    shard: Shard


Change = Assigned | Revoked | Lost


class Batch(NamedTuple):
    """Consecutive records of one partition, oldest first; never of an older assignment than `token`."""

    shard: Shard
    token: Token
    topic: str
    partition: int
    records: Sequence[Record]
    watermark: int
    """The offset after the newest committed record of the partition when this batch was read."""
    after: int = 0
    """Without records: retention has removed what came next, reading goes on at this offset."""


@dataclass(kw_only=True, slots=True)
class Cut:
    """What one commit makes durable. Filled by the ledger, not changed once it was given to a lease."""

    entries: dict[bytes, bytes | None] = field(default_factory=dict)
    """Puts, and removals (None), in the shard's keyed store, in this order; the shard entry is last."""
    records: list[OutgoingParts] = field(default_factory=list)
    """History, emitted events and letters, in this order per partition."""
    offsets: dict[str, int] = field(default_factory=dict)
    """Next offsets by the names of `ownership.offset_key`; these feed lag and retention only."""


class Kept(NamedTuple):
    """What was in a shard's store when a lease of it was released, and the mark of that lease then."""

    entries: Mapping[bytes, bytes]
    mark: object


class Lease(Protocol):
    """
    The fenced right to write one shard. The former owner is fenced when `Group.lease` has returned.

    Of one lease, at most one call is under way at a time.
    """

    shard: Shard

    @property
    def mark(self) -> object | None:
        """Where the log stood after this lease's last cut or restore; None: a log that can not tell."""
        ...

    def restore(self, kept: Kept | None = None) -> AsyncIterator[list[Entry]]:
        """
        Batches of exactly the last committed entries, each key once, in no order.

        Args:
            kept: what this process knows of an earlier lease; a log that can reads only what was
                written since. The answer is the same.

        Raises:
            Fenced: the lease was lost meanwhile.
            LogUnavailable: the log can not be read now: lease the shard again later.
        """
        ...

    async def open_gate(self, offsets: Mapping[str, int]) -> None:
        """
        Let `Group.fetch` deliver this shard's records, each topic from its next offset.

        Offsets are named as `ownership.offset_key` says. What is not named starts at the oldest
        record there is. An offset whose record retention has removed is told by a batch without
        records. A gate that is open is opened anew.

        Raises:
            Fenced: the lease was lost meanwhile.
            DataLost: an offset lies behind the end of its partition.
            LogUnavailable: the log can not be read now: lease the shard again later.
        """
        ...

    async def commit(self, cut: Cut) -> None:
        """
        Make the whole cut durable and visible, or nothing of it.

        Raises:
            NotCommitted: certain, nothing was written; the lease stands and the cut may be tried again.
                So does a cut end in which a record is larger than the log takes, each time.
            Fenced: the lease is lost and nothing of this cut was or will be written.
            Unknown: it may have been, or may still be, written; this lease can not be used any more.
        """
        ...

    async def release(self) -> None:
        """
        Give the right up; the gate closes. Calling it again, or after Fenced, does nothing.

        However this ends, the lease writes nothing more.

        Raises:
            NotCommitted, Unknown, LogUnavailable: the log was not told: the next lease of the shard
                fences this one all the same, perhaps a little later.
        """
        ...


class Group(Protocol):
    """This process's membership: which shards are ours, and their records."""

    @property
    def shards(self) -> int:
        """The number of shards of the group: N."""
        ...

    async def changes(self) -> Change:
        """
        Wait for the next change of assignment. Cancelling the wait loses none.

        A shard is Assigned, then Revoked or Lost, then perhaps Assigned again with a greater token.

        Raises:
            LogInUse: another process says that it is this member; the group can not serve both.
            InvariantError: this package is wrong. Whatever else comes out of here is a mistake too, of
                an asyncio task of the log that nobody waits for.
        """
        ...

    async def fetch(
        self, ready: Mapping[Shard, Token], limit: int, paused: Collection[Shard] = ()
    ) -> list[Batch]:
        """
        Wait for records of the ready shards, at most `limit` of them, and return them.

        Of shards that are paused as well only the urgent topics (see `Log.join`) are delivered.
        Cancelling the wait loses no record.

        Records of one partition come in order and without gaps, from the offset that the gate was
        opened at; across calls each record comes once (a faulty log may repeat some). Returns an empty
        list after a bounded wait (`FETCH_WAIT_S`) or when an assignment changed. Partitions take
        turns: a long backlog of one does not starve the others. Shards that are not named stay where
        they are. A batch without records says that retention has removed all up to `Batch.after`.

        Raises:
            LogUnavailable: the log can not be read now, or one partition of these shards can not; no
                record is lost, and the next call brings what others have.
            DataLost: a partition of these shards ends before the offset that is to be read next.
        """
        ...

    async def lease(self, shard: Shard, token: Token) -> Lease:
        """
        Become the one writer of the shard; the former owner is fenced when this returns.

        Raises:
            Fenced: the assignment named by the token is no longer the current one.
            NotCommitted: certain, nothing was written: ask again later.
            Unknown: the former owner may be fenced or not: ask again later.
            LogUnavailable: the log can not be reached now: ask again later.
        """
        ...

    async def watermarks(self, shard: Shard) -> Mapping[str, int]:
        """
        The offset after the newest committed record of each topic of the shard, as of now.

        Raises:
            LogUnavailable: the log can not be read now: ask again later.
        """
        ...

    async def look(self) -> bool:
        """
        Look at the topics anew; whether one has more partitions than before.

        Gates that are opened from then on have the new partitions; open ones stay as they are, until
        `open_gate` is called again.

        Raises:
            LogInUse: the store of entries has another number of shards now.
            UnknownTopic: a topic is gone.
            LogUnavailable: the log can not be read now: ask again later.
        """
        ...

    async def leave(self) -> None:
        """
        Leave the group: shards go to the others. Leases should have been released before.

        Raises:
            NotCommitted, Unknown, LogUnavailable: the others find out by themselves, a little later.
        """
        ...


class Log(Protocol):
    """A log that is open."""

    where: str
    """What messages call it: its file, or how it is reached."""
    cut_distance_s: float
    """The least time between the end of a shard's cut and its next one; 0 where a cut is cheap."""
    session_timeout_s: float
    """A process that stands still for so long loses its shards to others; 0: it never does."""

    async def create(self, topics: Mapping[str, int]) -> None:
        """Make the topics (name → partitions) that do not exist yet; existing ones are left as they are."""
        ...

    async def topics(self) -> dict[str, TopicInfo]:
        """
        All topics of the log by name.

        Raises:
            LogUnavailable: the log can not be read now: ask again later.
        """
        ...

    async def describe(self) -> list[TopicDetail]:
        """
        All topics as an administrator sees them; one that keeps the entries is among them.

        Raises:
            LogUnavailable: the log can not be read now, or does not tell: ask again later.
        """
        ...

    def flaws(self, detail: TopicDetail, use: Use) -> list[Flaw]:
        """What of a topic's settings does not fit its use; nothing where there are no settings."""
        ...

    async def join(self, topics: Sequence[str], shards: int, urgent: Collection[str] = ()) -> Group:
        """
        Become a member of the group that consumes these topics, of `shards` shards.

        The urgent ones among the topics are delivered before the others, also of paused shards.

        Raises:
            UnknownTopic: one of the topics does not exist.
            LogInUse: the group has another number of shards, or another process is this member.
            NotCommitted, Unknown, LogUnavailable: not a member: join again later.
        """
        ...

    async def members(self) -> list[str]:
        """
        Who is in the group now, one name each, as messages name them; members that died may still be.

        Raises:
            LogUnavailable: the log can not be read now: ask again later.
        """
        ...

    async def publish(self, records: Sequence[Outgoing]) -> list[Position]:
        """
        Append records outside any lease, all or nothing; durable when it returns.

        Raises:
            UnknownTopic: a record names a topic or partition that does not exist; nothing was written.
            NotCommitted: certain, nothing was written; a record may be larger than the log takes.
            Unknown: the records may have been written.
        """
        ...

    def read(
        self, topic: str, partition: int, start: int = 0, stop: int | None = None
    ) -> AsyncIterator[list[Record]]:
        """
        Committed records of one partition from `start` to before `stop` (default: the watermark of now).

        Records that retention has removed are passed over.

        Raises:
            UnknownTopic: no such topic or partition.
        """
        ...

    def entries(self, shard: Shard, prefix: bytes = b"") -> AsyncIterator[list[Entry]]:
        """Committed entries of a shard whose keys begin with `prefix`, read without a lease."""
        ...

    async def entry(self, shard: Shard, key: bytes) -> bytes | None:
        """One committed entry, read without a lease."""
        ...

    async def watermark(self, topic: str, partition: int) -> int:
        """The offset after the newest committed record of one partition."""
        ...

    async def close(self) -> None:
        """Leave every group and let go of files and connections. Calling it again does nothing."""
        ...
