"""
The lock of the daemon: at most one runs on a log.

Promises: the lock is the operating system's (flock on `<path>.lock`), so that it is gone with the
process that took it, however that ends; whoever is refused learns who has it. Its file also says
how that daemon is, when it says so; this is written in place, so that a full disk does not silence it.
Publishers do not take it. The app room takes it before it opens the log to run on it.
"""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import orjson

from event_center.errors import LogInUse, LogUnavailable
from event_center.log.fitting import fitted

SIZE_BYTES = 16_384
"""
Bytes of the file, blanks included, so that it always has the same blocks of the disk: what is said of some
fifty limits. Of more, the last are left out.
"""


class Daemon(NamedTuple):
    """The daemon that has the lock of a log, or had it last."""

    alive: bool
    said: dict[str, Any]
    """`pid`, `host`, `since`, and what it has said of itself; empty if it has not."""


def daemon_on(path: str | os.PathLike[str]) -> Daemon:
    """
    Whether a daemon runs on a log, and what it says of itself.

    Raises:
        LogUnavailable: the lock file can not be read.
    """
    lock = Path(f"{os.fspath(path)}.lock")
    try:
        file = os.open(lock, os.O_RDONLY)
    except FileNotFoundError:
        return Daemon(alive=False, said={})
    except OSError as error:
        raise LogUnavailable(
            f"cannot read {lock}: {error.strerror}; it tells whether a daemon runs"
        ) from error
    try:
        said = _said(os.pread(file, SIZE_BYTES, 0))
        try:
            # A shared lock, so that two who look at the same time do not see each other.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return Daemon(alive=True, said=said)
        return Daemon(alive=False, said=said)
    finally:
        os.close(file)


class DaemonLock:
    """A context manager, or `acquire` and `release`."""

    def __init__(self, path: str | os.PathLike[str], *, since: str = "") -> None:
        self._log = Path(path)
        self._path = Path(f"{os.fspath(path)}.lock")
        self._since = since
        """When the daemon started, as it is to be shown to others."""
        self._file: int | None = None

    def acquire(self) -> None:
        """
        Take the lock, at once or not at all.

        Raises:
            LogInUse: another daemon has it.
            LogUnavailable: the lock file cannot be written.
        """
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise LogUnavailable(
                f"cannot open {self._path}: {error.strerror}; the log's directory must exist and "
                "be writable"
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            daemon = _named(_said(os.pread(file, SIZE_BYTES, 0)))
            os.close(file)
            raise LogInUse(
                f"another daemon runs on {self._log}: {daemon}; stop it first, or name another file"
            ) from None
        self._file = file
        try:
            self.say({})
        except LogUnavailable:
            self.release()
            raise

    def say(self, told: dict[str, Any]) -> None:
        """
        Write into the file how this daemon is, for those who look; nothing without the lock.

        Of more limits than fit, the last ones are left out.

        Raises:
            LogUnavailable: it can not be written.
        """
        if self._file is None:
            return
        mine = {"pid": os.getpid(), "host": socket.gethostname(), "since": self._since}
        try:
            os.pwrite(self._file, fitted({**mine, **told}, SIZE_BYTES).ljust(SIZE_BYTES), 0)
        except OSError as error:
            raise LogUnavailable(
                f"cannot write {self._path}: {error.strerror}; look at the disk"
            ) from error

    def release(self) -> None:
        """Let go; calling it again does nothing."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def _said(written: bytes) -> dict[str, Any]:
    try:
        said = orjson.loads(written)
    except orjson.JSONDecodeError:
        return {}
    return said if isinstance(said, dict) else {}


def _named(said: dict[str, Any]) -> str:
    if not said:
        return "it has not written its process id yet"
    since = f", since {said['since']}" if said.get("since") else ""
    return f"process {said.get('pid')} on {said.get('host')}{since}"
