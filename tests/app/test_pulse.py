"""The pulse of a center: what systemd hears of it, what its lock file says, and its troubles."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path

import anyio
import orjson
import pytest
from structlog.testing import capture_logs

from event_center import Center
from event_center.app.health import health_of, silence_s
from event_center.app.pulse import Pulse, Say
from event_center.app.systemd import Systemd
from event_center.errors import LogUnavailable
from event_center.log.sqlite import Daemon, daemon_on
from event_center.log.sqlite.lock import SIZE_BYTES, DaemonLock
from tests.waiting import PATIENCE_S, until

MACHINE = "machine: m\nversion: 1\ninitial: a\nperpetual: true\nstates: {a: {on: {go: a}}}\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A project with one machine and one topic."""
    (tmp_path / "m.yaml").write_text(MACHINE)
    path = tmp_path / "event-center.toml"
    path.write_text('machines = ["m.yaml"]\n[topics.t]\nmachine = "m"\n')
    return path


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A socket as systemd's."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(PATIENCE_S)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listening


async def heard(supervisor: socket.socket) -> dict[str, str]:
    """The next message."""
    message = await anyio.to_thread.run_sync(supervisor.recv, 4096)
    return dict(line.split("=", 1) for line in message.decode().splitlines())


async def test_systemd_hears_that_a_center_is_ready_lives_and_stops(
    config: Path, supervisor: socket.socket
) -> None:
    """READY once all shards are served, WATCHDOG with each beat, a status in words, STOPPING at last."""
    async with Center.open(config) as center, anyio.create_task_group() as tasks:
        tasks.start_soon(center.run)
        told = await heard(supervisor)
        while "READY" not in told:
            assert told["WATCHDOG"] == "1"
            told = await heard(supervisor)
        assert told["READY"] == "1"
        assert told["STATUS"] == "serving 1 of 1 shards; lag 0"
        await center.stop()
        while "STOPPING" not in told:
            told = await heard(supervisor)


@asynccontextmanager
async def beating(config: Path, say: Say | None, shards: int = 0) -> AsyncIterator[None]:
    """The quick pulse of a center that has not begun, so that all of no shards are served."""
    async with Center.open(config) as center, anyio.create_task_group() as tasks:
        with Systemd(os.environ) as systemd:
            pulse = Pulse(center._member, shards=shards, say=say, systemd=systemd, beat_s=0.0)
            tasks.start_soon(pulse.run)
            yield
            tasks.cancel_scope.cancel()


async def test_ready_is_said_once(config: Path, supervisor: socket.socket) -> None:
    """The beats after it say that the center lives, and how it is."""
    async with beating(config, None):
        assert (await heard(supervisor))["READY"] == "1"
        for _ in range(3):
            assert (await heard(supervisor)).keys() == {"WATCHDOG", "STATUS"}


async def test_nobody_has_to_listen(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A supervisor that is gone, or none at all, keeps a center from nothing."""
    for address in (str(tmp_path / "gone"), "@gone", ""):
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        async with Center.open(config) as center:
            await center.run(until_idle=True)


def test_a_value_stays_one_line() -> None:
    """What is told can not smuggle in another message; a name in the abstract namespace is one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0event-center-test")
        with Systemd({"NOTIFY_SOCKET": "@event-center-test"}) as systemd:
            systemd.tell(STATUS="a\nREADY=1")
        assert listening.recv(100) == b"STATUS=a READY=1"


async def test_the_lock_file_says_how_its_holder_is(config: Path, tmp_path: Path) -> None:
    """Whoever looks learns of shards, lag and limits; after the end, that nobody is there."""
    log = tmp_path / "event-center.db"
    async with Center.open(config) as center, anyio.create_task_group() as tasks:
        tasks.start_soon(center.run)
        await until(lambda: "serving" in daemon_on(log).said)
        found = daemon_on(log)
        assert found.alive
        assert (found.said["shards"], found.said["limits"]) == (1, [])
        assert silence_s(found.said) < PATIENCE_S
        await center.stop()
    assert not daemon_on(log).alive
    assert (tmp_path / "event-center.db.lock").stat().st_size == SIZE_BYTES


@pytest.mark.parametrize("looks", [True, False])
def test_a_daemon_that_hangs_is_told_by_its_silence(looks: bool) -> None:
    """Its process lives and its last words were well: only when they were said tells, and who looks."""
    last = {"serving": 1, "shards": 1, "limits": [], "monotonic_s": time.monotonic() - 60}
    found = health_of(
        Daemon(alive=True, said=last),
        {"lag": 0},
        1,
        max_silence_s=10.0 if looks else inf,
        max_lag=None,
    )
    assert [("stands still" in why) for why in found.reasons] == [True] * looks


def test_a_lock_file_that_is_no_object_says_nothing(tmp_path: Path) -> None:
    """What others wrote into it does no harm; one that can not be read is said."""
    path = tmp_path / "log.db"
    assert not daemon_on(path).alive
    for text in (b"[]", b"{", b""):
        (tmp_path / "log.db.lock").write_bytes(text)
        assert daemon_on(path).said == {}
    assert silence_s({}) == 0.0
    with pytest.raises(LogUnavailable, match="cannot read"):
        daemon_on(tmp_path / "log.db.lock" / "deeper")


async def test_a_pulse_that_can_not_be_written_is_said_once(config: Path) -> None:
    """The center goes on without it."""
    beats: list[int] = []

    def refuses(told: dict[str, object]) -> None:
        beats.append(len(told))
        raise LogUnavailable("asked for by a test")

    with capture_logs() as told:
        async with beating(config, refuses):
            await until(lambda: len(beats) > 5)
    assert [one["event"] for one in told].count("pulse.not_written") == 1


def said_of(path: Path, limits: list[dict[str, object]]) -> Daemon:
    """What is read back of a daemon that hangs, and has said these limits a minute ago."""
    told = {"monotonic_s": time.monotonic() - 60, "shards": 128, "serving": 128, "limits": limits}
    with DaemonLock(path) as lock:
        lock.say(told)
        assert Path(f"{path}.lock").stat().st_size == SIZE_BYTES
        return daemon_on(path)


@pytest.mark.parametrize("fits", [True, False])
def test_a_daemon_at_many_limits_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fits: bool
) -> None:
    """
    The last limits are left out of what it says, so that its shards are known, and its silence.

    In the twin, which cuts where the file ends, neither is known.
    """
    if not fits:
        monkeypatch.setattr(
            "event_center.log.sqlite.lock.fitted", lambda told, most: orjson.dumps(told)[:most]
        )
    limits = [{"limit": "log", "shard": one, "meaning": "m" * 230} for one in range(128)]
    daemon = said_of(tmp_path / "log.db", limits)
    found = health_of(daemon, {"lag": 0}, 128, max_silence_s=10.0, max_lag=None)
    assert any("stands still" in why for why in found.reasons) is fits
    said = daemon.said
    assert (said.get("pid"), said.get("serving")) == ((os.getpid(), 128) if fits else (None, None))
    kept = said.get("limits", [])
    assert kept == limits[: len(kept)]
    assert (len(kept) > 40) is fits
    assert said_of(tmp_path / "log.db", []).said["limits"] == [], "nothing is left of the long one"
