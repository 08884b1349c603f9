"""
The pulse of a center: once a second it says that it lives and how it is, to whoever looks.

On SQLite it is written into the file of the daemon's lock, on Kafka beside an offset of the group:
`health` and `stats` read it there. Systemd hears of it through `systemd.py`; a limit that is reached, and
one that is over, are in the log. Promises: an event loop that stands still has no pulse, and the watchdog
says meanwhile what keeps it. `center.py` runs one beside the member; `health.py` judges what is read back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import anyio
import structlog

from event_center.app.systemd import Systemd
from event_center.engine.limits import Reached
from event_center.engine.member import Member
from event_center.engine.watchdog import Blocked
from event_center.errors import LogUnavailable
from event_center.wire.history import rfc3339

log = structlog.get_logger()

BEAT_S = 1.0
"""Between two beats: what looks for them may ask for one within a few seconds."""
Say = Callable[[dict[str, Any]], None]


class Pulse:
    """The pulse of one center."""

    def __init__(
        self,
        member: Member,
        *,
        shards: int,
        say: Say | None,
        systemd: Systemd,
        beat_s: float = BEAT_S,
    ) -> None:
        self._member = member
        self._shards = shards
        self._say = say
        """Writes it where others can read it; None: there is no such place."""
        self._systemd = systemd
        self._beat_s = beat_s
        self._reached: dict[tuple[str, int | None], Reached] = {}
        self._last: dict[str, Any] = {}
        self._silent = False
        member.blocks.told = self._blocked

    async def run(self) -> None:
        """Beat until cancelled."""
        ready = False
        while True:
            self._beat()
            told = {"WATCHDOG": "1", "STATUS": self._status()}
            if not ready and self._last["serving"] == self._shards:
                ready = True
                told["READY"] = "1"
            self._systemd.tell(**told)
            await anyio.sleep(self._beat_s)

    def stopping(self) -> None:
        """The center was asked to stop."""
        self._systemd.tell(STOPPING="1", STATUS="stopping: what runs may end")

    def _beat(self) -> None:
        member = self._member
        owners = list(member.owners.values())
        reached = member.reached()
        self._tell_limits(reached)
        self._last = {
            "at": rfc3339(member.blocks.clock()),
            "monotonic_s": round(time.monotonic(), 3),
            "shards": self._shards,
            "serving": sum(owner.ready for owner in owners),
            "restoring": sorted(int(owner.shard) for owner in owners if not owner.ready),
            "read": sum(owner.totals().get("read", 0) for owner in owners),
            "lag": member.lag,
            "limits": [one._asdict() for one in reached],
            "blocked": [_told(one) for one in list(member.blocks.last)],
        }
        self._write(self._last)

    def _blocked(self, found: Blocked) -> None:
        """The loop stands still; the watchdog's thread says what keeps it, in place of the pulse."""
        if self._last:
            blocked = [_told(one) for one in list(self._member.blocks.last)]
            self._write({**self._last, "blocked": blocked, "kept_by": _told(found)})

    def _write(self, told: dict[str, Any]) -> None:
        if self._say is None:
            return
        try:
            self._say(told)
        except LogUnavailable as error:
            if not self._silent:
                log.warning("pulse.not_written", error=str(error))
            self._silent = True
        else:
            self._silent = False

    def _tell_limits(self, reached: list[Reached]) -> None:
        """Limits that are reached since the last beat, and those that are not any more."""
        now = {(one.limit, one.shard): one for one in reached}
        for key, one in now.items():
            if key not in self._reached:
                log.warning("limit.reached", limit=one.limit, shard=one.shard, meaning=one.meaning)
        for limit, shard in self._reached.keys() - now.keys():
            log.info("limit.over", limit=limit, shard=shard)
        self._reached = now

    def _status(self) -> str:
        """One line for `systemctl status`."""
        last = self._last
        limits = ", ".join(one["limit"] for one in last["limits"])
        line = f"serving {last['serving']} of {last['shards']} shards; lag {last['lag']}"
        return f"{line}; at its limit: {limits}" if limits else line


def _told(one: Blocked) -> dict[str, Any]:
    return {**one._asdict(), "at": rfc3339(one.at_ms)}
