"""`publish` and `send`: one event, files and pipes, bad lines, rates, ids."""

from __future__ import annotations

import gzip
import re
import signal
import time

import orjson
import pytest

from event_center.log.kafka.options import MAX_EVENT_BYTES
from tests.cli.center import Project

LINES = '{"workflow_id": "a", "event": "begin"}\n\nnonsense\n[]\n{"event": "x"}\n'
GOOD = '{"workflow_id": "b", "event": "begin", "payload": {"n": 1}}'


def _lag(project: Project) -> int:
    lag = project.done("stats", "--json").json["lag"]
    assert isinstance(lag, int)
    return lag


def test_one_event(project: Project) -> None:
    """One event is published without a daemon; the log is made where there was none."""
    answer = project.done(
        "publish", "tasks", "--workflow-id", "t-1", "--event", "begin", "--payload", '{"n": 1}'
    )
    assert "published: tasks/" in answer.out
    assert _lag(project) == 1


def test_one_event_as_json(project: Project) -> None:
    """With --json the answer is one document."""
    answer = project.done("publish", "tasks", "--workflow-id", "t", "--event", "e", "--json")
    assert answer.json["published"] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tasks"], "--workflow-id and --event, or --file"),
        (["tasks", "--workflow-id", "a"], "--workflow-id and --event, or --file"),
        (["tasks", "--workflow-id", "a", "--event", "e", "--payload", "{"], "is not JSON"),
        (["tasks", "--workflow-id", "", "--event", "e"], "workflow_id"),
        (["tasks", "--workflow-id", "a", "--event", "e" * 10_001], "a name has at most 10000"),
        (["tasks", "--workflow-id", "a", "--event", "e", "--id", "i" * 1_001], "at most 1000"),
        (["tasks", "--file", "none.jsonl"], "does not exist"),
        (["tasks", "--file", "-", "--event", "e"], "leave --event out"),
        (["tasks", "--file", "-", "--id-from", "line"], "stdin has not"),
        (["task", "--workflow-id", "a", "--event", "e"], "did you mean 'tasks'?"),
    ],
)
def test_what_can_not_be_published(project: Project, arguments: list[str], said: str) -> None:
    """A wrong command line is refused before anything is written, with what to write instead."""
    answer = project.run("publish", *arguments)
    assert answer.code == 2
    assert said in " ".join(answer.err.replace("│", " ").split())
    assert not (project.root / "event-center.db").exists()


def test_what_is_too_large_is_refused(project: Project) -> None:
    """An event that a daemon would reject is refused before a broker is asked: its key counts too."""
    text = (project.root / "event-center.toml").read_text()
    kafka = '[log]\nkind = "kafka"\n[log.kafka]\nbootstrap = "127.0.0.1:9"\n'
    project.write("event-center.toml", re.sub(r"\[log\][^\[]*", kafka, text))
    payload = orjson.dumps("x" * (MAX_EVENT_BYTES - 200)).decode()
    said = ("--event", "begin", "--payload", payload)
    answer = project.run("publish", "tasks", "--workflow-id", "w" * 200, *said)
    assert answer.code == 2
    text = " ".join(answer.err.replace("│", " ").split())
    assert "bytes with its key and headers, and on this log one has at most 900000" in text
    assert "send its name" in text


def test_a_file_stops_at_a_bad_line(project: Project) -> None:
    """A bad line is named with its number; what came before it stands, and nothing after it."""
    path = project.write("e.jsonl", LINES + GOOD)
    answer = project.run("publish", "tasks", "--file", str(path))
    assert answer.code == 5
    assert f"{path}:3: not JSON" in answer.err
    assert _lag(project) == 1
    path = project.write("bad.jsonl", "nonsense\n" + GOOD)
    assert project.run("publish", "tasks", "--file", str(path)).code == 1
    assert _lag(project) == 1


def test_a_file_passes_over_bad_lines(project: Project) -> None:
    """If asked, bad lines are passed over, and all of them are named."""
    path = project.write("e.jsonl", LINES + GOOD)
    answer = project.run("publish", "tasks", "--file", str(path), "--on-error", "skip", "--json")
    assert answer.code == 5
    told = answer.json
    assert (told["published"], told["skipped"]) == (2, 3)
    assert [bad["line"] for bad in told["bad"]] == [3, 4, 5]


def test_a_compressed_file(project: Project) -> None:
    """A file that ends in .gz is read as it is; one that is none is refused."""
    path = project.write("e.jsonl.gz", gzip.compress(f"{GOOD}\n{GOOD}".encode()))
    assert project.done("publish", "tasks", "--file", str(path), "--json").json["published"] == 2
    path = project.write("broken.jsonl.gz", b"nothing of the kind")
    answer = project.run("publish", "tasks", "--file", str(path))
    assert answer.code == 2
    assert "can not be read" in answer.err


def test_lines_follow_the_rules_of_their_topic(project: Project) -> None:
    """Lines of any shape are published as they are, at the home that the topic's rules find."""
    path = project.write("r.jsonl", '{"task": "t-1", "took_s": 3}\n')
    project.done("publish", "tasks", "--workflow-id", "t-1", "--event", "begin")
    project.done("publish", "results", "--file", str(path))
    project.done("run", "--until-idle")
    stats = project.done("stats", "--json").json
    assert stats["events"]["forwarded"] == 0
    assert project.done("show", "t-1", "--json").json["state"] == "done"


def test_the_same_file_twice(project: Project) -> None:
    """With ids from its lines a file can be published again: no event counts twice."""
    path = project.write("e.jsonl", GOOD)
    for _ in range(2):
        project.done("publish", "tasks", "--file", str(path), "--id-from", "line")
    project.done("run", "--until-idle")
    events = project.done("stats", "--json").json["events"]
    assert (events["applied"], events["duplicate"]) == (1, 1)


def test_a_rate_is_held(project: Project) -> None:
    """A rate spreads the events over their time."""
    path = project.write("e.jsonl", f"{GOOD}\n" * 5)
    began = time.monotonic()
    project.done("publish", "tasks", "--file", str(path), "--rate", "20")
    assert time.monotonic() - began >= 0.2


def test_a_pipe(project: Project) -> None:
    """Events come through stdin, also the last one without the end of its line."""
    answer = project.process(
        "publish", "tasks", "--file", "-", "--json", stdin=f"{GOOD}\n{GOOD}".encode()
    )
    assert answer.code == 0, answer
    assert answer.json["published"] == 2


def test_send(decided: Project) -> None:
    """An event reaches a workflow that exists, through the inbox, whatever its topic."""
    answer = decided.done("send", "t-1", "end", "--payload", '{"n": 1}', "--id", "e-1")
    assert "sent end to t-1" in answer.out
    assert orjson.loads(decided.done("send", "t-1", "end", "--json").out)["event"] == "end"
    decided.done("run", "--until-idle")
    assert decided.done("show", "t-1", "--json").json["result"] == "success"


def test_send_to_nobody(decided: Project) -> None:
    """A workflow that does not exist gets no event."""
    for long in (["e" * 10_001], ["end", "--id", "i" * 1_001]):
        assert decided.run("send", "t-1", *long).code == 2
    answer = decided.run("send", "nobody", "end")
    assert answer.code == 4
    assert "no workflow 'nobody'" in answer.err


def test_ctrl_c_ends_a_file_behind_a_line(project: Project) -> None:
    """Stopped in the middle, it says which lines are published: those, and no others."""
    path = project.write("e.jsonl", f"\n{GOOD}\n" * 3)
    arguments = ["publish", "tasks", "--file", str(path), "--rate", "0.01", "--json"]
    answer = project.interrupted(1, signal.SIGINT, *arguments)
    told = answer.json
    assert answer.code == 5, answer
    assert (told["published"], told["ended"], told["line"]) == (1, False, 2)
    assert _lag(project) == 1
