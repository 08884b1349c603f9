"""
What the machines of the engine's tests have in common: how they begin, and two that several tests move.

They rest in `idle` for ever; most go to `busy`, which owes a callback, and come back with `done`.
"""

from __future__ import annotations

HEAD = """
machine: m
version: 1
initial: idle
perpetual: true
"""


def resting(text: str) -> str:
    """The machine `m` with these states, and with whatever else it has of its own."""
    return HEAD + text


def busy(entry: str) -> str:
    """The machine that goes to `busy`, which has this entry, and back."""
    return resting(
        f"states: {{idle: {{on: {{go: busy}}}}, busy: {{entry: {entry}, on: {{done: idle}}}}}}"
    )


COUNTING = resting("""
data: {n: 0}
states:
  idle:
    on:
      go: busy
      add: {assign: {n: =data.n + 1}}
      ask: {actions: check, assign: {n: =data.n + 1}}
  busy:
    entry: work
    on: {done: idle, add: {assign: {n: =data.n + 1}}}
    after: {1m: idle}
""")
"""Counts what it hears, also while it is busy, and is busy for a minute at most."""
