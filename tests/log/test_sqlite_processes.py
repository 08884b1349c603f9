"""The embedded log and the processes of a machine: publishers, kill -9, locks, wake-up."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from event_center.errors import LogInUse, LogUnavailable
from event_center.log.sqlite import DaemonLock, SqliteLog, open_sqlite
from event_center.log.sqlite.presence import is_alive
from event_center.model import Outgoing, Shard
from tests.log.harness import clock, joined, puts, records_of
from tests.waiting import PATIENCE_S, until

ROOT = Path(__file__).resolve().parents[2]
PUBLISHER = Path(__file__).with_name("publisher.py")


def start(*command: str) -> subprocess.Popen[str]:
    """A Python process of this project; one that reads its stdin waits for the end of the test."""
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def let_go(process: subprocess.Popen[str]) -> None:
    """Close the pipes to a process that has ended."""
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()


def member_files(folder: Path) -> list[Path]:
    """The lock files of the members of a group."""
    return list(folder.glob("*-member-*"))


async def opened(path: Path) -> SqliteLog:
    """The log that the publishers write to."""
    log = await open_sqlite(path, clock=clock)
    await log.create({"orders": 1})
    return log


async def test_many_publishers(tmp_path: Path) -> None:
    """Many processes that publish at once lose nothing, write nothing twice, keep their order."""
    log = await opened(tmp_path / "log.db")
    async with await joined(log, ["orders"], 1) as member:
        await member.has(0)
        running = [start(str(PUBLISHER), log.path, f"p{n}", "50", "10") for n in range(4)]
        fetched = await member.fetched(2_000)
        for process in running:
            assert await asyncio.to_thread(process.wait, PATIENCE_S) == 0
            assert process.stdout is not None
            let_go(process)
    found = await records_of(log, "orders")
    assert [record for batch in fetched for record in batch.records] == found
    assert [record.offset for record in found] == list(range(2_000))
    for n in range(4):
        mine = [record.value for record in found if record.key == b"p%d" % n]
        assert mine == [b"%d" % number for number in range(500)]
    await log.close()


async def test_killed_publisher(tmp_path: Path) -> None:
    """After kill -9 every acknowledged batch is there, no batch is in part, and others write on."""
    log = await opened(tmp_path / "log.db")
    process = start(str(PUBLISHER), log.path, "victim", "100000", "7")
    assert process.stdout is not None
    acknowledged = [await asyncio.to_thread(process.stdout.readline) for _ in range(20)]
    process.send_signal(signal.SIGKILL)
    rest = await asyncio.to_thread(process.stdout.read)
    await asyncio.to_thread(process.wait, PATIENCE_S)
    let_go(process)
    durable = int((acknowledged + [line for line in rest.split("\n") if line])[-1])
    found = await records_of(log, "orders")
    assert len(found) >= durable
    assert len(found) % 7 == 0
    assert [record.value for record in found] == [b"%d" % number for number in range(len(found))]
    (position,) = await log.publish([Outgoing("orders", b"k", b"after")])
    assert position.offset == len(found)
    await log.close()


async def test_wake_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What another process publishes is fetched when it comes, at whatever moment that is, and not when the
    fetch would have ended by itself: here none does before the test gives up.
    """
    monkeypatch.setattr("event_center.log.sqlite.group.FETCH_WAIT_S", 10 * PATIENCE_S)
    log = await opened(tmp_path / "log.db")
    other = await open_sqlite(log.path, clock=clock)
    async with await joined(log, ["orders"], 1) as member:
        await member.has(0)
        for number in range(15):
            async with asyncio.TaskGroup() as tasks:
                fetching = tasks.create_task(member.fetched(1))
                for _ in range(number % 5):  # at another moment of the reader's rounds
                    await other.create({"orders": 1})
                await other.publish([Outgoing("orders", b"k", b"%d" % number)])
                await fetching
    await other.close()
    await log.close()


class TestDaemonLock:
    def test_second_daemon(self, tmp_path: Path) -> None:
        """A second daemon is refused, and told who holds the lock; a released one is free."""
        path = tmp_path / "log.db"
        refused = pytest.raises(LogInUse, match=rf"process {os.getpid()} on .*2026-01-02")
        with DaemonLock(path, since="2026-01-02T03:04:05Z"), refused:
            DaemonLock(path).acquire()
        second = DaemonLock(path)
        second.acquire()
        second.release()
        second.release()

    def test_killed_daemon(self, tmp_path: Path) -> None:
        """The lock of a daemon that was killed is free."""
        path = tmp_path / "log.db"
        program = (
            "import sys; from event_center.log.sqlite import DaemonLock;"
            "DaemonLock(sys.argv[1]).acquire(); print('held', flush=True); sys.stdin.read()"
        )
        process = start("-c", program, str(path))
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(LogInUse, match=f"process {process.pid} "):
            DaemonLock(path).acquire()
        process.kill()
        process.wait()
        let_go(process)
        with DaemonLock(path):
            pass

    def test_unwritten(self, tmp_path: Path) -> None:
        """A lock whose holder has not written who it is refuses all the same."""
        path = tmp_path / "log.db"
        with DaemonLock(path):
            (tmp_path / "log.db.lock").write_bytes(b"")
            with pytest.raises(LogInUse, match="not written"):
                DaemonLock(path).acquire()

    def test_no_directory(self, tmp_path: Path) -> None:
        """A lock that cannot be written says where."""
        with pytest.raises(LogUnavailable, match="nowhere"):
            DaemonLock(tmp_path / "nowhere" / "log.db").acquire()

    async def test_publishers_need_no_lock(self, tmp_path: Path) -> None:
        """A process that publishes opens the log beside the daemon's lock."""
        path = tmp_path / "log.db"
        with DaemonLock(path):
            log = await opened(path)
            assert len(await log.publish([Outgoing("orders", b"k", b"v")])) == 1
            await log.close()


class TestMembers:
    async def test_killed_member(self, tmp_path: Path) -> None:
        """The shards of a process that was killed go to the next one, and its lock file goes."""
        path = tmp_path / "log.db"
        log = await opened(path)
        program = (
            "import asyncio, sys\n"
            "from event_center.log.sqlite import open_sqlite\n"
            "async def main():\n"
            "    log = await open_sqlite(sys.argv[1], clock=lambda: 1)\n"
            "    group = await log.join(['orders'], 2)\n"
            "    for _ in range(2): print(await group.changes(), flush=True)\n"
            "    await asyncio.to_thread(sys.stdin.read)\n"
            "asyncio.run(main())\n"
        )
        process = start("-c", program, str(path))
        assert process.stdout is not None
        for _ in range(2):
            await asyncio.to_thread(process.stdout.readline)
        async with await joined(log, ["orders"], 2) as member:
            process.kill()
            await asyncio.to_thread(process.wait, PATIENCE_S)
            let_go(process)
            await member.has(0, 1)
        assert len(member_files(tmp_path)) == 1
        await log.close()
        assert member_files(tmp_path) == []

    async def test_lost_lock_file(self, tmp_path: Path) -> None:
        """A member whose lock file was removed loses its shards and gets a new place."""
        path = tmp_path / "log.db"
        log, other = await opened(path), await open_sqlite(path, clock=clock)
        async with await joined(log, ["orders"], 2) as first:
            await first.has(0, 1)
            (file,) = member_files(tmp_path)
            name = file.name.rpartition("-")[2]
            assert is_alive(str(path), name)
            file.unlink()
            async with await joined(other, ["orders"], 2) as second:
                await until(lambda: len(first.leases) == 1 == len(second.leases))
                assert set(first.leases) | set(second.leases) == {0, 1}
        await other.close()
        await log.close()

    async def test_handover_in_time(self, tmp_path: Path) -> None:
        """A member that does not release what was revoked loses it after the handover timeout."""
        path = tmp_path / "log.db"
        log = await opened(path)
        other = await open_sqlite(path, clock=clock, handover_timeout_s=0.05)
        async with await joined(log, ["orders"], 2) as first:
            await first.has(0, 1)
            first.holding = True
            held = dict(first.leases)
            async with await joined(other, ["orders"], 2) as second:
                await second.owns(1)
                (moved,) = second.leases
                with pytest.raises(Exception, match="leased again"):
                    await held[moved].commit(puts({b"a": b"1"}))
                await held[Shard(1 - moved)].commit(puts({b"a": b"1"}))
        await other.close()
        await log.close()
