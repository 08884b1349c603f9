"""
Whether a member of the group is alive, as the operating system knows it.

A member has a lock (flock) on a file of its own, `<path>-member-<name>`, for as long as it lives;
the lock goes with its process. Promises: no heartbeats, nothing is written while all is well, a
member that crashed is found at the next look. A process that forks without exec must not keep the
lock open in the child. `group.py` calls this, and asks again after a LogUnavailable.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from event_center.errors import LogUnavailable


class Presence:
    """
    The sign of life of one member, from its making to `end`.

    Raises:
        LogUnavailable: its file can not be made.
    """

    def __init__(self, log: str) -> None:
        self.name = uuid.uuid4().hex
        self._path = _path(log, self.name)
        self._file: int | None = None
        with _usable(self._path):
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.flock(self._file, fcntl.LOCK_EX)

    def end(self) -> None:
        """Let go of the lock, as the end of the process would."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def remove(self) -> None:
        """Let go of the lock and remove its file; what can not be removed is as if its member had died."""
        try:
            with _usable(self._path):
                self._path.unlink(missing_ok=True)
        finally:
            self.end()


def is_alive(log: str, name: str) -> bool:
    """
    Somebody has the lock of this member.

    Raises:
        LogUnavailable: nobody can tell now.
    """
    path = _path(log, name)
    with _usable(path):
        try:
            file = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            # A shared lock, so that two members who look at the same time do not see each other.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(file)
        return False


def forget(log: str, name: str) -> None:
    """Remove what a dead member has left."""
    path = _path(log, name)
    with _usable(path):
        path.unlink(missing_ok=True)


@contextmanager
def _usable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LogUnavailable(
            f"{path}, by which a member of the group shows that it lives, can not be used "
            f"({error.strerror}): let this process write to its folder, and open more files"
        ) from error


def _path(log: str, name: str) -> Path:
    return Path(f"{log}-member-{name}")
