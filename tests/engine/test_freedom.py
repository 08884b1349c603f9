"""
What a workflow may do now, as the table that `engine/freedom.py` prints: every combination of its lines.

The table is read from the docstring, so what is written there is what is tested.
"""

from __future__ import annotations

from itertools import product

import pytest

from event_center.engine import freedom
from event_center.engine.freedom import Freedom
from event_center.engine.ledger import Ledger
from event_center.engine.run import Run
from event_center.engine.workflow import Workflows
from event_center.model import Event, Owed, Snapshot, Status
from event_center.plugins.context import Context
from event_center.plugins.signatures import Callback
from event_center.wire.entries import ShardEntry
from event_center.wire.history import HistoryWriter

NOW = 1_000
STOPPED = {Status.PARKED, Status.PAUSED, Status.EXPECTED}
Lines = dict[str, dict[str, str]]


def table() -> Lines:
    """What each line of the docstring allows, by its first words."""
    lines = (freedom.__doc__ or "").splitlines()
    head = next(number for number, line in enumerate(lines) if "goes_on" in line)
    questions = lines[head].split()
    found: Lines = {}
    for line in lines[head + 1 :]:
        if not line.strip():
            return found
        allowed = line[37:].replace("if retrying", "if-retrying").split()
        found[line[:37].strip()] = dict(zip(questions, allowed, strict=True))
    return found


class Facts:
    """One workflow as these facts make it, in a shard of its own."""

    def __init__(self, facts: frozenset[str], status: Status) -> None:
        self.workflows = Workflows("shard 0")
        self.ledger = Ledger(
            ShardEntry(),
            self.workflows,
            writer=HistoryWriter("history", 0, "/app"),
            letters=("letters", 0),
            clock=lambda: NOW,
            warm=0,
            machines={},
        )
        self.snapshot = Snapshot("w", "m", 1, "busy")
        self.snapshot.status = status
        self.workflows.by_id["w"] = self.snapshot
        self.workflows.draining = "draining: the shard is to end" in facts
        if "a callback is under way" in facts:
            self.workflows.runs["w"] = a_run(self.snapshot)
        if "an event or an end is unfinished" in facts:
            self.workflows.mailbox("w").unfinished = lambda: None
        if "its event is tried later" in facts:
            self.snapshot.deciding_due_ms = NOW + 1
        if "it owes a run" in facts:
            self.snapshot.owed = (Owed("work", 1),)
        if "what it owes is not durable yet" in facts:
            self.ledger.owes(self.snapshot)
        self.freedom = Freedom(self.workflows, self.ledger)


def a_run(snapshot: Snapshot) -> Run:
    """A run that is never started."""

    async def work() -> None:
        """Nothing."""

    context = Context(snapshot, Event(""), "key", attempt=1, deadline_ms=0, topics=frozenset())
    return Run(Callback("m", "work", work), context, 1.0)


def holds(facts: frozenset[str], status: Status) -> set[str]:
    """The lines of the table that are true of such a workflow."""
    owing = "it owes a run" if "it owes a run" in facts else "it owes no run"
    return {*facts, owing} | ({"parked, paused or expected"} if status in STOPPED else set())


FREE = [line for line in table() if line not in {"parked, paused or expected", "it owes no run"}]
CASES = [
    (frozenset(line for line, true in zip(FREE, chosen, strict=True) if true), status)
    for chosen in product((False, True), repeat=len(FREE))
    for status in Status
]
"""Every combination of facts and status: some hundred, all of them in a tenth of a second."""


@pytest.mark.parametrize("question", ["goes_on", "decides", "timers_ahead", "runs", "works"])
def test_the_table_is_what_is_answered(question: str) -> None:
    """P4: what a workflow may do now is what all lines of the table allow that are true of it."""
    lines = table()
    assert len(CASES) == 2 ** len(FREE) * len(Status)
    for facts, status in CASES:
        if question == "runs" and "it owes a run" not in facts:
            continue  # there is none that could start
        said = {lines[line][question] for line in holds(facts, status)}
        allowed = "-" not in said and ("if-retrying" not in said or status is Status.RETRYING)
        asked = Facts(facts, status)
        answer = getattr(asked.freedom, question)(asked.snapshot)
        assert answer is allowed, (sorted(facts), status)


@pytest.mark.parametrize("status", Status)
def test_only_who_is_stopped_keeps_the_end_of_its_run(status: Status) -> None:
    """What ends while its workflow is stopped is decided when it goes on, also in a shard that drains."""
    for facts in (frozenset[str](), frozenset({"draining: the shard is to end"})):
        asked = Facts(facts, status)
        assert asked.freedom.stopped(asked.snapshot) is (status in STOPPED)


@pytest.mark.parametrize("status", Status)
def test_time_means_nothing_to_the_parked_and_the_paused(status: Status) -> None:
    """A hold ends although its workflow is only expected; timers of who is stopped wait."""
    asked = Facts(frozenset(), status)
    waits = status in {Status.PARKED, Status.PAUSED}
    assert asked.freedom.heeds_time(asked.snapshot) is not waits


def test_nothing_is_decided_and_run_at_once() -> None:
    """A turn and a run exclude each other, whatever else is true of the workflow."""
    for facts, status in CASES:
        asked = Facts(facts, status)
        starts = bool(asked.snapshot.owed) and asked.freedom.runs(asked.snapshot)
        assert not (asked.freedom.decides(asked.snapshot) and starts)
