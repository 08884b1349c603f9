"""
Is everything fit for a daemon? One finding after another, each with what to do about it.

In this order, because what comes later needs what comes first: the environment, the settings, machines
and plugins, the log, and the machine that all of it runs on. It needs no daemon, and disturbs none.
The command `doctor` shows it; `doctor_log` and `doctor_host` have the next steps.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import AsyncIterator, Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from event_center.app.doctor_host import of_host
from event_center.app.doctor_log import of_log
from event_center.app.finding import Finding, error, ok, warning
from event_center.app.machines import load_versions
from event_center.app.settings import Settings, load_settings
from event_center.app.wiring import make_plan, plugins_of
from event_center.errors import DefinitionError, EventCenterError, PluginError
from event_center.machine.spelling import listed
from event_center.plugins.registry import unclaimed

SHOWN = ("aiokafka", "anyio", "orjson", "pydantic")
"""The packages of which the version is told: those that behaviour depends on most."""
DEBUG_ADVICE = "write `info` or `warning` in [logging] level"


async def examine(config: Path | None, overrides: dict[str, Any]) -> AsyncIterator[Finding]:
    """
    Everything that there is to find, as it is found.

    Args:
        config: the settings file; None: where a daemon looks for it.
        overrides: settings over those of the file, nested as in it.
    """
    for finding in _environment():
        yield finding
    try:
        settings = load_settings(config, overrides)
    except EventCenterError as wrong:
        yield error("settings", str(wrong), "mend the settings: nothing else can be looked at")
        return
    for finding in (*_settings(settings), *_definitions(settings)):
        yield finding
    async for finding in of_log(settings):
        yield finding
    async for finding in of_host(settings):
        yield finding


def _environment() -> Iterator[Finding]:
    """Python and the packages that this one needs."""
    versions, missing = list[str](), list[str]()
    for name in _needed():
        try:
            found = version(name)
        except PackageNotFoundError:
            missing.append(name)
            continue
        if name in SHOWN:
            versions.append(f"{name} {found}")
    python = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    yield ok(
        "environment", f"{python}; event-center {version('event-center')}; {', '.join(versions)}"
    )
    if missing:
        yield error(
            "environment",
            f"packages are missing: {listed(missing)}",
            "install event-center again with pip, which brings what it needs",
        )
    if sys.flags.dev_mode:
        yield warning(
            "environment",
            "Python runs in its development mode, which makes asyncio several times slower",
            "leave -X dev and PYTHONDEVMODE out where it counts",
        )
    if find_spec("uvloop") is None:
        yield ok(
            "environment", "uvloop is not installed; `event-center[uvloop]` makes `run` faster"
        )


def _needed() -> list[str]:
    """The names of the packages that this one can not do without."""
    needed = requires("event-center") or []
    plain = [one for one in needed if ";" not in one]
    return ["".join(_name(one)) for one in plain]


def _name(requirement: str) -> Iterator[str]:
    for letter in requirement:
        if not (letter.isalnum() or letter in "._-"):
            return
        yield letter


def _settings(settings: Settings) -> Iterator[Finding]:
    """What of the settings is not meant for long."""
    yield ok(
        "settings", f"{settings.file or 'no file: all at their defaults'}; app {settings.app!r}"
    )
    if not settings.topics:
        yield warning(
            "settings", "there is no topic of events", "add a table [topics.NAME] with its machine"
        )
    if settings.logging.level == "debug":
        yield warning("settings", "every step of every event is logged", DEBUG_ADVICE)
    if settings.log.keep_cuts:
        yield warning(
            "settings",
            "keep_cuts keeps every cut for ever, for audits: the log only grows",
            "write keep_cuts = false in [log]",
        )
    if settings.log.on_data_loss == "continue":
        yield warning(
            "settings",
            "records that are gone before they were read are passed over",
            'write on_data_loss = "stop" in [log], unless that is meant',
        )


def _definitions(settings: Settings) -> Iterator[Finding]:
    """Machines and plugins, as `run` would load them."""
    try:
        machines, older = load_versions(settings)
    except DefinitionError as wrong:
        count = len(wrong.problems)
        problems = f"{count} problems, the first" if count > 1 else "a problem"
        what = f"{problems}: {wrong.problems[0]}"
        yield error("machines", what, "`event-center check` has all of them")
        return
    except EventCenterError as wrong:
        yield error("machines", str(wrong), "mend that; `event-center check` has more of it")
        return
    yield ok("machines", listed(sorted(machines)) or "none")
    try:
        plan = make_plan(settings)
        found = plugins_of(settings, [*machines.values(), *older])
    except PluginError as wrong:
        yield error("plugins", str(wrong), "`event-center check` says all that is wrong")
        return
    except EventCenterError as wrong:
        yield error("settings", str(wrong), "mend that; `event-center check` says when it fits")
        return
    bound = [*plan.bound.values(), *plan.older.values()]
    count = sum(len(one.callbacks) for one in bound)
    said = "1 callback is" if count == 1 else f"{count} callbacks are"
    yield ok("plugins", f"{said} implemented")
    for text in (*(text for one in bound for text in one.warnings), *unclaimed(found, machines)):
        yield warning("plugins", text, "mend it, or take it out")
