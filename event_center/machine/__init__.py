"""
The machine room: definitions of workflows, checked and compiled, and the pure step from event to
decision.

`load` and `parse` make a `Machine` from YAML, or raise every problem at once. A text travels
through `document` (nodes with places), `reading` (the definition), `checks`, `table` (compiled),
`step`. Pure: no event loop, clock or logging; only `loading` reads a file. The floors above use
what is listed here, and the nouns of `decision`.
"""

from __future__ import annotations

from event_center.machine.loading import load, parse
from event_center.machine.step import Machine

__all__ = ["Machine", "load", "parse"]
