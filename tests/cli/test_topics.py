"""The commands about topics, on the embedded log: what is missing, made, wrong, and what they print."""

from __future__ import annotations

from event_center.cli.exits import Exit
from tests.cli.center import Project

OWN = [f"event-center.{name}" for name in ("inbox", "commands", "history", "dead-letters")]


def test_create_makes_what_is_missing(project: Project) -> None:
    """Own topics always, the users' with --events; what exists stays as it is."""
    assert project.done("topics", "create", "--json").json == {
        "created": dict.fromkeys(OWN, 2),
        "existing": [],
        "dry_run": False,
    }
    planned = project.done("topics", "create", "--events", "--dry-run")
    assert planned.out.split("\n")[:2] == [
        "would be created: tasks (2 partitions)",
        "would be created: results (2 partitions)",
    ]
    project.done("topics", "create", "--events")
    assert "nothing to do: all 6 topics exist" in project.done("topics", "create", "--events").out


def test_looking_makes_no_log(project: Project) -> None:
    """Only `create` makes a log where there is none."""
    for command in (["check"], ["describe"], ["create", "--dry-run"]):
        assert project.run("topics", *command).code == Exit.LOG
    assert not list(project.root.glob("*.db"))


def test_check_names_what_is_missing(project: Project) -> None:
    """A missing topic is grave, and its line has the command that makes it."""
    project.done("topics", "create")
    answer = project.run("topics", "check")
    assert answer.code == Exit.NOTHING
    assert "error: tasks: topic is missing: nothing can be written" in answer.out
    assert "`event-center topics create --events` makes it" in answer.out
    project.done("topics", "create", "--events")
    assert project.done("topics", "check").out.strip() == "ok: 6 topics"


def test_check_names_other_numbers_of_partitions(project: Project) -> None:
    """Own topics must have a partition for each shard; the message has the way out."""
    project.done("topics", "create", "--events")
    settings = project.root / "event-center.toml"
    settings.write_text(settings.read_text().replace("partitions = 2", "partitions = 3"))
    answer = project.run("topics", "check", "--json")
    assert answer.code == Exit.NOTHING
    assert [flaw["topic"] for flaw in answer.json["flaws"]] == OWN
    assert "write partitions = 2 again" in answer.json["flaws"][0]["risk"]
    assert project.run("run", "--until-idle").code == Exit.USAGE


def test_describe(decided: Project) -> None:
    """Partitions with their offsets, in a table and as JSON."""
    found = {one["name"]: one for one in decided.done("topics", "describe", "--json").json}
    assert sum(part["next"] for part in found["tasks"]["partitions"]) == 4
    assert (found["tasks"]["use"], found["tasks"]["settings"]) == ("events", {})
    assert "event-center.dead-letters" in decided.done("topics", "describe").out


def test_a_topic_of_another_size(project: Project) -> None:
    """`partitions` of a topic: its events are forwarded home and decided; letters do not fit it."""
    settings = project.root / "event-center.toml"
    text = settings.read_text()
    settings.write_text(text.replace("[topics.tasks]", "[topics.tasks]\npartitions = 5"))
    for number in range(6):
        project.done("publish", "tasks", "--workflow-id", f"t-{number}", "--event", "begin")
    stats = project.done("run", "--until-idle", "--json").json
    assert (stats["events"]["applied"], stats["lag"]) == (6, 0)
    assert stats["events"]["forwarded"] > 0
    text = settings.read_text().replace("partitions = 5", 'wrong_partition = "dead_letter"')
    settings.write_text(text)
    answer = project.run("run", "--until-idle")
    assert answer.code == Exit.USAGE
    assert 'write wrong_partition = "forward" in [topics.tasks]' in answer.err
