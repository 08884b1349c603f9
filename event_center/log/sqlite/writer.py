"""
The one thread of a process that writes to the embedded log, with group commit.

Errands wait in a queue; all that wait are done in one transaction, so that under load one fsync serves
many. Promises: an errand's future is set after its transaction has ended; an errand that is refused leaves
the others as they are; an errand that fails by SQLite's fault is tried once more alone, so that it
harms none. The endings of an errand: its result; an error of ours (Fenced, UnknownTopic), nothing
written; NotCommitted, certain; Unknown, where the error came from the commit itself and it was
neither a lock nor a full disk. `log.py`,
`group.py` and `lease.py` submit errands; `transaction.py` has the next step.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

from event_center.errors import InvariantError, LogError, LogUnavailable, NotCommitted, Unknown
from event_center.failpoint import Step, reach
from event_center.log.gates import Place
from event_center.log.sqlite.schema import explain
from event_center.log.sqlite.transaction import Transaction

LARGEST_GROUP = 256
"""Errands in one transaction at most: keeps the wait of the first of them short."""

LEND_EVERY_S = 0.001
"""
Between two sleeps of `LEND_S`: with these it is 5 percent of the time, while an errand is under way.
"""
LEND_S = 0.00005
"""
While an errand is under way a busy event loop sleeps this long, this often. Else the thread may wait for
Python's interpreter lock without end: the loop lets go of it in each of its short turns, and has it back
before the thread is awake; each such moment starts the 5 ms anew after which Python would insist.
"""

T = TypeVar("T")


class Errand(NamedTuple):
    """Something to do inside a transaction, and who waits for it."""

    work: Callable[[Transaction], Any]
    future: asyncio.Future[Any]
    is_cut: bool


class Ended(NamedTuple):
    """How an errand ended: a result or an error."""

    errand: Errand
    result: Any
    error: Exception | None


class Chore(Protocol):
    """Work that is done between errands when it is due: retention."""

    due_s: float
    """When to do it next, on the monotonic clock."""

    def run(self, transaction: Transaction) -> None:
        """Do a small part, inside a transaction, and say when the next part is due."""
        ...

    def failed(self, error: Exception) -> None:
        """The transaction of the last part has failed, nothing of it was written."""
        ...


class Writer:
    """Starts its thread when it is made; `stop` ends it after the errands that wait."""

    def __init__(
        self,
        path: str,
        connect: Callable[[], Transaction],
        committed: Callable[[Mapping[Place, int]], None],
        chore: Chore | None = None,
    ) -> None:
        self._path = path
        self._connect = connect
        self._committed = committed
        self._chore = chore
        self._loop = asyncio.get_running_loop()
        self._errands: queue.SimpleQueue[Errand | None] = queue.SimpleQueue()
        """Bounded by those who ask: each awaits its errand before it asks again."""
        self._taken: list[Errand] = []
        self._over = False
        self._death: Exception | None = None
        """What ended the thread without `stop`: every later call raises it."""
        self._under_way = 0
        self._lending: asyncio.TimerHandle | None = None
        self.ready: asyncio.Future[None] = self._loop.create_future()
        """Set when the file is open; carries the error if it can not be opened."""
        self.ended: asyncio.Future[None] = self._loop.create_future()
        """Set when the thread has let go of the file."""
        self._thread = threading.Thread(target=self._run, name=f"log writer {path}", daemon=True)
        self._thread.start()

    async def submit(self, work: Callable[[Transaction], T], *, is_cut: bool = False) -> T:
        """
        Do this inside a transaction and wait until that is durable.

        Cancelling the wait does not take the errand back.
        """
        return await self.send(work, is_cut=is_cut)

    def send(self, work: Callable[[Transaction], T], *, is_cut: bool = False) -> asyncio.Future[T]:
        """
        Do this inside a transaction; the future says how that ended.

        Raises:
            LogUnavailable: the log is closed.
            LogError: the file could not be opened again after a failure.
            InvariantError: a mistake of ours has ended the writer.
        """
        if self._death is not None:
            raise self._death
        if self._over:
            raise LogUnavailable(f"the log {self._path} is closed: open it again")
        future: asyncio.Future[T] = self._loop.create_future()
        self._errands.put(Errand(work, future, is_cut))
        self._under_way += 1
        if self._lending is None:
            self._lending = self._loop.call_later(LEND_EVERY_S, self._lend)
        return future

    def _lend(self) -> None:
        """Let the thread have the interpreter for a moment."""
        self._lending = None
        if self._under_way:
            time.sleep(LEND_S)
            self._lending = self._loop.call_later(LEND_EVERY_S, self._lend)

    async def stop(self) -> None:
        """End the thread after the errands that wait; calling it again only waits."""
        if not self._over:
            self._over = True
            self._errands.put(None)
        await asyncio.shield(self.ended)
        self._thread.join()

    def _run(self) -> None:
        lost: LogError = Unknown(
            f"the writer of {self._path} has ended: open the log again and look"
        )
        transaction = None
        try:
            transaction = self._connect()
            self._post(_set, self.ready, None)
            self._serve(transaction)
        except LogError as error:
            lost = error  # The file can not be opened, or not again after a failure.
            self._death = LogError(
                f"the writer of {self._path} has ended ({error}): start this process again"
            )
            self._death.__cause__ = error
        except Exception as error:  # a mistake of ours: those who wait hear of it, and it goes on
            lost = Unknown(
                f"the writer of {self._path} has ended by a mistake ({error!r}): open the log again "
                "and look"
            )
            lost.__cause__ = error
            self._death = InvariantError(
                f"the writer of {self._path} has ended by a mistake of this package ({error!r}): "
                "please report it, and start this process again"
            )
            self._death.__cause__ = error
            raise
        finally:
            self._over = True
            if transaction is not None:
                transaction.connection.close()
            self._post(self._end, lost)

    def _serve(self, transaction: Transaction) -> None:
        while True:
            self._do_chore(transaction)
            taken = self._waiting(self._pause_s())
            self._taken = [errand for errand in taken if errand is not None]
            if self._taken:
                ended, watermarks = self._transact(transaction, self._taken)
                self._taken = []
                self._post(self._deliver, ended, watermarks)
            if None in taken:
                return

    def _waiting(self, timeout_s: float | None) -> list[Errand | None]:
        """Everything that waits in the queue; waits for the first of it."""
        errands = []
        try:
            errands.append(self._errands.get(timeout=timeout_s))
            while len(errands) < LARGEST_GROUP and errands[-1] is not None:
                errands.append(self._errands.get_nowait())
        except queue.Empty:
            pass  # There is no more: that is the answer.
        return errands

    def _pause_s(self) -> float | None:
        return None if self._chore is None else max(0.0, self._chore.due_s - time.monotonic())

    def _do_chore(self, transaction: Transaction) -> None:
        chore = self._chore
        if chore is None or chore.due_s > time.monotonic():
            return
        unawaited: asyncio.Future[None] = asyncio.Future(loop=self._loop)
        ended, _ = self._transact(transaction, [Errand(chore.run, unawaited, is_cut=False)])
        if ended[0].error is not None:
            chore.failed(ended[0].error)

    def _transact(
        self, transaction: Transaction, errands: list[Errand]
    ) -> tuple[list[Ended], Mapping[Place, int]]:
        """Do the errands in one transaction; if it fails, each in one of its own."""
        has_cut = any(errand.is_cut for errand in errands)
        try:
            transaction.begin()
            if has_cut:
                reach(Step.LOG_BEGUN)
            ended = [_do(errand, transaction) for errand in errands]
            transaction.flush()
        except sqlite3.Error as error:
            self._abandon(transaction)
            if len(errands) > 1 and not _is_busy(error):
                return self._one_by_one(transaction, errands)
            return [Ended(errand, None, self._not_written(error)) for errand in errands], {}
        if has_cut:
            reach(Step.LOG_WRITTEN)
        try:
            watermarks = transaction.commit()
        except sqlite3.Error as error:
            rolled_back = self._abandon(transaction)
            certain = _is_busy(error) or (rolled_back and _is_unwritten(error))
            raised = self._not_written(error) if certain else self._doubt(error)
            return [Ended(one.errand, None, one.error or raised) for one in ended], {}
        if has_cut:
            reach(Step.LOG_COMMITTED)
        return ended, watermarks

    def _one_by_one(
        self, transaction: Transaction, errands: list[Errand]
    ) -> tuple[list[Ended], Mapping[Place, int]]:
        ended: list[Ended] = []
        watermarks: dict[Place, int] = {}
        for errand in errands:
            one, changed = self._transact(transaction, [errand])
            ended += one
            watermarks.update(changed)
        return ended, watermarks

    def _abandon(self, transaction: Transaction) -> bool:
        """Roll back; where SQLite can not even do that, a new connection does. Whether it could."""
        transaction.distrust()
        try:
            if transaction.connection.in_transaction:
                transaction.connection.execute("ROLLBACK")
                return True
        except sqlite3.Error:
            transaction.connection.close()
            transaction.connection = self._connect().connection
        return False

    def _not_written(self, error: sqlite3.Error) -> LogError | InvariantError:
        if isinstance(error, sqlite3.ProgrammingError | sqlite3.InterfaceError):
            return InvariantError(f"the log {self._path} was given what it can not write: {error}")
        certain = NotCommitted(f"nothing was written to {self._path}: {explain(error)}")
        certain.__cause__ = error
        return certain

    def _doubt(self, error: sqlite3.Error) -> Unknown:
        doubt = Unknown(
            f"nobody knows whether the last commit to {self._path} is durable: {explain(error)}; "
            "take the shard over again and look"
        )
        doubt.__cause__ = error
        return doubt

    def _deliver(self, ended: list[Ended], watermarks: Mapping[Place, int]) -> None:
        """On the event loop: first the news, so that who is woken by a result sees them."""
        self._under_way -= len(ended)
        if watermarks:
            self._committed(watermarks)
        for errand, result, error in ended:
            if error is None:
                _set(errand.future, result)
            else:
                _fail(errand.future, error)

    def _end(self, lost: LogError) -> None:
        """On the event loop, where errands come from: none comes any more, and all that wait hear of it."""
        rest: list[Errand | None] = [*self._taken]
        while not self._errands.empty():
            rest.append(self._errands.get_nowait())
        self._deliver([Ended(one, None, lost) for one in rest if one is not None], {})
        _fail(self.ready, lost)
        _set(self.ended, None)

    def _post(self, call: Callable[..., None], *arguments: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *arguments)


def _do(errand: Errand, transaction: Transaction) -> Ended:
    try:
        return Ended(errand, errand.work(transaction), None)
    except LogError as error:
        return Ended(errand, None, error)


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def _is_unwritten(error: sqlite3.Error) -> bool:
    """
    Whether a COMMIT failed at a write, so that what was rolled back afterwards is nowhere.

    A full disk ends like this. A failed fsync does not: what was written before it may be found.
    """
    code = getattr(error, "sqlite_errorcode", 0)
    return code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE}


def _set(future: asyncio.Future[Any], result: object) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
