"""
The lock of the daemon: at most one runs on a log.

Promises: the lock is the operating system's (flock on `<path>.lock`), so that it is gone with the
process that holds it, however that ends; whoever is refused learns who holds it. Publishers do not
take it. The app room takes it before it opens the log to run on it.
"""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson

from event_center.errors import LogInUse, LogUnavailable


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
            LogInUse: another daemon holds it.
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
            holder = _holder(os.read(file, 4096))
            os.close(file)
            raise LogInUse(
                f"another daemon runs on {self._log}: {holder}; stop it first, or name another file"
            ) from None
        mine = {"pid": os.getpid(), "host": socket.gethostname(), "since": self._since}
        os.ftruncate(file, 0)
        os.pwrite(file, orjson.dumps(mine) + b"\n", 0)
        self._file = file

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


def _holder(written: bytes) -> str:
    try:
        said = orjson.loads(written)
    except orjson.JSONDecodeError:
        return "it has not written its process id yet"
    since = f", since {said['since']}" if said.get("since") else ""
    return f"process {said.get('pid')} on {said.get('host')}{since}"
