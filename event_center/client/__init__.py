"""The client room: publishing events, and answers about workflows read from the log alone."""

from __future__ import annotations
