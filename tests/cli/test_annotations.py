"""`check` in the forms of other tools, and what it says of guards when it is asked."""

from __future__ import annotations

import json

from event_center.cli.annotations import Found, github
from tests.cli.center import MACHINE, Project

BROKEN = MACHINE.replace("done\n", "dnoe\n", 1)


def test_sarif(project: Project) -> None:
    """Every problem is a result with its rule and place; the exit code is as ever."""
    project.write("machines/task.yaml", BROKEN)
    answer = project.run("check", "--format", "sarif")
    assert answer.code == 1
    assert answer.json["version"] == "2.1.0"
    [run] = answer.json["runs"]
    [result] = run["results"]
    assert (result["ruleId"], result["level"]) == ("E202", "error")
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"].endswith("machines/task.yaml")
    assert place["region"] == {"startLine": 14, "startColumn": 12}
    [rule] = run["tool"]["driver"]["rules"]
    assert rule["shortDescription"]["text"] == "A target is not declared"


def test_sarif_of_what_is_well(project: Project) -> None:
    """Without problems there are no results, which clears those of the last run."""
    assert project.done("check", "--format", "sarif").json["runs"][0]["results"] == []


def test_github(project: Project) -> None:
    """Every problem is a line that GitHub Actions understands."""
    project.write("machines/task.yaml", BROKEN)
    answer = project.run("check", "--format", "github")
    assert answer.code == 1
    lines = "".join(answer.out.splitlines())
    assert lines.startswith("::error file=")
    assert ",line=14,col=12,title=E202::target 'dnoe'" in lines


def test_characters_that_mean_something_to_github() -> None:
    """Line ends, percent signs, and in properties colons and commas are written out."""
    found = Found("a,b:c.yaml", 1, None, "E1", "50%\nof")
    assert github("error", found) == "::error file=a%2Cb%3Ac.yaml,line=1,title=E1::50%25%0Aof"


def test_what_is_not_decided(project: Project) -> None:
    """`--verbose` says what could not be decided; without it nothing is said."""
    guarded = MACHINE.replace("end: done", "end: {target: done, guard: =payload.a > payload.b}")
    project.write("machines/task.yaml", guarded)
    assert "note: " not in project.done("check").out
    told = project.done("check", "--verbose").out
    assert "not decided: the guard of 'end' in 'busy' depends on 'payload.a > payload.b'" in told
    [note] = json.loads(project.done("check", "--verbose", "--json").out)["notes"]
    assert (note["line"], note["code"]) == (14, "guard")


def test_a_circle_is_a_warning(project: Project) -> None:
    """What goes round for certain values is told, and is no problem."""
    text = (
        "machine: task\nversion: 1\ninitial: a\nperpetual: true\ndata: {n: 0}\nstates:\n"
        "  a: {on: {go: b}}\n  b: {always: [{target: c, guard: =data.n == 1}]}\n"
        "  c: {always: [{target: b, guard: =data.n == 1}]}\n"
    )
    path = project.write("other/task.yaml", text)
    answer = project.done("check", str(path))
    assert "E210 `always` never comes to rest where data.n = 1: 'b' → 'c' → 'b'" in answer.out
