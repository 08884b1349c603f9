"""The command line room: one file per family of commands of `event-center`."""

from __future__ import annotations
