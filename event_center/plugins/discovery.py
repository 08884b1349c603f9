"""
Where plugins are found: named in the settings, as entry points, and beside the machines' files.

A file is loaded once however often it is named, under a module name of its own, so that two files
called `order.py` do not meet. What fails while it is imported becomes a PluginError with the line
that failed. The wiring of a center calls `blueprints` for machines that are classes, `discover`,
then `registry.resolve` for each machine.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, cast

from event_center.errors import PluginError
from event_center.machine.blueprint import Blueprint
from event_center.machine.builder import built
from event_center.machine.definition import Definition
from event_center.plugins.callbacks import Callbacks, Implementation, Role

T = TypeVar("T")

NAMED = "or take it out of `plugins` in the settings"
"""What else helps where a plugin that is named there can not be imported."""

MACHINE = "or take it out of `machines` in the settings"
"""The same of a module that is named there."""

ENTRY_POINTS = "event_center.plugins"
"""The group of entry points: each names a module, or a Callbacks object in one."""


def discover(
    machine_files: Iterable[Path], configured: Iterable[str] = (), root: Path = Path()
) -> list[Callbacks]:
    """
    Load every plugin, and return the callbacks in them, each once.

    Args:
        machine_files: where they come from; the module of the same name beside each is loaded, if
            any, and a module of Python itself if `blueprints` has not loaded it.
        configured: names of modules (`pkg.mod`), and paths of files (`plugins/foo.py`).
        root: the directory that such paths start from.

    Raises:
        PluginError: a plugin cannot be found or imported, or is named but defines no callbacks.
    """
    search = _Finder()
    for one in configured:
        if one.endswith(".py") or os.sep in one:
            search.named(search.file(root / one, NAMED), f"plugins = [{one!r}]")
        else:
            search.named(search.module(one), f"plugins = [{one!r}]")
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        search.entry_point(point)
    for path in machine_files:
        beside = path.with_suffix(".py")
        if beside == path:
            # The functions of a class must be those of the class that its machine was made of.
            search.add(sys.modules.get(_name_of(path.resolve())) or search.file(path, MACHINE))
        elif beside.is_file():
            search.add(search.file(beside, f"it lies beside {beside.stem}.yaml"))
    return search.found


def blueprints(path: Path) -> list[type[Blueprint]]:
    """
    The machines that a module of Python defines as classes, in the order of the file.

    Raises:
        PluginError: the module cannot be imported, or defines none.
    """
    module = _Finder().file(path, MACHINE)
    found = _blueprints(module)
    if not found:
        raise PluginError(
            f"{path}: named by `machines` in the settings, but it defines no machine; begin with "
            "`class Order(Blueprint, version=1)`"
        )
    return found


def of_machine(definition: Definition) -> list[Callbacks]:
    """
    The callbacks that one machine has by itself: of its class, and of the module where that stands, or
    of the module beside its file; and those that installed packages announce.

    Raises:
        PluginError: as of `discover`.
    """
    if definition.blueprint is None:
        return discover([Path(definition.source)])
    # The module may be the program itself, or in the middle of its import: it is not loaded again.
    module = sys.modules.get(definition.blueprint.__module__)
    beside = [one for one in vars(module).values() if isinstance(one, Callbacks)] if module else []
    return [in_class(definition.blueprint), *beside, *discover(())]


def function_named(named: str, root: Path, source: str) -> Callable[[], Any]:
    """
    A function that a setting names, for something else than a machine.

    Args:
        named: `module:function` or `path.py:function`.
        root: what relative paths are meant from.
        source: the setting, for messages.

    Raises:
        PluginError: it can not be had.
    """
    where, _, name = named.rpartition(":")
    search = _Finder()
    why = f"or name another in {source}"
    module = search.file(root / where, why) if where.endswith(".py") else search.module(where)
    found = getattr(module, name, None)
    if not callable(found):
        raise PluginError(f"{source}: {where} has no function {name!r}; define it there")
    return cast("Callable[[], Any]", found)


class _Finder:
    """What was found so far, and which files were loaded for it."""

    def __init__(self) -> None:
        self.found: list[Callbacks] = []
        self.loaded: dict[Path, ModuleType] = {}

    def add(self, module: ModuleType) -> int:
        """Take in the callbacks of a module that are new; returns how many it has in all."""
        inside = [value for value in vars(module).values() if isinstance(value, Callbacks)]
        inside += [found for one in _blueprints(module) if (found := in_class(one)).implementations]
        for callbacks in inside:
            if not any(callbacks is known for known in self.found):
                self.found.append(callbacks)
        return len(inside)

    def named(self, module: ModuleType, source: str) -> None:
        """As `add`, for a module that somebody named: it must have callbacks."""
        if not self.add(module):
            raise PluginError(
                f"{getattr(module, '__file__', module.__name__)}: named by {source}, but it "
                'defines no callbacks; begin with `order = callbacks("order")`'
            )

    def module(self, name: str) -> ModuleType:
        """Import a module by its dotted name."""
        try:
            missing = importlib.util.find_spec(name) is None
        except ModuleNotFoundError as error:
            missing = error.name is not None and (name + ".").startswith(error.name + ".")
            if not missing:
                raise _failed(error, name, None, why=NAMED) from error
        if missing:
            raise PluginError(
                f"plugins = [{name!r}]: there is no such module; install its package, or write the "
                "path of a file, as `plugins/foo.py`"
            )
        module = _imported(lambda: importlib.import_module(name), name, None, why=NAMED)
        if module.__file__ is not None:
            self.loaded[Path(module.__file__).resolve()] = module
        return module

    def file(self, path: Path, why: str) -> ModuleType:
        """Load a module from a file, once, under a name of its own; `why` says who wants it."""
        path = path.resolve()
        if path not in self.loaded:
            if not path.is_file():
                raise PluginError(
                    f"{path}: there is no such plugin file; paths in `plugins` start from "
                    "the project's directory"
                )
            self.loaded[path] = _imported(lambda: _loaded(path), path.name, path, why=why)
        return self.loaded[path]

    def entry_point(self, point: importlib.metadata.EntryPoint) -> None:
        """Load what an installed package announces."""
        source = f"the entry point {point.name!r} = {point.value!r}"
        why = "an installed package announces it; without the package nobody loads it"
        loaded = _imported(point.load, source, None, why=why)
        if isinstance(loaded, Callbacks):
            if not any(loaded is known for known in self.found):
                self.found.append(loaded)
        elif isinstance(loaded, ModuleType):
            self.named(loaded, source)
        else:
            raise PluginError(
                f"{source} of {ENTRY_POINTS} is {loaded!r:.80}; name a module, or what "
                "`callbacks()` returned"
            )


def _blueprints(module: ModuleType) -> list[type[Blueprint]]:
    """The machines that the module itself defines; those that it imports are another's."""
    classes = (value for value in vars(module).values() if isinstance(value, type))
    return [
        one for one in classes if issubclass(one, Blueprint) and one.__module__ == module.__name__
    ]


def in_class(blueprint: type[Blueprint]) -> Callbacks:
    """The functions that stand in a machine's class."""
    drawn = built(blueprint)
    found = Callbacks(drawn.name)
    kinds = (
        (Role.ACTION, drawn.callbacks),
        (Role.GUARD, drawn.guards),
        (Role.UPGRADE, drawn.upgrades),
    )
    for role, functions in kinds:
        found.implementations += [Implementation(role, *one) for one in functions.items()]
    return found


def _name_of(path: Path) -> str:
    """The name of a file's module."""
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
    return f"event_center_plugin_{re.sub(r'[^0-9A-Za-z_]', '_', path.stem)}_{digest}"


def _loaded(path: Path) -> ModuleType:
    name = _name_of(path)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"{path}: not a Python source file; a plugin's name ends in .py")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pickles look their module up by name, so it must be there while it runs.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:  # whatever it was goes on, and nothing of the module stays
        del sys.modules[name]
        raise
    return module


def _imported(load: Callable[[], T], name: str, path: Path | None, *, why: str) -> T:
    """Run the user's module; everything that it raises is its author's to mend."""
    try:
        return load()
    except PluginError:
        raise
    except (Exception, SystemExit) as error:  # the user's code: it may raise anything
        raise _failed(error, name, path, why=why) from error


def _failed(error: BaseException, name: str, path: Path | None, *, why: str) -> PluginError:
    return PluginError(
        f"{_line_of(error, path)}: importing the plugin {name} failed: "
        f"{type(error).__name__}: {error}; mend it ({why})"
    )


def _line_of(error: BaseException, path: Path | None) -> str:
    """The line of the plugin that failed: the deepest one in its file, else the deepest of all."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen importlib") and frame.filename != __file__
    ]
    own = [frame for frame in frames if path is not None and Path(frame.filename) == path]
    if not frames:
        return str(path or "(no file)")
    deepest = (own or frames)[-1]
    return f"{deepest.filename}:{deepest.lineno}"
