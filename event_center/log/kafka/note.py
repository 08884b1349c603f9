"""
What the daemons of a group say of themselves to whoever looks, from any machine.

Kafka keeps a text beside each offset that a group commits. Of what a process commits every few seconds for
the tools that show lag, one offset has its note: no topic, no record and no right besides. Promises: a
note fits what brokers take, whatever is said; one that is old is not heard. `membership.py` commits it,
`log.py` hands it out, and the app room's pulse says what is in it.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from aiokafka.errors import KafkaError

from event_center.log.fitting import fitted
from event_center.log.kafka.calling import FAILURES, bounded
from event_center.log.kafka.client import AGAIN_S, Clients

MAX_NOTE_BYTES = 4_000
"""Brokers take 4096 (offset.metadata.max.bytes), and refuse the offset with a longer one."""
HEARD_S = 15.0
"""Older notes are of a process that has ended: three intervals, since clocks of hosts differ a little."""
SAID = ("at", "serving", "restoring", "lag", "limits", "blocked")
"""What of a pulse is said; what it does not say is told by the group and the log."""


class Notes:
    """The note of this process, and those of all."""

    def __init__(self, clients: Clients, clock: Callable[[], int]) -> None:
        self.text = ""
        """As it is committed next; empty: nothing was said yet."""
        self._clients = clients
        self._group = clients.options.group_id
        self._clock = clock

    def say(self, told: Mapping[str, Any]) -> None:
        """Say how this process is; of more limits than fit the last ones are left out."""
        said = {name: told[name] for name in SAID if name in told}
        lists = {name: list(said.get(name, ())) for name in ("restoring", "blocked", "limits")}
        who = {"pid": os.getpid(), "host": socket.gethostname(), "at_ms": self._clock()}
        self.text = fitted({**who, **said, **lists}, MAX_NOTE_BYTES).decode()

    async def heard(self) -> list[dict[str, Any]]:
        """
        What each process of the group has said last, as far as it is not too long ago.

        Raises:
            LogUnavailable: nobody answers.
        """
        options = self._clients.options
        admin = await self._clients.admin()
        try:
            found = await bounded(self._committed(admin), options.call_s)
        except FAILURES as error:
            raise self._clients.unavailable(error) from error
        finally:
            self._clients.dispose(admin)
        newest: dict[tuple[str, int], dict[str, Any]] = {}
        for one in filter(None, (_read(offset.metadata) for offset in found.values())):
            who = one["host"], one["pid"]
            if abs(self._clock() - one["at_ms"]) <= HEARD_S * 1000:
                newest[who] = max(newest.get(who, one), one, key=lambda each: each["at_ms"])
        return [newest[who] for who in sorted(newest)]

    async def _committed(self, admin: Any) -> dict[Any, Any]:
        """The offsets of the group, when the cluster is ready to tell: a new one is not at once."""
        while True:
            try:
                found: dict[Any, Any] = await admin.list_consumer_group_offsets(self._group)
            except KafkaError as error:
                if not error.retriable:
                    raise
            else:
                return found
            await asyncio.sleep(AGAIN_S)


def _read(text: str | None) -> dict[str, Any] | None:
    """A note, or None: anybody may commit offsets with any text."""
    try:
        note = orjson.loads(text or "")
    except orjson.JSONDecodeError:
        return None
    names = {"pid": int, "host": str, "at_ms": int, "limits": list, "blocked": list}
    if not isinstance(note, dict):
        return None
    fits = all(isinstance(note.get(name), kind) for name, kind in names.items())
    return note if fits else None
