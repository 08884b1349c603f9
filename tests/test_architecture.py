"""
The shape of the code: floors, sizes, docstrings, broad excepts, words that may not appear.

These checks keep the style from drifting; what ruff and mypy hold is not repeated here.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from event_center import errors

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "event_center").rglob("*.py"))
OURS = sorted(
    path
    for folder in ("event_center", "machines", "scripts", "tests")
    for path in (ROOT / folder).rglob("*.py")
)

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 70

BROAD_EXCEPTS = {
    "event_center/plugins/discovery.py": "importing a plugin runs the user's code",
    "event_center/engine/run.py": "a run calls the user's code",
    "event_center/engine/listening.py": "a listener is the user's code",
    "event_center/plugins/signatures.py": "a guard is the user's code",
    "event_center/engine/attempt.py": "the text of an error is the user's code",
    "event_center/cli/__init__.py": "the top of the daemon",
    "event_center/log/kafka/log.py": "only a clean return of a publish says that all is written",
    "event_center/log/kafka/transaction.py": "only a clean return of a commit is a commit",
}
"""The files that may catch everything, each with its reason."""

SLEEPS = {
    "tests/testing/test_center.py": "virtual time, and what it promises of a sleep",
    "tests/waiting.py": "the waiting room: what rings no bell is looked at",
    "tests/engine/world.py": "virtual time",
    "tests/engine/test_effects.py": "a callback under virtual time",
    "tests/engine/test_failed_runs.py": "a callback under virtual time",
    "tests/engine/test_storm.py": "callbacks under virtual time",
    "tests/simulation/workload.py": "a callback under virtual time",
    "tests/engine/test_watchdog.py": "a callback that blocks the event loop, in real time",
    "tests/chaos/faults.py": "brokers and daemons that stand still for a while, in real time",
    "tests/chaos/proxy.py": "a network that is slow",
    "tests/chaos/site.py": "a cluster in trouble rings no bell, and may take longer than a test",
    "tests/bench/lag.py": "a broker that is gone for a minute, in real time",
    "tests/kafka/test_faults.py": "brokers and daemons that stand still for a while, in real time",
    "tests/kafka/test_gone.py": "a broker that is gone for a minute, in real time",
    "tests/kafka/test_group.py": "cuts at a pace, beside a rebalance on a real broker",
    "tests/kafka/test_long_restore.py": "sessions of a group, which brokers measure in real time",
    "tests/kafka/test_rolling.py": "events at a pace, which a restart must not stop",
    "tests/client/test_commands.py": "a daemon under virtual time",
    "tests/soak/daemon.py": "it tells how it is, once a second",
    "tests/soak/machines/life.py": "a callback that takes a moment",
    "tests/soak/soaking.py": "events at a steady pace, for as long as one likes",
    "tests/client/test_reaching.py": "a daemon under virtual time",
    "tests/crash/twins.py": "a slow disk, in a real process",
    "tests/crash/machines/claim.py": "a callback that takes its time, in a real process",
    "tests/crash/machines/parcel.py": "callbacks that take their time, in a real process",
    "tests/formats/make.py": "what the last events have begun, in a real center",
    "tests/bench/waiting.py": "callbacks that wait are what is measured",
    "tests/bench/kafka.py": "callbacks that wait, and a system that is idle between two events",
    "tests/bench/members.py": "a member that is killed, in real time",
    "tests/bench/served.py": "what a takeover has read through goes back a moment after it",
    "tests/kafka/test_heap.py": "under virtual time",
    "tests/bench/counters/faust_counter.py": "a callback that waits, in a peer's process",
    "tests/bench/counters/quix_counter.py": "a callback that waits, in a peer's process",
}
"""The files of the tests that may sleep, each with its reason."""

IGNORES = "# type" + ": ignore"
IGNORED = re.compile(IGNORES + r"\[[\w,-]+\]  # \S")
"""With a code and a reason; in parts, so that this file passes its own test."""

FORBIDDEN_WORDS = tuple(
    "".join(parts) for parts in (("index", "-url"), ("pypi", ".org"), ("/wo", "rk/"))
)
"""Registries and paths of one machine; in parts, so that this file passes its own test."""


@pytest.fixture(autouse=True, scope="module")
def _trees_go() -> Iterator[None]:
    """What has been parsed for the tests of this file is in nobody's way after them."""
    yield
    _tree.cache_clear()


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _catches_everything(handler: ast.ExceptHandler) -> bool:
    """Whether it may swallow anything; one that ends by raising it again only cleans up."""
    last = handler.body[-1]
    if isinstance(last, ast.Raise) and last.exc is None:
        return False
    if handler.type is None:
        return True
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(
        isinstance(one, ast.Name) and one.id in {"Exception", "BaseException"} for one in caught
    )


def _tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    names = listed.stdout.decode().split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def _python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_imports_go_down_only() -> None:
    """A module imports only from floors below; engines do not know each other; rules are pure."""
    done = _python(
        "from importlinter.cli import lint_imports\n"
        "raise SystemExit(lint_imports(no_cache=True, no_logo=True))\n"
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_files_are_short() -> None:
    """No Python file has more than 400 lines."""
    sizes = {_name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in OURS}
    assert {name: size for name, size in sizes.items() if size > MAX_FILE_LINES} == {}


def test_functions_are_short() -> None:
    """No function has more than 70 lines."""
    long = [
        f"{_name(path)}:{function.lineno} {function.name}"
        for path in OURS
        for function in _functions(path)
        if (function.end_lineno or 0) - function.lineno + 1 > MAX_FUNCTION_LINES
    ]
    assert long == []


def test_every_module_tells_what_it_does() -> None:
    """Every Python file begins with a docstring."""
    assert [_name(path) for path in OURS if ast.get_docstring(_tree(path)) is None] == []


def test_every_test_states_its_promise() -> None:
    """Every test has a docstring."""
    silent = [
        f"{_name(path)}:{function.lineno} {function.name}"
        for path in OURS
        if _name(path).startswith("tests/")
        for function in _functions(path)
        if function.name.startswith("test_") and ast.get_docstring(function) is None
    ]
    assert silent == []


def test_broad_excepts_stand_only_where_user_code_is_called() -> None:
    """Nothing catches everything, except in the few files that are named with a reason."""
    broad = {
        _name(path)
        for path in MODULES
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.ExceptHandler) and _catches_everything(node)
    }
    assert broad == BROAD_EXCEPTS.keys()


def test_a_broad_except_says_why_on_its_line() -> None:
    """Whoever catches everything, to swallow it or to clean up, says on that line what becomes of it."""
    silent = [
        f"{_name(path)}:{node.lineno}"
        for path in MODULES
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"})
        and "  # " not in path.read_text(encoding="utf-8").splitlines()[node.lineno - 1]
    ]
    assert silent == []


def _calls_of_users(node: ast.AST, *, caught: bool = False) -> Iterator[tuple[int, bool]]:
    """Lines that call a function of a plugin, and whether an `except BaseException` is around each."""
    match node:
        case (
            ast.Call(func=ast.Attribute(attr="function"))
            | ast.Call(
                func=ast.Attribute(
                    attr="call", value=ast.Name(id="callback") | ast.Attribute(attr="callback")
                )
            )
        ):
            yield node.lineno, caught
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
            caught = False  # it may be called from elsewhere
        case ast.Try(body=body, handlers=handlers):
            types = [one.type for one in handlers]
            around = any(isinstance(one, ast.Name) and one.id == "BaseException" for one in types)
            for inner in body:
                yield from _calls_of_users(inner, caught=caught or around)
            for rest in (*handlers, *node.orelse, *node.finalbody):
                yield from _calls_of_users(rest, caught=caught)
            return
        case _:
            pass
    for child in ast.iter_child_nodes(node):
        yield from _calls_of_users(child, caught=caught)


def test_whatever_a_plugin_raises_is_caught_where_it_is_called() -> None:
    """The engine calls users' functions in two files, each time under an `except BaseException`."""
    calls = {
        (_name(path), caught)
        for path in (ROOT / "event_center/engine").rglob("*.py")
        for _, caught in _calls_of_users(_tree(path))
    }
    assert calls == {
        ("event_center/engine/listening.py", True),
        ("event_center/engine/run.py", True),
    }


@pytest.mark.parametrize(
    ("text", "caught"),
    [
        ("try:\n    await run.callback.call(ctx)\nexcept BaseException: ...", True),
        ("try:\n    with limit:\n        await one.function(1)\nexcept BaseException: ...", True),
        ("try:\n    await callback.call(ctx)\nexcept Exception: ...", False),
        ("try: ...\nexcept BaseException:\n    await callback.call(ctx)", False),
        ("try: ...\nexcept BaseException: ...\nelse:\n    await callback.call(ctx)", False),
        ("try:\n    def later(): return callback.call(ctx)\nexcept BaseException: ...", False),
        ("await one.function(1)", False),
    ],
)
def test_a_call_without_such_an_except_would_be_seen(text: str, caught: bool) -> None:
    """Only what stands in the body of such a `try` counts as caught."""
    tree = compile(text, "text", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert [found for _, found in _calls_of_users(tree)] == [caught]


def test_errors_stand_in_one_file() -> None:
    """Every class that can be raised stands in the tree of `errors.py`."""
    ours = [
        name
        for name, one in vars(errors).items()
        if isinstance(one, type) and issubclass(one, BaseException)
    ]
    known = {*ours, "Exception", "BaseException"}
    elsewhere = [
        f"{_name(path)}:{node.lineno} {node.name}"
        for path in MODULES
        if path.name != "errors.py"
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.ClassDef)
        for base in node.bases
        if isinstance(base, ast.Name) and (base.id in known or base.id.endswith("Error"))
    ]
    assert elsewhere == []
    tree = errors.__doc__ or ""
    assert [name for name in ours if f"─ {name} " not in tree and f"{name}\n" not in tree] == []


def test_imports_stand_at_the_top() -> None:
    """Nothing is imported inside a function, nor for type checking only."""
    hidden = [
        f"{_name(path)}:{node.lineno}"
        for path in MODULES
        for function in _functions(path)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    hidden += [_name(path) for path in MODULES if "TYPE_CHECKING" in path.read_text("utf-8")]
    assert hidden == []


def test_tests_do_not_sleep() -> None:
    """A test waits for a condition in `tests/waiting.py`, or in virtual time; never for a while."""
    sleeping = {
        _name(path)
        for path in (ROOT / "tests").rglob("*.py")
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Attribute | ast.Name)
        and (node.attr if isinstance(node, ast.Attribute) else node.id) == "sleep"
    }
    assert sleeping == SLEEPS.keys()


def test_types_are_ignored_seldom_and_with_a_reason() -> None:
    """mypy reads every file; at most one line in a thousand asks it to look away, and says why."""
    lines = [
        (f"{_name(path)}:{number}", line)
        for path in OURS
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    ]
    ignored = [(place, line) for place, line in lines if IGNORES in line]
    assert [place for place, line in ignored if not IGNORED.search(line)] == []
    assert len(ignored) * 1000 <= len(lines)
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert settings["tool"]["mypy"]["files"] == sorted({_name(path).split("/")[0] for path in OURS})


def test_one_place_says_what_a_workflow_may_do() -> None:
    """Who is stopped says `freedom`; only `cause_of` looks too: what waits is counted by its cause."""
    engine = [path for path in MODULES if path.parent.name == "engine"]
    found = {
        path.name
        for path in engine
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Name) and node.id == "STOPPED"
    }
    assert found == {"freedom.py", "waiting_entries.py"}


def _writes_the_entry(node: ast.AST) -> bool:
    """Whether this changes something of a shard entry: `….entry.read += 1`, `entry.offsets[x] = 1`."""
    match node:
        case ast.Assign(targets=targets):
            pass
        case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
            targets = [target]
        case _:
            return False
    return any(re.search(r"\b_?entry\.\w+", ast.unparse(target)) for target in targets)


def test_only_the_ledger_writes_what_a_cut_will_hold() -> None:
    """
    P1: what is counted is counted by a verb of the ledger; a takeover fills in what it has found.

    The waiting entries are a part of the ledger in a file of its own.
    """
    engine = [path for path in MODULES if path.parent.name == "engine"]
    found = {path.name for path in engine if any(map(_writes_the_entry, ast.walk(_tree(path))))}
    assert found == {"ledger.py", "restoring.py", "waiting_entries.py"}
    assert _writes_the_entry(ast.parse("self._ledger.entry.runs += 1").body[0])


def test_no_address_of_a_registry_or_of_one_machine() -> None:
    """No file names a package registry, or a path of the machine that it was written on."""
    found = [
        f"{_name(path)}: {word}"
        for path in _tracked_files()
        for word in FORBIDDEN_WORDS
        if re.search(rb"(?<!\w)" + re.escape(word.encode()), path.read_bytes())
    ]
    assert found == []


def test_the_machine_room_alone_is_light() -> None:
    """`from event_center import Machine` imports no Kafka client, no pydantic and no typer."""
    done = _python(
        "import sys\n"
        "from event_center import Machine\n"
        "heavy = {'aiokafka', 'pydantic', 'typer'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
