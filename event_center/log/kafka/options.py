"""
What a log on Kafka is opened with: where the brokers are, names, and how long anything may take.

Promises: every await on a client has its limit from here. The app room fills it in from the
settings; `log.py` hands it to the other modules of this room.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from event_center.log.kafka.access import Access

CUT_DISTANCE_S = 0.025
"""Below this, a broker often answers that the transaction before is not finished yet."""
CUTS_PER_S = 200
"""A cut costs 0.6 to 3 ms of this process however small it is: the budget of all its shards."""
MAX_RECORD_BYTES = 1_000_000
"""Brokers refuse batches above 1,048,588 bytes unless told otherwise, and poison the producer."""
MAX_EVENT_BYTES = 900_000
"""Larger events of topics with a greater limit could not wait, be forwarded or become letters."""
MAX_BATCH_BYTES = 900_000
"""A batch is closed before it grows above this; below MAX_RECORD_BYTES, on which `packing` relies."""
MAX_PART_BYTES = 800_000
"""An entry with a larger value is written in parts: with its key and header each is within a batch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KafkaOptions:
    """The choices of one log; times in seconds."""

    bootstrap: str
    """host:port of one broker or several, with commas between them."""
    app: str
    group: str
    access: Access = field(default_factory=Access)
    """How the brokers let us in."""
    topic_prefix: str = ""
    """Stands before the name of every topic in the cluster, and nowhere else."""
    at_least_once: bool = False
    """Write without transactions, and fence nobody but by the group: weaker, as docs/guarantees.md says."""
    replication_factor: int = 3
    topic_configs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Kafka's own settings for topics that this log makes, by plain name."""
    transaction_timeout_s: float = 15.0
    session_timeout_s: float = 10.0
    rebalance_timeout_s: float = 10.0
    heartbeat_s: float = 1.0
    request_timeout_s: float = 10.0
    handover_timeout_s: float = 30.0
    instance_id: str = ""
    """A member of this name that comes back within its session finds its shards as it left them."""
    lag_interval_s: float = 5.0
    """How often the group's offsets are committed, for tools that show the lag."""

    @property
    def call_s(self) -> float:
        """How long one await on a client may take before its outcome counts as unknown."""
        return self.request_timeout_s * 2

    @property
    def certain_s(self) -> float:
        """For how long after an answer of the group nobody else can have been given our shards."""
        # A rebalance may have begun a heartbeat before; another one is for what is on its way.
        return min(self.session_timeout_s, self.rebalance_timeout_s) - 2 * self.heartbeat_s

    @property
    def stall_s(self) -> float:
        """How long a read may stand still: an open transaction ends by then (brokers look each 10 s)."""
        return self.transaction_timeout_s + 15.0

    @property
    def snapshots(self) -> str:
        """The plain name of the compacted topic that keeps the entries of every shard."""
        return f"{self.app}.snapshots"

    def transactional_id(self, shard: int) -> str:
        """Who starts a producer under this name fences everybody who had it before."""
        return f"{self.topic_prefix}{self.app}.{self.group}.{shard}"

    @property
    def group_id(self) -> str:
        """The name of the consumer group in the cluster."""
        return f"{self.topic_prefix}{self.app}.{self.group}"
