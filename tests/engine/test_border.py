"""The border around user code: what a callback changes, raises or returns harms nothing but its attempt."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from event_center.engine.attempt import delay_ms, failure_of
from event_center.engine.workflow import Workflows
from event_center.errors import FormatError, RetryLater
from event_center.machine.decision import Retry
from event_center.model import Event, Snapshot
from event_center.plugins.context import Context
from event_center.wire.snapshot import encode
from tests.engine.script import Script, emits
from tests.engine.test_effects import world_with
from tests.engine.world import World

LONGEST_MS = 366 * 86_400_000


class Misled(RetryLater):
    """Forgets to call the constructor that it has inherited."""

    def __init__(self) -> None:
        pass


class Moody(RetryLater):
    """Says something else than a number when it is asked for its delay."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    @property
    def delay_s(self) -> Any:  # type: ignore[override]  # on purpose
        """What a test gave, or raises it."""
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


class Mute:
    """Can not be shown."""

    def __repr__(self) -> str:
        raise SystemExit(4)


class Loud(str):
    """A text that is not what it says."""

    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError("no")

    def __getitem__(self, _key: Any) -> str:
        raise RuntimeError("no")


def _spoil(ctx: Context) -> str:
    ctx.payload["price"] = Decimal("1.2")
    ctx.event.payload.pop("card", None)
    ctx.event.name = "other"
    ctx.data["result"] = object()
    raise ValueError(ctx.attempt)


async def test_what_a_callback_does_to_its_event_is_gone_with_the_attempt() -> None:
    """Each attempt finds the payload as it was published, before and after a takeover."""
    seen: list[tuple[str, Any]] = []

    def look(ctx: Context) -> str:
        seen.append((ctx.event.name, dict(ctx.payload)))
        return _spoil(ctx)

    work = Script(look, look, look)
    async with world_with(work=work) as world:
        world.send("w", "go", {"card": "x"})
        await world.rest(0.2)
        cause = world.snapshot("w").cause
        assert cause is not None
        assert (cause.name, cause.payload) == ("go", {"card": "x"})
        await world.crash_and_recover()
        await world.idle()
        assert seen == [("go", {"card": "x"})] * 3
        assert world.state() == "gone"


@pytest.mark.parametrize(
    "step",
    [
        Misled(),
        Moody("soon"),
        Moody(None),
        Moody(KeyError("delay_s")),
        Moody(float("nan")),
        lambda _: RetryLater(timedelta(0), "no error, but a result"),
        lambda _: RetryLater("5"),  # type: ignore[arg-type]  # on purpose
        lambda _: Mute(),
        lambda _: [Mute()],
        lambda _: Loud(""),
        lambda _: Event("done", {"x": Mute()}),
        lambda _: "@after/3d",
        lambda _: Event("@done"),
        lambda ctx: ctx.emit(ctx.event.name + "\udcff"),
        lambda ctx: setattr(ctx, "emitted", 5),
        lambda ctx: setattr(ctx, "emitted", ["go"]),
        lambda ctx: ctx.publish("outside", 1, headers={7: b""}),
        emits("@error"),
        emits("go", id={}),
        ValueError(Loud("x")),
    ],
)
async def test_odd_ends_of_a_callback_are_failed_attempts(step: Any) -> None:
    """Three attempts, then `on_error`: nothing of it reaches the engine as an error of its own."""
    work = Script(step, step, step)
    async with world_with(work=work) as world:
        world.send("w", "go")
        world.send("other", "double")
        await world.idle()
        assert work.attempts == [1, 2, 3]
        assert world.state() == "gone"
        assert world.state("other") == "idle"


async def test_a_context_that_was_changed_changes_no_record() -> None:
    """Attempt and key of the history are those of the run, whatever its callback wrote over them."""

    def change(ctx: Context) -> None:
        ctx.attempt = "first"  # type: ignore[assignment]  # on purpose
        with suppress(AttributeError):
            ctx.idempotency_key = "other"  # type: ignore[misc]  # on purpose
        ctx.workflow_id = "elsewhere"
        raise ValueError

    async with world_with(work=Script(change, change, "done")) as world:
        world.send("w", "go")
        await world.idle()
        assert world.runs() == ["work 1 failed", "work 2 failed", "work 3 done"]
        assert {told["key"] for told in world.history("w", "run")} == {"w/1/work"}


async def test_what_was_emitted_is_what_it_was_when_its_callback_returned() -> None:
    """A payload that a later callback of the same transition changes leaves as it was checked."""
    shared: dict[str, Any] = {"n": 1}
    machine = """
    machine: m
    version: 1
    initial: idle
    perpetual: true
    states: {idle: {on: {go: {actions: [tell, spoil]}, told: {}}}}
    """
    functions = {
        "tell": Script(emits("told", shared)),
        "spoil": Script(lambda _: shared.update(n=object())),
    }
    async with World((machine, functions)) as world:
        world.send("w", "go")
        await world.idle()
        assert world.outcomes("w") == ["go applied", "told applied"]
        [sent] = world.records("app.inbox")
        assert orjson.loads(sent.value or b"")["payload"] == {"n": 1}


async def test_no_record_is_a_timer() -> None:
    """P7: events with names of the center's own become dead letters, whoever publishes them."""
    machine = """
    machine: m
    version: 1
    initial: idle
    perpetual: true
    states: {idle: {on: {go: wait}}, wait: {after: {3d: late}}, late: {}}
    """
    async with World(machine) as world:
        world.send("w", "go")
        for name in ("@after/3d", "@done", "@error"):
            world.send("w", name)
            world.send("new", name)
        await world.idle()
        assert world.state() == "wait"
        assert not world.exists("new")
        letters = world.letters()
        assert [letter.reason for letter in letters] == ["undecodable"] * 6
        assert "begin with @" in (letters[0].message or "")


@given(
    st.integers(1, 10**6),
    st.builds(
        Retry,
        max_attempts=st.just(10**7),
        interval_ms=st.integers(0, 2**53),
        backoff_rate=st.floats(1, 2.0**64),
        max_delay_ms=st.integers(0, 2**53),
        jitter=st.sampled_from(["none", "full"]),
        errors=st.just(()),
    ),
)
def test_every_attempt_has_a_delay(attempt: int, retry: Retry) -> None:
    """Attempts 1 to a million: between nothing and the policy's longest delay, and never an error."""
    delay = delay_ms(retry, attempt, ValueError(), "k")
    assert delay is not None
    assert 0 <= delay <= retry.max_delay_ms
    if attempt > 1 and retry.jitter == "none":
        former = delay_ms(retry, attempt - 1, ValueError(), "k")
        assert former is not None
        assert former <= delay


@pytest.mark.parametrize(
    ("asked", "ms"),
    [
        (5, 5_000),
        (0.25, 250),
        (timedelta(minutes=1), 60_000),
        (-1, 0),
        (float("nan"), 0),
        (float("inf"), LONGEST_MS),
        (timedelta.max, LONGEST_MS),
    ],
)
def test_retry_later_takes_seconds_or_a_timedelta(asked: Any, ms: int) -> None:
    """Both mean the same; the longest delay is a year."""
    assert delay_ms(Retry(), 1, RetryLater(asked), "k") == ms


def test_only_the_named_errors_are_tried_again() -> None:
    """A policy with `errors` gives up at once on others; what asks for another try itself gets it."""
    retry = Retry(errors=("TimeoutError",))
    assert delay_ms(retry, 1, TimeoutError(), "k") == retry.interval_ms
    assert delay_ms(retry, 1, KeyError("x"), "k") is None
    assert delay_ms(Retry(), 1, KeyError("x"), "k") == retry.interval_ms
    assert delay_ms(retry, 1, RetryLater(2), "k") == 2_000


def test_retry_later_says_what_it_takes() -> None:
    """Anything else is refused where it is written, in the callback, with what to write instead."""
    with pytest.raises(TypeError, match=r"takes seconds or a timedelta, not str; write"):
        RetryLater("5 s")  # type: ignore[arg-type]  # on purpose


def test_the_text_of_an_error_is_plain() -> None:
    """A message of the user's own kind of text is cut like any other."""
    assert failure_of("work", ValueError(Loud("x" * 5_000)), 0, 1).message


async def test_the_log_tells_what_failed_and_what_stands_still() -> None:
    """Each failed attempt and each parked workflow, with file and line of the callback."""

    def mourn() -> None:
        raise OSError("no tears")

    with capture_logs() as logs:
        async with world_with(work=Script(*[ValueError("no")] * 3), mourn=mourn) as world:
            world.send("w", "go")
            await world.idle()
    told = [entry for entry in logs if entry["event"] in {"run.failed", "workflow.parked"}]
    assert [(one["event"], one["callback"], one.get("attempt")) for one in told] == [
        *[("run.failed", "work", attempt) for attempt in (1, 2, 3)],
        *[("run.failed", "mourn", attempt) for attempt in (1, 2, 3)],
        ("workflow.parked", "mourn", None),
    ]
    assert [one.get("again_in_ms") for one in told[3:]] == [1_000, 2_000, None, None]
    assert told[3].items() >= {"error": "OSError", "message": "no tears"}.items()
    assert told[-1].items() >= {"log_level": "error", "why": "failed", "workflow_id": "w"}.items()
    assert all("test_border.py:" in one["where"] for one in told[3:])


async def test_a_payload_of_great_depth_is_a_letter_and_stops_nobody() -> None:
    """What can be read but not be written again is refused at the door (P1, P8)."""
    async with World(DEEP) as world:
        deep = b"[" * 300 + b"]" * 300
        text = b'{"workflow_id": "w-1", "event": "go", "payload": %b}'
        world.put(text % deep, partition=0)
        world.put(text % (b'{"text": "%b"}' % (b"[" * 300)), partition=0)
        await world.idle()
        assert len(world.letters()) == 1
        assert world.state("w-1") == "b"


DEEP = """
machine: deep
version: 1
initial: a
perpetual: true
states:
  a: {on: {go: b}}
  b: {on: {go: a}, after: {1d: a}}
"""


def test_a_workflow_whose_waiting_events_are_damaged_stands_alone() -> None:
    """Its waiting entries do not fit its snapshot: nothing overtakes them, and nobody else stops."""
    workflows = Workflows("shard 0")
    workflows.unreadable["w"] = "its waiting entries do not fit"
    value, _ = encode(Snapshot("w", "deep", 1, "a"))
    workflows.by_id["w"] = value
    with pytest.raises(FormatError, match="do not fit"):
        workflows.live("w")
    assert workflows.by_id["w"] == value
