"""`why`: what it prints of a workflow that stands still, with the daemon down, at 80 and 120 columns."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.center import MACHINE, Project, answered

CAPTURES = Path(__file__).parents[2] / "docs" / "captures"


@pytest.fixture
def parked(project: Project) -> Project:
    """A workflow whose event can not be decided, with another event behind it."""
    project.write(
        "machines/task.yaml", MACHINE.replace("on_failure: dead_letter", "on_failure: park")
    )
    for event in ("begin", "begin", "work", "end"):
        project.done("publish", "tasks", "--workflow-id", "t-1", "--event", event)
    project.done("run", "--until-idle")
    return project


def test_why_says_what_it_is_and_what_helps(parked: Project) -> None:
    """Reason, refusals, what waits and the commands that help are told; JSON has the same fields."""
    out = parked.done("why", "t-1").out
    assert "t-1 is in busy, parked: work failed and is not tried again: RuntimeError" in out
    assert "\x1b" not in out
    for part in ("not_accepted", "it is parked", "event-center retry t-1", "no daemon runs"):
        assert part in out
    told = parked.done("why", "t-1", "--json").json
    assert (told["state"], told["parked"], told["shard"]["served"]) == ("busy", "failed", False)
    assert [way["event"] for way in told["moves"]] == ["work", "end"]
    assert "stayed_s" in told
    assert told["definition"] is None


def test_the_traceback_is_there_if_it_is_wanted(parked: Project) -> None:
    """With --verbose the calls are printed, those of the plugin and none of the engine."""
    assert "machines/task.py" not in parked.done("why", "t-1").out
    out = parked.done("why", "t-1", "--verbose").out
    assert 'machines/task.py", line' in out
    assert "engine/" not in out


@pytest.mark.parametrize("columns", [80, 120])
def test_captures(parked: Project, columns: int) -> None:
    """What the terminal shows is what docs/captures has; times, hosts and places may differ."""
    settings = str(parked.root / "event-center.toml")
    answer = answered(Path(settings), "why", "t-1", columns=columns)
    capture = CAPTURES / f"why-{columns}.txt"
    assert _even(answer.out) == capture.read_text(encoding="utf-8")


def _even(out: str) -> str:
    """The same text at any time and on any host."""
    out = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "2026-11-23T05:00:00.000Z", out)
    out = re.sub(r"for [\d.]+(ms|s)", "for 12s", out)
    out = re.sub(r"\S+/\d+ made", "host/4711 made", out)
    return "".join(f"{line.rstrip()}\n" for line in out.splitlines())


def test_a_machine_that_is_not_loaded(parked: Project) -> None:
    """Without its machine, why still tells what the log has, and says what it can not tell."""
    parked.write("machines/task.yaml", "machine: [")
    out = parked.done("why", "t-1").out
    assert "t-1 is in busy, parked" in out
    assert "the machines can not be loaded" in out
    parked.write("machines/task.yaml", MACHINE.replace("machine: task", "machine: other"))
    assert "no machine task is loaded" in parked.done("why", "t-1").out


def test_an_unknown_workflow(decided: Project) -> None:
    """An id that nobody has ends with 4 and the nearest one, or with the last that history tells."""
    answer = decided.run("why", "t-12")
    assert answer.code == 4
    assert re.search(r"there is no workflow 't-12'; did you mean 't-[12]'\?", answer.err)
    decided.done("forget", "t-2", "--reason", "made by mistake", "--no-wait")
    decided.done("run", "--until-idle")
    answer = decided.run("why", "t-2")
    assert answer.code == 4
    assert "the last that the history tells of it: removed (forgotten)" in answer.err


@pytest.mark.parametrize("result", ["failure", "cancelled"])
@pytest.mark.parametrize(
    ("state", "events", "told"),
    [
        (
            "{entry: {do: work, retry: never}, on_error: lost}",
            ["begin"],
            "t-1 is in lost, final: it ended as {} after work failed once in busy: RuntimeError: the disk",
        ),
        (
            "{on: {work: {actions: {do: work, retry: never}}}, on_error: lost}",
            ["begin", "work"],
            "final: it ended as {} after 'work' could not be decided: RuntimeError: the disk",
        ),
    ],
)
def test_what_failed_before_it_ended(
    project: Project, state: str, events: list[str], told: str, *, result: str
) -> None:
    """A workflow that a failed callback has ended is told with it and its error, whatever its result."""
    begin, _ = MACHINE.split("  busy:")
    final = f"  lost: {{type: final, result: {result}}}\n"
    project.write("machines/task.yaml", f"{begin}  busy: {state}\n{final}")
    for event in events:
        project.done("publish", "tasks", "--workflow-id", "t-1", "--event", event)
    project.done("run", "--until-idle")
    assert told.format(result) in " ".join(project.done("why", "t-1").out.split())
