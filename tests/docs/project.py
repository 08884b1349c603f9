"""
A project in a temporary directory, in which everything that a document prints is executed.

It begins with the machines/ and config/ of this repository. By the language of a block:

- `python` runs, with `await` allowed at the top; functions called `test_...` are called.
- `yaml` with a key `machine` is loaded as a machine, `toml` as settings; other YAML is parsed.
- `console`: lines that begin with `$` and run `event-center` run in the project. What is printed
  below one must be printed, in this order; numbers may differ, `...` stands for anything.
  `event-center run`, and what ends in `&`, runs until the end of the document.
- A block whose first line is a comment with a path, as `# machines/order.yaml`, is also written
  there. `<!-- skip: next -->` before a block leaves it out; nothing else does.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from sybil import Document, Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser

from event_center.app.settings import load_settings
from event_center.machine import parse
from tests.forked import Forked, Heard
from tests.waiting import PATIENCE_S, wait_until

ROOT = Path(__file__).resolve().parents[2]

_NAMED = re.compile(r"\s*(?:#|//)\s*([\w./-]+\.(?:py|yaml|yml|toml|json))\b")
_OURS = re.compile(r"(^|\|\s*)((\w+=\S*|'[^']*')\s+)*event-center\b")
_PLAIN = re.compile(r"event-center\b(?:[^'|<>;&$*~`]|'[^']*')*$")
_STAYS = re.compile(r"event-center\s+run\b|&\s*$")


class Project:
    """One document's project: its directory, and the commands that still run in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        for folder in ("machines", "config"):
            if (ROOT / folder).is_dir():
                shutil.copytree(ROOT / folder, directory / folder)
        self.running: list[Running] = []
        self.environment = os.environ | {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "COLUMNS": "100",
            "NO_COLOR": "1",
            "TERM": "dumb",
        }

    def document(self, path: Path) -> Document:
        """Read a document into blocks that this project evaluates."""
        python = PythonCodeBlockParser()
        python.codeblock_parser = CodeBlockParser("python", self._python)
        parsers = (
            SkipParser(),
            python,
            CodeBlockParser("toml", self._toml),
            CodeBlockParser("yaml", self._yaml),
            CodeBlockParser("console", self._console),
        )
        return Sybil(parsers).parse(path)

    def close(self) -> None:
        """End what still runs."""
        for running in self.running:
            running.stop()

    def _written(self, text: str) -> Path | None:
        """Write a block to the path that its first line names, if it names one."""
        named = _NAMED.match(text)
        if named is None:
            return None
        path = self.directory / named[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def _python(self, example: Example) -> None:
        self._written(example.parsed)
        known = set(example.namespace)
        _execute(example)
        for name in sorted(set(example.namespace) - known):
            if name.startswith("test_"):
                result = example.namespace[name]()
                if inspect.iscoroutine(result):
                    asyncio.run(result)

    def _toml(self, example: Example) -> None:
        keys = tomllib.loads(example.parsed)
        if keys.keys() & {"project", "tool", "build-system"}:
            return
        path = self._written(example.parsed)
        if path is None:
            path = self.directory / "block.toml"
            path.write_text(example.parsed, encoding="utf-8")
        load_settings(path)

    def _yaml(self, example: Example) -> None:
        self._written(example.parsed)
        keys = YAML(typ="safe", pure=True).load(example.parsed)
        if isinstance(keys, dict) and "machine" in keys:
            parse(example.parsed, f"{example.path}:{example.line}")

    def _wait_for_pulse(self, running: Running) -> None:
        """A daemon says how it is once a second: who reads the next block is not so quick."""

        def known() -> bool:
            if running.process.poll() is not None:
                return True
            asked = Heard(["health"], cwd=self.directory, env=self.environment)
            return asked.done().returncode == 0

        wait_until(known)

    def _console(self, example: Example) -> None:
        for command, expected in _commands(example.parsed):
            if not _OURS.search(command):
                continue
            running = Running(command, self)
            if _STAYS.search(command):
                self.running.append(running)
                running.wait_for(expected)
                self._wait_for_pulse(running)
            else:
                running.check(expected)


class Running:
    """One command of a document, under way; a thread collects what it prints."""

    def __init__(self, command: str, project: Project) -> None:
        self.command = command.rstrip("& ")
        self.lines: list[str] = []
        self.printed = threading.Condition()
        self.silent = False
        """It prints nothing more; what it printed before its end has been read."""
        heard, told = os.pipe()
        self.process = self._started(project, told)
        os.close(told)
        self.reader = threading.Thread(target=self._read, args=(heard,), daemon=True)
        self.reader.start()

    def _started(self, project: Project, told: int) -> Forked | subprocess.Popen[bytes]:
        """The process; only what a shell alone understands gets one."""
        where, environment = project.directory, project.environment
        if not _PLAIN.match(self.command):
            return subprocess.Popen(
                ["sh", "-c", self.command],
                cwd=where,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=told,
            )
        _, *words = shlex.split(self.command)
        return Forked(words, cwd=where, env=environment, stdout=told, stderr=told)

    def _read(self, heard: int) -> None:
        with os.fdopen(heard, encoding="utf-8") as said:
            for line in said:
                with self.printed:
                    self.lines.append(line)
                    self.printed.notify_all()
        with self.printed:
            self.silent = True
            self.printed.notify_all()

    def _shows(self, expected: list[str]) -> bool:
        return re.search(pattern(expected), "".join(self.lines), re.DOTALL) is not None

    def wait_for(self, expected: list[str]) -> None:
        """Wait until the command has printed what the document shows."""
        with self.printed:
            shown = self.printed.wait_for(lambda: self._shows(expected) or self.silent, PATIENCE_S)
        assert shown and self._shows(expected), self._told(expected)  # noqa: PT018 - one promise

    def check(self, expected: list[str]) -> None:
        """Wait for the command's end: it printed what the document shows, or at least succeeded."""
        code = self.process.wait(PATIENCE_S)
        self._end_reading()
        assert "Traceback (most recent call last)" not in "".join(self.lines), self._told(expected)
        assert self._shows(expected), self._told(expected)
        assert expected or code == 0, self._told(expected)

    def stop(self) -> None:
        """End the command as a terminal would, and make sure that it went well."""
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(PATIENCE_S)
        self._end_reading()
        assert "Traceback (most recent call last)" not in "".join(self.lines), self._told([])

    def _end_reading(self) -> None:
        self.reader.join(PATIENCE_S)

    def _told(self, expected: list[str]) -> str:
        shown = "\n".join(expected) or "(nothing in particular)"
        told = "".join(self.lines) or "(nothing)"
        return f"$ {self.command}\nthe document shows:\n{shown}\nit printed:\n{told}"


def pattern(expected: list[str]) -> str:
    """Lines of a document as a pattern: in this order; numbers, blanks and `...` are loose."""
    return ".*?".join(_loose(line) for line in expected)


def _loose(line: str) -> str:
    parts = re.split(r"(\.\.\.|\d+|\s+)", line.strip())
    return "".join(_loose_part(part) for part in parts)


def _loose_part(part: str) -> str:
    if part == "...":
        return "[^\n]*?"
    if part.isdigit():
        return r"\d+"
    return r"\s+" if part.isspace() else re.escape(part)


def _commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each command of a console block, and the lines that the block shows below it."""
    command, expected = "", list[str]()
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("$ "):
            if command:
                yield command, expected
            command, expected = line[2:].strip(), []
        elif line.strip():
            expected.append(line)
    if command:
        yield command, expected


def _execute(example: Example) -> None:
    """Run a block of Python under the document's line numbers, in one event loop if it awaits."""
    source = "\n" * (example.line + example.parsed.line_offset) + example.parsed
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(source, example.path, "exec", flags=flags, dont_inherit=True)
    namespace: dict[str, Any] = example.namespace
    namespace.setdefault("__name__", "document")
    if code.co_flags & inspect.CO_COROUTINE:
        asyncio.run(eval(code, namespace))
    else:
        exec(code, namespace)
