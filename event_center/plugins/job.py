"""
The context of a job: that of any callback, and a way to say that it is alive.

Made by the engine's `jobs`, which also keeps who is told of a heartbeat: its run.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from event_center.errors import PluginError
from event_center.plugins.context import Context


class Listens(Protocol):
    """Who is told that a job is alive."""

    def beat(self, details: str) -> bool:
        """Note a heartbeat; whether the job may go on. Called from any thread."""


class JobContext(Context):
    """What a job gets: a callback's context, with `heartbeat`."""

    __slots__ = ("listens",)

    listens: Listens
    """The engine's."""

    def heartbeat(self, details: str = "") -> None:
        """
        Say that the job is alive; needed more often than the `heartbeat` of the machine, if it has one.

        Nothing of it is durable: it only moves the limit of this attempt.

        Args:
            details: how far it is; stands in the error of an attempt that falls silent.

        Raises:
            PluginError: the details are no text.
            CancelledError: the job was asked to end, as an await of an async function would say; a plain
                function hears of it here alone.
        """
        if not isinstance(details, str):
            raise PluginError(
                f"{self._where()}: the details of a heartbeat are a text, not "
                f"{type(details).__name__}"
            )
        if not self.listens.beat(details):
            raise asyncio.CancelledError
