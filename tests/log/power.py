"""
A disk that can lose its power: it remembers what SQLite wrote and when it made sure of it (fsync).

Between SQLite and its files stands a VFS of ours, put there through the library that Python itself uses,
so that the log under test is the real one. What was written and not yet synced may be on the disk after
a power cut, or not, or in part, or without what was written before it: `Disk.after_a_cut` draws one of
these. `test_power_loss.py` opens it.
"""

from __future__ import annotations

import ctypes
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p, string_at
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from random import Random
from typing import Any

SECTOR = 512
"""What a disk writes whole; SQLite expects no more of it."""

_OPEN = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)
"""The name as an address: SQLite keeps it for as long as the file is open, and a copy would be gone."""
_DELETE = CFUNCTYPE(c_int, c_void_p, c_char_p, c_int)
_WRITE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_TRUNCATE = CFUNCTYPE(c_int, c_void_p, c_int64)
_SYNC = CFUNCTYPE(c_int, c_void_p, c_int)


class _Vfs(Structure):
    """The first version of sqlite3_vfs; what follows is copied as it is."""

    _fields_ = (
        ("version", c_int),
        ("file_size", c_int),
        ("longest_path", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("data", c_void_p),
        ("open", c_void_p),
        ("delete", c_void_p),
        ("others", c_void_p * 14),
    )


class _Methods(Structure):
    """sqlite3_io_methods, version 3."""

    _fields_ = (
        ("version", c_int),
        ("close", c_void_p),
        ("read", c_void_p),
        ("write", c_void_p),
        ("truncate", c_void_p),
        ("sync", c_void_p),
        ("others", c_void_p * 13),
    )


@dataclass(frozen=True)
class Written:
    """Bytes at a place of a file."""

    file: str
    offset: int
    content: bytes


@dataclass(frozen=True)
class Cut:
    """The file ends here now."""

    file: str
    size: int


@dataclass(frozen=True)
class Gone:
    """The file is deleted."""

    file: str


@dataclass(frozen=True)
class Synced:
    """All that this file was told is on the disk."""

    file: str


@dataclass(frozen=True)
class Told:
    """Somebody was told that so much is durable."""

    number: int


Change = Written | Cut | Gone
Step = Change | Synced | Told


class Loss(Enum):
    """What a power cut makes of what was not synced."""

    ALL = "nothing of it is there"
    NONE = "all of it is there"
    TAIL = "it is there up to some moment"
    SOME = "some writes are there"
    SECTORS = "some sectors of some writes are there"


class Recorder:
    """The VFS, and what went through it."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._names: dict[int, str] = {}
        self._patched: dict[int, _Methods] = {}
        self._kept: list[Any] = []
        """What SQLite calls must not be collected."""

    def tell(self, number: int) -> None:
        """Note that somebody was told of so much."""
        self.steps.append(Told(number))

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Be every file's VFS."""
        library = ctypes.CDLL(library_path())
        library.sqlite3_vfs_find.restype = c_void_p
        former = library.sqlite3_vfs_find(None)
        ours = _Vfs.from_buffer_copy(string_at(former, ctypes.sizeof(_Vfs)))
        original, deleting = _OPEN(ours.open), _DELETE(ours.delete)

        def opened(_vfs: int, name: int | None, file: int, flags: int, out: int) -> int:
            code: int = original(former, name, file, flags, out)
            if code == 0 and name is not None and file:
                self._patch(file, string_at(name).decode())
            return code

        def deleted(_vfs: int, name: bytes, directory: int) -> int:
            code: int = deleting(former, name, directory)
            file = Path(name.decode()).name
            self.steps += [Gone(file), *([Synced(file)] if directory else [])]
            return code

        opening, removing = _OPEN(opened), _DELETE(deleted)
        self._kept += [opening, removing, ours]
        ours.open, ours.delete = (ctypes.cast(one, c_void_p) for one in (opening, removing))
        ours.name = b"recording"
        library.sqlite3_vfs_register(ctypes.byref(ours), 1)
        try:
            yield
        finally:
            library.sqlite3_vfs_register(c_void_p(former), 1)
            library.sqlite3_vfs_unregister(ctypes.byref(ours))

    def _patch(self, file: int, name: str) -> None:
        """Have this file use methods of ours."""
        self._names[file] = Path(name).name
        slot = ctypes.cast(file, POINTER(c_void_p))
        address = slot[0]
        if address not in self._patched:
            self._patched[address] = self._methods(address)
        slot[0] = ctypes.addressof(self._patched[address])

    def _methods(self, address: int) -> _Methods:
        made = _Methods.from_buffer_copy(string_at(address, ctypes.sizeof(_Methods)))
        write, truncate, sync = _WRITE(made.write), _TRUNCATE(made.truncate), _SYNC(made.sync)

        def written(file: int, content: int, length: int, offset: int) -> int:
            self.steps.append(Written(self._names[file], offset, string_at(content, length)))
            code: int = write(file, content, length, offset)
            return code

        def truncated(file: int, size: int) -> int:
            self.steps.append(Cut(self._names[file], size))
            code: int = truncate(file, size)
            return code

        def synced(file: int, flags: int) -> int:
            code: int = sync(file, flags)
            self.steps.append(Synced(self._names[file]))
            return code

        for name, kind, function in (
            ("write", _WRITE, written),
            ("truncate", _TRUNCATE, truncated),
            ("sync", _SYNC, synced),
        ):
            callback = kind(function)
            self._kept.append(callback)
            setattr(made, name, ctypes.cast(callback, c_void_p))
        return made


class Disk:
    """What is on the disk for sure, and what may be."""

    def __init__(self) -> None:
        self.told = 0
        self._sure: dict[str, bytearray] = {}
        self._open: list[Change] = []

    def do(self, step: Step) -> None:
        """Go one step on."""
        match step:
            case Told(number):
                self.told = max(self.told, number)
            case Synced(file):
                done = [one for one in self._open if one.file == file or self._is_new(file, one)]
                for one in done:
                    _put(self._sure.setdefault(one.file, bytearray()), one)
                ids = {id(one) for one in done}
                self._open = [one for one in self._open if id(one) not in ids]
            case _:
                self._open.append(step)

    def _is_new(self, file: str, one: Change) -> bool:
        """The first sync of a new file is one of its folder too, in which others were deleted."""
        return file not in self._sure and isinstance(one, Gone)

    @property
    def at_stake(self) -> int:
        """How many writes are not synced."""
        return len(self._open)

    def after_a_cut(self, folder: Path, loss: Loss, random: Random) -> None:
        """Write the files as they may be if the power fails now."""
        files = {name: bytearray(content) for name, content in self._sure.items()}
        for one in _left(self._open, loss, random):
            _put(files.setdefault(one.file, bytearray()), one)
        for name, content in files.items():
            if content:  # a file without content is, to SQLite, one that is not there
                (folder / name).write_bytes(content)


def _left(steps: list[Change], loss: Loss, random: Random) -> list[Change]:
    """What of these is there after the cut."""
    match loss:
        case Loss.ALL:
            return []
        case Loss.NONE:
            return steps
        case Loss.TAIL:
            return steps[: random.randrange(len(steps) + 1)]
        case Loss.SOME:
            return [one for one in steps if random.random() < 0.5]
        case Loss.SECTORS:
            parts = [part for one in steps for part in _sectors(one)]
            return [part for part in parts if random.random() < 0.8]


def _sectors(one: Change) -> list[Change]:
    if not isinstance(one, Written):
        return [one]
    ends = range(SECTOR - one.offset % SECTOR, len(one.content) + SECTOR, SECTOR)
    starts = [0, *ends]
    return [
        Written(one.file, one.offset + start, one.content[start:end])
        for start, end in zip(starts, ends, strict=False)
        if start < len(one.content)
    ]


def _put(content: bytearray, one: Change) -> None:
    if isinstance(one, Gone):
        content.clear()
    elif isinstance(one, Cut):
        del content[one.size :]
        content.extend(bytes(max(0, one.size - len(content))))
    else:
        content.extend(bytes(max(0, one.offset - len(content))))
        content[one.offset : one.offset + len(one.content)] = one.content


def library_path() -> str | None:
    """The SQLite of this Python, if it is a library of its own and not a part of Python."""
    sqlite3.connect(":memory:").close()
    maps = Path("/proc/self/maps")
    lines = maps.read_text(encoding="utf-8").splitlines() if maps.exists() else []
    return next((line.split()[-1] for line in lines if "/libsqlite3" in line), None)
