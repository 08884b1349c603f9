"""
One broker: a process with its data in a folder of its own.

Promises: `start` returns when it serves; ending it is bounded and ends only the process that was
started in this folder, also from another process. `cluster.py` runs several.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from scripts.broker import java
from scripts.broker.java import NoBroker
from scripts.broker.plan import SESSION_MS, Plan, free_ports

READY_S = 60.0
STOP_S = 20.0
AGAIN = ("--override", f"broker.session.timeout.ms={SESSION_MS}")
"""A controller that starts again grants the broker before it, who may have been killed, a session."""
LOGGING = """Configuration:
  status: ERROR
  Appenders:
    Console:
      name: STDOUT
      PatternLayout: {pattern: "[%d] %p %m (%c{1})%n"}
  Loggers:
    Root: {level: WARN, AppenderRef: [{ref: STDOUT}]}
"""


class Broker:
    """One broker and its data in one folder. It listens on 127.0.0.1 only."""

    def __init__(
        self, folder: Path, *, port: int = 0, plan: Plan | None = None, number: int = 1
    ) -> None:
        self.folder = folder
        self.number = number
        self._port = port
        self._plan = plan

    @property
    def bootstrap(self) -> str:
        """Its address."""
        return f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        """The process that was started in this folder, if it still runs."""
        try:
            pid = int((self.folder / "pid").read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        return pid if os.fsencode(self.folder) in command else None

    def start(self) -> None:
        """Format the folder if it is new, start the process and wait until it serves."""
        prepare(self.folder.parent)
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Format the folder if it is new, and start the process."""
        if not (self.folder / "server.properties").exists():
            self._format()
        self._run()

    def wait(self, brokers: int = 1) -> None:
        """Wait until it serves, and knows so many brokers."""
        self._wait_until(lambda: self._serves(brokers), READY_S, "did not serve")

    def stop(self) -> None:
        """End the process that was started here, by its id; the data stay."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def remove(self) -> None:
        """End the process and remove the data."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _format(self) -> None:
        (self.folder / "data").mkdir(parents=True)
        plan = self._plan or Plan(nodes=[free_ports(self._port)])
        told = plan.properties(self.number, self.folder / "data")
        lines = "".join(f"{key}={value}\n" for key, value in told.items())
        (self.folder / "log4j2.yaml").write_text(LOGGING)
        (self.folder / "port").write_text(str(plan.nodes[self.number - 1].plain))
        properties = self.folder / "new.properties"
        properties.write_text(lines)
        # In one word, because an id may begin with a dash.
        tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={plan.cluster_id}"]
        users = [] if plan.security is None else plan.security.format_options()
        command = self._java(*tool, "-c", str(properties), *users)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NoBroker(
                f"the broker's folder could not be formatted: {done.stdout}{done.stderr}"
            )
        properties.rename(self.folder / "server.properties")

    def _run(self, making: Path | None = None) -> None:
        self._port = int((self.folder / "port").read_text())
        told = [str(self.folder / "server.properties")]
        if (self.folder / "pid").exists():
            told += AGAIN
        with (self.folder / "broker.log").open("ab") as output:
            command = self._java("kafka.Kafka", *told, making=making)
            files = [
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, output.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, output.fileno(), 2),
            ]
            # It may outlive this process, which `subprocess` would complain of.
            pid = os.posix_spawnp(command[0], command, os.environ, file_actions=files, setsid=True)
        (self.folder / "pid").write_text(str(pid))
        # A process has no command line for a moment after its start, and none after its end.
        self._wait_until(
            lambda: self.pid is not None or os.waitpid(pid, os.WNOHANG)[0] == pid,
            READY_S,
            "did not start",
        )

    def make_archive(self, path: Path) -> None:
        """Run once, to write the archive of the classes that a broker needs."""
        self._format()
        self._run(making=path)
        self.wait()
        self.stop()

    def _java(self, *arguments: str, making: Path | None = None) -> list[str]:
        return java.command(self.folder / "log4j2.yaml", *arguments, making=making)

    def _serves(self, wanted: int) -> bool:
        if self.pid is None:
            told = (self.folder / "broker.log").read_text(errors="replace")[-800:]
            raise NoBroker(f"the broker ended by itself; see {self.folder / 'broker.log'}: {told}")
        try:
            brokers, controller = _metadata(self._port)
        except (OSError, struct.error):
            return False
        return brokers >= wanted and controller >= 0

    def _end(self, with_signal: signal.Signals) -> None:
        pid = self.pid
        if pid is None:
            return
        os.kill(pid, with_signal)
        try:
            self._wait_until(lambda: self.pid is None, STOP_S, "did not end")
        except NoBroker:
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):  # another process has started it
            os.waitpid(pid, 0)

    def _wait_until(self, condition: Callable[[], bool], limit_s: float, what: str) -> None:
        end = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > end:
                raise NoBroker(
                    f"the broker {what} within {limit_s:g} s; see {self.folder}/broker.log"
                )
            time.sleep(0.05)


def prepare(near: Path) -> None:
    """Make the archive of classes if there is none; later starts take half as long."""
    wanted = java.archive()
    if wanted.exists():
        return
    wanted.parent.mkdir(parents=True, exist_ok=True)
    made = wanted.with_name(f"{wanted.name}.{os.getpid()}")
    near.mkdir(parents=True, exist_ok=True)
    once = Broker(Path(tempfile.mkdtemp(prefix="archive-", dir=near)) / "broker")
    try:
        once.make_archive(made)
        made.rename(wanted)
    finally:
        once.remove()
        once.folder.parent.rmdir()
        made.unlink(missing_ok=True)


def _metadata(port: int) -> tuple[int, int]:
    """Ask for metadata by bytes alone: the number of live brokers, and the controller's id."""
    client = b"probe"
    body = struct.pack(">hhih", 3, 1, 7, len(client)) + client + struct.pack(">i", 0)
    with socket.create_connection(("127.0.0.1", port), 1.0) as line:
        line.sendall(struct.pack(">i", len(body)) + body)
        (size,) = struct.unpack(">i", line.recv(4, socket.MSG_WAITALL))
        answer = line.recv(size, socket.MSG_WAITALL)
    (brokers,) = struct.unpack_from(">i", answer, 4)
    at = 8
    for _ in range(brokers):
        at += 4
        (length,) = struct.unpack_from(">h", answer, at)
        at += 2 + length + 4
        (length,) = struct.unpack_from(">h", answer, at)
        at += 2 + max(length, 0)
    (controller,) = struct.unpack_from(">i", answer, at)
    return brokers, controller
