"""The plugins room: finds callback modules, checks them, and makes their contexts."""

from __future__ import annotations
