"""
A machine that stands on its own: it finds its functions by itself, and moves records without a center.

`load` and `parse` are those of the machine room; what they return can `bind`, too, so that a program
with state machines of its own needs no more than `from event_center import load`. Called by programs;
the center takes its machines from the room below. The next step is `binding`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

from event_center.machine import loading
from event_center.machine.blueprint import Blueprint
from event_center.machine.step import Machine
from event_center.plugins.binding import BoundRecord
from event_center.plugins.registry import Bound, with_callbacks


@dataclass(frozen=True, kw_only=True, eq=False)
class StandaloneMachine(Machine):
    """One version of one machine, ready to step, and to move records of one's own."""

    @cached_property
    def _bound(self) -> Bound:
        return with_callbacks(self)

    def bind(
        self,
        record: object,
        state_field: str,
        data_field: str | None = None,
        *,
        memory_field: str | None = None,
        workflow_id: str = "",
        strict: bool = False,
    ) -> BoundRecord:
        """
        Let the machine move a record, without a center: docs/working-with-machines.md.

        Its functions are looked for once, as by `with_callbacks`. The arguments are those of `Bound.bind`.

        Raises:
            PluginError: a callback or guard is missing, twice there, or wrong; or the record has no room
                for what the machine remembers.
        """
        return self._bound.bind(
            record,
            state_field,
            data_field,
            memory_field=memory_field,
            workflow_id=workflow_id,
            strict=strict,
        )


def load(definition: Path | str | type[Blueprint]) -> StandaloneMachine:
    """
    The machine that a YAML file, or a class of Python, defines.

    Raises:
        DefinitionError: the file can not be read, or the definition has problems: all of them.
    """
    return _standing(loading.load(definition))


def parse(text: str, source: str = "<text>") -> StandaloneMachine:
    """
    The machine that a YAML text defines; `source` names it in messages.

    Raises:
        DefinitionError: the definition has problems: all of them, in the order of the text.
    """
    return _standing(loading.parse(text, source))


def _standing(machine: Machine) -> StandaloneMachine:
    return StandaloneMachine(**{one.name: getattr(machine, one.name) for one in fields(machine)})
