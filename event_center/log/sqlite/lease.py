"""
The right to write one shard of the embedded log.

Promises what `port.Lease` says. The right is an epoch in the file, checked inside the transaction
of every cut, so that a former owner in another process is shut out too. `group.py` makes leases,
the engine room holds them; `transaction.py` has the next step of a cut.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Mapping

from event_center.errors import Fenced, NotCommitted, Unknown
from event_center.log.port import Cut, Entry, Kept
from event_center.log.right import Right, check
from event_center.log.sqlite.reader import FileReader, following
from event_center.log.sqlite.transaction import Transaction
from event_center.log.sqlite.writer import Writer
from event_center.model import Shard, Token


class SqliteLease:
    """The lease with one epoch of one shard."""

    def __init__(
        self,
        reader: FileReader,
        writer: Writer,
        *,
        shard: Shard,
        token: Token,
        epoch: int,
        opened: Callable[[SqliteLease, Mapping[str, int]], None],
        ended: Callable[[SqliteLease], None],
    ) -> None:
        self.shard = shard
        self.token = token
        self.epoch = epoch
        self.right = Right.VALID
        self.mark: object | None = None
        self._reader = reader
        self._writer = writer
        self._opened = opened
        self._ended = ended
        self._unheard = False
        """A commit was begun, and its caller has not heard how it ended."""

    async def restore(self, kept: Kept | None = None) -> AsyncIterator[list[Entry]]:
        """
        Batches of exactly the last committed entries; what is kept helps little, all is in one file.

        The epoch is read after each piece: whoever leased the shard since raised it before the
        first write, so that a piece under the old epoch has nothing of theirs.
        """
        del kept
        self._check()
        key = b""
        while True:
            piece = self._reader.entries_from(self.shard, key)
            self._check_epoch()
            if not piece:
                return
            yield piece
            key = following(piece[-1][0])
            await asyncio.sleep(0)
            self._check()

    async def open_gate(self, offsets: Mapping[str, int]) -> None:
        """Let `fetch` deliver the shard's records from these offsets on."""
        self._check()
        self._check_epoch()
        self._opened(self, offsets)

    async def commit(self, cut: Cut) -> None:
        """Make the whole cut durable and visible, or nothing of it."""
        self._check()
        self._unheard = True
        try:
            await self._writer.submit(
                functools.partial(_apply, shard=self.shard, epoch=self.epoch, cut=cut), is_cut=True
            )
        except NotCommitted:
            self._unheard = False
            raise
        except Fenced:
            self._end(Right.FENCED)
            raise
        except Unknown:
            self._end(Right.UNKNOWN)
            raise
        self._unheard = False

    async def release(self) -> None:
        """Give the right up; the gate closes."""
        self._end(Right.RELEASED)

    def _check(self) -> None:
        check(self.shard, self.right, unheard=self._unheard)

    def _check_epoch(self) -> None:
        now = self._reader.epoch(self.shard)
        if now != self.epoch:
            self._end(Right.FENCED)
            raise Fenced(
                f"shard {self.shard} was leased again (epoch {now}; this lease has {self.epoch}): "
                "discard what this process holds of the shard"
            )

    def _end(self, right: Right) -> None:
        if self.right in {Right.VALID, Right.UNKNOWN}:
            self.right = right
            self._ended(self)


def _apply(transaction: Transaction, shard: Shard, epoch: int, cut: Cut) -> None:
    transaction.apply(shard, epoch, cut)
