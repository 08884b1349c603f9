"""
Whether one cut is whole: its entry, history, letters and offsets tell of the same events (P5).

A torn cut shows here before anywhere else: counters that rose without their history, letters without
an outcome, a forwarded event that is not in the inbox. `audit_shard` asks for every cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from event_center.model import Position
from event_center.testing import audit_formats as formats
from event_center.testing.audit_evidence import Complaint, Evidence, KeptCut, Promise
from event_center.testing.audit_formats import ShardState, Told


class Written(NamedTuple):
    """What a cut wrote, read back."""

    state: ShardState | None
    """None: the cut has no shard entry in its last place."""
    snapshots: list[tuple[str, bytes | None]]
    """Those that it puts, by their workflows; None: removed."""
    history: list[Told]
    letters: list[str]
    """The origins of its dead letters."""
    numbers: dict[str, int]
    """Of the letters in a sequence: origin → number."""
    forwarded: list[str]
    """The origins of events that went to the inbox from another partition."""
    lost: list[Position]
    """Records of the cut that are not in the log."""


def read_written(cut: KeptCut, evidence: Evidence) -> Written:
    """
    Read everything that a cut wrote.

    Raises:
        FormatError: something of it is not as docs/formats.md says.
    """
    key, value = cut.entries[-1] if cut.entries else (b"", None)
    is_entry = key == formats.SHARD_KEY and value is not None
    state = formats.read_shard(value or b"", cut) if is_entry else None
    snapshots = [
        (formats.workflow_of(key), value) for key, value in cut.entries if formats.is_snapshot(key)
    ]
    written = Written(state, snapshots, [], [], {}, [], [])
    for position in cut.records:
        record = evidence.record(position)
        if record is None:
            written.lost.append(position)
        elif position.topic == evidence.history:
            written.history.append(formats.read_history(record, position))
        elif position.topic == evidence.dead_letters:
            letter = formats.read_letter(record, position)
            written.letters.append(letter.origin)
            if letter.number is not None:
                written.numbers[letter.origin] = letter.number
        elif position.topic == evidence.inbox:
            headers = dict(record.headers)
            if formats.FORWARDED_FROM in headers:
                written.forwarded.append(headers[formats.FORWARDED_FROM].decode())
    return written


def unwhole(
    cut: KeptCut, written: Written, before: ShardState, evidence: Evidence
) -> Iterator[Complaint]:
    """What does not fit together in a cut that follows the shard entry `before`."""
    promise = Promise.WHOLE_CUTS
    state = written.state
    if state is None:
        yield promise, f"{cut} does not end with the shard entry"
        return
    if written.lost:
        yield promise, f"{cut} appended {written.lost[0]}, which is not in the log"
    if state.cut != before.cut + 1:
        yield promise, f"{cut} says that it is cut {state.cut}, after cut {before.cut}"
    if dict(cut.offsets) != dict(state.offsets):
        yield promise, f"{cut} has offsets {dict(cut.offsets)}, its entry {dict(state.offsets)}"
    if evidence.every_outcome:
        yield from _uncounted(cut, written, state, before)


def _uncounted(
    cut: KeptCut, written: Written, state: ShardState, before: ShardState
) -> Iterator[Complaint]:
    """Counters, letters and forwarded events that the history of the cut does not tell."""
    promise = Promise.WHOLE_CUTS
    told: dict[str, int] = {}
    timers = transitions = 0
    origins: dict[str, list[str]] = {"dead_lettered": [], "forwarded": []}
    for one in written.history:
        outcome = str(one.data.get("outcome"))
        if one.position:
            told[outcome] = told.get(outcome, 0) + 1
        timers += one.kind == "timer"
        transitions += one.kind in {"applied", "timer"}
        if outcome in origins:
            origins[outcome].append(str(one.position))
    now, then = state.outcomes, before.outcomes
    counted = {
        name: now.get(name, 0) - then.get(name, 0)
        for name in {**then, **now}
        if now.get(name, 0) != then.get(name, 0)
    }
    if counted != told:
        yield promise, f"{cut} counts outcomes {counted}, its history tells {told}"
    if state.transitions - before.transitions != transitions:
        counts = state.transitions - before.transitions
        yield promise, f"{cut} counts {counts} transitions, its history tells {transitions}"
    if state.timers - before.timers != timers:
        yield promise, f"{cut} counts {state.timers - before.timers} timers, tells {timers}"
    for outcome, wrote in (("dead_lettered", written.letters), ("forwarded", written.forwarded)):
        if sorted(origins[outcome]) != sorted(wrote):
            yield promise, f"{cut}: {outcome} are {origins[outcome]}, and it wrote {wrote}"
