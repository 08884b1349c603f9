"""
What a daemon tells systemd: the protocol of `sd_notify`, one datagram a message.

Promises: where no `NOTIFY_SOCKET` is in the environment nothing is told and nothing is wrong; a
supervisor that does not listen keeps the daemon from nothing. The pulse of a center calls this.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import structlog

log = structlog.get_logger()


class Systemd:
    """The way to the supervisor that started this process, if it wants to be told; a context manager."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]  # a name in the abstract namespace
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def tell(self, **state: str) -> None:
        """Send a state, as `READY="1"`; each of its values is one line."""
        if self._socket is None:
            return
        lines = (f"{name}={value.replace(chr(10), ' ')}" for name, value in state.items())
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            log.debug("systemd.not_told", error=str(error))
