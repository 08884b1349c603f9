"""`migrate` in a process that ends itself, with -9, after so many cuts of the target."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from functools import partial

from event_center.cli import main
from event_center.client import migration, moving
from event_center.wire.migration import Note

PARTS = 5
"""In one cut: so few that there are many cuts to die after."""


def migrate() -> None:
    """The work of such a process: its last argument says after how many cuts it ends."""
    at, cuts = int(sys.argv.pop()), itertools.count(1)
    note_down = moving.TargetShard.note_down

    async def killed(
        target: moving.TargetShard, note: Note, shard_entry: bytes | None = None
    ) -> None:
        await note_down(target, note, shard_entry)
        if next(cuts) == at:
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(migration, "migrate", partial(migration.migrate, cut_parts=PARTS))  # noqa: B010 - the same
    setattr(moving.TargetShard, "note_down", killed)  # noqa: B010 - mypy knows no other way
    main()
