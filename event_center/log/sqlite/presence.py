"""
Whether a member of the group is alive, as the operating system knows it.

A member holds a lock (flock) on a file of its own, `<path>-member-<name>`, for as long as it lives;
the lock goes with its process. Promises: no heartbeats, nothing is written while all is well, a
member that crashed is found at the next look. A process that forks without exec must not keep the
lock open in the child. `group.py` calls this.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from pathlib import Path


class Presence:
    """The sign of life of one member, from its making to `end`."""

    def __init__(self, log: str) -> None:
        self.name = uuid.uuid4().hex
        self._path = _path(log, self.name)
        self._file: int | None = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def end(self) -> None:
        """Let go of the lock, as the end of the process would."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def remove(self) -> None:
        """Let go of the lock and remove its file."""
        self._path.unlink(missing_ok=True)
        self.end()


def is_alive(log: str, name: str) -> bool:
    """Somebody holds the lock of this member."""
    try:
        file = os.open(_path(log, name), os.O_RDONLY)
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
    _path(log, name).unlink(missing_ok=True)


def _path(log: str, name: str) -> Path:
    return Path(f"{log}-member-{name}")
