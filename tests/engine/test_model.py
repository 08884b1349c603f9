"""
The whole center beside a model of six lines: random histories of publishing, trouble and operators.

The model knows nothing of crashes, cuts or retries: an event of a workflow is decided once, in the order
of publishing; only what is a duplicate is told as soon as it is read. Whatever happens to the processes
meanwhile, the history must tell just that. The world audits the log and compares memory with a restore,
as in every test of the engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_center.engine import intake
from event_center.engine.ledger import Ledger
from event_center.engine.plan import EngineLimits
from event_center.failpoint import Step
from event_center.log.memory import Ending
from event_center.log.port import Cut
from event_center.plugins.context import Context
from event_center.testing.virtual_time import VirtualLoop
from tests.engine.world import World

MACHINE = """
machine: m
version: 1
initial: open
data: {n: 0, goes: 0, made: 0}
retries:
  default: {max_attempts: 1000, interval: 50ms, backoff_rate: 1}
states:
  open:
    invoke: {do: make, on_done: {assign: {made: =data.made + 1}}}
    on:
      add: {assign: {n: =data.n + 1}}
      look: {actions: look, assign: {n: =data.n + 10}}
      go: {target: busy, assign: {goes: =data.goes + 1}}
      end: closed
  busy: {entry: [work, {do: more, eager: true}], on_done: open}
  closed: {type: final}
"""
WORKFLOWS = ("w0", "w1", "w2")
ADDED = {"add": 1, "look": 10}


class Publish(NamedTuple):
    """An event, perhaps with an id that was seen before."""

    workflow_id: str
    event: str
    id: str | None


class Trouble(NamedTuple):
    """Something that happens to the processes, to the log, or by an operator."""

    kind: str
    argument: Any


STEPS = st.lists(
    st.one_of(
        st.builds(
            Publish,
            st.sampled_from(WORKFLOWS),
            st.sampled_from(("add", "add", "look", "go", "go", "end", "unheard")),
            st.none() | st.sampled_from("abc"),
        ),
        st.builds(Trouble, st.just("rest"), st.sampled_from((0.0, 0.001, 0.03, 0.4))),
        st.builds(Trouble, st.sampled_from(("crash", "join", "stop", "repeat")), st.none()),
        st.builds(Trouble, st.just("die"), st.sampled_from(Step)),
        st.builds(Trouble, st.just("commit"), st.sampled_from(Ending)),
        st.builds(Trouble, st.sampled_from(("pause", "resume")), st.sampled_from(WORKFLOWS)),
    ),
    max_size=40,
)


def expected(published: list[Publish]) -> dict[str, list[str]]:
    """What must become of every event, by workflow: each is decided once, in order."""
    told: dict[str, list[str]] = {}
    ended: set[str] = set()
    born: set[str] = set()
    seen: set[tuple[str, str | None]] = set()
    for workflow_id, event, number in published:
        mine = told.setdefault(workflow_id, [])
        if event != "unheard":
            born.add(workflow_id)
        if workflow_id not in born:
            mine.append(f"{event} rejected(unknown_workflow)")
            continue
        if number is not None and (workflow_id, number) in seen:
            mine.append(f"{event} duplicate")
            continue
        seen.add((workflow_id, number))
        if workflow_id in ended:
            mine.append(f"{event} rejected(finished)")
        elif event == "unheard":
            mine.append(f"{event} rejected(unknown_event)")
        else:
            mine.append(f"{event} applied")
            ended |= {workflow_id} if event == "end" else set()
    return told


class Run:
    """One history, while it happens."""

    def __init__(self, failures: list[bool]) -> None:
        self._failures = iter(failures)
        functions = dict.fromkeys(("look", "work", "more", "make"), self._callback)
        self.world = World((MACHINE, functions), shards=2, limits=EngineLimits(grace_s=0.2))
        self.published: list[Publish] = []

    async def _callback(self, ctx: Context) -> None:
        if next(self._failures, False):
            raise ConnectionError("nobody answers")
        await self.world.rest(0.01)

    async def do(self, step: Publish | Trouble) -> None:
        """One step; whatever it needs is there."""
        world = self.world
        if isinstance(step, Publish):
            self.published.append(step)
            world.send(step.workflow_id, step.event, id=step.id)
            return
        if not world.processes:
            await world.start()
        match step.kind:
            case "rest":
                await world.rest(step.argument)
            case "crash":
                world.crash()
            case "join":
                await world.start()
            case "stop":
                await world.stop()
            case "repeat":
                world.faults.repeats += 1
            case "die":
                world.die_at = step.argument
            case "commit":
                world.faults.commits.append(step.argument)
            case _:
                world.command(step.kind, step.argument, reason="a test")

    async def end(self) -> None:
        """The trouble is over, and operators let everything go on."""
        world = self.world
        world.die_at = None
        world.faults.commits.clear()
        world.faults.repeats = 0
        if not world.processes:
            await world.start()
        await world.rest(10)
        for workflow_id in WORKFLOWS:
            world.command("resume", workflow_id)
        await world.idle()


async def _happens(steps: list[Publish | Trouble], failures: list[bool]) -> None:
    run = Run(failures)
    async with run.world as world:
        for step in steps:
            await run.do(step)
        await run.end()
        told = {one: _decided(world, one) for one in {p.workflow_id for p in run.published}}
        model = expected(run.published)
        assert {one: _apart(lines) for one, lines in told.items()} == {
            one: _apart(lines) for one, lines in model.items()
        }
        for workflow_id, outcomes in told.items():
            names = [line.removesuffix(" applied") for line in outcomes if "applied" in line]
            if names:
                found = world.snapshot(workflow_id)
                total = sum(ADDED.get(name, 0) for name in names)
                made = _made(world, workflow_id)
                assert found.data == {"n": total, "goes": names.count("go"), "made": made}
                assert not found.jobs


def _made(world: World, workflow_id: str) -> int:
    """How often its job was done; it came to its end once for each time that it was owed (P3)."""
    told = [one for one in world.history(workflow_id, "run") if one["callback"] == "make"]
    ends = [one for one in told if one["outcome"] in {"done", "given_up"}]
    assert len({one["seq"] for one in ends}) == len(ends)
    moved = [one for one in world.history(workflow_id) if one["kind"] in {"created", "applied"}]
    entered = [one for one in moved if one["to"] == "open" != one["from"]]
    assert {one["seq"] for one in ends} == {one["seq"] for one in entered}
    return sum(one["outcome"] == "done" for one in ends)


def _decided(world: World, workflow_id: str) -> list[str]:
    """The outcomes of what was published, without those of commands."""
    return [line for line in world.outcomes(workflow_id) if not line.startswith(("@", "?"))]


def _apart(lines: list[str]) -> tuple[list[str], list[str]]:
    """What was decided, in its order; and the duplicates, in any."""
    duplicates = sorted(line for line in lines if line.endswith("duplicate"))
    return [line for line in lines if not line.endswith("duplicate")], duplicates


def happens(steps: list[Publish | Trouble], failures: list[bool]) -> None:
    """Let all this happen under virtual time, and compare what is durable with the model."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(_happens(steps, failures))


@given(STEPS, st.lists(st.booleans(), max_size=20))
def test_whatever_happens_each_event_counts_once_and_in_order(
    steps: list[Publish | Trouble], failures: list[bool]
) -> None:
    """P1, P2, P4, P8: outcomes and data are those of the model, whoever dies and whatever fails."""
    happens(steps, failures)


TWICE = [Publish("w0", "add", "a"), Publish("w0", "add", "a")]
OVERTAKEN = [
    Publish("w0", "go", None),
    Trouble("rest", 0.03),
    Publish("w0", "add", None),
    Trouble("rest", 0.03),
    Trouble("crash", None),
]


def _forgets_ids(patch: pytest.MonkeyPatch) -> None:
    """A mutation: no id is ever known."""
    patch.setattr(intake, "knows", lambda snapshot, event_id: False)


def _writes_no_waiting_entries(patch: pytest.MonkeyPatch) -> None:
    """A mutation: what waits is not durable."""
    build = Ledger.build

    def without(self: Ledger) -> Cut:
        cut = build(self)
        for key in [key for key in cut.entries if key.startswith(b"w:")]:
            del cut.entries[key]
        return cut

    patch.setattr(Ledger, "build", without)


@pytest.mark.parametrize(
    ("steps", "weakened"), [(TWICE, _forgets_ids), (OVERTAKEN, _writes_no_waiting_entries)]
)
def test_the_model_finds_out(
    steps: list[Publish | Trouble],
    weakened: Callable[[pytest.MonkeyPatch], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same history is as the model says with a protection, and is not without it."""
    failures = [True] * 20
    happens(steps, failures)
    weakened(monkeypatch)
    with pytest.raises((AssertionError, ExceptionGroup)):
        happens(steps, failures)
