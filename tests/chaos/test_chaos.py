"""Four minutes of chaos, as each change has to pass them; `scripts/chaos --all` is the long one."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rich.console import Console

from tests.chaos.checking import broken
from tests.chaos.faults import ONE_NODE
from tests.chaos.running import Ended, Enough, Report, run
from tests.kafka.audit import Read
from tests.kafka.broker import bootstrap

KINDS = {
    name: kind for name, kind in ONE_NODE.items() if name not in {"disk full", "topic deleted"}
}
"""What dies, stands still, starts again, or goes wrong between; the rest is for the long run."""
LENGTH_S = 240
"""Each kind comes about twice, in another order each time."""
SEED = 7


async def test_a_short_run(tmp_path: Path) -> None:
    """P1 to P8 hold over four minutes of faults of each kind with an effect; a twin of each check fails."""
    bootstrap()
    report = Report()
    ended = await run(
        report,
        KINDS,
        folder=tmp_path,
        seed=SEED,
        enough=Enough(faults=len(KINDS), until=time.monotonic() + LENGTH_S),
        console=Console(stderr=True),
    )
    assert report.violations == []
    assert report.seen.keys() == KINDS.keys(), dict(report.vain)
    for name, harm in TWINS.items():
        found = broken(*harm(ended))
        assert any(name in one for one in found), f"{name}: {found[:3]}"


def lost(topic: str, ended: Ended, what: bytes = b"") -> Ended:
    """A topic without its last record that has this in it."""
    records = list(ended.evidence.topics[topic])
    records.remove([one for one in records if what in (one.value or b"")][-1])
    return _changed(topic, ended, records)


def doubled(topic: str, ended: Ended) -> Ended:
    """A topic with its last record twice."""
    records = ended.evidence.topics[topic]
    return _changed(topic, ended, [*records, records[-1]])


def _changed(topic: str, ended: Ended, records: list[Read]) -> Ended:
    topics = ended.evidence.topics | {topic: records}
    return ended._replace(evidence=ended.evidence._replace(topics=topics))


def overtaken(ended: Ended) -> Ended:
    """A history in which what was decided last comes first."""
    name = "event-center.history"
    return _changed(name, ended, ended.evidence.topics[name][::-1])


def more_wanted(ended: Ended) -> Ended:
    """An event that nobody has published."""
    return ended._replace(wanted={**ended.wanted, "go-x": "trip-1"})


def one_more_call(ended: Ended) -> Ended:
    """A callback that ran for a transition which was lost."""
    calls = ended.calls.with_suffix(".more")
    calls.write_text(ended.calls.read_text() + "trip-1/999999/call\n")
    return ended._replace(calls=calls)


def one_call_less(ended: Ended) -> Ended:
    """A callback that never ran."""
    calls = ended.calls.with_suffix(".less")
    lines = ended.calls.read_text().splitlines()
    calls.write_text("\n".join(line for line in lines if line != lines[0]))
    return ended._replace(calls=calls)


TWINS: dict[str, Callable[[Ended], Ended]] = {
    "is not there": more_wanted,
    "has counted": more_wanted,
    "was overtaken by": overtaken,
    "is not durable": one_more_call,
    "never called": one_call_less,
    "the mail": partial(lost, "mail"),
    "is there 2 times": partial(doubled, "mail"),
    "the event": partial(lost, "event-center.inbox"),
    "has no outcome": partial(lost, "event-center.history", what=b'"event":"go"'),
    "are not all": partial(lost, "trips"),
}
"""What the check has to say of a run to which something was done."""
