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
from event_center.engine.timers import Timers
from event_center.errors import ExpressionError, UpgradeFailed
from event_center.machine.step import Machine
from event_center.model import Snapshot
from event_center.wire import history

log = structlog.get_logger()


def machine_for(snapshot: Snapshot, plan: Plan, ledger: Ledger, timers: Timers) -> Machine | None:
    """The machine under which a workflow goes on; None: it has no place."""
    machine = plan.machine_of(snapshot)
    if machine is None or machine.version == snapshot.version:
        return machine
    if machine.version < snapshot.version:
        return machine if machine.rests(snapshot.state) else None
    return machine if _move(snapshot, machine, ledger, timers) else None


def _move(snapshot: Snapshot, machine: Machine, ledger: Ledger, timers: Timers) -> bool:
    """The workflow goes on under this version; false if it has no place there."""
    try:
        upgraded = machine.upgraded(snapshot, ledger.now_ms)
    except (ExpressionError, UpgradeFailed) as error:
        failure, said = failure_of("migrate", error, ledger.now_ms, 1), str(error)
        if isinstance(error, UpgradeFailed):
            raised = error.__cause__ or error
            failure = failure_of(f"upgrade {error.name}", raised, ledger.now_ms, 1)
            said += f": {failure.type}: {failure.message}"
        snapshot.failure = failure
        log.warning(
            "workflow.not_migrated",
            workflow_id=snapshot.workflow_id,
            machine=machine.name,
            version=snapshot.version,
            error=said,
        )
        return False
    if upgraded is None:
        return False
    before, version = snapshot.state, snapshot.version
    snapshot.version = machine.version
    snapshot.state = upgraded.state
    snapshot.data = upgraded.data
    snapshot.memory = upgraded.memory
    if upgraded.timers != snapshot.timers:
        snapshot.timers = upgraded.timers
        timers.arm(snapshot)
    ledger.changed(snapshot)
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
        ledger.tell(history.MIGRATED, snapshot.workflow_id, origin, data)
    return True
