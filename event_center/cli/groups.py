"""
Groups of options that several commands have: each a class, whose fields are options.

`command` makes of a function over such classes the function that typer reads, so that an option is
written down once, and a command passes on what belongs together. Used by the files of commands; the
types of single options are in `options`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, dataclass, fields
from typing import Annotated, Any, get_type_hints

import typer

from event_center.app.wiring import wall_clock_ms
from event_center.cli.options import AsJson, Config, LogPath, choice, duration
from event_center.cli.output import Output
from event_center.cli.session import Where
from event_center.client.workflows import UNREADABLE, Wanted
from event_center.model import Status


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """Where the log is, and how the answer is printed: of every command."""

    config: Config = None
    log: LogPath = None
    as_json: AsJson = False

    @property
    def where(self) -> Where:
        """Where the settings and the log are."""
        return Where(self.config, self.log)

    @property
    def output(self) -> Output:
        """Where the answer goes."""
        return Output(as_json=self.as_json)


@dataclass(frozen=True, kw_only=True, slots=True)
class Which:
    """Which workflows, by what they have in common."""

    machine: Annotated[str | None, typer.Option(metavar="NAME", help="Those of this machine.")] = (
        None
    )
    state: Annotated[str | None, typer.Option(metavar="STATE", help="Those in this state.")] = None
    status: Annotated[
        str | None, choice(Status, about="Those of this status.", also=UNREADABLE)
    ] = None
    error: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="Those that failed with this in the error's name or text."
        ),
    ] = None
    older_than: Annotated[
        float | None,
        typer.Option(
            parser=duration, metavar="DURATION", help="Those in their state for longer, as 2h."
        ),
    ] = None

    @property
    def wanted(self) -> Wanted:
        """The same for the client."""
        aged = self.older_than
        return Wanted(
            machine=self.machine,
            state=self.state,
            status=self.status,
            error=self.error,
            entered_before_ms=None if aged is None else wall_clock_ms() - int(aged * 1_000),
        )

    @property
    def given(self) -> bool:
        """Whether anything was asked for."""
        return any(getattr(self, one.name) is not None for one in fields(self))


def command(work: Callable[..., None]) -> Callable[..., None]:
    """The command of a function whose parameters are groups of options, or options."""
    hints = get_type_hints(work, include_extras=True)
    parameters = inspect.signature(work).parameters
    groups = {
        name: hints[name] for name in parameters if hasattr(hints[name], "__dataclass_fields__")
    }

    def give(**given: Any) -> None:
        made = {
            name: group(**{one.name: given.pop(one.name) for one in fields(group)})
            for name, group in groups.items()
        }
        work(**given, **made)

    own = [
        parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in parameters.items()
        if name not in groups
    ]
    shared = [one for group in groups.values() for one in _parameters(group)]
    setattr(give, "__signature__", inspect.Signature([*own, *shared]))  # noqa: B010 - no attribute that mypy knows
    give.__doc__ = work.__doc__
    give.__name__ = work.__name__
    return give


def _parameters(group: Any) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    for one in fields(group):
        yield inspect.Parameter(
            one.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=_default(one),
            annotation=hints[one.name],
        )


def _default(one: Field[Any]) -> Any:
    if one.default_factory is not MISSING:
        return one.default_factory()
    return inspect.Parameter.empty if one.default is MISSING else one.default
