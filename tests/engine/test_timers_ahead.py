"""Timers that are due between two attempts of a run: ahead of the queue, and of nothing else."""

from __future__ import annotations

from event_center.errors import RetryLater
from tests.engine.script import HOLD, Script
from tests.engine.world import World


def machine_of(after: str) -> str:
    """A machine whose callback is tried again much later, with these timers meanwhile."""
    return f"""
        machine: m
        version: 1
        initial: idle
        perpetual: true
        data: {{n: 0}}
        states:
          idle: {{on: {{go: busy}}}}
          busy:
            entry: {{do: run, retry: {{max_attempts: 9, interval: 50h, max_delay: 50h, jitter: none}}}}
            on: {{add: {{assign: {{n: =data.n + 1}}}}}}
            after: {after}
          late: {{on: {{back: idle}}}}
    """


async def test_a_workflow_that_a_timer_parks_stays_where_it_is() -> None:
    """Parked: only commands move it, and not the timer behind the one that failed."""
    run = Script(HOLD)
    text = machine_of("{10m: {target: idle, guard: bad}, 20m: late}")
    async with World((text, {"run": run, "bad": lambda: 1 / 0})) as world:
        world.send("w", "go")
        await world.rest(1.0)
        await world.leap(0.5)
        run.let_go(RetryLater(3_600.0, "not now"))
        await world.rest(1.0)
        snapshot = world.snapshot("w")
        assert (snapshot.state, snapshot.status, snapshot.parked) == ("busy", "parked", "failed")
        assert [owed.name for owed in snapshot.owed] == ["run"]
        assert snapshot.failure is not None


async def test_a_timer_that_came_due_while_another_was_decided_is_not_forgotten() -> None:
    """It goes on once the other one is decided, not at the next attempt hours later."""
    ask = Script(HOLD)
    text = machine_of("{10m: {before: ask, assign: {n: =data.n + 1}}, 20m: late}")
    async with World((text, {"run": Script(ConnectionError()), "ask": ask})) as world:
        world.send("w", "go")
        await world.rest(1.0)
        await world.leap(0.2)
        assert len(ask.calls) == 1
        await world.leap(0.2)
        ask.let_go(None)
        await world.rest(1.0)
        assert world.snapshot("w").state == "late"
        assert world.snapshot("w").data == {"n": 1}


async def test_the_interval_of_a_decide_callback_is_kept_beside_other_timers() -> None:
    """Another timer that is due does not try again what failed before its time has come."""
    ask = Script(ConnectionError())
    text = machine_of(
        "{10m: {before: {do: ask, retry: {interval: 5h, max_delay: 5h, jitter: none}}, target: late},"
        " 30m: {assign: {n: =data.n + 1}, repeat: true}}"
    )
    async with World((text, {"run": Script(ConnectionError()), "ask": ask})) as world:
        world.send("w", "go")
        await world.rest(1.0)
        await world.leap(0.2)
        assert len(ask.calls) == 1
        for _ in range(8):
            await world.leap(0.5)
        assert len(ask.calls) == 1
        await world.leap(1.5)
        assert len(ask.calls) == 2
        assert world.snapshot("w").state == "late"
