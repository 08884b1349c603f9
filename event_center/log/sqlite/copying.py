"""
Whole copies of the file of an embedded log: one made of a live log, and one put in the place of a log.

Promises: a copy is the log of one moment, whatever is written meanwhile, and writers do not wait for
it; it has its name only once it is whole and was checked, and takes no other file's place unasked; a log
that anybody has open is not replaced. The commands `backup` and `restore` call this.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from event_center.errors import LogInUse, LogUnavailable, Stopped
from event_center.log.sqlite.schema import APPLICATION_ID, FORMAT, explain

_STOPPED = "stopped before the copy was whole; nothing was written"
PAGES = 1_000
"""Pages between two signs of progress: 4 MB, some milliseconds."""
FLAWS = 20
"""Flaws of a damaged file that are told: more of them say nothing new."""
STEPS = 100_000
"""Steps of SQLite's machine between two questions whether a check is to go on: about a millisecond."""
Progress = Callable[[int, int], bool]
"""Called with the pages that are copied, and with all of them; False: it is not wanted any longer."""


def copy(source: Path, destination: Path, progress: Progress) -> int:
    """
    Copy a log, which may be in use, into a file that does not exist yet.

    Returns:
        The bytes of the copy.

    Raises:
        LogUnavailable: the source is no log or is damaged, or the destination exists or can not be written.
        Stopped: `progress` wants no more of it; nothing was written.
    """
    _free(destination)
    folder = destination.absolute().parent
    if not folder.is_dir():
        raise LogUnavailable(f"there is no folder {folder}; make it, or name another file")
    part = destination.with_name(f"{destination.name}.part")
    copied = [0, 0]

    def go_on() -> bool:
        return progress(copied[0], copied[1])

    def told(_status: int, left: int, of: int) -> None:
        copied[:] = of - left, of
        if not go_on():
            raise Stopped(_STOPPED)

    try:
        part.unlink(missing_ok=True)
        with _log(source) as log, closing(sqlite3.connect(part)) as made:
            # The read transaction keeps what is copied at one moment: else a write of another process
            # would begin the copy anew.
            log.execute("BEGIN")
            log.execute("SELECT count(*) FROM sqlite_master").fetchone()
            log.backup(made, pages=PAGES, progress=told)
            made.execute("PRAGMA journal_mode = DELETE")  # one file, with nothing beside it
        found = flaws(part, go_on=go_on)
        if found:
            raise LogUnavailable(f"{source} is damaged, so there is no copy: {'; '.join(found)}")
        _to_disk(part)
        if not go_on():
            raise Stopped(_STOPPED)
        os.link(part, destination)  # unlike a rename, this does not take the place of another file
        part.unlink()
        _to_disk(destination.parent)
    except OSError as error:
        raise LogUnavailable(
            f"cannot write {destination}: {error.strerror}; look at the folder and the disk"
        ) from error
    except sqlite3.Error as error:
        raise LogUnavailable(f"cannot copy {source} to {destination}: {explain(error)}") from error
    finally:
        _tidy(part)
    return destination.stat().st_size


def put_back(backup: Path, log: Path, progress: Progress, *, replaced: Path | None) -> int:
    """
    Put a copy in the place of a log; the caller holds the daemon's lock.

    Args:
        backup: the copy; it stays as it is.
        log: where it is to be.
        progress: as of `copy`.
        replaced: where a log that is there goes; None: there may be none.

    Returns:
        The bytes of the log.

    Raises:
        LogInUse: somebody has the log open that is to be replaced.
        Stopped: `progress` wants no more of it; the log is as it was.
        LogUnavailable: the copy is no log or is damaged, or a file can not be written.
    """
    made = log.with_name(f"{log.name}.restored")
    made.unlink(missing_ok=True)
    size = copy(backup, made, progress)
    try:
        if log.exists() and replaced is not None:
            _free(replaced)
            _alone(log)
            os.link(log, replaced)
        else:
            _free(log)
        for rest in (f"{log}-wal", f"{log}-shm"):
            Path(rest).unlink(missing_ok=True)
        # In one step: were there a moment without a log, a daemon that starts then would make an empty one.
        made.replace(log)
        _to_disk(log.parent)
    except OSError as error:
        raise LogUnavailable(f"cannot write {log}: {error.strerror}; look at its folder") from error
    finally:
        made.unlink(missing_ok=True)
    return size


def flaws(
    path: Path, *, quick: bool = False, go_on: Callable[[], bool] = lambda: True
) -> list[str]:
    """
    What SQLite finds wrong with a log, page by page; nothing if it is whole.

    Args:
        path: its file.
        quick: leave out whether indexes and tables agree, which takes most of the time.
        go_on: asked now and then; False ends it.

    Raises:
        LogUnavailable: it is no log, or can not be read.
        Stopped: `go_on` said no.
    """
    with _log(path) as log:
        log.set_progress_handler(lambda: not go_on(), STEPS)
        try:
            check = "quick_check" if quick else "integrity_check"
            rows = log.execute(f"PRAGMA {check}({FLAWS})").fetchall()
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                raise Stopped(
                    "stopped before all of it was checked; nothing was written"
                ) from error
            return [explain(error)]
    return [text for (text,) in rows if text != "ok"]


@contextmanager
def _log(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that only reads a file which is a log of this format."""
    if not path.is_file():
        raise LogUnavailable(f"there is no file {path}")
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        ) as log:
            (application,) = log.execute("PRAGMA application_id").fetchone()
            (version,) = log.execute("PRAGMA user_version").fetchone()
            if application != APPLICATION_ID:
                raise LogUnavailable(f"{path} is no log of this program")
            if version != FORMAT:
                raise LogUnavailable(
                    f"{path} has format {version}, this release reads format {FORMAT}; use the "
                    "release that wrote it, or a newer one"
                )
            yield log
    except sqlite3.Error as error:
        raise LogUnavailable(f"cannot read {path}: {explain(error)}") from error


def _alone(log: Path) -> None:
    """Fold what lies beside a log into it, which only who has it alone can do; not if it is damaged."""
    try:
        with closing(sqlite3.connect(log, timeout=0.0, isolation_level=None)) as connection:
            (mode,) = connection.execute("PRAGMA journal_mode = DELETE").fetchone()
            busy = mode == "wal"
    except sqlite3.OperationalError as error:
        busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
        if not busy:
            return
    except sqlite3.DatabaseError:
        return
    if busy:
        raise LogInUse(f"somebody has {log} open; stop what publishes to it or looks at it first")


def _free(path: Path) -> None:
    if path.exists():
        raise LogUnavailable(f"{path} exists already; name another file, or move it away")


def _tidy(part: Path) -> None:
    for rest in ("", "-wal", "-shm", "-journal"):
        Path(f"{part}{rest}").unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
