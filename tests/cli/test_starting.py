"""`init`: a project whose tests pass and whose daemon runs; nothing is overwritten, or half written."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from event_center.app.settings import load_settings
from event_center.app.starting import EXAMPLES, start
from event_center.app.wiring import make_plan
from event_center.cli import app
from event_center.errors import ConfigurationError
from tests.cli.center import Answer, answered


def run(*arguments: str | Path) -> Answer:
    """The command, in this process."""
    result = CliRunner().invoke(app, ["init", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Answer(result.exit_code, result.stdout, result.stderr)


@pytest.mark.parametrize("kafka", [False, True])
@pytest.mark.parametrize("example", EXAMPLES)
def test_everything_fits_together(example: str, kafka: bool, tmp_path: Path) -> None:
    """Settings, machine, plugin and topic of each example fit, and no word is left open."""
    project = start(tmp_path / "My Shop", example=example, kafka=kafka)
    project.write()
    assert project.name == "my-shop"
    assert not [
        name for name, text in project.files.items() if "@NAME@" in name or "@NAME@" in text
    ]
    settings = load_settings(project.directory / "config/event-center.toml")
    assert settings.log.kind == ("kafka" if kafka else "sqlite")
    plan = make_plan(settings)
    assert [bound.warnings for bound in plan.bound.values()] == [()]
    assert tomllib.loads(project.files["pyproject.toml"])["project"]["name"] == "my-shop"
    assert list(project.files) == [
        "Dockerfile",
        "README.md",
        "config/event-center.toml",
        "deploy/my-shop.service",
        f"machines/{EXAMPLES[example][0]}.py",
        f"machines/{EXAMPLES[example][0]}.yaml",
        "pyproject.toml",
        f"tests/test_{EXAMPLES[example][0]}.py",
    ]


@pytest.mark.parametrize("options", [(), ("--example", "empty", "--kafka")])
def test_its_tests_pass(options: tuple[str, ...], tmp_path: Path) -> None:
    """The tests of a new project pass at once, wherever its log is to be, and without a warning."""
    assert run(tmp_path / "new", *options).code == 0
    # looptime, of this repository alone, makes loops that nobody closes.
    # pytest-asyncio leaves a loop to the garbage collector where plain and async tests are mixed.
    loops = ("-W", "ignore::pytest.PytestUnraisableExceptionWarning")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", *loops]
    done = subprocess.run(
        command, cwd=tmp_path / "new", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed in " in done.stdout
    assert "warning" not in done.stderr


def test_the_daemon_runs_in_it(tmp_path: Path) -> None:
    """`check`, `publish`, `run` and `show` do what the README of the project says."""
    run(tmp_path)
    config = tmp_path / "config/event-center.toml"
    assert answered(config, "check").out == "ok: 1 machine, 1 callback, 1 topic\n"
    payload = '{"items": ["a book"], "card": "4242"}'
    event = ("--workflow-id", "order-1", "--event", "order_placed", "--payload", payload)
    assert answered(config, "publish", "orders", *event).code == 0
    assert answered(config, "run", "--until-idle").code == 0
    assert answered(config, "show", "order-1", "--json").json["state"] == "shipping"
    readme = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert f"publish orders {' '.join(event[:4])} --payload '{payload}'" in readme


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """One file that exists already keeps all from being written; it is named, and stays as it is."""
    (tmp_path / "Dockerfile").write_text("mine")
    answer = run(tmp_path, "--dry-run")
    assert answer.code == 1
    assert "exists already: " in answer.out
    answer = run(tmp_path)
    assert answer.code == 2
    assert "has Dockerfile already: take another directory" in answer.err
    assert [one.name for one in tmp_path.iterdir()] == ["Dockerfile"]
    assert (tmp_path / "Dockerfile").read_text() == "mine"


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    """`--dry-run` says what would be written; `--json` says it to programs."""
    answer = run(tmp_path / "new", "--dry-run", "--json")
    assert answer.json["name"] == "new"
    assert "machines/order.yaml" in answer.json["files"]
    assert not (tmp_path / "new").exists()


def test_what_can_not_be_written_is_taken_back(tmp_path: Path) -> None:
    """Where the last file can not be written, none is left, nor a folder of them."""
    project = start(tmp_path / "new", example="order", kafka=False)
    project.files["x" * 300] = "a name that no file can have"
    with pytest.raises(ConfigurationError, match=r"nothing was written: .*File name too long"):
        project.write()
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_place_for_a_project(tmp_path: Path) -> None:
    """A DIR that is a file is told so."""
    (tmp_path / "file").write_text("")
    answer = run(tmp_path / "file")
    assert answer.code == 2
    assert "is a file; name a directory" in answer.err


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("", "DIR is empty"),
        ("-x", "none can be called '-x'"),
        ("bären", "none can be called 'bären'"),
        ("...", "none can be called '...'"),
        ("event_center", "no name for one"),
    ],
)
def test_a_name_that_no_package_can_have(
    name: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory whose name is none for a project is told so, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    answer = run("--", name)
    assert answer.code == 2
    assert told in answer.told
    assert list(tmp_path.iterdir()) == []


def test_on_kafka_nothing_speaks_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --kafka no file keeps a log on the disk, and making the topics is a step of its own."""
    monkeypatch.chdir(tmp_path)
    made = run("new", "--kafka")
    assert (
        "next: cd new, then `pytest`, then with a cluster `event-center topics create" in made.out
    )
    texts = [path.read_text("utf-8") for path in (tmp_path / "new").rglob("*") if path.is_file()]
    assert not [text for text in texts if "event-center.db" in text or "/data" in text]
    assert "topics create --events" in (tmp_path / "new/README.md").read_text("utf-8")
    assert "topics create" not in start(tmp_path, example="order", kafka=False).files["README.md"]


def test_in_this_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the directory where one stands the next step is no `cd`."""
    monkeypatch.chdir(tmp_path)
    assert "next: `pytest`, and `event-center run`" in run(".").out
