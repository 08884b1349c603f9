"""
The machine room: definitions of workflows, checked and compiled, and the pure step from event to
decision.

`load` and `parse` make a `Machine` from YAML or from a `Blueprint`, or raise every problem at once.
A text travels through `document` (nodes with places), `reading` (the definition), `checks`, `table`
(compiled), `step`; a class through `builder` instead of `document`; `writing` is the way back. Pure:
no event loop, clock or logging; only `loading` reads a file. The floors above use what is listed
here, and the nouns of `decision`.
"""

from __future__ import annotations

from event_center.machine.blueprint import AnyState, Blueprint, Compound, Do, Job, Parallel, State
from event_center.machine.loading import load, parse
from event_center.machine.step import Machine

__all__ = [
    "AnyState",
    "Blueprint",
    "Compound",
    "Do",
    "Job",
    "Machine",
    "Parallel",
    "State",
    "load",
    "parse",
]
