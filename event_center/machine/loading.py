"""
A file, a text or a class → a machine, or one DefinitionError with every problem that it has.

The only place of this room that reads a file. Called by the app's wiring, the CLI and tests
through `event_center.machine.load` and `parse`; the machine that comes out goes to the plugins
(for its named guards) and then to the engine.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from event_center.errors import ExpressionError
from event_center.machine.blueprint import Blueprint
from event_center.machine.builder import built
from event_center.machine.checks import check
from event_center.machine.document import Node, read_document
from event_center.machine.problems import Code, Place, Problems
from event_center.machine.reader import Reader
from event_center.machine.reading import read_definition
from event_center.machine.step import Machine, build


def load(definition: Path | str | type[Blueprint]) -> Machine:
    """
    The machine that a YAML file, or a class of Python, defines.

    Raises:
        DefinitionError: the file can not be read, or the definition has problems: all of them.
        TypeError: this is neither a path nor a class that derives from Blueprint.
    """
    if not isinstance(definition, Path | str):
        if not hasattr(definition, "__part__"):
            raise TypeError(
                f"load takes a path or a class that derives from Blueprint, not {definition!r:.80}"
            )
        drawn = built(definition)
        return _machine(drawn.root, drawn.problems, definition)
    path, source = Path(definition), str(definition)
    problems = Problems(source)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        problems.add(Place(1, 1), Code.SYNTAX, f"can not be read: {error.strerror or error}")
        raise problems.error() from error
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        problems.add(Place(line, column), Code.SYNTAX, "not UTF-8; save the file in this encoding")
        raise problems.error() from error
    return parse(text, source)


def parse(text: str, source: str = "<text>") -> Machine:
    """
    The machine that a YAML text defines; `source` names it in messages.

    Raises:
        DefinitionError: the definition has problems: all of them, in the order of the text.
    """
    problems = Problems(source)
    root = read_document(text, problems)
    if root is None:
        raise problems.error()
    return _machine(root, problems)


def _machine(root: Node, problems: Problems, blueprint: type[Blueprint] | None = None) -> Machine:
    """The machine that nodes describe, wherever they come from."""
    definition = replace(read_definition(Reader(problems), root), blueprint=blueprint)
    check(definition, problems)
    if len(problems):
        raise problems.error()
    machine = build(definition)
    try:
        if machine.begins_at_rest:
            machine.birth(0)
    except ExpressionError as error:
        # The defaults of `data` never change, so what fails now would fail at each birth.
        line, column = definition.initial_place
        message = f"the timers of a workflow can not be set at its birth: {error}"
        problems.add(Place(line, column), Code.EXPRESSION, message)
        raise problems.error() from error
    return machine
