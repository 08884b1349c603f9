"""What a job gets beside a callback's context: a way to say that it is alive."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from event_center.errors import PluginError
from event_center.machine import parse
from event_center.model import Event, Snapshot
from event_center.plugins.callbacks import callbacks
from event_center.plugins.job import JobContext
from event_center.plugins.registry import resolve


class Heart:
    """Notes what it is told."""

    def __init__(self, *, goes_on: bool) -> None:
        self.goes_on = goes_on
        self.told: list[str] = []

    def beat(self, details: str) -> bool:
        self.told.append(details)
        return self.goes_on


def context(heart: Heart) -> JobContext:
    made = JobContext(Snapshot("w", "m", 1, "s"), Event("go"), "w/1/j")
    made.listens = heart
    return made


def test_a_heartbeat_is_told() -> None:
    """With its details, or without."""
    heart = Heart(goes_on=True)
    context(heart).heartbeat()
    context(heart).heartbeat("half of it")
    assert heart.told == ["", "half of it"]


def test_a_job_that_is_to_end_is_cancelled() -> None:
    """As by an await: `except Exception` does not keep it."""
    with pytest.raises(asyncio.CancelledError):
        context(Heart(goes_on=False)).heartbeat()


def test_details_are_a_text() -> None:
    """They stand in an error: anything else is refused where it is given."""
    number: Any = 7
    with pytest.raises(PluginError, match="the details of a heartbeat are a text, not int"):
        context(Heart(goes_on=True)).heartbeat(number)


MACHINE = """\
machine: film
version: 1
initial: asked
states:
  asked: {entry: note, invoke: {do: render, on_done: done}}
  done: {type: final}
"""


def test_a_job_is_bound_by_its_name() -> None:
    """`.job` implements it, by its name or that of the function."""
    film = callbacks("film")

    @film.job
    async def render(ctx: JobContext) -> str:
        return ctx.state

    @film.action("note")
    async def note() -> None: ...

    assert resolve(parse(MACHINE), [film]).callback("render").function is render


def test_a_missing_job_is_said_with_its_place() -> None:
    """And with how to write it; what is no job is not one by being called so."""
    film = callbacks("film")

    @film.job("note")
    async def note() -> None: ...

    with pytest.raises(PluginError) as raised:
        resolve(parse(MACHINE, "film.yaml"), [film])
    text = str(raised.value)
    assert "film.yaml:5:32: nobody implements the job 'render' of machine 'film'" in text
    assert '.job("render")`' in text
    assert "nobody implements the callback 'note'" in text
