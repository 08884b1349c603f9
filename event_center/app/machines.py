"""
The machines that the settings name: files of YAML, folders of them, and modules of Python.

All problems of all files come together. Called by `wiring` for a center, and by the command that
checks; `bind` of `wiring` gives the machines their callbacks next.
"""

from __future__ import annotations

from pathlib import Path

from event_center.app.settings import Settings
from event_center.app.sources import DEFAULT_FILES
from event_center.errors import ConfigurationError, DefinitionError, Problem
from event_center.machine import Machine, load
from event_center.plugins.discovery import blueprints

YAML = frozenset({".yaml", ".yml"})
PYTHON = ".py"


def machine_files(settings: Settings) -> list[Path]:
    """
    The files that `machines` names, directories looked into for those in YAML.

    Raises:
        ConfigurationError: a file or directory does not exist, or none holds a machine.
    """
    files: list[Path] = []
    for named in settings.machines:
        path = settings.under_root(named)
        if path.is_dir():
            files += sorted(one for one in path.iterdir() if one.suffix in YAML)
        elif path.is_file():
            files.append(path)
        else:
            raise ConfigurationError(_no_machines_at(path, settings))
    return files


def _no_machines_at(path: Path, settings: Settings) -> str:
    """What to say of a file or folder that `machines` names and that is not there."""
    if settings.file is not None:
        return f"machines names {path}, which does not exist; create it, or correct the settings"
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
    Every machine by its name.

    Raises:
        DefinitionError: with all problems of all files.
        ConfigurationError: two files define a machine of one name.
    """
    machines: dict[str, Machine] = {}
    problems: list[Problem] = []
    for path in machine_files(settings):
        found, wrong = load_file(path)
        problems += wrong
        for machine in found:
            if machine.name in machines:
                msg = (
                    f"{path} and {machines[machine.name].source} both define machine "
                    f"{machine.name!r}; rename one of them"
                )
                raise ConfigurationError(msg)
            machines[machine.name] = machine
    if problems:
        raise DefinitionError(problems)
    return machines
