"""
What the center of a test runs: settings, machines and callbacks, from files or as objects.

Read and put together by the same functions as a daemon's (`app.wiring`), so that a test finds what the
daemon would find. `TestCenter` asks for the plan once, before it starts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from event_center.app.machines import load_file, load_versions
from event_center.app.settings import Settings, load_settings
from event_center.app.wiring import plan_of, plugins_of
from event_center.engine.plan import Plan
from event_center.errors import ConfigurationError, DefinitionError
from event_center.machine import Blueprint, Machine, load
from event_center.plugins.callbacks import Callbacks
from event_center.plugins.discovery import discover, in_class
from event_center.testing.fakes import Fake, standing_in

MachineLike = Path | str | Machine | type[Blueprint]
"""A file of a machine, a machine that is loaded, or one that is written as a class."""
Config = Path | str | Settings | None
"""A settings file, settings made in code, or None for the default places."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Project:
    """What a test asks for."""

    machines: Sequence[MachineLike]
    plugins: Sequence[Callbacks]
    config: Config
    settings: Mapping[str, Any]
    fakes: Mapping[str, Fake]


def plan_for(project: Project, clock: Callable[[], int]) -> tuple[Settings, Plan]:
    """
    The settings, and everything that the engine works with.

    Raises:
        ConfigurationError, DefinitionError, PluginError: something does not fit; it says what.
    """
    if project.machines and project.config is not None:
        raise ConfigurationError(
            "a TestCenter has machines or a config, not both: a config names its machines; leave one "
            "of them out"
        )
    if project.machines:
        newest = {one.name: one for each in project.machines for one in loaded(each)}
        older: list[Machine] = []
        settings = _settings_for(newest, project.settings)
        found = _found_for(project.machines)
    else:
        settings = _read(project)
        newest, older = load_versions(settings)
        found = plugins_of(settings, [*newest.values(), *older])
    # Who gives the callbacks of a machine does not want those that lie beside it.
    given = {one.machine for one in project.plugins}
    found = [*(one for one in found if one.machine not in given), *project.plugins]
    instead = standing_in(project.fakes, [*newest.values(), *older])
    plan = plan_of(settings, (newest, older), found, clock=clock, instead=instead)
    return settings, replace(plan, steady=True)


def loaded(one: MachineLike) -> list[Machine]:
    """
    The machines that somebody means.

    Raises:
        DefinitionError, PluginError: they have problems, or can not be loaded.
    """
    if isinstance(one, Machine):
        return [one]
    if isinstance(one, type):
        return [load(one)]
    machines, problems = load_file(Path(one))
    if problems:
        raise DefinitionError(problems)
    return machines


def _read(project: Project) -> Settings:
    if isinstance(project.config, Settings):
        return project.config
    return load_settings(None if project.config is None else Path(project.config), project.settings)


def _settings_for(machines: Mapping[str, Machine], settings: Mapping[str, Any]) -> Settings:
    """Settings for machines without a file of settings: each has a topic of its name."""
    topics = {name: {"machine": name} for name in machines}
    return Settings(**{"topics": topics, **settings, "machines": ()})


def _found_for(machines: Sequence[MachineLike]) -> list[Callbacks]:
    """The callbacks in the classes, and those beside the files."""
    files = [
        Path(one.source if isinstance(one, Machine) else one)
        for one in machines
        if not isinstance(one, type)
    ]
    classes = [in_class(one) for one in machines if isinstance(one, type)]
    return [*classes, *discover(files)]
