"""
Every place at which the engine and a log wait, found in their source; and which of them wait now.

A process can lose what it has in memory only where it waits, or at a step of `failpoint`. So a crash
test asks for one await by its name, and a watch on the event loop says when an asyncio task stands
there. `TABLE` says of the awaits that no such test dies at why that is enough; a new await that
is in neither place makes `test_awaits.py` fail.
"""

from __future__ import annotations

import ast
import asyncio
import gc
from collections.abc import Callable, Collection, Iterator
from functools import cache
from pathlib import Path
from types import AsyncGeneratorType, CoroutineType
from typing import Any, NamedTuple

PACKAGE = Path(__file__).parents[2] / "event_center"

Spot = tuple[int, int]
"""Line and column."""


class Await(NamedTuple):
    """One await; its name says the file, the function and what is awaited."""

    name: str
    file: str
    first: Spot
    last: Spot


def awaits_in(*patterns: str) -> list[Await]:
    """The awaits of the modules that match, each with a name of its own."""
    return [
        one
        for pattern in patterns
        for path in sorted(PACKAGE.glob(pattern))
        for one in _awaits_of(str(path))
    ]


@cache
def _awaits_of(file: str) -> tuple[Await, ...]:
    path = Path(file)
    room = path.relative_to(PACKAGE).as_posix()
    found: dict[str, Await] = {}
    for function, node in _waiting(ast.parse(path.read_text(encoding="utf-8")), ""):
        plain = name = f"{room} {function}: {ast.unparse(_awaited(node))}"
        number = 1
        while name in found:
            number += 1
            name = f"{plain} #{number}"
        found[name] = Await(name, file, *_ends(node))
    return tuple(found.values())


def _waiting(node: ast.AST, function: str) -> Iterator[tuple[str, ast.AST]]:
    """What waits below a node, each with the qualified name of its function."""
    for child in ast.iter_child_nodes(node):
        inside = function
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            inside = f"{function}.{child.name}".lstrip(".")
        elif isinstance(child, ast.Await | ast.AsyncFor):
            yield function, child
        elif isinstance(child, ast.AsyncWith):
            yield from ((function, item) for item in child.items)
        yield from _waiting(child, inside)


def _awaited(node: ast.AST) -> ast.AST:
    match node:
        case ast.Await():
            return node.value
        case ast.AsyncFor():
            return node.iter
        case ast.withitem():
            return node.context_expr
        case _:
            raise TypeError(node)


def _ends(node: ast.AST) -> tuple[Spot, Spot]:
    spot: Any = node if isinstance(node, ast.Await) else _awaited(node)
    return (spot.lineno, spot.col_offset), (spot.end_lineno, spot.end_col_offset)


# -- what waits now --------------------------------------------------------------------------------


def standing(task: asyncio.Task[Any]) -> Iterator[str]:
    """The names of the awaits at which an asyncio task stands, the outermost first."""
    inner: Any = task.get_coro()
    while inner is not None:
        if isinstance(inner, CoroutineType):
            frame, following = inner.cr_frame, inner.cr_await
        elif isinstance(inner, AsyncGeneratorType):
            frame, following = inner.ag_frame, inner.ag_await
        else:
            # An asynchronous generator hides behind the object that awaits its next value.
            hidden = () if isinstance(inner, asyncio.Future) else gc.get_referents(inner)
            inner = next((one for one in hidden if isinstance(one, AsyncGeneratorType)), None)
            continue
        inner = following
        if frame is not None:
            # By identity: to hash a code object is to hash all its bytes.
            place = id(frame.f_code), frame.f_lasti
            if place not in _NAMES:
                _NAMES[place] = _name_at(frame.f_code, frame.f_lasti)
            yield _NAMES[place]


_NAMES: dict[tuple[int, int], str] = {}
"""By code object and instruction: what was looked up once."""


def _name_at(code: Any, instruction: int) -> str:
    """The innermost await around an instruction; empty if it is none of ours."""
    if not code.co_filename.startswith(str(PACKAGE)):
        return ""
    line, _, column, _ = list(code.co_positions())[instruction // 2]
    around = [one for one in _awaits_of(code.co_filename) if one.first <= (line, column) < one.last]
    if around:
        return max(around, key=lambda one: one.first).name
    # The end of an `async with` has the place of the whole statement.
    return next((o.name for o in _awaits_of(code.co_filename) if o.first[0] == line), "")


def all_standing() -> set[str]:
    """The names of the awaits at which any asyncio task stands now."""
    return {name for task in asyncio.all_tasks() for name in standing(task) if name}


class Watch:
    """Looks, between any two turns of an event loop, whether a task stands at one of these awaits."""

    def __init__(self, wanted: Collection[str], found: Callable[[], None]) -> None:
        self.sightings = 0
        self._wanted = frozenset(wanted)
        self._found = found
        self._loop = asyncio.get_running_loop()
        selector = self._loop._selector  # type: ignore[attr-defined]  # asyncio's own
        self._select = selector.select
        selector.select = self._look

    def _look(self, timeout: float | None) -> Any:
        tasks = asyncio.all_tasks(self._loop)
        if not all(self._wanted.isdisjoint(standing(task)) for task in tasks):
            self.sightings += 1
            self._found()
        return self._select(timeout)


OUTSIDE = (
    "no part of a record's way: a client, or an operator, asks the log from outside of any shard"
)
THREAD = "the callback is not this thread's: run.1.started and run.2.returned die around it"

TABLE = {
    "engine/member.py Member.until_idle: owner.quiet()": "it only asks",
    "engine/member.py Member.until_idle: anyio.sleep(IDLE_POLL_S)": "it only asks",
    "engine/member.py Member.quiet: owner.quiet()": "it only asks",
    "engine/member.py Member._follow_on: former.gone()": (
        "it only waits: the former ownership dies at steps of its own"
    ),
    "engine/cutting.py Cutting.until_stopped: lease.open_gate(parts.entry.offsets)": (
        "a gate is in memory: the next owner opens it anew, and takeover.4.opened dies there"
    ),
    "engine/run.py Runners._work: self._in_thread(run)": THREAD,
    "engine/run.py Runners._in_thread: self._threads.slot()": THREAD,
    "engine/run.py Runners._in_thread: self._threads.call(partial(_called, run))": THREAD,
    "engine/threads.py Threads.slot: self._free.acquire()": THREAD,
    "engine/threads.py Threads.call: ended": THREAD,
    "engine/run.py Runners._work: self._give_way()": "after run.2.returned, which dies there",
    "engine/run.py Runners._give_way: asyncio.sleep(0)": "after run.2.returned, which dies there",
    "engine/run.py forgive: asyncio.sleep(0)": "before run.2.returned, which dies right behind it",
    "engine/run.py Runners._work: self._forgive(task)": "before run.2.returned, which dies right behind it",
    "engine/listening.py _tell: forgive(asyncio.current_task())": (
        "a listener that has ended: nothing depends on it"
    ),
    "engine/timekeeping.py Timekeeper.keep: anyio.lowlevel.checkpoint()": (
        "more is due than is looked at in one go: tests/engine/test_many_timers.py dies between two goes"
    ),
    "engine/shard.py Owner._serve: self._ended_well(self._cutting.last(parts, lease))": (
        "the last cut is a cut: cut.1.taken_in to cut.6.settled die in it"
    ),
    "engine/cutting.py Cutting.last: self._cut(parts, lease)": (
        "the last cut is a cut: cut.1.taken_in to cut.6.settled die in it"
    ),
    "log/memory/log.py MemoryLog.create: self.faults.at('create')": OUTSIDE,
    "log/memory/log.py MemoryLog.describe: self.faults.at('describe')": OUTSIDE,
    "log/memory/log.py MemoryLog.publish: self.faults.at('publish.begun')": OUTSIDE,
    "log/memory/log.py MemoryLog.publish: self.faults.at('publish.written')": OUTSIDE,
    "log/memory/log.py MemoryLog.read: self.faults.at('read')": OUTSIDE,
    "log/memory/log.py MemoryLog.entries: self.faults.at('entries')": OUTSIDE,
    "log/memory/log.py MemoryLog.entry: self.faults.at('entry')": OUTSIDE,
    "log/memory/log.py MemoryLog.watermark: self.faults.at('watermark')": OUTSIDE,
    "log/memory/log.py MemoryLog.close: group.leave()": OUTSIDE,
    "log/sqlite/log.py open_sqlite: writer.ready": "nothing is read yet",
    "log/sqlite/log.py open_sqlite: writer.stop()": "the log could not be opened: nothing is read",
    "log/sqlite/log.py SqliteLog.create: self._file.writer.submit(lambda transaction: "
    "transaction.create(wanted))": OUTSIDE,
    "log/sqlite/log.py SqliteLog.publish: self._file.writer.submit(lambda transaction: "
    "transaction.append(records))": OUTSIDE
    + "; tests/log/test_sqlite_processes.py kills a publisher",
    "log/sqlite/log.py SqliteLog.read: asyncio.sleep(0)": OUTSIDE,
    "log/sqlite/log.py SqliteLog.close: group.leave()": "the member has left: a log that is closed",
    "log/sqlite/reader.py FileReader.entries: asyncio.sleep(0)": OUTSIDE,
}
"""Awaits at which no test of `test_awaits.py` dies, each with what covers it, or why nothing must."""
