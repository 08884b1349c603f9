"""
Publishers for chaos: events without end, each with an id of its own, sent again until the broker has it.

Promises: whatever was published is in its topic at least once, and `wanted` says what; where an event
is there twice, it has the same id. It has a thread, and a line of its own to the broker, not through the
proxy. `site.py` runs it.
"""

from __future__ import annotations

import threading
import time
from random import Random
from typing import Any

import orjson
from confluent_kafka import KafkaError, Message, Producer

from tests.waiting import PATIENCE_S

TRIPS = 96
RATE = 20.0
"""Events per second: a cut is under way at any moment, and an hour of them can be audited."""


class Publishing(threading.Thread):
    """Publishes `go` for one trip after the other until it is stopped."""

    def __init__(self, bootstrap: str, topic: str, chance: Random) -> None:
        super().__init__(name="publishing", daemon=True)
        self.wanted: dict[str, str] = {}
        """The trip of each event, by the event's id."""
        self.reached: dict[int, int] = {}
        """The next offset of each partition, as far as the broker has said."""
        self.doubtful = 0
        """Events that were sent again, because nobody knew."""
        self._topic = topic
        self._chance = chance
        self._open: dict[str, bytes] = {}
        self._stopping = threading.Event()
        # Not idempotent: where an answer is lost, the event is there twice, as with plain publishers.
        told = {"bootstrap.servers": bootstrap, "acks": "all", "linger.ms": 5, "log_level": 0}
        self._producer = Producer(told | {"partitioner": "murmur2_random"})

    def run(self) -> None:
        """Publish until it is stopped, and then until all is there."""
        while not self._stopping.wait(1 / RATE):
            name = f"trip-{self._chance.randrange(TRIPS)}"
            mark = f"go-{len(self.wanted)}"
            self.wanted[mark] = name
            self._open[mark] = orjson.dumps({"workflow_id": name, "event": "go", "id": mark})
            self._send(mark)
            self._producer.poll(0)
        late = time.monotonic() + PATIENCE_S
        while self._open and time.monotonic() < late:
            self._producer.poll(0.1)

    def finish(self) -> None:
        """Publish no more; all is there when this returns."""
        self._stopping.set()
        self.join()
        assert not self._open, f"{len(self._open)} events were never published"

    def _send(self, mark: str) -> None:
        def said(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self.doubtful += 1
                self._send(mark)
                return
            place: Any = message.partition(), message.offset()
            self.reached[place[0]] = max(self.reached.get(place[0], 0), place[1] + 1)
            self._open.pop(mark, None)

        key = self.wanted[mark].encode()
        self._producer.produce(self._topic, self._open[mark], key, on_delivery=said)
