"""
A new project: the files of an example, with its name in them, written all or not at all.

The files lie in `templates`, as they are but for the words between `@`: those of `project`, those of
the example, and over them those of `kafka` if the log is to be there. The command `init` calls `start`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import as_file, files
from pathlib import Path

from event_center.errors import ConfigurationError

EXAMPLES = {"order": ("order", "orders"), "empty": ("work", "works")}
"""What a project can begin with, and the machine and topic of each."""

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9 ._-]*[A-Za-z0-9])?")
_BETWEEN_WORDS = re.compile(r"[ ._-]+")
_OUR_OWN = "event-center"
_TOPICS_FIRST = """$ event-center topics create --events   # once: the topics, as they have to be
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class NewProject:
    """A project, as it is or would be written."""

    directory: Path
    name: str
    files: dict[str, str]
    """What is in each file, by its path in the directory."""

    def existing(self) -> list[str]:
        """The files that are there already."""
        return [name for name in self.files if (self.directory / name).exists()]

    def write(self) -> None:
        """
        Write the files: all of them, or none.

        Raises:
            ConfigurationError: a file exists already, or the directory can not be written.
        """
        if existing := self.existing():
            raise ConfigurationError(
                f"nothing was written, because {self.directory} has {', '.join(existing)} already: take "
                "another directory, or move them away"
            )
        made: list[Path] = []
        try:
            for name, text in self.files.items():
                path = self.directory / name
                missing = [one for one in path.parents if not one.exists()]
                for folder in reversed(missing):
                    folder.mkdir()
                    made.append(folder)
                with path.open("x", encoding="utf-8") as file:
                    made.append(path)
                    file.write(text)
        except OSError as error:
            _take_back(made)
            raise ConfigurationError(
                f"nothing was written: {error.filename or self.directory}: {error.strerror or error}; "
                "take another directory"
            ) from error


def _take_back(made: list[Path]) -> None:
    """Remove what was written, the newest first."""
    for path in reversed(made):
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()


def start(directory: Path, *, example: str, kafka: bool) -> NewProject:
    """
    A project for this directory; nothing is written yet.

    Args:
        directory: where it is to be; its name becomes the project's.
        example: one of `EXAMPLES`.
        kafka: the log is on Kafka, instead of in a file.

    Raises:
        ConfigurationError: the directory is a file, or has a name that no project can have.
    """
    if directory.exists() and not directory.is_dir():
        raise ConfigurationError(f"{directory} is a file; name a directory for the project")
    machine, topic = EXAMPLES[example]
    words = {
        "@NAME@": _name_of(directory),
        "@TOPICS_FIRST@": _TOPICS_FIRST if kafka else "",
        "@VERSION@": version("event-center"),
        "@MACHINE@": machine,
        "@TOPIC@": topic,
    }
    found: dict[str, str] = {}
    with as_file(files("event_center.app") / "templates") as templates:
        for folder in ("project", example, *(["kafka"] if kafka else [])):
            for path in sorted((templates / folder).rglob("*")):
                if path.is_file() and path.suffix != ".pyc":
                    inside = path.relative_to(templates / folder).as_posix()
                    found[_filled(inside, words)] = _filled(path.read_text("utf-8"), words)
    return NewProject(directory=directory, name=words["@NAME@"], files=dict(sorted(found.items())))


def _name_of(directory: Path) -> str:
    """
    The project's name: that of its directory, as packages are called.

    Raises:
        ConfigurationError: no package can be called so.
    """
    called = directory.absolute().resolve().name
    if not _NAME.fullmatch(called):
        raise ConfigurationError(
            f"a project has the name of its directory, and none can be called {called!r}: take a "
            "directory whose name has letters from a to z, digits, and between them '-', '_', '.' or "
            "blanks"
        )
    name = _BETWEEN_WORDS.sub("-", called.lower())
    if name == _OUR_OWN:
        raise ConfigurationError(
            f"{_OUR_OWN} is the package that a project needs, and so no name for one; take a directory "
            "of another name"
        )
    return name


def _filled(text: str, words: dict[str, str]) -> str:
    for word, meaning in words.items():
        text = text.replace(word, meaning)
    return text
