"""What the documents say of the code is so: names of tests, floors, numbered steps, links, words."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from event_center import failpoint
from event_center.model import Outcome, Reason, Status
from event_center.wire.command import Verb
from tests.docs.project import ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "ARCHITECTURE.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
GUARANTEES = (ROOT / "docs/guarantees.md").read_text(encoding="utf-8")
FORMATS = (ROOT / "docs/formats.md").read_text(encoding="utf-8")
WHERE = (ROOT / "docs/where.md").read_text(encoding="utf-8")
GLOSSARY = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
PACKAGE = ROOT / "event_center"


def _tests_of(path: Path) -> Iterator[str]:
    """The tests in a file, as pytest names them."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield f"{node.name}::{inner.name}"


NAMED = re.findall(r"`(tests/[\w/]+\.py)::([\w:]+)`", GUARANTEES)


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_the_named_test_exists(file: str, test: str) -> None:
    """Each test that a promise names as its proof is there."""
    assert test.rpartition("::")[2].startswith("test_")
    assert test in set(_tests_of(ROOT / file))


def test_every_promise_names_its_proof() -> None:
    """There are eight promises, and each names at least one test."""
    sections = re.split(r"^## ", GUARANTEES, flags=re.MULTILINE)[1:]
    promises = {section.split("\n")[0]: section for section in sections if section.startswith("P")}
    assert list(promises) == [f"P{number}" for number in range(1, 9)]
    assert [name for name, text in promises.items() if "`tests/" not in text] == []


def test_the_floors_are_those_of_the_linter() -> None:
    """The table of floors has the layers of import-linter, from top to bottom, and all folders."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    floors = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    wanted = [set(re.findall(r"\w+", layer)) - {"__main__"} for layer in floors]
    rows = re.findall(r"^\| (\d) \| ([^|]+) \|", ARCHITECTURE, flags=re.MULTILINE)
    shown: dict[int, set[str]] = {}
    for floor, rooms in rows:
        shown.setdefault(int(floor), set()).update(re.findall(r"`(\w+)(?:/|\.py)`", rooms))
    assert list(shown.values()) == [rooms for rooms in wanted if rooms]
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert folders <= set().union(*shown.values())


def _steps(text: str) -> list[str]:
    """The numbered steps in a docstring or a list, one text each."""
    found = re.split(r"(?:^|\s)(\d)\. ", " ".join(text.split()))
    return found[2::2]


@pytest.mark.parametrize(
    ("title", "module"),
    [("A takeover", "takeover"), ("A cut", "ledger"), ("A run", "run")],
)
def test_the_steps_are_those_of_the_docstrings(title: str, module: str) -> None:
    """ARCHITECTURE.md, the docstring of the module and the failpoints number the same steps."""
    section = ARCHITECTURE.partition(f"**{title}**")[2].partition("\n\n")[0]
    shown = [step.partition("(`")[0].strip() for step in _steps(section)]
    docstring = ast.get_docstring(ast.parse((PACKAGE / f"engine/{module}.py").read_text("utf-8")))
    assert docstring is not None
    numbered = docstring.partition("Numbered steps")[2].split("\n\n")[0]
    assert shown == _steps(numbered)
    kinds = {"A takeover": "takeover", "A cut": "cut", "A run": "run"}
    points = [step for step in failpoint.Step if step.value.startswith(f"{kinds[title]}.")]
    assert len(points) == len(shown)


def test_files_that_are_named_exist() -> None:
    """Each module that ARCHITECTURE.md or guarantees.md names is there."""
    named = set(
        re.findall(
            r"`((?:engine|log|wire|machine|plugins|app|client|cli)/[\w/]+\.py)`",
            ARCHITECTURE + GUARANTEES,
        )
    )
    assert named
    assert [name for name in sorted(named) if not (PACKAGE / name).is_file()] == []


def _modules(row: str) -> Iterator[str]:
    """The modules that a row of where.md names; one without a folder is in that of the one before."""
    folder = ""
    for found in re.findall(r"`([\w/]+\.py)`", row):
        name = found.removeprefix("event_center/")
        if "/" in name:
            folder = name.rpartition("/")[0] + "/"
            yield name
        elif (PACKAGE / name).is_file():
            yield name
        else:
            yield folder + name


def test_where_names_modules_that_exist_and_the_whole_engine() -> None:
    """Each module of a row is there, each module of the engine is in a row, and the short form agrees."""
    rows = [line for line in WHERE.splitlines() if line.startswith("| ")]
    named = {name for row in rows for name in _modules(row)}
    assert {name for name in named if not (PACKAGE / name).is_file()} == set()
    engine = {f"engine/{path.name}" for path in (PACKAGE / "engine").glob("[!_]*.py")}
    assert engine - named == set()
    short = ARCHITECTURE.partition("## Where do I change X")[2].replace("](docs/", "](")
    wanted = [line for line in short.splitlines() if line.startswith("| ")][2:]
    assert len(wanted) >= 10
    assert [row for row in wanted if row.replace("[docs/", "[") not in rows] == []


@pytest.mark.parametrize(
    "path", sorted((ROOT / "docs/decisions").glob("*.md")), ids=lambda p: p.name
)
def test_a_decision_says_what_was_rejected(path: Path) -> None:
    """Each decision has its context, the choice, and the alternatives that were not taken."""
    text = path.read_text(encoding="utf-8")
    missing = [
        word
        for word in ("Context", "Choice", "Rejected")
        if not re.search(rf"(## |\*\*){word}", text)
    ]
    assert missing == []


def _anchor(heading: str) -> str:
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    """Each link to a file of this repository leads to it, and each anchor to a heading."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    lost = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists():
            lost.append(target)
        elif anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            if anchor not in map(_anchor, headings):
                lost.append(target)
    assert lost == []


@pytest.mark.parametrize("word", [*Outcome, *Reason, *Status])
def test_words_of_the_log_are_explained(word: str) -> None:
    """Every outcome, reason and status that the log can hold stands in docs/formats.md."""
    assert f"`{word}`" in FORMATS


ENGINES = ("memory", "sqlite", "kafka")
ONE_MEANING: dict[str, set[str]] = {
    "settled": {
        "failpoint.py",
        "engine/isolation.py",
        "engine/quarantine.py",
    },
    "unheard": {"log/right.py", *(f"log/{engine}/lease.py" for engine in ENGINES)},
    "hearing": {"engine/deciding.py", "engine/quarantine.py"},
    "refusal": {"model.py", "engine/workflow.py", "wire/snapshot.py"},
    "refusals": {"model.py", "engine/workflow.py", "wire/snapshot.py"},
    "misfit": {"engine/commands.py"},
    "errand": {"log/sqlite/writer.py"},
    "errands": {"log/sqlite/writer.py"},
    "supply": {"log/kafka/group.py", "log/kafka/supply.py"},
    "intake": {"engine/intake.py", "engine/parts.py"},
    "mark": {
        "engine/kept.py",
        "engine/shard.py",
        "log/port.py",
        *(f"log/{engine}/lease.py" for engine in ENGINES),
    },
    "unstopped": {"engine/workflow.py"},
    "tenure": {"engine/shard.py", "engine/tenure.py"},
    "cargo": {"client/survey.py"},
    "bare": {"engine/isolation.py", "engine/takeover.py"},
    "target": {
        "machine/",
        "app/migrating.py",
        "cli/migrating.py",
        "client/migration.py",
        "client/moving.py",
        "client/survey.py",
        "testing/audit_life.py",
    },
    "extent": {"log/sqlite/transaction.py"},
    "held": {
        "app/settings.py",
        "engine/holds.py",
        "engine/limits.py",
        "engine/plan.py",
        "machine/grammar.py",
        "model.py",
        "testing/audit_shard.py",
    },
    "hold": {
        "engine/holds.py",
        "machine/",
        "testing/audit_shard.py",
        "wire/snapshot.py",
    },
    "holder": {"log/memory/members.py", "log/ownership.py", "log/sqlite/"},
    "holders": {
        "log/kafka/assignor.py",
        "log/memory/members.py",
        "log/ownership.py",
        "log/sqlite/",
    },
    "kept": {
        "app/settings.py",
        "engine/kept.py",
        "engine/member.py",
        "engine/plan.py",
        "engine/shard.py",
        "engine/takeover.py",
        "log/port.py",
        *(f"log/{engine}/lease.py" for engine in ENGINES),
        "testing/simulation_mirror.py",
    },
    "apart": {
        "engine/apart.py",
        "engine/deciding.py",
        "engine/effect.py",
        "engine/isolation.py",
        "engine/jobs.py",
        "engine/parts.py",
        "engine/takeover.py",
        "engine/workflow.py",
    },
    "postponed": {"engine/effect.py", "engine/failing.py", "engine/outbox.py"},
    "spawned": {"log/kafka/client.py"},
}
"""Words that once meant several things, and the modules (or the room) that may name something by them."""

INSTEAD = {
    "stand": "unstopped",
    "slice": "row",
    "tails": "watermark",
    "aside": "deferred, or spawned",
    "keeper": "holder",
}
"""Words that named several things, or one that has another name: nothing is called so any more."""


@cache
def _words(path: Path) -> frozenset[str]:
    """The words of which the names are made that a module defines."""
    return frozenset(word for name in _names(path) for word in name.lower().split("_"))


def _names(path: Path) -> Iterator[str]:
    """What a module defines: classes, functions, parameters, variables and attributes."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                yield name
            case ast.AsyncFunctionDef(name=name) | ast.arg(arg=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name
            case _:
                continue


@pytest.mark.parametrize(("word", "modules"), ONE_MEANING.items())
def test_a_word_means_one_thing(word: str, modules: set[str]) -> None:
    """A word of the glossary names the same thing wherever it is part of a name."""
    rooms = tuple(one for one in modules if one.endswith("/"))
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if word in _words(path)
    }
    assert {one for one in found if not one.startswith(rooms)} == modules - set(rooms)
    root = word.removesuffix("s")
    assert f"| {root} |" in GLOSSARY or f"| {root} (of a " in GLOSSARY


@pytest.mark.parametrize("word", INSTEAD)
def test_a_word_that_was_given_up_stays_so(word: str) -> None:
    """What has a word in the glossary has no second one in the code."""
    assert not [path.name for path in PACKAGE.rglob("*.py") if word in _words(path)], INSTEAD[word]


IN_TEXTS = {
    r"held (back|against)": "left, or compared with: held are events that come before their workflow",
    r"ke(eps?|pt|eping) apart": "is apart: kept are the entries of released shards",
    r"event loop kept|ke(eps|pt) the (event )?loop": "blocked",
}
"""Words in docs, docstrings and messages that said a second thing, and what is said now."""


@pytest.mark.parametrize("words", IN_TEXTS)
def test_texts_have_one_word_for_an_idea(words: str) -> None:
    """Neither the pages nor what the package says and prints goes back to a word for two ideas."""
    pages = [
        *PACKAGE.rglob("*.py"),
        *(ROOT / "docs").glob("*.md"),
        ROOT / "README.md",
        ROOT / "ARCHITECTURE.md",
    ]
    said = re.compile(words, re.IGNORECASE)
    found = [path.name for path in pages if said.search(path.read_text(encoding="utf-8"))]
    assert not found, IN_TEXTS[words]


TWICE = {
    "Call": "of a callback, as a machine has it; and of a fake, which tells a test what it was asked",
    "KeptCut": "as the broker in memory kept it, and as the audit reads it of any log",
    "WaitingEntry": "as the engine writes it, and as the audit reads it by itself",
    "Step": "of a cut, a takeover or a run; and of a case, which tests a machine",
    "Place": "in a log, and in a file: the glossary has both; the audit reads logs by itself",
    "Member": "the engine's, and what a broker in memory knows of it",
    "Line": "of a drawing, of a file of events, and of records on their way to Kafka",
    "State": "as it is written in Python, and as it is read",
    "Job": "as it is written in Python, and as it is read",
    "Guard": "as it is written in Python, and as it is asked",
    "Callback": "as a machine in Python names it, and as it was found in a plugin",
}
"""What several modules call a class, or a type by a word of the glossary, and why that is so."""


def _types(path: Path) -> Iterator[str]:
    """The classes of a module, and what it calls its types."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        match node:
            case ast.ClassDef(name=name):
                yield name
            case ast.Assign(targets=[ast.Name(id=name)]) if (
                name[0].isupper() and not name.isupper()
            ):
                yield name
            case _:
                continue


def test_a_name_is_one_class() -> None:
    """No two classes have one name, nor types if it is a word of the glossary; or a line says why."""
    rows = re.findall(r"^\| ([^|]+) \|", GLOSSARY, re.MULTILINE)
    words = {word.strip() for row in rows for word in row.partition("(")[0].split(",")}
    paths = sorted(PACKAGE.rglob("*.py"))
    found = Counter(name for path in paths for name in _types(path))
    classes = Counter(
        node.name
        for path in paths
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    )
    several = {name for name, count in found.items() if count > 1 and name.lower() in words}
    assert several | {name for name, count in classes.items() if count > 1} == set(TWICE)


def test_the_commands_of_the_glossary_are_all() -> None:
    """The row of commands names every verb, in the order of the code."""
    (named,) = re.findall(r"^\| command \| .+: ([^|]+) \|$", GLOSSARY, re.MULTILINE)
    assert named.split(", ") == [str(verb) for verb in Verb]


@pytest.mark.parametrize("word", list(Outcome))
def test_outcomes_are_in_the_glossary(word: str) -> None:
    """Every outcome is one of the glossary's words."""
    assert word in GLOSSARY
