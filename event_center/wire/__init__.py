"""The wire room: between bytes in the log and nouns in memory (docs/formats.md)."""

from __future__ import annotations
