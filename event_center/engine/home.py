"""
Where a workflow lives: the shard that its id hashes to. Everybody works it out the same way.

The intake asks it for workflows that its shard does not hold yet, the outbox for
those that callbacks send events to.
"""

from __future__ import annotations

from event_center.log.partitioner import Partitioner
from event_center.model import Shard


class Home:
    """The homes of an app's workflows."""

    __slots__ = ("_partitioner", "name", "shards")

    def __init__(self, partitioner: Partitioner, shards: int) -> None:
        self._partitioner = partitioner
        self.name = partitioner.__name__
        """The partitioner's, as in the settings: workflows live where it put them."""
        self.shards = shards

    def of(self, workflow_id: str) -> Shard:
        """The shard of this workflow."""
        if self.shards == 1:
            return Shard(0)
        return Shard(self._partitioner(workflow_id.encode()) % self.shards)
