"""Callbacks that cancel the asyncio task they run in: that is their own affair, and ends nobody else."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from tests.engine.world import World

MACHINE = """
machine: m
version: 1
initial: new
perpetual: true
states:
  new: {on: {begin: busy}}
  busy: {entry: {do: work, retry: none}, on: {next: other}}
  other: {on: {begin: busy}}
"""


@pytest.mark.parametrize("then", ["returns", "waits", "raises"])
async def test_a_callback_that_cancels_itself(then: str) -> None:
    """Its run ends as it says, and the runner goes on to the next one."""

    async def work(workflow_id: str) -> str:
        task = asyncio.current_task()
        assert task is not None
        if workflow_id == "a":
            task.cancel()
            if then == "waits":
                await anyio.sleep_forever()
            if then == "raises":
                raise OSError("no disk")
        return "next"

    async with World((MACHINE, {"work": work})) as world:
        for workflow_id in ("a", "b", "c"):
            world.send(workflow_id, "begin")
        await world.idle()
        done = then == "returns"
        assert world.state("a") == ("other" if done else "busy")
        [told] = world.history("a", "run")
        error = {"returns": None, "waits": "CancelledError", "raises": "OSError"}[then]
        assert (told["outcome"], told.get("error")) == ("done" if done else "failed", error)
        assert (world.state("b"), world.state("c")) == ("other", "other")


@pytest.mark.parametrize("late_s", [0.0, 0.01, 1.0])
async def test_a_callback_that_cancels_its_task_when_it_has_ended(late_s: float) -> None:
    """A timer that was forgotten ends nobody: what comes afterwards is run."""

    async def work(workflow_id: str) -> str:
        task = asyncio.current_task()
        assert task is not None
        if workflow_id == "a":
            asyncio.get_running_loop().call_later(late_s, task.cancel)
        return "next"

    async with World((MACHINE, {"work": work})) as world:
        world.send("a", "begin")
        await world.rest(10)
        for workflow_id in ("b", "c"):
            world.send(workflow_id, "begin")
        await world.idle()
        assert [world.state(one) for one in "abc"] == ["other"] * 3
