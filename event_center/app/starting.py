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

_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")


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
        ConfigurationError: the directory is a file.
    """
    if directory.exists() and not directory.is_dir():
        raise ConfigurationError(f"{directory} is a file; name a directory for the project")
    name = _NOT_IN_NAMES.sub("-", directory.absolute().resolve().name.lower()).strip("-")
    machine, topic = EXAMPLES[example]
    words = {
        "@NAME@": name or "workflows",
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


def _filled(text: str, words: dict[str, str]) -> str:
    for word, meaning in words.items():
        text = text.replace(word, meaning)
    return text
