"""
The benchmarks work: every case runs with tiny numbers, and the rows say what they promise.

Nothing here looks at a time: what is fast on one machine is slow on another.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.bench import kafka, peers, stream_peers, stream_sides
from tests.bench.__main__ import main
from tests.bench.cases import CASES, ON_REQUEST
from tests.bench.measure import Meter, Reading, Side, in_turns
from tests.bench.report import Row, Target, one_side, two_sides
from tests.bench.work import Size, silence

EVENTS = 50


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with silence():
        yield


@pytest.mark.filterwarnings("default")  # What the peers warn of is theirs.
@pytest.mark.parametrize("name", CASES)
def test_every_case_measures(name: str) -> None:
    """Each case applies all of its events, and each of its rows has a number or says why not."""
    rows = CASES[name](Size(rounds=1, events=EVENTS))
    assert rows
    assert {row.case for row in rows} == {name}
    assert all(row.note or (row.unit and row.best) for row in rows)
    assert any(row.target is not None or row.note for row in rows)


@pytest.mark.parametrize("name", ON_REQUEST)
def test_every_case_on_kafka_measures(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cases with a broker of their own do all of their work too, or say that there is none."""
    # No peer is installed for a test: the daemon plays their parts.
    played = {
        stream_peers.QUIX: "event_center",
        f"{stream_peers.WAITING}it": "10 ms each: event_center",
    }
    sides = {name: stream_peers.SIDES[part] for name, part in played.items()}
    monkeypatch.setattr(stream_peers, "PEERS", sides)
    rows = ON_REQUEST[name](Size(rounds=1, events=EVENTS, shards=kafka.SHARDS, apart_s=0.0))
    if rows[0].note:
        pytest.skip(rows[0].note)
    assert {row.case for row in rows} == {name}
    assert all(row.unit and row.best for row in rows)


def test_a_peer_that_is_not_installed_is_left_out() -> None:
    """Without the peers the case still runs, and says what was left out and what to do."""
    rows = peers.run(Size(rounds=1, events=EVENTS), installed=lambda package: "")
    assert [row.what for row in rows if row.note] == list(peers.PEERS)
    assert all("scripts/setup" in row.note for row in rows if row.note)
    assert [row.what for row in rows if not row.note] == ["event_center"]


def test_a_stream_processor_that_cannot_be_installed_is_left_out() -> None:
    """The row of such a peer has the error, and the other sides are measured without it."""

    def fails(place: stream_sides.Place) -> list[str]:
        program = "import sys; sys.exit('no matching distribution')"
        stream_sides.run([sys.executable, "-c", program])
        return []

    ours = stream_peers.SIDES[stream_peers.OURS]
    sides = {"ours": ours, "peer": replace(ours, command=fails)}
    (row,) = stream_peers.without(sides)
    assert list(sides) == ["ours"]
    assert row.what == "peer"
    assert row.note.endswith("ended with 1: no matching distribution")


@pytest.mark.parametrize("counts", [[1, 2, 2], [1, 3], [2]])
def test_a_side_that_loses_or_repeats_an_event_has_no_number(counts: list[int]) -> None:
    """The records of a workflow have to say 1, 2, 3; anything else is no exactly once."""

    def told(number: int) -> bytes:
        return json.dumps({"workflow_id": "wf-1", "payload": {"count": number}}).encode()

    stream_peers.check_counts([told(1), told(2), told(3)])
    with pytest.raises(stream_sides.LeftOut, match="wf-1"):
        stream_peers.check_counts([told(number) for number in counts])


def test_sides_take_turns_and_change_places() -> None:
    """Every round runs every side once; the order of the sides is the reverse of the last one."""
    order: list[str] = []

    def side(name: str) -> Side:
        async def run() -> Reading:
            order.append(name)
            with Meter() as meter:
                pass
            return meter.reading(1)

        return run

    found = in_turns({"a": side("a"), "b": side("b")}, 3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert [len(readings) for readings in found.values()] == [3, 3]


def test_best_of_two_sides_compares_their_best_rounds() -> None:
    """A round in which the other side was slow does not count as our best one."""
    ours = [Reading(1, 4e-6, 1.0), Reading(1, 5e-6, 1.0)]
    bare = [Reading(1, 1e-6, 1.0), Reading(1, 4e-6, 1.0)]
    row = two_sides(
        "case",
        "what",
        (ours, bare),
        value=lambda reading: reading.cpu_us,
        compare=lambda one, other: one - other,
        unit="us",
        higher=False,
        target=Target(limit=2.5, at_least=False),
    )
    assert row.median == pytest.approx(2)
    assert row.best == pytest.approx(3)
    assert row.verdict == "yes"


@pytest.mark.parametrize(
    ("limit", "verdict"),
    [(10, "yes"), (20, "yes"), (25, "at best"), (31, "no")],
)
def test_the_median_decides_whether_a_target_is_met(limit: float, verdict: str) -> None:
    """`yes` needs the median; a best round alone says `at best`."""
    row = one_side(
        "case",
        "what",
        [Reading(number, 1.0, 1.0) for number in (10, 20, 30)],
        value=lambda reading: reading.per_s,
        unit="/s",
        target=Target(limit=limit),
    )
    assert row.verdict == verdict
    assert Row(case="case", what="what", target=Target(limit=limit), note="why").verdict == ""


def test_the_command_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Without flags the rows come as a table for people, with the versions below it."""
    main(["step", "--rounds", "1", "--events", str(EVENTS)])
    printed = capsys.readouterr().out
    assert "Machine.step" in printed
    assert ">= 1,000,000 /s" in printed
    assert "orjson" in printed


def test_the_command_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json the same rows come for programs, with the machine they were measured on."""
    main(["step", "--json", "--rounds", "1", "--events", str(EVENTS)])
    printed = json.loads(capsys.readouterr().out)
    assert printed["machine"]["python"]
    assert [row["case"] for row in printed["rows"]] == ["step"] * len(printed["rows"])
    assert printed["rows"][0]["target"] == {"at_least": 1_000_000}


def test_an_unknown_case_is_refused_with_the_known_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A misspelt name says which cases there are."""
    with pytest.raises(SystemExit):
        main(["stepp"])
    assert ", ".join(CASES) in capsys.readouterr().err
