"""The app room: settings, the one wiring function, and the public `Center`."""

from __future__ import annotations
