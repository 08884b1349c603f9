"""
A shard's memory back from its entries: what a takeover does between the fence and the gate.

Idle workflows are kept as the bytes they are. Those that owe a run, wait, or are stopped become live
at once; timers are known from the first line. Called by `takeover`, for its step 3.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping

import structlog

from event_center.engine.parts import Parts
from event_center.engine.plan import Plan
from event_center.engine.waiting import timer_item
from event_center.engine.workflow import Mailbox, Waiting
from event_center.errors import ConfigurationError, FormatError
from event_center.log.port import Entry, TopicInfo
from event_center.machine import Machine
from event_center.model import Snapshot, Status
from event_center.wire import entries, migration
from event_center.wire import snapshot as wire
from event_center.wire import waiting as waiting_wire
from event_center.wire.entries import ShardEntry
from event_center.wire.migration import MIGRATION_KEY
from event_center.wire.waiting import WaitingEntry

log = structlog.get_logger()

_IDLE = b"\t"
Read = Callable[[bytes], WaitingEntry]
"""Makes a waiting entry of its bytes."""
LOOKS_IN_A_ROW = 1_000
"""Workflows looked at before others have a turn; each may take some 30 us."""


async def restore(
    batches: AsyncIterator[list[Entry]],
    parts: Parts,
    topics: Mapping[str, TopicInfo],
    plan: Plan,
    *,
    read: Read = waiting_wire.decode,
) -> AsyncIterator[int]:
    """
    Fill the parts from what a lease restores; yields how many workflows each piece of work had.

    Whoever restores the same waiting entries again and again may `read` them from memory.

    Raises:
        Fenced: the lease was lost meanwhile.
        ConfigurationError: the partitioner, the number of shards or a machine is not what it was when
            this shard was cut, or a migration into the log has not ended.
        UnknownTopic, DataLost: a topic is not there any more, or was made anew.
        FormatError: the shard entry was written by a newer release, or it is damaged. A workflow of
            which this is true stops alone.
    """
    waiting: dict[str, list[tuple[int, bytes]]] = {}
    busy: list[str] = []
    by_id = parts.workflows.by_id
    snapshots, begin = entries.SNAPSHOTS, len(entries.SNAPSHOTS)
    async for batch in batches:
        count = 0
        for key, value in batch:
            try:
                if key.startswith(snapshots):  # once per workflow: without the calls
                    workflow_id = key[begin:].decode()
                    by_id[workflow_id] = value
                    count += 1
                    if value[1:2] != _IDLE:
                        busy.append(workflow_id)
                elif entries.is_waiting(key):
                    workflow_id, number = entries.waiting_of(key)
                    waiting.setdefault(workflow_id, []).append((number, value))
                else:
                    _about_shard(key, value, parts)
            except ValueError as error:
                log.warning("restore.bad_key", shard=parts.shard, key=repr(key), error=str(error))
        yield count
    for number, workflow_id in enumerate(busy, 1):
        _look_at(workflow_id, parts, waiting.pop(workflow_id, []), read)
        if number % LOOKS_IN_A_ROW == 0:
            yield 0
    _all_too_many(waiting, parts)
    _check_homes(parts.entry, plan)
    _check_machines(parts.entry, plan)
    parts.losses.check(plan.consumed(), topics)
    parts.entry.owner = plan.owner
    parts.entry.takeovers += 1  # which the first cut makes durable, if there is one


def restore_one(
    workflow_id: str,
    value: bytes | None,
    waiting: list[tuple[int, bytes]],
    parts: Parts,
    *,
    read: Read,
) -> None:
    """Fill in one workflow alone from all its entries, as `restore` does with it; None: no snapshot."""
    if value is not None:
        parts.workflows.by_id[workflow_id] = value
        if value[1:2] != _IDLE:
            _look_at(workflow_id, parts, waiting, read)
            return
    if waiting:
        _too_many(workflow_id, parts, len(waiting))


def _about_shard(key: bytes, value: bytes, parts: Parts) -> None:
    """An entry that is of no workflow."""
    if key == entries.SHARD_KEY:
        _copy(ShardEntry.decode(value), parts.entry)
    elif key == MIGRATION_KEY:
        migration.check_whole(value)


def _copy(source: ShardEntry, entry: ShardEntry) -> None:
    """The ledger and the intake hold the entry already."""
    for name in ShardEntry.__slots__:
        setattr(entry, name, getattr(source, name))


def _look_at(workflow_id: str, parts: Parts, waiting: list[tuple[int, bytes]], read: Read) -> None:
    """A workflow whose first line says that it needs its shard."""
    value = parts.workflows.by_id[workflow_id]
    if type(value) is not bytes:
        return
    try:
        head = wire.peek(value)
        if head.needs == "e" and not waiting:
            parts.removal.restored(workflow_id, head.due_ms)
            return
        if head.needs == "t" and head.status != Status.RETRYING and not waiting:
            parts.timers.look_at(workflow_id, head.due_ms)
            return
        snapshot = parts.workflows.wake(workflow_id, value)
        items = _items(snapshot, sorted(waiting), read)
        for item in items:
            parts.ledger.waiting.found(snapshot, item)
    except FormatError as error:
        parts.workflows.by_id[workflow_id] = value
        _unreadable(workflow_id, parts, error)
        return
    parts.timers.arm(snapshot)
    if snapshot.deciding_due_ms:
        parts.timers.look_at(workflow_id, snapshot.deciding_due_ms)
    if head.needs.lstrip("t") == "j" and not items and not snapshot.deciding_attempt:
        return  # nothing waits for its jobs
    mailbox = parts.workflows.mailbox(workflow_id)
    _fill(mailbox, items)
    if snapshot.deciding_attempt and not snapshot.owed:
        # A timer that is tried again has no entry. A replay has none either: its letter is still open.
        timers = [timer for timer in snapshot.timers if timer.id == snapshot.deciding_event]
        mailbox.queue.extendleft(map(timer_item, timers))


def _all_too_many(waiting: Mapping[str, list[tuple[int, bytes]]], parts: Parts) -> None:
    """What waits for workflows that do not know of it."""
    for workflow_id, found in waiting.items():
        _too_many(workflow_id, parts, len(found))


def _too_many(workflow_id: str, parts: Parts, found: int) -> None:
    """Events wait for a workflow that is idle, or that is not there: it must not be made anew."""
    value = parts.workflows.by_id.setdefault(workflow_id, b"")
    try:
        waiting_wire.check_count(workflow_id, found, 0 if value else None)
    except FormatError as error:
        _unreadable(workflow_id, parts, error)


def _unreadable(workflow_id: str, parts: Parts, error: FormatError) -> None:
    """The workflow can not be read; the other ones of its shard go on."""
    if workflow_id in parts.workflows.unreadable:
        return  # its own snapshot has said so already
    told = parts.workflows.damaged(workflow_id, error)
    log.error("restore.unreadable", workflow_id=workflow_id, error=str(told))


def _items(snapshot: Snapshot, waiting: list[tuple[int, bytes]], read: Read) -> list[Waiting]:
    """The waiting events of a workflow in their order."""
    waiting_wire.check_count(snapshot.workflow_id, len(waiting), snapshot.waiting)
    items = []
    for number, value in waiting:
        entry = read(value)
        item = Waiting(None, entry.record, entry.topic, entry.partition)
        item.number = number
        item.deferred = entry.deferred
        item.due_ms = entry.due_ms
        items.append(item)
    return items


def _fill(mailbox: Mailbox, items: list[Waiting]) -> None:
    """Put the waiting events back."""
    for item in items:
        (mailbox.deferred if item.deferred else mailbox.queue).append(item)
    mailbox.recheck = True


def _check_homes(entry: ShardEntry, plan: Plan) -> None:
    """Workflows live where the first partitioner and the first number of shards put them."""
    shards = entry.shards or plan.home.shards
    if shards != plan.home.shards:
        msg = (
            f"[log] partitions is {plan.home.shards}, but the workflows of this log live where "
            f"{shards} shards put them: write partitions = {shards}; a snapshots topic that was given "
            "more partitions can not be used any more, so begin with another app name"
        )
        raise ConfigurationError(msg)
    entry.shards = shards
    known = entry.partitioner or plan.home.name
    if known != plan.home.name:
        msg = (
            f"[engine] partitioner is {plan.home.name!r}, but the workflows of this log live where "
            f"{known!r} put them: write partitioner = {known!r}, or begin another log"
        )
        raise ConfigurationError(msg)
    entry.partitioner = known


def _check_machines(entry: ShardEntry, plan: Plan) -> None:
    """A definition that changed has to change its version as well."""
    older = [one.machine for one in plan.older.values()]
    machines = [*plan.machines.values(), *older]
    for problem in changed(machines, entry.machines):
        raise ConfigurationError(problem)
    entry.machines |= {_version_of(machine): machine.hash for machine in machines}


def changed(machines: Iterable[Machine], known: Mapping[str, str]) -> Iterator[str]:
    """What to say of each machine that is not what ran under its version; `known` has the hashes."""
    for machine in machines:
        if known.get(_version_of(machine), machine.hash) != machine.hash:
            yield (
                f"{machine.source}: machine {machine.name} has changed, but its version is still "
                f"{machine.version}, under which workflows have run; write version: "
                f"{machine.version + 1}"
            )


def _version_of(machine: Machine) -> str:
    return f"{machine.name}@{machine.version}"
