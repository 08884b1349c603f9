"""`TestCenter`: the real engine under virtual time, in whatever loop a test has."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from event_center import Context, Event, Notice, callbacks
from event_center.errors import (
    ConfigurationError,
    NoSuchWorkflow,
    PluginError,
    Standstill,
    UnknownTopic,
    Unsettled,
)
from event_center.machine import parse
from event_center.testing import TestCenter
from tests.waiting import PATIENCE_S

ROOT = Path(__file__).parents[2]
ORDER = ROOT / "machines/order.yaml"
PINGING = """
machine: pinging
version: 1
initial: off
states:
  "off": {on: {begin: "on"}}
  "on":
    entry: {do: ping, timeout: 5s, retry: {max_attempts: 3, interval: 10s, jitter: none}}
    on: {pong: done}
    on_error: failed
  done: {type: final, result: success}
  failed: {type: final, result: failure}
"""


async def test_a_day_takes_no_time() -> None:
    """A timer fires when its time has passed, not before, and a day is a moment of the test's."""
    began = time.process_time()
    async with TestCenter(ORDER, fakes={"start_processing": None}) as center:
        await center.publish("o-1", "flow_begin")
        await center.advance("23h")
        assert center.workflow("o-1").state == "running"
        await center.advance("1h")
        assert center.workflow("o-1").state == "error"
        assert center.now.isoformat() == "2026-01-02T00:00:00+00:00"
        await center.advance("30d")
    assert time.process_time() - began < 5.0  # if somebody looked each second, it were a minute


async def test_retries_need_no_time_either() -> None:
    """What `settle` waits for has ended: all attempts, with the pauses between them."""
    answers = [RuntimeError("1"), RuntimeError("2"), "pong"]
    async with TestCenter(parse(PINGING), fakes={"ping": answers}) as center:
        await center.publish("p", "begin")
        assert center.workflow("p").state == "done"
        calls = center.calls("ping")
        assert [call.attempt for call in calls] == [1, 2, 3]
        assert [str(call.error) for call in calls[:2]] == ["1", "2"]
        assert [(call.at_ms - calls[0].at_ms) // 10_000 for call in calls] == [0, 1, 3]
        assert {call.key for call in calls} == {"p/1/ping"}


async def test_what_hangs_times_out() -> None:
    """A callback that never ends is ended by its timeout, in virtual time, and then given up."""

    async def ping() -> None:
        await anyio.sleep_forever()

    async with TestCenter(parse(PINGING), fakes={"ping": ping}) as center:
        await center.publish("p", "begin")
        assert center.workflow("p").state == "failed"
        assert [type(call.error) for call in center.calls()] == [asyncio.CancelledError] * 3


async def test_plain_functions_are_waited_for() -> None:
    """While a plain function runs in its thread no time is skipped: it does not time out."""

    def ping() -> str:
        threading.Event().wait(0.06)  # longer than the sweep that would see it late
        return "pong"

    async with TestCenter(parse(PINGING), fakes={"ping": ping}) as center:
        await center.publish("p", "begin")
        assert center.workflow("p").state == "done"
        assert len(center.calls()) == 1


async def test_what_talks_to_a_socket_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A callback that asks a server, also a slow one, gets its answer before its timeout."""
    # As long as a busy machine may take for the answer.
    monkeypatch.setattr("event_center.testing.virtual_time.OUTSIDE_S", PATIENCE_S)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        threading.Timer(0.05, loop.call_soon_threadsafe, [writer.write, b"pong\n"]).start()
        await reader.read()
        writer.close()

    async def ping() -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"ping\n")
        answer = await reader.readline()
        writer.close()
        return answer.decode().strip()

    loop = asyncio.get_running_loop()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, TestCenter(parse(PINGING), fakes={"ping": ping}) as center:
        await center.publish("p", "begin")
        assert center.workflow("p").state == "done"


async def test_a_crash_forgets_what_is_not_durable() -> None:
    """What a callback did before the crash is not known after it: it runs again with its key."""

    async def ping(ctx: Context) -> str:
        if len(center.calls()) == 1:
            center.crash()
        return "pong"

    async with TestCenter(parse(PINGING), fakes={"ping": ping}) as center:
        await center.publish("p", "begin")
        assert center.workflow("p").state == "on"
        await center.publish("q", "begin")
        with pytest.raises(NoSuchWorkflow, match="no workflow 'q'"):
            center.workflow("q")
        await center.start()
        assert [center.workflow(one).state for one in "pq"] == ["done", "done"]
        assert [call.key for call in center.calls()] == ["p/1/ping", "p/1/ping", "q/1/ping"]
        with pytest.raises(Unsettled, match="the center runs"):
            await center.start()


async def test_what_is_sent_is_seen() -> None:
    """What callbacks publish and emit, letters and history are there to be looked at."""

    async def ping(ctx: Context) -> str:
        ctx.publish("mails", {"to": ctx.workflow_id})
        ctx.emit("begin", workflow_id="p-2", machine="pinging")
        return "pong"

    settings = {"publish": {"topics": ["mails"]}}
    async with TestCenter(parse(PINGING), fakes={"ping": ping}, settings=settings) as center:
        await center.publish("p-1", "begin", settle=False)
        await center.publish_record(b"no json", key="p-1")
        assert [one.body for one in center.emitted("mails")] == [{"to": "p-1"}, {"to": "p-2"}]
        assert center.emitted("mails")[0].key == "p-1"
        assert [one.body["event"] for one in center.emitted()] == ["begin", "begin"]
        assert [one.reason for one in center.letters] == ["undecodable"]
        assert [one["to"] for one in center.history("p-1")][:3] == ["off", "on", None]
        assert {one.workflow_id for one in center.workflows()} == {"p-1", "p-2"}
        with pytest.raises(UnknownTopic, match="no topic 'mail'; did you mean 'mails'"):
            center.emitted("mail")
        assert "p-1: pinging is in done (final, success)" in center.told()


async def test_an_event_that_made_no_workflow_is_told() -> None:
    """Whoever looks for a workflow that was not made reads what became of the event for it."""
    async with TestCenter(parse(PINGING), fakes={"ping": ["pong"]}) as center:
        await center.publish("p-1", "begn")
        with pytest.raises(
            NoSuchWorkflow, match=r"no workflow 'p-1'; 'begn' was rejected \(unknown_"
        ):
            center.workflow("p-1")
        with pytest.raises(NoSuchWorkflow, match=r"no workflow 'p-2'$"):
            center.workflow("p-2")
        assert center.told().startswith("p-1: there is no such workflow\n")
        assert "begn" in center.told()


async def test_the_settings_are_those_of_the_daemon() -> None:
    """A settings file brings its machines, plugins and topics, each with its rules."""
    config = ROOT / "config/event-center.toml"
    async with TestCenter(config=config) as center:
        await center.publish("o", "flow_begin", {"card": "declined"}, topic="orders")
        assert center.workflow("o").data["reason"] == "the card was declined"
        with pytest.raises(UnknownTopic, match="say which topic"):
            await center.publish("o", "flow_begin")
        with pytest.raises(UnknownTopic, match="did you mean 'orders'"):
            await center.publish("o", "flow_begin", topic="order")
    with pytest.raises(ConfigurationError, match="machines or a config, not both"):
        async with TestCenter(ORDER, config=config):
            pass


async def test_plugins_of_the_test_itself() -> None:
    """Callbacks of the test's own take the place of those beside the machine, with their lifespan."""
    said: list[str] = []
    order = callbacks("order")

    @order.lifespan
    @asynccontextmanager
    async def held() -> AsyncIterator[None]:
        said.append("open")
        yield
        said.append("closed")

    @order.entry("running")
    async def start_processing() -> Event:
        said.append("called")
        return Event("process_error", {"message": "mine"})

    async with TestCenter(ORDER, plugins=[order]) as center:
        await center.publish("o", "flow_begin")
        assert center.workflow("o").data == {"reason": "mine"}
    assert said == ["open", "called", "closed"]


async def test_fakes_have_known_names() -> None:
    """A fake for nobody is an error that says which name was meant."""
    with pytest.raises(PluginError, match="did you mean 'start_processing'"):
        async with TestCenter(ORDER, fakes={"start_procesing": None}):
            pass


async def test_time_is_real_again() -> None:
    """After a center the loop has its own time again, which has not gone back."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with TestCenter(ORDER) as center:
        await asyncio.sleep(100)
        assert loop.time() - began >= 100
        await center.advance(100)
    passed = loop.time() - began
    assert passed >= 200
    await asyncio.sleep(0.001)
    assert loop.time() - began - passed < 50


async def test_an_error_of_a_lifespan_comes_out() -> None:
    """A plugin that can not be opened says so where the center is entered, and a new one can start."""
    order = callbacks("order")

    @order.entry("running")
    async def start_processing() -> None: ...

    @order.lifespan
    @asynccontextmanager
    async def held() -> AsyncIterator[None]:
        raise OSError("no such host")
        yield

    with pytest.raises(OSError, match="no such host"):
        async with TestCenter(ORDER, plugins=[order]):
            pass
    async with TestCenter(ORDER) as center:
        await center.settle()


def test_what_waits_for_ever_is_told() -> None:
    """A test that waits for what nobody will do ends with a sentence instead of hanging."""

    async def waiting() -> None:
        async with TestCenter(ORDER):
            await asyncio.Event().wait()

    with pytest.raises(Standstill, match="this would hang for ever"):
        asyncio.run(waiting())


async def test_retries_without_end_are_told() -> None:
    """What does not come to rest in a week is told, with the callbacks' names."""
    endless = PINGING.replace(
        "max_attempts: 3, interval: 10s", "max_attempts: 999, interval: 1d, max_delay: 1d"
    )
    machine = parse(endless)
    async with TestCenter(machine, fakes={"ping": RuntimeError("no")}) as center:
        with pytest.raises(Unsettled, match="wait for an attempt: 'p'"):
            await center.publish("p", "begin")


POLLING = """
machine: polling
version: 1
initial: idle
states:
  idle: {on: {begin: busy}}
  busy:
    invoke: {do: poll, timeout: 1d, on_done: {target: over, assign: {said: =payload}}}
    after: {1d: over}
  over: {type: final, result: success}
data: {said: null}
"""


async def test_jobs_need_their_time() -> None:
    """A job that ends at once is settled; one that takes 20 hours has ended when these have passed."""
    async with TestCenter(parse(POLLING), fakes={"poll": "ready"}) as center:
        await center.publish("j", "begin")
        assert center.workflow("j").data == {"said": "ready"}

    async def poll() -> str:
        await anyio.sleep(20 * 3_600)
        return "late"

    async with TestCenter(parse(POLLING), fakes={"poll": poll}) as center:
        await center.publish("j", "begin")
        assert center.workflow("j").state == "busy"
        began = time.process_time()
        await center.advance("19h")
        assert center.workflow("j").state == "busy"
        await center.advance("1h")
        assert center.workflow("j").data == {"said": "late"}
        assert time.process_time() - began < 5.0  # looked at every 50 ms, it were a minute


async def test_operators_and_listeners() -> None:
    """Commands are decided and answered; listeners of plugins hear of what happened."""
    heard: list[str] = []
    order = callbacks("order")

    @order.on_final
    async def on_final(notice: Notice) -> None:
        heard.append(notice.workflow_id)

    @order.entry("running")
    async def start_processing() -> None: ...

    async with TestCenter(ORDER, plugins=[order]) as center:
        await center.publish("o", "flow_begin")
        told = await center.command("cancel", "o", reason="by mistake")
        assert told is not None
        assert told["outcome"] == "applied"
        assert center.workflow("o").result == "cancelled"
        with pytest.raises(ValueError, match="cancle"):
            await center.command("cancle", "o")
        center.crash()
        assert await center.command("forget", "o") is None
    assert heard == ["o"]


def test_other_loops_are_refused() -> None:
    """uvloop, which has its clock elsewhere, and trio get a sentence."""

    async def entered() -> None:
        async with TestCenter(ORDER):
            pass

    uvloop = pytest.importorskip("uvloop")
    with pytest.raises(ConfigurationError, match="leave uvloop out"):
        uvloop.run(entered())
    with pytest.raises(ConfigurationError, match="runs on asyncio"):
        entered().send(None)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_anyios_plugin_runs_it_too(anyio_backend: str) -> None:
    """The tests of anyio's own plugin have the same time."""
    async with TestCenter(ORDER) as center:
        with anyio.move_on_after(10) as scope:
            await anyio.sleep_forever()
        assert scope.cancelled_caught
        await center.publish("o", "flow_begin")
        assert center.workflow("o").state == "completed"
