"""Settings: what is read, what wins, and that every mistake is named with its place."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from event_center.app.problems import keys
from event_center.app.settings import Settings, TopicSettings, load_settings
from event_center.app.sources import DEFAULT_FILES, PREFIX
from event_center.errors import ConfigurationError

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config" / "event-center.toml"
REFERENCE = ROOT / "docs" / "configuration.md"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test starts in an empty folder."""
    monkeypatch.chdir(tmp_path)


def written(text: str, name: str = "center.toml") -> Path:
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def problem(text: str, overrides: dict[str, Any] | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(written(text), overrides or {})
    return str(caught.value)


def test_no_file_is_needed() -> None:
    """Without any source, every setting has its default, and paths are meant from here."""
    settings = load_settings()
    assert settings.model_dump() == Settings().model_dump()
    assert settings.root == Path.cwd()
    assert settings.under_root(settings.log.path) == Path.cwd() / "event-center.db"


@pytest.mark.parametrize("name", [str(file) for file in DEFAULT_FILES])
def test_default_files(name: str, tmp_path: Path) -> None:
    """A file at a default place is found; its paths are meant from the project's root."""
    written('app = "found"', name)
    settings = load_settings()
    assert settings.app == "found"
    assert settings.root == tmp_path


def test_config_folder_comes_first() -> None:
    """Of two default files the one in `config` is read."""
    written('app = "beside"', "event-center.toml")
    written('app = "within"', "config/event-center.toml")
    assert load_settings().app == "within"


def test_paths_are_meant_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory does not matter for a file that was named; absolute paths stay."""
    path = written('machines = ["/srv/machines", "more"]', "deep/center.toml").absolute()
    monkeypatch.chdir("/")
    settings = load_settings(path)
    assert settings.root == tmp_path / "deep"
    assert [settings.under_root(each) for each in settings.machines] == [
        Path("/srv/machines"),
        tmp_path / "deep" / "more",
    ]


def test_the_order_of_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flag wins over a variable, a variable over the file, the file over the default."""
    path = written("[engine]\ncallbacks = 1\nmailbox = 1\nmax_waiting = 1")
    monkeypatch.setenv("EVENT_CENTER__ENGINE__CALLBACKS", "2")
    monkeypatch.setenv("event_center__engine__mailbox", "2")
    engine = load_settings(path, {"engine": {"callbacks": 3, "max_waiting": None}}).engine
    assert (engine.callbacks, engine.mailbox, engine.max_waiting) == (3, 2, 1)
    assert engine.cut_records == 20_000


def test_variables_hold_lists_and_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists and tables are written as JSON, and a topic can come from variables alone."""
    monkeypatch.setenv("EVENT_CENTER__MACHINES", '["a", "b"]')
    monkeypatch.setenv("EVENT_CENTER__LOG__RETENTION__EVENTS", '{"max_age": "1h"}')
    monkeypatch.setenv("EVENT_CENTER__TOPICS__ORDERS__MACHINE", "order")
    settings = load_settings()
    assert settings.machines == (Path("a"), Path("b"))
    assert settings.log.retention.events.max_age == 3_600
    assert settings.topics["orders"].machine == "order"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("30s", 30), ("5m", 300), ("24h", 86_400), ("0s", 0)],
)
def test_durations(text: str, seconds: float) -> None:
    """A duration becomes seconds."""
    assert load_settings(written(f'[engine]\ngrace = "{text}"')).engine.grace == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("512B", 512), ("1KiB", 1024), ("64MiB", 64 << 20), ("2GiB", 2 << 30), ("1TiB", 1 << 40)],
)
def test_sizes(text: str, size: int) -> None:
    """A size becomes bytes."""
    settings = load_settings(written(f'[log.retention]\nevents = {{max_bytes = "{text}"}}'))
    assert settings.log.retention.events.max_bytes == size


def test_unlimited() -> None:
    """A limit of retention can be lifted."""
    settings = load_settings(
        written('[log.retention.history]\nmax_age = "unlimited"\nmax_bytes = "unlimited"')
    )
    assert settings.log.retention.history.max_age is None
    assert settings.log.retention.history.max_bytes is None
    assert settings.log.retention.events.max_age == 7 * 86_400


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("apt = 1", "1: there is no setting apt; did you mean app?"),
        (
            '\n[log]\npth = "x"',
            "3: there is no setting log.pth; did you mean log.path?",
        ),
        ('grace = "1s"', "1: there is no setting grace; did you mean engine.grace?"),
        ("[loging]", "1: there is no setting loging; did you mean logging?"),
        ("\n[lag.kafka]", "2: there is no setting lag; did you mean log?"),
        (
            "[publish]\nxyzzy = 1",
            "2: there is no setting publish.xyzzy; here you can write topics",
        ),
        (
            'topics.a = {machine = "m", evnt = "e"}',
            "1: there is no setting topics.a.evnt; did you mean topics.a.event?",
        ),
        (
            '[log.kafka]\nheartbeat = "4s"',
            (
                "1: log.kafka heartbeat is more than a third of session_timeout: one lost heartbeat"
                " would move shards; make it shorter"
            ),
        ),
        (
            '[log.kafka]\nbootstrp = "x:1"',
            "2: there is no setting log.kafka.bootstrp; did you mean log.kafka.bootstrap?",
        ),
        (
            '[log]\nkind = "memory"',
            (
                '2: log.kind is "memory", which forgets everything when the process ends and'
                ' serves tests only; write "sqlite"'
            ),
        ),
        ("log.path = ''", "1: log.path is empty; write a path"),
        ("log = 3", "1: log is 3; it is a table, as [log]"),
        ("topics = 3", "1: topics is 3; it is a table, as [topics]"),
        (
            '[log]\nkind = "sqlit"',
            "2: log.kind is 'sqlit'; write 'sqlite' or 'kafka'",
        ),
        (
            "[engine]\ngrace = 20",
            '2: engine.grace: 20 has no unit; write a duration, as "500ms", "30s" or "5m"',
        ),
        (
            "[engine]\ngrace = '20 s'",
            "2: engine.grace: '20 s' is not a duration; write e.g. 500ms, 30s, 5m, 24h, 3d",
        ),
        (
            '[log]\nretention.events.max_bytes = "4GB"',
            (
                "2: log.retention.events.max_bytes: '4GB' is not a size; write e.g."
                ' "512KiB", "64MiB", "4GiB"'
            ),
        ),
        (
            '[log]\npoll_interval = "0s"',
            "2: log.poll_interval is '0s'; it should be greater than or equal to 0.001",
        ),
        (
            "[engine]\ncallbacks = 0",
            "2: engine.callbacks is 0; it should be greater than or equal to 1",
        ),
        (
            'machines = "machines"',
            '1: machines is \'machines\'; write a list, as ["a", "b"]',
        ),
        (
            "[engine]\nhistory = 'alls'",
            "2: engine.history is 'alls'; write 'all' or 'transitions'",
        ),
        (
            "app = 'my app'",
            "1: app: 'my app' is not a name; letters, digits, '.', '_' and '-' make one",
        ),
        (
            "[topics.orders]\nevent = 'e'",
            (
                "1: topics.orders.machine is missing. The machine of workflows that this"
                " topic creates: its name, or an expression."
            ),
        ),
        (
            "[topics.orders]\nmachine = 'm'\nid = 'body.id'",
            '3: topics.orders.id is an expression, which begins with "="; write e.g. "=body.id"',
        ),
        (
            "app = 'x'\n[topics.'x.inbox']\nmachine = 'm'",
            "2: topics.x.inbox: 'x.inbox' is a topic of the center itself; choose another name",
        ),
        (
            "[publish]\ntopics = ['event-center.history']",
            (
                "1: publish: 'event-center.history' is a topic of the center itself; choose"
                " another name"
            ),
        ),
    ],
)
def test_problems(text: str, message: str) -> None:
    """A mistake is named in one sentence: file and line, key, and what to write."""
    assert problem(text) == f"center.toml:{message}"


def test_all_problems_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every problem of every source is in the message: flags, variables, then the file's lines."""
    monkeypatch.setenv("EVENT_CENTER__LGO__PATH", "x")
    monkeypatch.setenv("EVENT_CENTER__MACHINES", "a,b")
    message = problem("[log]\npartitions = 0\n[engine]\ncallbacks = 'x'", {"app": "a b"})
    assert [line.split(":")[0].strip() for line in message.splitlines()] == [
        "5 settings are wrong",
        "flag",
        "environment variable EVENT_CENTER__MACHINES",
        "environment variable EVENT_CENTER__LGO__PATH",
        "center.toml",
        "center.toml",
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("LGO__PATH", "there is no setting lgo.path; did you mean log.path?"),
        ("LOG__PTH", "there is no setting log.pth; did you mean log.path?"),
        ("APP__X", "there is no setting app.x; docs/configuration.md has all"),
        ("LOG", "log is 'x'; it is a table, as [log]"),
        (
            "ENGINE__GRACE",
            "engine.grace: 'x' is not a duration; write e.g. 500ms, 30s, 5m, 24h, 3d",
        ),
        (
            "TOPICS__ORDERS__EVENT",
            (
                "topics.orders.machine is missing. The machine of workflows that this topic"
                " creates: its name, or an expression."
            ),
        ),
    ],
)
def test_wrong_variables(name: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable with the prefix that fits no setting, or does not fit it, is a problem."""
    monkeypatch.setenv(f"{PREFIX}{name}", "x")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert str(caught.value) == f"environment variable {PREFIX}{name}: {message}"


def test_a_file_that_is_missing() -> None:
    """A file that was named must be there."""
    with pytest.raises(ConfigurationError, match=r"^nowhere.toml: can not be read as a settings"):
        load_settings(Path("nowhere.toml"))


def test_a_file_that_is_not_toml() -> None:
    """A mistake of form is named with its line and column; what is open at the end, with the last line."""
    assert problem("app = \n").startswith("center.toml:1:7: this is not TOML: Invalid value")
    said = "center.toml:2: this is not TOML: Unclosed array at the end of the file; end what is still open"
    assert problem('app = "a"\nmachines = ["machines"\n\n') == said


def test_settings_do_not_change() -> None:
    """Settings are frozen, and code that makes them is not influenced by variables."""
    with pytest.raises(ValidationError, match="frozen"):
        Settings().app = "other"


def test_code_sees_no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only `load_settings` reads variables."""
    monkeypatch.setenv("EVENT_CENTER__APP", "other")
    assert Settings().app == "event-center"
    assert load_settings().app == "other"


def test_every_key_is_described() -> None:
    """The reference has no gap: each setting says what it is, in whole sentences."""
    for key, info in keys(Settings):
        assert re.fullmatch(r"[A-Z`].+\.", info.description or ""), key


def test_the_example_file_holds_every_default() -> None:
    """config/event-center.toml has every key at its default; topics aside, it changes nothing."""
    text = EXAMPLE.read_text(encoding="utf-8")
    values = tomllib.loads(text)
    for key, _ in keys(Settings):
        if key[0] != "topics":
            found: Any = values
            for name in key:
                assert name in found, key
                found = found[name]
    settings = load_settings(EXAMPLE)
    assert {**settings.model_dump(), "topics": {}} == Settings().model_dump()
    assert settings.root == ROOT
    for name in TopicSettings.model_fields:
        assert re.search(rf"^(# )?{name} = ", text, re.MULTILINE), name


def test_the_example_topics() -> None:
    """The example file has a topic for each example machine."""
    topics = load_settings(EXAMPLE).topics
    assert {name: topic.machine for name, topic in topics.items()} == {
        "orders": "order",
        "reviews": "review",
        "jobs": "job",
        "volumes": "volume",
        "helpdesk": "helpdesk",
    }


def rows() -> dict[str, tuple[str, str]]:
    """The rows of the reference: key -> default as TOML (or a dash), and description."""
    text = REFERENCE.read_text(encoding="utf-8")
    found = re.findall(r"^\| `([\w.]+)` \| (.+?) \| (.+) \|$", text, re.MULTILINE)
    return {key: (default, description) for key, default, description in found}


def test_the_reference_is_the_code() -> None:
    """docs/configuration.md lists every setting with the code's description, and no other."""
    leaves = {
        ".".join(key): info.description
        for key, info in keys(Settings)
        if not any(other[: len(key)] == key != other for other, _ in keys(Settings))
    }
    assert {key: description for key, (_, description) in rows().items()} == leaves


def test_the_defaults_of_the_reference() -> None:
    """The defaults that docs/configuration.md tells are those of the code."""
    lines = [
        f"{key} = {default.strip('`')}"
        for key, (default, _) in rows().items()
        if default.startswith("`") and not key.startswith("topics.")
    ]
    assert load_settings(written("\n".join(lines))).model_dump() == Settings().model_dump()
    assert len(lines) == len([key for key in rows() if not key.startswith("topics.")])
    topic = {key.split(".")[2]: default for key, (default, _) in rows().items() if "NAME" in key}
    for name, info in TopicSettings.model_fields.items():
        expected = "required" if info.is_required() else "-" if info.default is None else None
        assert topic[name] == (expected or f'`"{info.default}"`')


def test_the_prefix_is_documented() -> None:
    """The reference and the example file name the prefix that the code uses."""
    for path in (REFERENCE, EXAMPLE):
        assert PREFIX in path.read_text(encoding="utf-8")
