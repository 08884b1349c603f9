"""
Workflows of another version than the one that is loaded: they move to it when they are next looked at.

What the machine's `migrate` makes of them is told in the history, in the cut that has it. Called by the
turn before it decides, and by the effects before a run that is owed; who has no place is parked there.
Nobody moves back: in a rolling upgrade a center of the old version goes on with whoever has moved
already, under the version that has its data, for otherwise `migrate` would be applied twice. With
`on_upgrade: pin` nobody moves, and each runs the version that it was born under.
"""

from __future__ import annotations

import structlog

from event_center.engine.attempt import failure_of
from event_center.engine.ledger import Ledger
from event_center.engine.plan import Plan
from event_center.engine.sizes import SizeLimit
from event_center.engine.timers import Timers
from event_center.errors import EventCenterError, ExpressionError, TooLarge, UpgradeFailed
from event_center.machine.step import Machine
from event_center.model import Snapshot
from event_center.wire import history

log = structlog.get_logger()


class Upgrading:
    """Moves the workflows of one shard to the versions that are loaded."""

    def __init__(self, plan: Plan, ledger: Ledger, timers: Timers, sizes: SizeLimit) -> None:
        self._plan = plan
        self._ledger = ledger
        self._timers = timers
        self._sizes = sizes

    def machine_for(self, snapshot: Snapshot) -> Machine | None:
        """The machine under which a workflow goes on; None: it has no place."""
        machine = self._plan.machine_of(snapshot)
        if machine is None or machine.version == snapshot.version:
            return machine
        if machine.version < snapshot.version:
            return machine if machine.rests(snapshot.state) else None
        return machine if self._move(snapshot, machine) else None

    def _move(self, snapshot: Snapshot, machine: Machine) -> bool:
        """The workflow goes on under this version; false if it has no place there."""
        try:
            upgraded = machine.upgraded(snapshot, self._ledger.now_ms)
            if upgraded is None:
                return False
            self._sizes.check(snapshot, upgraded.data)
        except (ExpressionError, UpgradeFailed, TooLarge) as error:
            self._failed(snapshot, machine, error)
            return False
        before, version = snapshot.state, snapshot.version
        snapshot.version = machine.version
        snapshot.state = upgraded.state
        snapshot.data = upgraded.data
        snapshot.memory = upgraded.memory
        if upgraded.timers != snapshot.timers:
            snapshot.timers = upgraded.timers
            self._timers.arm(snapshot)
        self._ledger.changed(snapshot)
        if upgraded.told:
            data = {
                "machine": machine.name,
                "version": machine.version,
                "from_version": version,
                "seq": snapshot.seq,
                "from": before,
                "to": snapshot.state,
            }
            origin = f"version/{version}/{machine.version}"
            self._ledger.tell(history.MIGRATED, snapshot.workflow_id, origin, data)
        return True

    def _failed(self, snapshot: Snapshot, machine: Machine, error: EventCenterError) -> None:
        """The workflow stays as it was, and keeps why."""
        now_ms, said = self._ledger.now_ms, str(error)
        failure = failure_of("migrate", error, now_ms, 1)
        if isinstance(error, UpgradeFailed):
            failure = failure_of(f"upgrade {error.name}", error.__cause__ or error, now_ms, 1)
            said += f": {failure.type}: {failure.message}"
        snapshot.failure = failure
        log.warning(
            "workflow.not_migrated",
            workflow_id=snapshot.workflow_id,
            machine=machine.name,
            version=snapshot.version,
            error=said,
        )
