"""
How `--help` looks: what an option takes stands beside it, and nothing where it takes nothing.

Promises: a flag has no type, and an argument has its name alone: `<bool>` and `<list[str]>` are Python's
words and say nothing on a terminal. `cli` makes every command with `Page`; typer draws it.
"""

from __future__ import annotations

from typing import Any

from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption


def _only_what_tells(parameters: list[Any]) -> list[Any]:
    for one in parameters:
        if isinstance(one, TyperOption) and one.is_flag:
            one.metavar = ""
        elif isinstance(one, TyperArgument):
            setattr(one, "display_type_rich", _nothing)  # noqa: B010 - mypy takes a method for fixed
    return parameters


def _nothing(ctx: Any) -> None:
    """The type of an argument, whose name says what it is."""


class Page(TyperCommand):
    """A command."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its options and arguments, `--help` too."""
        return _only_what_tells(super().get_params(ctx))


class Contents(TyperGroup):
    """The program, or commands under one name."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its own options."""
        return _only_what_tells(super().get_params(ctx))
