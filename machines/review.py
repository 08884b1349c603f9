"""
The callbacks and the guard of review.yaml.

Found because it lies beside the YAML. `save_draft`, `notify_reviewers`, `remind_reviewers` and
`unpublish` decide: if one of them fails for good, its transition does not happen. `publish` is an
effect: it runs once the activity is durably ONLINED.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from event_center import Context, callbacks

review = callbacks("review")


@review.guard
def past_end(data: dict[str, Any], now: int) -> bool:
    """Has the activity run to its end? `ends_at` and `now` are milliseconds since the epoch."""
    ends_at = data["ends_at"]
    return ends_at is not None and now >= ends_at


@review.action("save_draft")
async def save_draft(ctx: Context) -> None:
    """Keep the text of the draft where its writers will find it."""
    show(ctx, "save_draft")


@review.action("notify_reviewers")
async def notify_reviewers(ctx: Context) -> None:
    """Tell the reviewers that there is something to review."""
    show(ctx, "notify_reviewers")


@review.action("remind_reviewers")
async def remind_reviewers(ctx: Context) -> None:
    """Tell them again, every three days."""
    show(ctx, "remind_reviewers")


@review.entry("ONLINED")
async def publish(ctx: Context) -> None:
    """Show the activity to everybody."""
    show(ctx, "publish")


@review.exit("ONLINED")
async def unpublish(ctx: Context) -> None:
    """Stop showing the activity; to do so twice does no harm."""
    show(ctx, "unpublish")


def show(ctx: Context, name: str) -> None:
    """Make the effect: a line in $EVENT_CENTER_DEMO_DIR/review.jsonl or, if unset, the log."""
    folder = os.environ.get("EVENT_CENTER_DEMO_DIR")
    if folder is None:
        ctx.log.info("review.effect", callback=name, key=ctx.idempotency_key)
        return
    effect = {
        "workflow_id": ctx.workflow_id,
        "name": name,
        "key": ctx.idempotency_key,
        "attempt": ctx.attempt,
    }
    with Path(folder, "review.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(effect) + "\n")
