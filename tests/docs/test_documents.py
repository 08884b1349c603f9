"""What the documents print is true: every block of README.md and docs/ is executed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.project import ROOT, Project, pattern

DOCUMENTS = [
    path.relative_to(ROOT).as_posix()
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if path.is_file()
]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_document_is_true(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every block of the document does what it says, from top to bottom in one project."""
    _evaluate(ROOT / name, tmp_path, monkeypatch)


def _evaluate(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project(tmp_path / "project")
    monkeypatch.chdir(project.directory)
    try:
        for example in project.document(document).examples():
            example.evaluate()
    finally:
        project.close()


def _document(tmp_path: Path, *blocks: str) -> Path:
    path = tmp_path / "document.md"
    path.write_text("# A document\n\n" + "\n\n".join(blocks) + "\n", encoding="utf-8")
    return path


MACHINE = "# machines/lamp.yaml\nmachine: lamp\nversion: 1\ninitial: off\nstates:\n"


@pytest.mark.parametrize(
    ("block", "error"),
    [
        ("```python\nassert 1 + 1 == 3\n```", AssertionError),
        ("```python\nimport asyncio\nawait asyncio.sleep(0)\nraise KeyError\n```", KeyError),
        ("```python\n>>> 1 + 1\n3\n```", Exception),
        ("```python\ndef test_it():\n    raise KeyError\n```", KeyError),
        ("```python\nasync def test_it():\n    raise KeyError\n```", KeyError),
        ("```toml\nno_such_key = 1\n```", Exception),
        (f"```yaml\n{MACHINE}  on: {{}}\n```", Exception),
        ("```yaml\na: [\n```", Exception),
        ("```console\n$ event-center --no-such-flag\n```", AssertionError),
    ],
)
def test_what_is_not_true_fails(
    block: str, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block of any kind that does not do what it says fails its document."""
    with pytest.raises(error):
        _evaluate(_document(tmp_path, block), tmp_path, monkeypatch)


def test_what_is_true_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks share their names and their project; one may be left out with a comment."""
    machine = f"{MACHINE}  off: {{on: {{press: done}}}}\n  done: {{type: final}}\n"
    document = _document(
        tmp_path,
        "```python\nimport asyncio\nx = await asyncio.sleep(0, 2)\n```",
        "```python\nassert x == 2\n```",
        f"```yaml\n{machine}```",
        "```python\nfrom pathlib import Path\nassert Path('machines/lamp.yaml').is_file()\n```",
        '```toml\n[project]\nname = "mine"\n```',
        "```console\n$ cat /no/such/file\n```",
        "<!-- skip: next -->\n\n```python\nraise KeyError\n```",
    )
    _evaluate(document, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        (["took 12 ms"], "took 7   ms\n", True),
        (["a", "c"], "a\nb\nc\n", True),
        (["c", "a"], "a\nb\nc\n", False),
        (["o-1  ...  done"], "o-1 running 2026 done\n", True),
        (["o-1 ... done"], "o-1\ndone\n", False),
        ([], "anything", True),
    ],
)
def test_output_is_compared_loosely(shown: list[str], printed: str, same: bool) -> None:
    """Lines come in their order; numbers, blanks and what `...` stands for may differ."""
    assert (re.search(pattern(shown), printed, re.DOTALL) is not None) is same
