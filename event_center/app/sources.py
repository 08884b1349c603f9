"""
The sources of settings: one TOML file, environment variables, flags; each knows where a key stands.

`load_settings` asks for all three and lays them over each other. A source only reads: what a key
means, and whether there is one of that name, the settings say. Its `place` turns a key into words
for messages, as `config/event-center.toml:12`; `problems` asks for it.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource

from event_center.errors import ConfigurationError

PREFIX = "EVENT_CENTER__"
"""Environment variables begin with this; `EVENT_CENTER__LOG__PATH` is `log.path`."""

DEFAULT_FILES = (Path("config/event-center.toml"), Path("event-center.toml"))
"""Where the settings file is looked for, in this order, if none is named."""

Key = tuple[str, ...]
"""A setting by its path: `("log", "path")`."""

_POSITION = re.compile(r" \(at line (\d+), column (\d+)\)$")
_AT_END = " (at end of document)"
_HEADER = re.compile(r"\s*\[([^\[\]]+)\]\s*(#.*)?")
_ASSIGNMENT = re.compile(r"\s*((?:[\w.\- ]|\"[^\"]*\"|'[^']*')+?)\s*=")


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """What one source says, nested as in the file."""

    values: Mapping[str, Any] = field(default_factory=dict)
    place: Callable[[Key], str] = str
    """Where a key of this source was written, in words."""
    root: Path = Path()
    """For the file: what its relative paths are meant from."""
    file: Path | None = None
    """The file that was read; None if this is no file, or none was found."""

    def has(self, key: Key) -> bool:
        """Does this source say anything of the key?"""
        found: Any = self.values
        for name in key:
            if not isinstance(found, Mapping) or name not in found:
                return False
            found = found[name]
        return True


def overlaid(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """One mapping out of several: tables are merged, and of anything else the first one wins."""
    result: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            if name not in result:
                result[name] = overlaid(value) if isinstance(value, Mapping) else value
            elif isinstance(result[name], dict) and isinstance(value, Mapping):
                result[name] = overlaid(result[name], value)
    return result


def flags(overrides: Mapping[str, Any]) -> Source:
    """The flags of a command; what is None was not given."""
    return Source(values=_given(overrides), place=lambda _: "flag")


def _given(overrides: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _given(value) if isinstance(value, Mapping) else value
        for name, value in overrides.items()
        if value is not None
    }


class _Variables(EnvSettingsSource):
    """pydantic's reading of variables; a list that is not JSON is left to be reported."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value


def environment(settings: type[BaseSettings]) -> Source:
    """The environment variables that begin with the prefix; case does not matter in their names."""
    variables = {
        name.upper(): (name, value)
        for name, value in os.environ.items()
        if name.upper().startswith(PREFIX)
    }
    values = dict(_Variables(settings)())
    read = Source(values=values)
    for upper, (_, value) in variables.items():
        name = upper.removeprefix(PREFIX).lower()
        # pydantic passes over variables that fit no setting; as unknown keys they are reported.
        if not read.has(tuple(name.split("__"))):
            values[name] = value

    def place(key: Key) -> str:
        wanted = PREFIX + "__".join(key).upper()
        for upper, (name, _) in variables.items():
            if upper == wanted or upper.startswith(f"{wanted}__"):
                return f"environment variable {name}"
        return place(key[:-1]) if key else "an environment variable"

    return Source(values=values, place=place)


def settings_file(path: Path | None) -> Source:
    """
    The settings file; without a path the first default file that exists, or nothing.

    Raises:
        ConfigurationError: it can not be read, or is not TOML.
    """
    if path is None:
        path = next((file for file in DEFAULT_FILES if file.is_file()), None)
    if path is None:
        return Source(root=Path.cwd())
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise ConfigurationError(
            f"{path}: can not be read as a settings file ({why}); name another one, or none for the "
            "defaults"
        ) from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(_no_toml(path, text, str(error))) from error
    lines = dict(_lines(text))
    folder = path.absolute().parent
    return Source(
        values=values,
        place=lambda key: _line_of(key, path, lines),
        root=folder.parent if folder.name == "config" else folder,
        file=path,
    )


def _no_toml(path: Path, text: str, said: str) -> str:
    """What is wrong, and in which line; of what is still open at the end, the line of the last word."""
    position = _POSITION.search(said)
    if position is None:
        line = len(text.rstrip().splitlines())
        what = said.removesuffix(_AT_END)
        return f"{path}:{line}: this is not TOML: {what} at the end of the file; end what is still open"
    where = f"{path}:{position[1]}:{position[2]}"
    return f"{where}: this is not TOML: {_POSITION.sub('', said)}; correct the line"


def _line_of(key: Key, path: Path, lines: Mapping[Key, int]) -> str:
    """`file:line` of the key or of what is first in it, or of the table that would hold it."""
    while key:
        found = [line for known, line in lines.items() if known[: len(key)] == key]
        if found:
            return f"{path}:{lines.get(key) or min(found)}"
        key = key[:-1]
    return str(path)


def _lines(text: str) -> Iterator[tuple[Key, int]]:
    """
    The keys of a valid TOML text with their lines.

    The standard parser tells no positions. This reads headers and assignments line by line, which
    is enough for messages: a line inside a longer string may be taken for a key, to no harm.
    """
    table: Key = ()
    for number, line in enumerate(text.splitlines(), start=1):
        header = _HEADER.fullmatch(line)
        if header:
            table = _key(header[1])
            yield table, number
            continue
        assignment = _ASSIGNMENT.match(line)
        if assignment:
            key = (*table, *_key(assignment[1]))
            yield key, number


def _key(text: str) -> Key:
    """The names of a dotted key, as TOML reads it."""
    try:
        found: Any = tomllib.loads(f"{text} = 0")
    except tomllib.TOMLDecodeError:
        return (text,)
    names = []
    while isinstance(found, dict):
        name, found = next(iter(found.items()))
        names.append(name)
    return tuple(names)
