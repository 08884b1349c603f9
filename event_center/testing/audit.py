"""
The audit of a log: were the promises P1 to P8 kept? It sees only what is durable, and the pure machine.

    violations = find_violations(read_sqlite("center.db", app="event-center"), machines, started)

It reads the formats for itself and imports nothing of the engine, the logs or the wire room, so that
no mistake of theirs can hide from it. Tests, simulations and whoever doubts a log call it; each shard
is replayed in `audit_shard`, and the audit of a shard ends with the first cut that breaks a promise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from event_center.machine import Machine
from event_center.testing.audit_end import uncut, unfinished
from event_center.testing.audit_events import Events, ReadEvent
from event_center.testing.audit_evidence import Evidence, Started, Violation
from event_center.testing.audit_runs import Starts
from event_center.testing.audit_shard import ShardAudit


def find_violations(
    evidence: Evidence,
    machines: Iterable[Machine],
    started: Iterable[Started] | None = None,
    readers: Mapping[str, ReadEvent] = MappingProxyType({}),
) -> list[Violation]:
    """
    Every promise that this log breaks; an empty list if it keeps all of them.

    Args:
        evidence: the log, with every cut since it was made.
        machines: every version of every machine that ran, its guards and functions of `migrate` given.
        started: every start of a callback, as the callbacks wrote it down; None: nobody did.
        readers: how to read the topics whose records are not plain JSON or CloudEvents.

    Raises:
        FormatError: something in the log is not as docs/formats.md says.
    """
    known = list(machines)
    by_version = {(machine.name, machine.version): machine for machine in known}
    events = Events(evidence, readers)
    shards = [ShardAudit(n, evidence, events, by_version) for n in range(evidence.shards)]
    for cut in evidence.cuts:
        shards[cut.shard].take(cut)
    violations = [one for shard in shards for one in shard.broken]
    whole = [shard for shard in shards if not shard.broken]
    for shard in whole:
        violations += unfinished(shard, evidence)
    if len(whole) == len(shards):
        violations += uncut(evidence, list(evidence.cuts))
    if started is not None:
        starts = Starts(started)
        lives = [life for shard in whole for life in (*shard.past, *shard.lives.values())]
        violations += starts.of_lives(lives)
        if len(whole) == len(shards):
            violations += starts.phantoms(lives, events, known)
    return violations
