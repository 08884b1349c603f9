"""
Protections of the engine, each with a switch that turns it off: the audit must find out.

`daemon.py --twin NAME` calls one of these before it opens its center. Nothing but crash tests may. Some
break nothing by themselves (`second`, `again`, `late`, `cramped`, `called_back`): they make the trouble
that a protection is for. One makes a test shorter (`impatient`).
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from event_center.engine import intake, jobs, quarantine, turn
from event_center.engine.entering import Entering
from event_center.engine.ledger import Ledger
from event_center.engine.letters import Letters
from event_center.engine.parts import Parts
from event_center.engine.shard import Owner
from event_center.engine.starts import StartCounts
from event_center.log.kafka import client
from event_center.log.kafka.group import KafkaGroup
from event_center.log.port import Batch, Cut, Lease
from event_center.log.sqlite import DaemonLock, group
from event_center.log.sqlite.lease import SqliteLease
from event_center.log.sqlite.transaction import Transaction
from event_center.machine.decision import Transition
from event_center.model import Event, Shard, Snapshot

LATE_S = 0.05
FEW = 4
PATCH = pytest.MonkeyPatch()
"""What is patched stays so until this process ends."""


def second() -> None:
    """This daemon takes no lock, and takes all others for dead."""
    PATCH.setattr(DaemonLock, "acquire", lambda self: None)
    PATCH.setattr(group, "is_alive", lambda log, name: False)


def again() -> None:
    """The log delivers every batch twice."""
    take = Owner.take

    def twice(self: Owner, batch: Batch) -> None:
        take(self, batch)
        take(self, batch)

    PATCH.setattr(Owner, "take", twice)


def late() -> None:
    """Every cut takes its time to become durable."""
    commit = SqliteLease.commit

    async def slowly(self: SqliteLease, cut: Cut) -> None:
        await asyncio.sleep(LATE_S)
        await commit(self, cut)

    PATCH.setattr(SqliteLease, "commit", slowly)


def torn() -> None:
    """A cut is written in two pieces: first the entries, then the rest."""
    commit = SqliteLease.commit

    async def in_pieces(self: SqliteLease, cut: Cut) -> None:
        await commit(self, Cut(entries=cut.entries, offsets=cut.offsets))
        await commit(self, Cut(records=cut.records, offsets=cut.offsets))

    PATCH.setattr(SqliteLease, "commit", in_pieces)


def unfenced() -> None:
    """Whoever once had the lease of a shard can write it for ever."""

    def check(self: Transaction, shard: Shard, epoch: int) -> None:
        pass

    PATCH.setattr(Transaction, "check", check)


def early() -> None:
    """Runs start with the accept, before the transition that owes them is durable."""
    PATCH.setattr(Ledger, "promised", lambda self, workflow_id: False)
    enter = Entering.enter

    def at_once(self: Entering, snapshot: Snapshot, event: Event, decision: Transition) -> None:
        enter(self, snapshot, event, decision)
        self._effects.start(snapshot)

    PATCH.setattr(Entering, "enter", at_once)


def unwaited() -> None:
    """A cut leaves the waiting entries out."""
    build = Ledger.build

    def without(self: Ledger) -> Cut:
        cut = build(self)
        for key in [key for key, value in cut.entries.items() if key[:2] == b"w:" and value]:
            del cut.entries[key]
        return cut

    PATCH.setattr(Ledger, "build", without)


def unordered() -> None:
    """Later events do not follow the open letters of their workflow."""
    PATCH.setattr(turn, "open_letters", lambda snapshot: False)
    PATCH.setattr(intake, "open_letters", lambda snapshot: False)
    PATCH.setattr(Letters, "follow_all", lambda self, snapshot, mailbox: None)


def unseen() -> None:
    """What was read of each topic is forgotten at once, by shards and by workflows."""
    take = Owner.take
    PATCH.setattr(Parts, "_without_repeated", lambda self, batch, following: batch)

    def forgetful(self: Owner, batch: Batch) -> None:
        parts: Any = self._parts
        for workflow in [] if parts is None else parts.workflows.by_id.values():
            if isinstance(workflow, Snapshot):
                workflow.seen = {}
        take(self, batch)

    PATCH.setattr(Owner, "take", forgetful)


def uncounted() -> None:
    """A takeover does not count what it finds without a result."""
    PATCH.setattr(StartCounts, "of", lambda self, run: 1)


def impatient() -> None:
    """Few takeovers park what ends its process."""
    PATCH.setattr(quarantine, "CRASHED", FEW)
    PATCH.setattr(jobs, "CRASHED", FEW)


def uncertain() -> None:
    """Without transactions: whoever was once in the group writes, whatever became of it since."""

    async def confirm(self: KafkaGroup, shard: Shard) -> float:
        return math.inf

    PATCH.setattr(KafkaGroup, "_confirm", confirm)
    PATCH.setattr(KafkaGroup, "_certain_until", lambda self, shard: math.inf)


def cramped() -> None:
    """A batch holds little: most cuts need several."""
    PATCH.setattr(client, "MAX_BATCH_BYTES", 2_000)


def called_back() -> None:
    """The process dies when it should release a shard that another member is to have."""
    release = Owner._release

    async def dies(self: Owner, lease: Lease) -> None:
        if self._keep:
            os.kill(os.getpid(), signal.SIGKILL)
        await release(self, lease)

    PATCH.setattr(Owner, "_release", dies)


TWINS: dict[str, Callable[[], None]] = {
    one.__name__: one
    for one in (
        second,
        again,
        late,
        torn,
        unfenced,
        early,
        unwaited,
        unordered,
        unseen,
        uncounted,
        impatient,
        uncertain,
        cramped,
        called_back,
    )
}
