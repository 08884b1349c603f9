"""
Do the machines fit what is in the log? Versions that ran under another content, workflows without a place.

Of a log that is open and settings that were read; what the machines are by themselves, `doctor` has looked
at before. `doctor_log` asks; it reads the shard entries, as `stats` does, and no workflow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from event_center.app.finding import Finding, error, warning
from event_center.app.machines import load_versions
from event_center.app.settings import Settings
from event_center.app.wiring import app_of
from event_center.client.stats import shard_entries
from event_center.engine.restoring import changed
from event_center.errors import (
    ConfigurationError,
    DefinitionError,
    ExpressionError,
    PluginError,
    UnknownTopic,
)
from event_center.log.port import Log
from event_center.machine import Machine
from event_center.model import Snapshot, Status
from event_center.wire.entries import Counted

GONE = frozenset({Status.FINAL, Status.EXPECTED})
"""Of these nobody goes on: they have ended, or there is none yet."""


async def of_machines(settings: Settings, log: Log) -> list[Finding]:
    """What does not fit; nothing where the machines can not be loaded, which is told before."""
    try:
        newest, older = load_versions(settings)
        entries = list((await shard_entries(log, app_of(settings))).values())
    except (ConfigurationError, DefinitionError, ExpressionError, PluginError, UnknownTopic):
        return []
    machines = [*newest.values(), *older]
    # Each shard has the hashes of what ran on it; what is wrong in one is wrong in most.
    wrong = sorted({one for entry in entries for one in changed(machines, entry.machines)})
    counts: Counter[Counted] = Counter()
    for entry in entries:
        counts.update(entry.counts)
    advice = "a daemon would not start; docs/operations.md has upgrades"
    return [
        *(error("machines", what, advice) for what in wrong),
        *of_places(counts, newest, older),
    ]


def of_places(
    counts: Mapping[Counted, int], newest: Mapping[str, Machine], older: Sequence[Machine]
) -> Iterator[Finding]:
    """Workflows that are where no loaded machine has them: their next event would park them."""
    lost: Counter[tuple[str, int, str]] = Counter()
    for place, count in counts.items():
        if count and place.status not in GONE and not _has_place(place, newest, older):
            lost[place.machine, place.version, place.state] += count
    for (name, version, state), count in sorted(lost.items()):
        who = f"1 workflow of {name}" if count == 1 else f"{count:,} workflows of {name}"
        what = f"in state {state!r} of version {version}"
        if name not in newest:
            yield warning(
                "machines",
                f"{who} {what}: no such machine is loaded, and the next event parks them",
                "let `machines` in the settings name its file",
            )
            continue
        yield warning(
            "machines",
            f"{who} {what}: version {newest[name].version} has no place for them, and the next event parks "
            "them",
            f"map the state in `migrate` (from: {version}), or keep that version with `on_upgrade: pin`",
        )


def _has_place(place: Counted, newest: Mapping[str, Machine], older: Sequence[Machine]) -> bool:
    """Whether a daemon would find a machine for workflows there, as `engine.upgrading` looks for one."""
    machine = newest.get(place.machine)
    if machine is None:
        return False
    if machine.pins and machine.version != place.version:
        return any((one.name, one.version) == (place.machine, place.version) for one in older)
    if machine.version <= place.version:
        return machine.rests(place.state)
    return machine.has_place(Snapshot("", place.machine, place.version, place.state))
