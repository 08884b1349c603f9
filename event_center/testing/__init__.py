"""The public test kit: drive machines and a whole center in tests, under a virtual clock."""

from __future__ import annotations
