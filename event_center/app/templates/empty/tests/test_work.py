"""The machine with its callback, in the real engine."""

from __future__ import annotations

from event_center.testing import TestCenter


async def test_work_is_done(project_center: type[TestCenter]) -> None:
    """What begins is done."""
    async with project_center() as center:
        await center.publish("work-1", "begin", {"what": "this"})
        assert center.workflow("work-1").state == "done"
        assert len(center.calls("do_it")) == 1
