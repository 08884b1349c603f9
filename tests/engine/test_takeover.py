"""
What the cuts of a shard say to its next takeover, as the table that `engine/takeover.py` prints.

The table is read from the docstring, so what is written there is what is tested.
"""

from __future__ import annotations

import pytest

from event_center.engine import takeover
from event_center.engine.backoff import RETRY_MIN_S
from event_center.engine.isolation import SMALLER, TIMES
from event_center.engine.kept import KeptShards
from event_center.engine.parts import Parts
from event_center.engine.run import Run
from event_center.engine.takeover import CutKind, Takeovers
from event_center.log.memory import MemoryLog
from event_center.log.port import Batch, Cut
from event_center.model import Record, Shard, Token
from event_center.wire.entries import snapshot_key
from tests.engine.world import EVENTS, World

LINES = {
    "durable: the next takeover is soon": "soon",
    "durable: who is in it spoils nothing": "cleared",
    "durable: pieces grow": "grow",
    "durable: what was owed goes on": "goes_on",
    "unknown: one more in a row": "in_a_row",
    "unknown: pieces shrink": "shrink",
}


def table() -> dict[tuple[str, CutKind], bool]:
    """What each line of the docstring says of each kind."""
    lines = (takeover.__doc__ or "").splitlines()
    head = next(number for number, line in enumerate(lines) if line.split()[:1] == ["whole"])
    kinds = [CutKind(word) for word in lines[head].split()]
    found: dict[tuple[str, CutKind], bool] = {}
    for line in lines[head + 1 :]:
        if not line.strip():
            return found
        words = line[40:].split()
        for kind, word in zip(kinds, words, strict=True):
            found[LINES[line[:40].strip()], kind] = word.startswith("yes")
    return found


TABLE = table()


class Resumed(Parts):
    """Parts that note whether what was owed goes on."""

    goes_on = False

    def resume(self, *, crashed: bool) -> None:
        """What was owed goes on."""
        self.goes_on = True
        super().resume(crashed=crashed)


class Idle:
    """Runners that have nothing to do."""

    def submit(self, run: Run) -> None:
        """Nothing is owed here."""
        raise AssertionError(run)

    def cancel(self, run: Run, why: BaseException) -> None:
        """Nothing runs here."""
        raise AssertionError(run, why)


MACHINE = "{machine: m, version: 1, initial: idle, perpetual: true, states: {idle: {on: {go: {}}}}}"
CUT = Cut(entries={snapshot_key("w"): b""})


RECORD = Record(0, 0, b"w", b"{}")


def one_after(kind: CutKind) -> tuple[Takeovers, Resumed]:
    """A shard after some takeovers, of which the next cut is of this kind; one record waits in a search."""
    world = World(MACHINE)
    log = MemoryLog(world.broker, clock=world.clock)
    takeovers = Takeovers(Shard(0), log, plan=world.plan, kept=KeptShards(0), wake=lambda: None)
    idle, nothing = Idle(), lambda: None
    parts = Resumed(Shard(0), world.plan, idle, idle, where="", wake=nothing, earlier=nothing)
    isolation = takeovers.isolation
    for _ in range(TIMES - 1):
        takeovers.pause_s()
        isolation.failed(CUT, 2 * SMALLER, bare=False)
    if kind is not CutKind.WHOLE:
        isolation.failed(CUT, 2 * SMALLER**3, bare=False)
        isolation.failed(CUT, 1, bare=False)  # of one workflow alone
        isolation._failed.add("v")  # so that the search goes on after that one is durable
        isolation.leave_untaken(Batch(Shard(0), Token(1), EVENTS, 0, [RECORD], 1))
    parts.resumed = kind is not CutKind.BARE
    parts.quarantine.active = kind is CutKind.COUNTING
    parts.ledger.taken = int(kind is CutKind.PIECE)
    assert takeovers.kind(parts) is kind
    return takeovers, parts


@pytest.mark.parametrize("kind", CutKind)
async def test_what_a_durable_cut_says(kind: CutKind) -> None:
    """Each kind: whether the next takeover is soon, who is cleared, what grows, what goes on."""
    takeovers, parts = one_after(kind)
    isolation = takeovers.isolation
    before = isolation.most
    takeovers.durable(parts, CUT, takeovers.kind(parts))
    said = {
        "soon": takeovers.pause_s() == RETRY_MIN_S,
        "cleared": not (isolation._alone if isolation.searching else isolation._row),
        "grow": isolation.most != before,
        "goes_on": parts.goes_on,
    }
    assert said == {line: TABLE[line, kind] for line in said}


@pytest.mark.parametrize("kind", CutKind)
async def test_what_a_cut_of_unknown_end_says(kind: CutKind) -> None:
    """Each kind: whether it is one more in a row, and whether pieces shrink and who is alone is counted."""
    takeovers, parts = one_after(kind)
    isolation = takeovers.isolation
    row, most, alone = isolation._row, isolation.most, isolation._alone.total()
    takeovers.unknown(parts, CUT, takeovers.kind(parts))
    said = {"in_a_row": isolation._row == row + 1}
    if kind is not CutKind.WHOLE:
        said["shrink"] = isolation.most != most
        assert (isolation._alone.total() > alone) is said["shrink"]
    assert said == {line: TABLE[line, kind] for line in said}


async def test_a_search_at_a_loss_waits_for_longer_each_time() -> None:
    """A failure that tells nothing new is no reason for another takeover at once."""
    takeovers, parts = one_after(CutKind.BARE)
    several = Cut(entries={snapshot_key("w"): b"", snapshot_key("v"): b""})
    isolation = takeovers.isolation
    while isolation.learned:
        isolation.failed(several, 1, bare=False)
        takeovers.durable(parts, several, CutKind.BARE)
        takeovers.pause_s()
    waited = []
    for _ in range(3):
        isolation.failed(several, 1, bare=False)
        takeovers.durable(parts, several, CutKind.BARE)
        waited.append(takeovers.pause_s())
    assert waited == sorted(set(waited))


async def test_in_a_search_no_record_comes_before_what_was_owed() -> None:
    """Not before the bare cut is durable; the records that came meanwhile follow what goes on then."""
    takeovers, parts = one_after(CutKind.BARE)
    batch = Batch(Shard(0), Token(1), EVENTS, 0, [RECORD._replace(offset=1)], 2)
    takeovers.take(parts, batch, cutting=False)
    assert (parts.entry.read, parts.goes_on) == (0, False)
    takeovers.durable(parts, CUT, takeovers.kind(parts))
    assert (parts.entry.read, parts.goes_on) == (1, True)


async def test_a_gate_that_opens_anew_delivers_anew() -> None:
    """Records that a search has left untaken are forgotten: nothing is taken in twice."""
    takeovers, parts = one_after(CutKind.PIECE)
    takeovers.isolation.forget_records()
    takeovers.durable(parts, CUT, takeovers.kind(parts))
    assert parts.entry.read == 0
