"""
The machines that the settings name: files of YAML, folders of them, and modules of Python.

All problems of all files come together. Called by `wiring` for a center, and by the command that
checks; `bind` of `wiring` gives the machines their callbacks next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from event_center.app.settings import Settings
from event_center.app.sources import DEFAULT_FILES
from event_center.errors import ConfigurationError, DefinitionError, PluginError, Problem
from event_center.machine import Machine, load
from event_center.machine.spelling import hint
from event_center.plugins.discovery import blueprints

YAML = frozenset({".yaml", ".yml"})
PYTHON = ".py"


def machine_files(settings: Settings) -> list[Path]:
    """
    The files that `machines` names, each once, directories looked into for those in YAML.

    Raises:
        ConfigurationError: a file or directory does not exist, or none holds a machine.
    """
    files: list[Path] = []
    for named in settings.machines:
        path = near(settings.under_root(named))
        if not path.exists():
            raise ConfigurationError(_no_machines_at(path, settings))
        files += files_at(path)
    return each_once(files)


def files_at(path: Path) -> list[Path]:
    """A file, or those in YAML of a folder."""
    return sorted(one for one in path.iterdir() if one.suffix in YAML) if path.is_dir() else [path]


def each_once(files: Iterable[Path]) -> list[Path]:
    """The same files in the same order, without those that were named before, whatever they were called."""
    named: dict[Path, Path] = {}
    for path in files:
        named.setdefault(path.resolve(), path)
    return list(named.values())


def near(path: Path) -> Path:
    """A path as people write it: from the working directory on, if it lies in there."""
    inside = path.is_absolute() and path.is_relative_to(Path.cwd())
    return path.relative_to(Path.cwd()) if inside else path


def _no_machines_at(path: Path, settings: Settings) -> str:
    """What to say of a file or folder that `machines` names and that is not there."""
    if settings.file is not None:
        place = settings.place("machines")
        return f"{place}: machines names {path}, which does not exist; create it, or correct the settings"
    places = " and ".join(str(file.absolute()) for file in DEFAULT_FILES)
    return (
        f"no settings file was found: {places} do not exist; name one with --config, or go to the "
        f"project's folder. Without one, `machines` names {path}, which does not exist either"
    )


def load_file(path: Path) -> tuple[list[Machine], list[Problem]]:
    """
    The machine of a YAML file, or those of a module of Python; and all problems that there are.

    Raises:
        PluginError: the module can not be imported, or has no machine.
    """
    machines: list[Machine] = []
    problems: list[Problem] = []
    for definition in blueprints(path) if path.suffix == PYTHON else [path]:
        try:
            machines.append(load(definition))
        except DefinitionError as error:
            problems += error.problems
    return machines, problems


def load_machines(settings: Settings) -> dict[str, Machine]:
    """
    Every machine by its name, in its newest version.

    Raises:
        DefinitionError, ConfigurationError: as of `load_versions`.
    """
    return load_versions(settings)[0]


def machines_at_hand(settings: Settings) -> list[Machine]:
    """Every version of every machine of the settings; none if they can not be loaded."""
    try:
        newest, older = load_versions(settings)
    except (ConfigurationError, DefinitionError, PluginError):
        return []  # `check` says why; who only asks for a name can do without
    return [*newest.values(), *older]


def load_versions(settings: Settings) -> tuple[dict[str, Machine], list[Machine]]:
    """
    Every machine by its name, and the older versions that workflows are pinned to.

    Raises:
        DefinitionError: with all problems of all files.
        ConfigurationError: two files define a machine of one name, and nobody is pinned to one.
    """
    loaded: dict[tuple[str, int], Machine] = {}
    problems: list[Problem] = []
    for path in machine_files(settings):
        found, wrong = load_file(path)
        problems += wrong
        for machine in found:
            former = loaded.setdefault((machine.name, machine.version), machine)
            if former is not machine:
                raise ConfigurationError(_twice(machine, former))
    if problems:
        raise DefinitionError(problems)
    versions = [loaded[key] for key in sorted(loaded)]
    newest = {machine.name: machine for machine in versions}
    older = [machine for machine in versions if newest[machine.name] is not machine]
    for machine in older:
        if not newest[machine.name].pins:
            raise ConfigurationError(_twice(machine, newest[machine.name]))
    return newest, older


def _twice(machine: Machine, other: Machine) -> str:
    """What to say of two machines of one name."""
    said = f"{machine.source} and {other.source} both define machine {machine.name!r}"
    if machine.version == other.version:
        return f"{said}; rename one of them"
    return (
        f"{said}; rename one of them, or write `on_upgrade: pin` in version {other.version}, so that "
        f"workflows of version {machine.version} stay there"
    )


def check_emits(settings: Settings, machines: Mapping[str, Machine]) -> None:
    """
    Is each topic that a machine emits to declared, as for callbacks?

    Raises:
        ConfigurationError: one is not.
    """
    declared = sorted(settings.publish.topics)
    for machine in machines.values():
        for emit in machine.definition.emits():
            if emit.topic is not None and emit.topic not in declared:
                msg = (
                    f"{emit.where}: machine {machine.name!r} emits to the topic {emit.topic!r}, "
                    "which is not declared; add it to `[publish] topics` of the settings"
                    f"{hint(emit.topic, declared, 'topics')}"
                )
                raise ConfigurationError(msg)


def check_topics(settings: Settings, machines: Iterable[str]) -> None:
    """
    Is each machine that a topic names there?

    Raises:
        ConfigurationError: one is not.
    """
    known = sorted(machines)
    for name, topic in settings.topics.items():
        if not topic.machine.startswith("=") and topic.machine not in known:
            place = settings.place("topics", name, "machine")
            msg = (
                f"{place}: [topics.{name}] machine {topic.machine!r} is not defined in any of the "
                f"files that `machines` names{hint(topic.machine, known, 'machines')}"
            )
            raise ConfigurationError(msg)
