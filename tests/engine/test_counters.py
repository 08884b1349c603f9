"""
When each counter of a search begins anew: every reset in the second table of `engine/takeover.py`.

The table is read from the docstring. For each reset in it a story here counts up, with the objects that a
shard has, and brings the reset about; so one that nobody tells of is found, and one that is gone as well.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

import pytest

from event_center.engine import takeover
from event_center.engine.backoff import RETRY_MIN_S
from event_center.engine.closed_topics import PAUSE_MS
from event_center.engine.isolation import SMALLER, TIMES
from event_center.engine.kept import KeptShards
from event_center.engine.parts import Parts
from event_center.engine.takeover import CutKind, Takeovers
from event_center.log.memory import Ending, MemoryLog
from event_center.log.port import Batch, Cut
from event_center.model import Shard, Snapshot, Token
from event_center.plugins.context import Context
from event_center.wire.entries import snapshot_key
from tests.engine.machines import resting
from tests.engine.script import HOLD, Script
from tests.engine.test_takeover import Idle
from tests.engine.world import OWN, World

ROW = re.compile(r"^    (\S.{20})(\S.{25})(\S.*)$")
"""A line of the table: the counter, who counts it, and what begins it anew."""
MACHINE = resting("""
retries:
  default: {max_attempts: 3, interval: 1m}
states:
  idle: {on: {go: busy, build: building, ask: {actions: look}, note: {}}}
  busy: {entry: {do: work, timeout: 1h}, on: {done: idle}}
  building: {invoke: {do: make, timeout: 1h}}
""")
OF_W, OF_BOTH, OF_ANOTHER = (
    Cut(entries={snapshot_key(name): b"" for name in names}) for names in ("w", "vw", "o")
)


def table() -> set[tuple[str, str]]:
    """The counters, each with what begins it anew, as the docstring has them."""
    lines = (takeover.__doc__ or "").partition("when they begin anew:\n\n")[2].splitlines()
    found: dict[str, str] = {}
    name = ""
    for line in lines[: lines.index("")]:
        if row := ROW.match(line):
            name, found[row[1].strip()] = row[1].strip(), row[3]
        else:
            found[name] += f" {line.strip()}"
    return {(name, one) for name, resets in found.items() for one in re.split(r"; |, or ", resets)}


def world_with(does: Script) -> World:
    """A world of the machine, in which every callback does this."""
    functions = dict.fromkeys(("work", "make", "look"), does)
    return World((MACHINE, functions), publishable=["outside"])


class Shaky:
    """A shard whose cuts end Unknown when a test says so, and its takeovers, one after another."""

    def __init__(self, *known: str) -> None:
        self.world = world_with(Script())
        self.known = known
        log = MemoryLog(self.world.broker, clock=self.world.clock)
        self.takeovers = Takeovers(
            Shard(0), log, plan=self.world.plan, kept=KeptShards(0), wake=lambda: None
        )
        self.isolation = self.takeovers.isolation
        self.parts = self._taken_over()

    @property
    def row(self) -> int:
        """Cuts in a row."""
        return self.isolation._row

    @property
    def alone(self) -> int:
        """Cuts of `w` alone."""
        return self.isolation._alone["w"]

    @property
    def apart(self) -> int | None:
        """Cuts of what `w` does, while it is apart."""
        return self.isolation.apart.get("w")

    @property
    def soon(self) -> bool:
        """Whether the next takeover does not wait."""
        return self.takeovers._pauses._next_s == RETRY_MIN_S

    def fails(self, cut: Cut, records: int = 0, *, about: str = "", times: int = 1) -> None:
        """Cuts of unknown end, and after each the next takeover."""
        for _ in range(times):
            kind = self._make(CutKind.PIECE if records else CutKind.BETWEEN)
            self.parts.ledger.taken = records
            self.parts.workflows.apart.about = about
            self.takeovers.unknown(self.parts, cut, kind)
            self._next()

    def fails_bare(self) -> None:
        """Not even a bare cut goes through."""
        self.takeovers.unknown(self.parts, Cut(), self._make(CutKind.BARE))
        self._next()

    def goes_through(self, cut: Cut, kind: CutKind, *, about: str = "") -> None:
        """A durable cut of this kind."""
        made = self._make(kind)
        self.parts.workflows.apart.about = about
        self.takeovers.durable(self.parts, cut, made)

    def searches(self) -> None:
        """Cuts with two workflows have failed until they are searched."""
        self.fails(OF_BOTH, 2 * SMALLER**3, times=TIMES)
        assert (self.isolation.searching, self.row, self.alone, self.apart) == (True, TIMES, 0, 0)

    def _make(self, kind: CutKind) -> CutKind:
        """What has happened makes the next cut one of this kind."""
        self.parts.resumed = kind is not CutKind.BARE
        self.parts.quarantine.active = kind is CutKind.COUNTING
        self.parts.ledger.taken = int(kind is CutKind.PIECE)
        found = self.takeovers.kind(self.parts)
        assert found is kind or not self.isolation.searching
        return found

    def _next(self) -> None:
        self.takeovers.pause_s()
        self.parts = self._taken_over()
        self.takeovers.begin(self.parts)

    def _taken_over(self) -> Parts:
        nobody, nothing = Idle(), lambda: None
        plan = self.world.plan
        parts = Parts(Shard(0), plan, nobody, nobody, where="", wake=nothing, earlier=nothing)
        for name in self.known:
            parts.workflows.by_id[name] = Snapshot(name, "m", 1, "idle")
        return parts


async def soon_again() -> None:
    """A whole cut, or a bare one after a failure that told something; no other one."""
    shaky = Shaky()
    shaky.fails(OF_BOTH, times=TIMES - 1)
    assert not shaky.soon
    shaky.goes_through(OF_BOTH, CutKind.WHOLE)
    assert shaky.soon
    shaky.searches()
    for kind in (CutKind.PIECE, CutKind.BETWEEN, CutKind.COUNTING):
        shaky.goes_through(Cut(), kind)
        assert not shaky.soon
    shaky.goes_through(Cut(), CutKind.BARE)
    assert shaky.soon


async def all_that_failed_are_durable() -> None:
    """One of the two is not enough."""
    shaky = Shaky()
    shaky.fails(OF_BOTH, times=TIMES - 1)
    shaky.goes_through(OF_W, CutKind.WHOLE)
    assert shaky.row == TIMES - 1
    shaky.goes_through(Cut(entries={snapshot_key("v"): b""}), CutKind.WHOLE)
    assert shaky.row == 0


async def the_search_ends() -> None:
    """Pieces of others are as large as what began it: nobody is counted any more, whoever failed."""
    shaky = Shaky("w")
    shaky.searches()
    shaky.fails(OF_W, 1)
    while shaky.isolation.searching:
        assert (shaky.row, shaky.alone) == (TIMES + 1, 1)
        shaky.goes_through(OF_ANOTHER, CutKind.PIECE)
    assert (shaky.row, shaky.alone) == (0, 0)


async def a_cut_has_it() -> None:
    """Of any kind but the one that only counts; one that counts too, once it is parked."""
    for kind in (CutKind.PIECE, CutKind.BETWEEN, CutKind.BARE):
        shaky = Shaky("w")
        shaky.searches()
        shaky.fails(OF_W, 1)
        shaky.goes_through(OF_ANOTHER, kind)
        assert shaky.alone == 1
        shaky.goes_through(OF_W, kind)
        assert shaky.alone == 0
    shaky = Shaky("w")
    shaky.searches()
    shaky.fails(OF_W, 1, times=TIMES - 1)
    shaky.goes_through(OF_W, CutKind.COUNTING)
    assert shaky.alone == TIMES - 1
    shaky.fails(OF_W, 1)
    assert shaky.parts.workflows.live("w").parked == "cut_failed"  # type: ignore[union-attr]  # it is
    shaky.goes_through(OF_W, CutKind.COUNTING)
    assert shaky.alone == 0


async def a_bare_cut_fails() -> None:
    """It was the log, and may have been it before; only that cuts fail in a row is still so."""
    shaky = Shaky("w")
    shaky.searches()
    shaky.fails(OF_W, about="w")
    assert (shaky.alone, shaky.apart) == (1, 1)
    shaky.fails_bare()
    assert (shaky.row, shaky.alone, shaky.apart) == (TIMES + 2, 0, 0)


async def its_command_is_refused() -> None:
    """The last of so many failures refuses it, and its workflow is not parked."""
    shaky = Shaky("w")
    shaky.searches()
    shaky.world.command("pause", "w")
    for times in range(TIMES):
        assert shaky.alone == times
        batch = Batch(Shard(0), Token(1), OWN.commands, 0, shaky.world.records(OWN.commands), 1)
        shaky.takeovers.take(shaky.parts, batch, cutting=False)
        shaky.parts.ledger.build()
        shaky.goes_through(Cut(), CutKind.BARE)
        assert shaky.parts.ledger.taken == 1
        shaky.fails(OF_W, 1)
    assert shaky.alone == 0
    assert shaky.parts.workflows.by_id["w"].parked is None  # type: ignore[union-attr]  # decoded


async def its_event_becomes_a_letter() -> None:
    """There is no workflow that could be parked; both counters have convicted it."""
    for about in ("", "w"):
        shaky = Shaky()
        shaky.searches()
        shaky.fails(OF_W, 1, about=about, times=TIMES - 1)
        assert (shaky.alone, shaky.apart) == (TIMES - 1, TIMES - 1 if about else 0)
        shaky.fails(OF_W, 1, about=about)
        assert (shaky.alone, shaky.apart) == (0, None)


async def one_of_its_own_is_durable() -> None:
    """One about something else says nothing of it."""
    shaky = Shaky("w")
    shaky.searches()
    shaky.fails(OF_W, about="w")
    shaky.goes_through(Cut(), CutKind.BETWEEN)
    shaky.goes_through(Cut(), CutKind.BETWEEN, about="v")
    assert shaky.apart == 1
    shaky.goes_through(Cut(), CutKind.BETWEEN, about="w")
    assert shaky.apart is None


async def that_it_is_parked_is_durable() -> None:
    """What has failed is counted until then, lest it go on although nobody knows that it is parked."""
    shaky = Shaky("w")
    shaky.searches()
    shaky.fails(OF_W, about="w", times=TIMES)
    shaky.goes_through(OF_ANOTHER, CutKind.BARE)
    assert shaky.apart == TIMES
    shaky.goes_through(OF_W, CutKind.BARE)
    assert shaky.apart is None


async def _found(world: World, event: str, times: int) -> Callable[[], int]:
    """So many takeovers have found what the workflow does because of this event; tells the count."""
    world.send("w", "note")
    await world.idle()
    world.send("w", event)
    await world.rest(1)
    for _ in range(times):
        await world.crash_and_recover()
        await world.rest(1)

    def starts() -> int:
        snapshot = world.snapshot("w")
        return max(
            [snapshot.deciding_starts, *(o.starts for o in (*snapshot.owed, *snapshot.jobs))]
        )

    assert starts() == times
    return starts


async def the_attempt_ends() -> None:
    """It raises: the next attempt of the same run was found by nobody."""
    for event in ("go", "build", "ask"):
        work = Script(HOLD, HOLD, HOLD, HOLD)
        async with world_with(work) as world:
            starts = await _found(world, event, 2)
            work.let_go(OSError("not now"))
            await world.rest(0.5)
            assert (starts(), len(work.calls)) == (0, 3)


async def the_shard_is_released_in_order() -> None:
    """What the last takeover has counted is taken back: it was no crash."""
    for event in ("go", "build", "ask"):
        async with world_with(Script(*[HOLD] * 9)) as world:
            starts = await _found(world, event, 2)
            await world.stop()
            await world.rest(60)
            assert starts() == 1


def _publishes(ctx: Context) -> str:
    ctx.publish("outside", "told")
    return "done"


async def a_cut_has_written_there() -> None:
    """The next time that it is closed it is so for the shortest pause."""
    work = Script(*[_publishes] * 20)
    async with world_with(work) as world:
        for name in ("w", "v"):
            world.faults.refusing["outside"] = Ending.NOT_COMMITTED
            world.send(name, "note")
            world.send(name, "go")
            await world.rest(2)
            assert [one.pause_ms for one in world.plan.closed_topics] == [PAUSE_MS]
            await world.rest(30)
            assert [one.pause_ms > PAUSE_MS for one in world.plan.closed_topics] == [True]
            world.faults.refusing.clear()
            await world.rest(60)
            assert list(world.plan.closed_topics) == []


RESETS: dict[tuple[str, str], Callable[[], Awaitable[None]]] = {
    ("takeovers in a row", "a durable cut that makes the next takeover soon"): soon_again,
    ("cuts in a row", "all that failed are durable"): all_that_failed_are_durable,
    ("cuts in a row", "the search ends"): the_search_ends,
    ("cuts alone", "a durable cut has it, parked or not"): a_cut_has_it,
    ("cuts alone", "a bare one fails"): a_bare_cut_fails,
    ("cuts alone", "its command is refused"): its_command_is_refused,
    ("cuts alone", "its event becomes a letter"): its_event_becomes_a_letter,
    ("cuts alone", "the search ends"): the_search_ends,
    ("cuts of its own", "one is durable (`apart`)"): one_of_its_own_is_durable,
    ("cuts of its own", "that it is parked"): that_it_is_parked_is_durable,
    ("cuts of its own", "a bare one fails"): a_bare_cut_fails,
    ("cuts of its own", "its event becomes a letter"): its_event_becomes_a_letter,
    ("starts of a run", "the attempt ends"): the_attempt_ends,
    ("starts of a run", "the shard is released in order"): the_shard_is_released_in_order,
    ("pauses of a topic", "a durable cut has written there"): a_cut_has_written_there,
}


def test_every_reset_of_the_table_is_told_here() -> None:
    """And none that the table does not have."""
    assert RESETS.keys() == table()


@pytest.mark.parametrize("story", {one.__name__: one for one in RESETS.values()}.values())
async def test_a_counter_begins_anew(story: Callable[[], Awaitable[None]]) -> None:
    """It has counted, and counts from nothing after its reset."""
    await story()
