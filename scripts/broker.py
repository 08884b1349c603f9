"""
One Apache Kafka broker (KRaft, no ZooKeeper) on loopback, for tests and for trying things out.

    scripts/kafka start     # prints its address; KAFKA_PORT picks the port, else a free one is taken
    scripts/kafka status
    scripts/kafka stop      # ends the process it started, and removes its data

Needs Java 17 and, the first time, Maven, which brings the broker's jars into a cache (KAFKA_JARS names
another folder that has them). The tests start a broker of their own through `Broker`.
"""

from __future__ import annotations

import base64
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

VERSION = "4.1.0"
ROOT = Path(__file__).resolve().parents[1]
HERE = ROOT / ".kafka"
"""Where `scripts/kafka start` keeps its one broker."""
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "event-center"
JVM = ["-Xms96m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
READY_S = 60.0
STOP_S = 20.0
POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>broker</artifactId><version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
      <version>{VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId>
      <version>2.24.3</version>
    </dependency>
  </dependencies>
</project>
"""
LOGGING = """Configuration:
  status: ERROR
  Appenders:
    Console:
      name: STDOUT
      PatternLayout: {pattern: "[%d] %p %m (%c{1})%n"}
  Loggers:
    Root: {level: WARN, AppenderRef: [{ref: STDOUT}]}
"""


class NoBroker(Exception):
    """A broker cannot be had here; the message says why."""


def jars() -> Path:
    """Find the folder with the broker's jars; Maven fills it the first time."""
    named = os.environ.get("KAFKA_JARS")
    if named:
        return Path(named)
    folder = CACHE / f"kafka-{VERSION}"
    if (folder / "complete").exists():
        return folder
    if shutil.which("mvn") is None:
        raise NoBroker(f"Maven (mvn) is not installed, and {folder} has no jars of Kafka yet")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pom.xml").write_text(POM)
    command = ["mvn", "-q", "-B", "-f", str(folder / "pom.xml")]
    command += ["dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoBroker(f"Maven could not bring Kafka's jars: {done.stdout[-500:]}")
    (folder / "complete").touch()
    return folder


class Broker:
    """One broker and its data in one folder. It listens on 127.0.0.1 only."""

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        self.folder = folder
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

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
        if shutil.which("java") is None:
            raise NoBroker("Java is not installed; Kafka needs version 17 or later")
        classes = f"{jars()}/*"
        if not (self.folder / "server.properties").exists():
            self._format(classes)
        self._run(classes)
        self._wait_until(self._serves, READY_S, "did not serve")

    def stop(self) -> None:
        """End the process that was started here, by its id; the data stay."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def remove(self) -> None:
        """End the process and remove the data."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _format(self, classes: str) -> None:
        (self.folder / "data").mkdir(parents=True)
        port, controller = _free_ports()
        self._port = self._port or port
        settings = _properties(self._port, controller, self.folder / "data")
        lines = "".join(f"{key}={value}\n" for key, value in settings.items())
        (self.folder / "server.properties").write_text(lines)
        (self.folder / "log4j2.yaml").write_text(LOGGING)
        (self.folder / "port").write_text(str(self._port))
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        tool = [
            "kafka.tools.StorageTool",
            "format",
            f"--cluster-id={cluster}",
        ]  # may begin with "-"
        command = self._java(classes, *tool, "-c", str(self.folder / "server.properties"))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NoBroker(
                f"the broker's folder could not be formatted: {done.stdout}{done.stderr}"
            )

    def _run(self, classes: str) -> None:
        self._port = int((self.folder / "port").read_text())
        with (self.folder / "broker.log").open("ab") as output:
            self._process = subprocess.Popen(
                self._java(classes, "kafka.Kafka", str(self.folder / "server.properties")),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        (self.folder / "pid").write_text(str(self._process.pid))

    def _java(self, classes: str, *arguments: str) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={self.folder / 'log4j2.yaml'}"
        return ["java", *JVM, logging, "-cp", classes, *arguments]

    def _serves(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise NoBroker(f"the broker ended by itself; see {self.folder / 'broker.log'}")
        try:
            brokers, controller = _metadata(self._port)
        except (OSError, struct.error):
            return False
        return brokers > 0 and controller >= 0

    def _end(self, with_signal: signal.Signals) -> None:
        pid = self.pid
        if pid is None:
            return
        os.kill(pid, with_signal)
        try:
            if self._process is not None:
                self._process.wait(STOP_S)
            else:
                self._wait_until(lambda: self.pid is None, STOP_S, "did not end")
        except (subprocess.TimeoutExpired, NoBroker):
            os.kill(pid, signal.SIGKILL)

    def _wait_until(self, condition: Callable[[], bool], limit_s: float, what: str) -> None:
        end = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > end:
                raise NoBroker(
                    f"the broker {what} within {limit_s:g} s; see {self.folder}/broker.log"
                )
            time.sleep(0.05)


def _properties(port: int, controller: int, data: Path) -> dict[str, object]:
    listeners = f"PLAINTEXT://127.0.0.1:{port}"
    return {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listeners": f"{listeners},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": listeners,
        "inter.broker.listener.name": "PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "log.dirs": data,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 500,
        "auto.create.topics.enable": "false",
        # With the defaults a broker killed with -9 is refused by its own controller for 9 s.
        "broker.session.timeout.ms": 1500,
        "broker.heartbeat.interval.ms": 300,
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
        "num.network.threads": 2,
        "num.io.threads": 2,
        "log.cleaner.dedupe.buffer.size": 8 * 1024 * 1024,
        # Records of tests may carry any time; none of them may be too old to be kept.
        "log.retention.ms": -1,
    }


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


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


def _address() -> str:
    return f"127.0.0.1:{(HERE / 'port').read_text()}"


def main(arguments: list[str]) -> int:
    """Run one command; returns the exit code."""
    broker = Broker(HERE, port=int(os.environ.get("KAFKA_PORT", "0")))
    match arguments:
        case ["start"]:
            if broker.pid is None:
                broker.start()
            print(_address())
        case ["status"]:
            running = broker.pid is not None
            print(_address() if running else "no broker runs here")
            return 0 if running else 1
        case ["stop"]:
            broker.remove()
        case _:
            print(__doc__)
            return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except NoBroker as error:
        sys.exit(f"kafka: {error}")
