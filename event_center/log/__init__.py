"""The log room: the port that the engine needs, the partitioner, and the engines behind it."""

from __future__ import annotations
