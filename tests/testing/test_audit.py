"""The audit, on small logs written by hand: a good one, and each promise broken in its own way."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from event_center import testing
from event_center.errors import FormatError, LogUnavailable
from event_center.model import Record
from event_center.testing import Promise, Started, Violation, find_violations, read_sqlite
from tests.testing.handmade import DOOR, NOW, Story, applied, evidence, good, shot, told

AUDIT = sorted(Path(testing.__file__).parent.glob("audit*.py"))


def audit(story: Story) -> list[Violation]:
    return find_violations(evidence(story), [DOOR], story.starts)


def test_a_good_log_breaks_nothing() -> None:
    """Waiting, deferred and refused events, runs, timers and an end: all promises are kept."""
    assert audit(good()) == []


def unread(story: Story) -> None:
    """A record below the offset has no outcome, and nobody counted it."""
    story.cuts[4].told.pop(1)


def counted_only(story: Story) -> None:
    """The same, but the counters claim that it was read and waits."""
    story.cuts[4].told.pop(1)
    story.cuts[4].entry = {"read": 7, "waiting": {"queued": 1}}


def miscounted(story: Story) -> None:
    story.cuts[2].entry = {"read": 9}


def back(story: Story) -> None:
    story.cuts[3].following = 2


def refused_twice(story: Story) -> None:
    story.cuts[4].told.insert(2, story.cuts[4].told[1])


def vanished(story: Story) -> None:
    """An event waits no more, and nothing became of it."""
    story.cuts[2].told.insert(0, story.cuts[1].told.pop())
    story.cuts[1].shot = shot("wide", 2)


def waits_for_ever(story: Story) -> None:
    """An event was decided, and its entry stays."""
    story.cuts[1].waits = {}


def twice(story: Story) -> None:
    story.cuts[1].told.append(applied(0, 4, "shut", "ajar"))


def another_state(story: Story) -> None:
    story.cuts[2].told[0]["to"] = "wide"
    story.cuts[2].shot["state"] = "wide"


def another_snapshot(story: Story) -> None:
    story.cuts[1].shot["state"] = "wide"


def skipped(story: Story) -> None:
    story.cuts[2].told[0]["seq"] = 5
    story.cuts[2].shot["seq"] = 5


def refused_without_reason(story: Story) -> None:
    story.cuts[2].told[0] = told("rejected", 3, offset=2, outcome="rejected", reason="not_accepted")
    story.cuts[2].shot = shot("shut", 3)


def other_data(story: Story) -> None:
    story.cuts[2].shot["data"] = {"painted": "red"}


def never_started(story: Story) -> None:
    del story.starts[0]


def never_listened(story: Story) -> None:
    del story.starts[2]


def started_early(story: Story) -> None:
    story.starts[1] = story.starts[1]._replace(time_ns=(NOW + 199) * 1_000_000)


def phantom(story: Story) -> None:
    story.starts.append(Started("w", "creak", "w/2/creak"))


def other_key(story: Story) -> None:
    story.starts.append(Started("w", "creak", "w/1/squeak"))


def nobody(story: Story) -> None:
    story.starts.append(Started("x", "creak", "x/1/creak"))


def not_owed(story: Story) -> None:
    story.cuts[4].told.insert(0, story.cuts[3].told[0])


def forgotten(story: Story) -> None:
    """The snapshot does not owe what the transition owes."""
    del story.cuts[2].shot["owed"]


def overtaken(story: Story) -> None:
    """Two events change places although nothing sets the first aside."""
    story.cuts[4].told[0]["offset"], story.cuts[4].told[1]["offset"] = 4, 3
    story.events[3], story.events[4] = story.events[4], story.events[3]
    story.starts[2] = Started("w", "listen", "w/doors/0/4/listen")


def past_a_letter(story: Story) -> None:
    """A dead letter is open, and a later event is applied all the same."""
    story.cuts[4].told[0] = told(
        "dead_lettered", 5, offset=3, outcome="dead_lettered", reason="failed"
    )
    story.cuts[4].letters = [(3, 0)]
    for one in story.cuts[4].told[1:]:
        one["seq"] -= 1
    story.cuts[4].shot = shot("gone", 6, status="final", result="success", letters=[0, 1])


def torn(story: Story) -> None:
    story.cuts[2].whole = False


def half(story: Story) -> None:
    """Entries and counters without their history."""
    story.cuts[2].told = []
    story.cuts[2].entry = {"read": 3, "transitions": 4}


def untold(story: Story) -> None:
    """A letter without an outcome."""
    story.cuts[2].letters = [(2, 0)]


def left_out(story: Story) -> None:
    story.cuts[3].entry = {"counts": [["door", 1, "ajar", "active", 1]]}


def uncut(story: Story) -> None:
    story.cuts[3].entry = {"cut": 9}


def fenced(story: Story) -> None:
    story.cuts[1].epoch = 2


def gone_back(story: Story) -> None:
    story.cuts[3].shot = shot("shut", 3)


def fired_early(story: Story) -> None:
    story.cuts[3].at = 1_100


def fired_twice(story: Story) -> None:
    story.cuts[4].told.insert(0, story.cuts[3].told[1])


def never_set(story: Story) -> None:
    story.cuts[3].told[1]["origin"] = f"timer/4/@after/1s/{NOW + 900}"


def lost_timer(story: Story) -> None:
    del story.cuts[2].shot["timers"]


def overdue(story: Story) -> None:
    """The door stands ajar for a minute, and its timer has not fired."""
    del story.cuts[3:]
    del story.events[3:]
    story.starts.pop()
    story.cuts[2].told += [{"kind": "run", "callback": "creak", "outcome": "done", "seq": 4}]
    del story.cuts[2].shot["owed"]
    story.starts[1] = story.starts[1]._replace(time_ns=0)


def lag(story: Story) -> None:
    story.events.append("open")


def still_owed(story: Story) -> None:
    """The log ends while a run is owed, and nobody stopped the workflow."""
    del story.cuts[3:]
    del story.events[3:]
    story.starts.pop()
    story.idle = 500


@pytest.mark.parametrize(
    ("spoil", "promise"),
    [
        *((one, "P1") for one in (unread, counted_only, miscounted, back, refused_twice)),
        *((one, "P1") for one in (vanished, waits_for_ever)),
        *((one, "P2") for one in (twice, another_state, another_snapshot, skipped)),
        *((one, "P2") for one in (refused_without_reason, other_data)),
        *((one, "P3") for one in (never_started, never_listened, started_early, phantom)),
        *((one, "P3") for one in (other_key, nobody, not_owed, forgotten)),
        *((one, "P4") for one in (overtaken, past_a_letter)),
        *((one, "P5") for one in (torn, half, untold, left_out, uncut)),
        *((one, "P6") for one in (fenced, gone_back)),
        *((one, "P7") for one in (fired_early, fired_twice, never_set, lost_timer, overdue)),
        *((one, "P8") for one in (lag, still_owed)),
    ],
)
def test_a_broken_promise_is_named(spoil: Callable[[Story], None], promise: str) -> None:
    """Each way to break a promise is found, and no other promise is accused."""
    story = good()
    spoil(story)
    violations = audit(story)
    assert {violation.promise for violation in violations} == {Promise(promise)}, violations


@pytest.mark.parametrize(("tried", "found"), [(1_200, set()), (1_199, {Promise.TIMERS})])
def test_a_timer_counts_from_when_it_was_tried(tried: int, found: set[Promise]) -> None:
    """Who goes on with a timer may have a clock that is behind; who tried it first was not early."""
    story = good()
    story.cuts[2].shot["deciding"] = [1, 0, "@after/1s"]
    story.cuts[2].shot["failure"] = ["listen", "RetryLater", "", NOW + tried, 1]
    story.cuts[3].at = 1_100
    assert {violation.promise for violation in audit(story)} == found


def test_a_record_that_does_what_only_a_timer_may_is_found() -> None:
    """A transition by a timer's name needs the origin of a timer."""
    story = good()
    story.cuts[3].told[1]["kind"] = "applied"
    story.cuts[3].told[1]["origin"] = "run/4/creak"
    stories = [str(violation) for violation in audit(story)]
    assert any("only timer/… is @after/" in told for told in stories), stories


def test_history_that_no_cut_has_written() -> None:
    """History is part of a cut (P5); a record from elsewhere is found."""
    log = evidence(good())
    cuts = [*log.cuts[:4], replace(log.cuts[4], records=log.cuts[4].records[:-1])]
    [violation] = find_violations(replace(log, cuts=cuts, every_outcome=False), [DOOR])
    assert violation.promise is Promise.WHOLE_CUTS


def test_a_closing_of_a_letter_is_written_by_no_cut() -> None:
    """What an operator's program appends behind a letter is no fault; any other record there is."""
    log = evidence(good())
    closing = (("__event_center.closing.origin", b"o/0/1"),)
    for headers, count in ((closing, 0), ((), 1)):
        record = Record(9, NOW, b"k", None, headers)
        records = {**log.records, (log.dead_letters, 0): [record]}
        found = find_violations(replace(log, records=records, every_outcome=False), [DOOR])
        assert len(found) == count, found


def test_entries_that_no_cut_has_made() -> None:
    """The keyed store is what the cuts made it (P5)."""
    log = replace(evidence(good()), entries={0: {}})
    assert [one.promise for one in find_violations(log, [DOOR])] == [Promise.WHOLE_CUTS]


def test_a_story_names_its_workflow_and_its_place() -> None:
    """A violation says in one line which promise, which workflow and where."""
    story = good()
    another_snapshot(story)
    [violation] = audit(story)
    assert str(violation) == (
        "P2: workflow 'w': its snapshot has state 'wide', its history 'shut' (cut 2 of shard 0)"
    )


def test_without_callbacks_that_write_their_starts_down() -> None:
    """Where nobody noted the starts, everything else is audited all the same."""
    assert find_violations(evidence(good()), [DOOR], None) == []


def test_bytes_that_are_in_no_format() -> None:
    """Damaged bytes are an error that says where they lie."""
    log = evidence(good())
    spoilt = replace(log.cuts[0], entries=[(b"s:w", b"nonsense"), *log.cuts[0].entries])
    with pytest.raises(FormatError, match=r"cut 1 of shard 0, workflow 'w'"):
        find_violations(replace(log, cuts=[spoilt]), [DOOR])


def test_a_file_that_kept_no_cuts(tmp_path: Path) -> None:
    """What can not be audited is said in one sentence, with what would be needed."""
    with pytest.raises(LogUnavailable, match="keep_cuts = true"):
        read_sqlite(tmp_path / "nothing.db", app="app")


def test_the_audit_knows_nothing_of_the_engine() -> None:
    """It imports the nouns, the errors, the pure machine and itself: no mistake can be shared."""
    allowed = (
        "event_center.model",
        "event_center.errors",
        "event_center.machine",
        "event_center.testing",
    )
    imported = {
        node.module
        for path in AUDIT
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("event_center")
    }
    assert len(AUDIT) > 5
    assert [name for name in imported if not (name or "").startswith(allowed)] == []
