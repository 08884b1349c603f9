"""
The examples in machines/: each loads, its plugin fits, and it does what its comments say.

Each is walked along its happy and unhappy paths by pure steps (tests/walk.py).
"""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from event_center import load, with_callbacks
from event_center.app.settings import load_settings
from event_center.machine.coverage import branches_of, covered_by_tests
from event_center.machine.decision import ERROR, Refused, Transition
from event_center.machine.trial import failures
from event_center.model import Event, Reason, Snapshot
from tests.walk import MACHINES, NOW, Walk, example

ROOT = Path(__file__).parents[1]
FILES = sorted(MACHINES.glob("*.yaml"))
NAMES = [file.stem for file in FILES]
SHOWCASE = sorted((MACHINES / "showcase").glob("*.yaml"))
DAY = 86_400_000
PAST, FUTURE = NOW - DAY, NOW + 365 * DAY

REAL_EVENTS = Path(
    os.environ.get("EVENT_CENTER_HELPDESK_LOG", ROOT.parent / "shared/data/helpdesk.jsonl.gz")
)
"""A gzipped log of a real help desk, a JSON object a line; it is not part of the project."""

HELPDESK = {
    "Insert ticket": "new",
    "Assign seriousness": "assigned",
    "Take in charge ticket": "in_progress",
    "Wait": "waiting",
    "Require upgrade": "upgrade",
    "Create SW anomaly": "anomaly",
    "Resolve SW anomaly": "in_progress",
    "Schedule intervention": "scheduled",
    "Resolve ticket": "resolved",
    "RESOLVED": "resolved",
    "VERIFIED": "resolved",
    "INVALID": "resolved",
    "DUPLICATE": "resolved",
    "Closed": "closed",
}


def samples(name: str) -> list[dict[str, Any]]:
    lines = (MACHINES / "events" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


async def sent(name: str, events: list[dict[str, Any]]) -> dict[str, Walk]:
    """Walk the workflows of a list of events."""
    walks: dict[str, Walk] = {}
    for each in events:
        workflow_id = each["workflow_id"]
        if workflow_id not in walks:
            walks[workflow_id] = Walk(name, workflow_id)
        await walks[workflow_id].send(each["event"], each.get("payload"))
    return walks


def states(walks: dict[str, Walk]) -> Counter[str]:
    return Counter(walk.state for walk in walks.values())


def test_the_examples_are_the_documented_ones() -> None:
    """There are five examples, and the example settings have a topic for each."""
    assert NAMES == ["helpdesk", "job", "order", "review", "volume"]
    topics = load_settings(ROOT / "config" / "event-center.toml").topics
    assert sorted(topic.machine for topic in topics.values()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_example_loads(name: str) -> None:
    """Each file loads without a problem, and its plugin implements what it names, no more."""
    bound = example(name)
    assert bound.machine.name == name
    assert bound.warnings == ()


@pytest.mark.parametrize("file", [*FILES, *SHOWCASE], ids=lambda file: file.stem)
def test_the_tests_of_an_example_take_each_of_its_branches(file: Path) -> None:
    """What stands below `tests` comes out as it says, and leaves no branch out."""
    machine = with_callbacks(load(file)).machine
    assert failures(machine) == []
    taken = covered_by_tests(machine)
    assert [one.way for one in branches_of(machine.definition) if not taken[one.place]] == []


@pytest.mark.parametrize("name", NAMES)
def test_samples_are_well_formed(name: str) -> None:
    """Sample events are in the form that `publish` reads, and the machine knows their names."""
    events = samples(name)
    assert len(events) >= 24
    for each in events:
        assert {"workflow_id", "event"} <= set(each) <= {"workflow_id", "event", "id", "payload"}
        assert each["event"] in example(name).machine.events


async def test_an_order_completes() -> None:
    """An order is charged once, and its callback's event completes it."""
    walk = Walk("order")
    assert await walk.send("flow_begin", {"card": "visa"}) == "completed"
    assert walk.ran == ["start_processing"]
    assert walk.snapshot.result == "success"


async def test_an_order_is_declined() -> None:
    """A declined card ends the order in error, with the reason in its data."""
    walk = Walk("order")
    assert await walk.send("flow_begin", {"card": "declined"}) == "error"
    assert walk.data == {"reason": "the card was declined"}
    assert walk.snapshot.result == "failure"


async def test_an_order_refuses() -> None:
    """Before its beginning and after its end an order refuses events, and stays as it is."""
    walk = Walk("order")
    assert await walk.send("process_complete") == "initial"
    assert await walk.send("flow_begin") == "completed"
    assert await walk.send("flow_begin") == "completed"
    assert walk.refused == [Reason.NOT_ACCEPTED, Reason.NOT_ACCEPTED]


async def test_an_order_times_out() -> None:
    """An order that stays in `running` ends in error after a day."""
    machine = example("order").machine
    snapshot = Snapshot("o-1", "order", 1, "initial")
    begun = machine.step(snapshot, Event("flow_begin"), NOW)
    assert isinstance(begun, Transition)
    assert begun.timers is not None
    assert [(timer.id, timer.due_ms) for timer in begun.timers] == [("@after/24h", NOW + DAY)]
    snapshot.state, snapshot.seq, snapshot.timers = "running", 1, begun.timers
    late = machine.step(snapshot, Event("@after/24h"), NOW + DAY)
    failed = machine.step(snapshot, Event(ERROR, {}), NOW)
    assert isinstance(late, Transition)
    assert isinstance(failed, Transition)
    assert late.target == failed.target == "error"


async def test_the_sample_orders() -> None:
    """Of the sample orders three are declined, and one never began."""
    walks = await sent("order", samples("order"))
    assert states(walks) == {"completed": 21, "error": 3, "initial": 1}


async def review_online(ends_at: int | None) -> Walk:
    walk = Walk("review")
    await walk.send("SAVE", {"title": "Fair", "ends_at": ends_at})
    for name in ("SUBMIT", "PASS", "SUBMIT", "ONLINE"):
        await walk.send(name)
    assert walk.state == "ONLINED"
    return walk


@pytest.mark.parametrize(
    ("ends_at", "state", "result"),
    [
        (PAST, "FINISHED", "success"),
        (FUTURE, "OFFLINED", "cancelled"),
        (None, "OFFLINED", "cancelled"),
    ],
)
async def test_a_review_goes_offline(ends_at: int | None, state: str, result: str) -> None:
    """An activity past its end is finished; one taken offline before is cancelled."""
    walk = await review_online(ends_at)
    assert await walk.send("OFFLINE") == state
    assert walk.snapshot.result == result
    assert walk.ran == ["notify_reviewers", "publish", "unpublish"]


async def test_a_review_is_rejected_and_tried_again() -> None:
    """A rejected activity keeps the reason, and becomes a draft again when it is saved."""
    walk = Walk("review")
    text = {"title": "Fair", "ends_at": None}
    await walk.send("SAVE", text)
    await walk.send("SUBMIT")
    assert await walk.send("REJECT", {"reason": "too short"}) == "REJECTED"
    assert walk.data["reject_reason"] == "too short"
    assert await walk.send("SAVE", text) == "DRAFT"
    assert await walk.send("SUBMIT") == "WAIT_VERIFY"
    assert await walk.send("PASS") == "PASSED"
    assert walk.data["reject_reason"] is None


async def test_a_review_needs_a_title() -> None:
    """The guard refuses a draft without a title, and lets it pass once it has one."""
    walk = Walk("review")
    await walk.send("SAVE", {"title": None, "ends_at": None})
    assert await walk.send("SUBMIT") == "DRAFT"
    assert walk.refused == [Reason.GUARD]
    assert await walk.send("SAVE", {"title": "Fair", "ends_at": None}) == "DRAFT"
    assert await walk.send("SUBMIT") == "WAIT_VERIFY"


async def test_reviewers_are_reminded() -> None:
    """Reviewers hear of a waiting activity every three days, and no more once it was decided."""
    walk = Walk("review")
    await walk.send("SAVE", {"title": "Fair", "ends_at": None})
    await walk.send("SUBMIT")
    assert await walk.wait(10 * DAY) == "WAIT_VERIFY"
    assert walk.ran.count("remind_reviewers") == 3
    await walk.send("PASS")
    assert await walk.wait(10 * DAY) == "PASSED"
    assert walk.ran.count("remind_reviewers") == 3


async def test_the_sample_reviews() -> None:
    """The sample activities reach every end, and stop at most places on the way."""
    walks = await sent("review", samples("review"))
    assert {name: walk.state for name, walk in walks.items()} == {
        "activity-1": "FINISHED",
        "activity-2": "OFFLINED",
        "activity-3": "FINISHED",
        "activity-4": "WAIT_VERIFY",
        "activity-5": "REJECTED",
        "activity-6": "ONLINED",
        "activity-7": "INIT",
    }


@pytest.mark.parametrize(
    ("job", "state", "ran", "result"),
    [
        ({}, "done", ["run_job"], "whole"),
        ({"fail": 2}, "done", ["run_job"] * 3, "whole"),
        ({"fail": 9}, "done", ["run_job"] * 3 + ["run_fallback"], "part"),
        ({"broken": True}, "done", ["run_job", "run_fallback"], "part"),
        (
            {"broken": True, "fallback": "broken"},
            "failed",
            ["run_job", "run_fallback"],
            None,
        ),
    ],
)
async def test_a_job(job: dict[str, Any], state: str, ran: list[str], result: str | None) -> None:
    """A job gets three attempts, then its fallback one; the first that works decides the result."""
    walk = Walk("job")
    assert await walk.send("start", job) == state
    assert walk.ran == ran
    assert walk.data["input"] == job
    assert walk.data["result"] == result


async def test_a_job_says_why_it_failed() -> None:
    """The last error's message stays in the data of a failed job."""
    walk = Walk("job")
    await walk.send("start", {"fail": 9, "fallback": "broken"})
    assert walk.data["reason"] == "the fallback is broken, too"
    assert walk.snapshot.result == "failure"


async def test_a_job_is_queued_first() -> None:
    """A queued job keeps its input until it is started, and can be cancelled before."""
    walk = Walk("job")
    assert await walk.send("enqueue", {"fail": 1}) == "queued"
    assert await walk.send("start") == "done"
    assert walk.ran == ["run_job"] * 2
    other = Walk("job")
    await other.send("enqueue", {})
    assert await other.send("cancel") == "cancelled"
    assert await other.send("start", {}) == "cancelled"


async def test_the_sample_jobs() -> None:
    """Of the sample jobs one fails, one is cancelled, and three are done by the fallback."""
    walks = await sent("job", samples("job"))
    assert states(walks) == {"done": 22, "failed": 1, "cancelled": 1}
    assert Counter(walk.data["result"] for walk in walks.values())["part"] == 3


async def test_a_volume_lives() -> None:
    """Jobs create, extend and delete it; what creates it says where it is."""
    walk = Walk("volume")
    assert await walk.send("create", {"size": 10, "fail": 2}) == "available"
    assert walk.data == {"size": 10, "host": "host-0", "reason": None}
    assert await walk.send("extend", {"size": 5}) == "available"
    assert await walk.send("extend", {"size": 20}) == "available"
    assert await walk.send("delete") == "deleted"
    assert walk.ran == ["create_volume"] * 3 + ["extend_volume", "delete_volume"]
    assert walk.refused == [Reason.GUARD]


async def test_a_volume_can_not_be_created() -> None:
    """After three attempts it is in error, with the reason; it can be created again, or deleted."""
    walk = Walk("volume")
    assert await walk.send("create", {"size": 10, "fail": 9}) == "error"
    assert walk.data["reason"] == "attempt 3 of 9 that fail"
    assert await walk.send("create", {"size": 20}) == "available"
    assert walk.data["reason"] is None


async def test_a_volume_that_finds_no_space_stays_as_it_was() -> None:
    """A branch of `on_error` is for one class of errors."""
    walk = Walk("volume")
    await walk.send("create", {"size": 10})
    assert await walk.send("extend", {"size": 20, "full": True}) == "available"
    assert walk.data["reason"] == "the storage is full"


async def test_a_volume_is_deleted_while_it_is_created() -> None:
    """Events are decided while a job runs: leaving its state gives it up."""
    walk = Walk("volume", held="create_volume")
    assert await walk.send("create", {"size": 10}) == "creating"
    assert [owed.name for owed in walk.snapshot.jobs] == ["create_volume"]
    assert await walk.send("delete") == "deleted"
    assert walk.ran == ["delete_volume"]


async def test_the_sample_volumes() -> None:
    """Of the sample volumes one can not be created, and one not deleted."""
    walks = await sent("volume", samples("volume"))
    assert states(walks) == {"available": 5, "deleted": 6, "error": 1}


@pytest.mark.parametrize("kind", HELPDESK)
async def test_a_ticket_follows_its_last_event(kind: str) -> None:
    """An event leads to its own state from every state that is not final, and creates."""
    machine = example("helpdesk").machine
    assert machine.missing(kind) == "create"
    for state in machine.states:
        if not machine.definition.states[state].final:
            decision = machine.step(Snapshot("t", "helpdesk", 1, state), Event(kind), NOW)
            assert isinstance(decision, Transition)
            assert decision.target == HELPDESK[kind]


async def test_a_ticket_ends_when_it_is_closed() -> None:
    """A closed ticket refuses every kind of event."""
    machine = example("helpdesk").machine
    assert machine.events == HELPDESK.keys()
    for kind in HELPDESK:
        assert isinstance(
            machine.step(Snapshot("t", "helpdesk", 1, "closed"), Event(kind), NOW), Refused
        )


async def test_the_sample_tickets() -> None:
    """Of the sample tickets one is still waiting, and two events come after their ticket's end."""
    walks = await sent("helpdesk", samples("helpdesk"))
    assert states(walks) == {"closed": 8, "waiting": 1}
    assert sum(len(walk.refused) for walk in walks.values()) == 2
    assert {each["event"] for each in samples("helpdesk")} == HELPDESK.keys()


def real_events() -> Iterator[dict[str, Any]]:
    with gzip.open(REAL_EVENTS, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


@pytest.mark.skipif(not REAL_EVENTS.exists(), reason="the events of the help desk are not here")
async def test_the_tickets_of_a_real_help_desk() -> None:
    """Of 21,348 real events 19 come after their ticket's end, and 4,559 of 4,580 tickets end."""
    walks = await sent("helpdesk", [{**each, "payload": each["data"]} for each in real_events()])
    assert len(walks) == 4_580
    assert states(walks)["closed"] == 4_559
    assert sum(len(walk.refused) for walk in walks.values()) == 19


async def test_effects_can_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With EVENT_CENTER_DEMO_DIR set, each attempt of a callback leaves a line with its key."""
    monkeypatch.setenv("EVENT_CENTER_DEMO_DIR", str(tmp_path))
    await Walk("job", "j-1").send("start", {"fail": 1})
    await Walk("order", "o-1").send("flow_begin", {"card": "visa"})
    lines = (tmp_path / "job.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        {"workflow_id": "j-1", "name": "run_job", "key": "j-1/1/run_job", "attempt": attempt}
        for attempt in (1, 2)
    ]
    assert "o-1/1/start_processing" in (tmp_path / "order.jsonl").read_text(encoding="utf-8")
