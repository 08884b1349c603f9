"""
The snapshots of a cut: one of each workflow that changed; those with nothing to do become idle.

Who has nothing to do stays live for a while, because it may be busy again soon; then it becomes bytes
(`Workflows.cool`). One that its machine's table moves alone becomes a `Standing` at once: it need not be
live to move on. The ledger calls this as it builds a cut.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from event_center.engine.standing import Standing, Stations
from event_center.engine.workflow import LARGE_BYTES, Workflows
from event_center.model import Snapshot
from event_center.wire import snapshot as wire
from event_center.wire.entries import SNAPSHOTS, ShardEntry


class Dumping:
    """Dumps the workflows of one shard."""

    def __init__(
        self,
        entry: ShardEntry,
        workflows: Workflows,
        stations: Stations,
        *,
        warm: int,
        end: Callable[[Snapshot], None],
    ) -> None:
        self._entry = entry
        self._workflows = workflows
        self._stations = stations
        self._warm = warm
        """Workflows with nothing to do that are not made bytes yet."""
        self._end = end
        """Called with each finished workflow before it is dumped."""

    def dump(  # noqa: C901, PLR0912 - once per changed workflow: to call out costs more than a branch
        self, dirty: Mapping[str, Snapshot | Standing | bytes], entries: dict[bytes, bytes | None]
    ) -> None:
        """Add the snapshots of these workflows to the entries of a cut."""
        workflows, stations = self._workflows, self._stations
        warm, mailboxes, runs = workflows.warm, workflows.mailboxes, workflows.runs
        counts, live = self._entry.counts, stations.live
        encode = wire.encode_both
        woken, workflows.large = workflows.large, {}
        large = {one: value for one, value in woken.items() if one not in dirty}
        for workflow_id, changed in dirty.items():
            key = SNAPSHOTS + workflow_id.encode()  # as `snapshot_key`, without a call
            if isinstance(changed, Standing):
                entries[key] = changed.encode()
                continue
            if isinstance(changed, bytes):
                entries[key] = value = changed
                workflow = workflows.by_id[workflow_id]
                assert isinstance(workflow, Snapshot)  # noqa: S101 - its run was just done
                where = workflow.counted
            else:
                workflow = changed
                if workflow.result is not None:
                    self._end(workflow)
                value, where, workflow.relieved = encode(workflow)
                entries[key] = value
                counted = workflow.counted
                if where is not counted:
                    if counted is not None:
                        counts[counted] -= 1
                    counts[where] = counts.get(where, 0) + 1
                    workflow.counted = where
            workflow.size = len(value)
            if workflow.owed or workflow_id in mailboxes:
                continue
            if len(value) >= LARGE_BYTES:
                large[workflow_id] = value
                continue
            standing = None
            if where not in live and workflow_id not in runs:
                standing = stations.standing(workflow, where, value)
            if standing is None:
                warm[workflow_id] = value
            else:
                workflows.keep_as(workflow_id, standing)
        if large:
            workflows.cool_at_once(large)
        if len(warm) > self._warm:
            workflows.cool()
