"""How tests are spread over processes: what shares something stays together, the rest is free."""

from __future__ import annotations

from pathlib import Path

from tests.spreading import LONG, TOGETHER, Together

ROOT = Path(__file__).parents[1]


def scope(nodeid: str) -> str:
    """What this test is sent with."""
    return object.__new__(Together)._split_scope(nodeid)


def test_what_shares_something_stays_together() -> None:
    """All tests of one broker go to one process, also from several files."""
    files = ("tests/kafka/test_access.py", "tests/kafka/test_permissions.py")
    assert len({scope(f"{file}::test_{n}[a/b-{n}]") for file in files for n in range(3)}) == 1


def test_the_rest_is_free() -> None:
    """Every other test is alone, also one of several with different parameters."""
    names = [f"tests/crash/test_kill.py::test_killed[{n}]" for n in range(3)]
    assert [scope(name) for name in names] == names


def test_the_files_are_there() -> None:
    """A file that was renamed would lose its company in silence."""
    assert [file for file in TOGETHER if not (ROOT / file).is_file()] == []


def test_the_long_ones_are_there() -> None:
    """A long test that was renamed would begin late in silence."""
    named = [name.partition("::") for name in LONG]
    texts = {file: (ROOT / file).read_text(encoding="utf-8") for file, _, _ in named}
    assert [name for file, _, name in named if f"def {name}(" not in texts[file]] == []
