"""The engine room: decide, accept, cut, effect, for the shards that this process owns."""

from __future__ import annotations
