"""
What `top` shows: one look at an app as tables that fit a terminal, from 80 columns on.

Pure: it is given what was seen and the size of the screen, and returns what rich prints. Promises: every
line fits, what is cut off ends with an ellipsis, and rows that find no room are counted. `watching` calls
it for each look.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from event_center.cli.lasting import lasting
from event_center.cli.output import plain
from event_center.wire.history import epoch_ms, rfc3339

REFUSED = ("ignored", "rejected", "duplicate")
"""Outcomes that need nobody: `top` counts them together."""
ERROR_ROWS = 5
"""Kinds of errors on a screen: more would push the states out of it, and `--json` has all."""
HEADS = 8
"""Lines of a screen that are no rows: its first, heads of tables, blanks, and the last, left free."""
LEAST_NAME = 10
"""Columns that a name keeps on a narrow screen: enough to tell states apart."""
STATE_COLUMNS: dict[str, Literal["left", "right"]] = {
    "MACHINE": "left",
    "STATE": "left",
    "WORKFLOWS": "right",
    "STAY": "right",
    "SLOW": "right",
    "LONGEST": "right",
    "TROUBLE": "left",
}
LEAST_ROWS = 3
"""States that are shown on the smallest screen: fewer would be none."""

Seen = dict[str, Any]


class Alarm(NamedTuple):
    """Something that an operator should know before all numbers."""

    text: str
    style: str


def panel(
    seen: Seen, alarms: Sequence[Alarm], width: int, height: int | None = None
) -> RenderableType:
    """
    One screen.

    Args:
        seen: the answer of `Watch.look`, and `app`, `at_ms`, `who`.
        alarms: what stands at the top.
        width: columns that there are.
        height: lines that there are; None: as many as it takes.
    """
    head = Text(f"{seen['app']}  {rfc3339(seen['at_ms'])[:19]}Z  {plain(seen['who'])}")
    head.stylize("bold", 0, len(seen["app"]))
    head.no_wrap, head.overflow = True, "ellipsis"
    counters = _counters(seen)
    errors, rows = seen["errors"][:ERROR_ROWS], None
    if height is not None:
        left = height - 2 * len(alarms) - counters.row_count - HEADS
        errors = errors[: max(1, left // 3)]
        rows = max(LEAST_ROWS, left - len(errors))
    parts: list[RenderableType] = [head]
    parts += [Text(f"! {plain(one.text)}", style=one.style) for one in alarms]
    parts += [Text(), counters, Text(), *_states(seen["states"], rows, width)]
    if errors:
        parts += [Text(), _errors(errors, seen["at_ms"])]
    if seen["passed_over"]:
        text = f"{seen['passed_over']:,} records of the history came too fast to be read one by one"
        parts.append(Text(text, style="dim"))
    return Group(*parts)


# -- counters -----------------------------------------------------------------------------------


def _counters(seen: Seen) -> Table:
    """What was done, with rates, beside what is still to be done."""
    left, right = _done(seen), _to_do(seen)
    table = _table()
    for name, right_aligned in (("EVENTS", False), ("COUNT", True), ("PER SECOND", True)):
        table.add_column(name, justify="right" if right_aligned else "left", no_wrap=True)
    table.add_column("  TO DO", no_wrap=True)
    table.add_column("COUNT", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, ratio=1)
    none = Text()
    for at in range(max(len(left), len(right))):
        one = left[at] if at < len(left) else (none,) * 3
        two = right[at] if at < len(right) else (none,) * 3
        table.add_row(*one, *two)
    return table


def _done(seen: Seen) -> list[tuple[Text, ...]]:
    counted, rates = seen["counted"], seen["per_second"]
    events = counted["events"]
    rows = []
    for name, of in (
        ("read", ("read",)),
        ("applied", ("applied",)),
        ("refused", REFUSED),
        ("dead letters", ("dead_lettered",)),
    ):
        rate = None if rates is None else sum(rates[one] for one in of)
        style = "red" if rate and name == "dead letters" else ""
        rows.append(_counter(name, sum(events[one] for one in of), rate, style))
    rows += [
        _counter(name, counted[name], None if rates is None else rates[name], "")
        for name in ("transitions", "runs", "timers")
    ]
    return rows


def _counter(name: str, count: int, rate: float | None, style: str) -> tuple[Text, ...]:
    told = "" if rate is None else f"{rate:,.1f}" if rate else "-"
    return Text(name, style=style), Text(f"{count:,}", style=style), Text(told, style=style)


def _to_do(seen: Seen) -> list[tuple[Text, ...]]:
    counted, rates = seen["counted"], seen["per_second"]
    statuses = counted["workflows"]["by_status"]
    waiting = ", ".join(f"{name} {n:,}" for name, n in counted["waiting"].items() if n)
    trend = 0.0 if rates is None else rates["lag"]
    grows = f"{trend:+,.1f} a second" if trend else ""
    rows = [
        ("not read", counted["lag"], grows, "yellow" if trend > 0 else ""),
        ("waiting", counted["events"]["waiting"], waiting, ""),
        ("jobs", counted["jobs"], "", ""),
        ("retrying", statuses.get("retrying", 0), "", "yellow"),
        ("parked", statuses.get("parked", 0), "list --status parked", "red"),
        ("paused", statuses.get("paused", 0), "list --status paused", "yellow"),
    ]
    return [
        (
            Text(f"  {name}", style=style if n else ""),
            Text(f"{n:,}", style=style if n else ""),
            Text(said if n or said == grows else "", style=style if n else ""),
        )
        for name, n, said, style in rows
    ]


# -- states -------------------------------------------------------------------------------------


def _states(states: list[Seen], rows: int | None, width: int) -> list[RenderableType]:
    """Where workflows are, and how long they stay there, slowest first."""
    if not states:
        return [Text("no workflows", style="dim")]
    shown = states if rows is None or len(states) <= rows else _weightiest(states, rows - 1)
    table, machine = _table(), None
    cells = []
    for state in shown:
        dim = "dim" if state["final"] or not state["workflows"] else ""
        name = plain(state["machine"]) if state["machine"] != machine else ""
        count = Text(f"{state['workflows']:,}", style=dim)
        stays = [_stay(state[one]) for one in ("median_ms", "slow_ms", "longest_ms")]
        names = Text(name), Text(plain(state["state"]), style=dim)
        cells.append((*names, count, *stays, _trouble(state)))
        machine = state["machine"]
    widths = [
        max(len(name), *(row[at].cell_len for row in cells))
        for at, name in enumerate(STATE_COLUMNS)
    ]
    # Where the screen is narrow names give way, the longer one first; numbers do not.
    while sum(widths) + 2 * len(widths) > width and max(widths[:2]) > LEAST_NAME:
        widths[0 if widths[0] > widths[1] else 1] -= 1
    for (name, side), wide in zip(STATE_COLUMNS.items(), widths, strict=True):
        table.add_column(name, width=wide, justify=side, no_wrap=True, overflow="ellipsis")
    for row in cells:
        table.add_row(*row)
    rest = len(states) - len(shown)
    more = [Text(f"and {rest} more states; `event-center stats` has all", style="dim")]
    return [table, *(more if rest else [])]


def _weightiest(states: list[Seen], rows: int) -> list[Seen]:
    """Where something is wrong, then where workflows are that have not ended, then the rest."""

    def rank(state: Seen) -> tuple[bool, bool, int]:
        wrong = any(state[name] for name in _TROUBLE)
        return wrong, bool(state["workflows"] and not state["final"]), state["workflows"]

    weightiest = sorted(states, key=rank, reverse=True)[:rows]
    return [state for state in states if state in weightiest]


_TROUBLE = {"parked": "red", "retrying": "yellow", "paused": "yellow"}


def _trouble(state: Seen) -> Text:
    """How many of a state's workflows do not just go on."""
    told = [
        Text(f"{state[name]:,} {name}", style=_TROUBLE[name]) for name in _TROUBLE if state[name]
    ]
    return Text(", ").join(told)


def _stay(ms: int | None) -> Text:
    return Text("" if ms is None else lasting(ms))


# -- errors -------------------------------------------------------------------------------------


def _errors(errors: list[Seen], now_ms: int) -> Table:
    """The last errors, newest first; what failed the same way is one row."""
    table = _table(expand=True)
    table.add_column("TIMES", justify="right", no_wrap=True)
    table.add_column("LAST", justify="right", no_wrap=True)
    table.add_column("WHAT FAILED", no_wrap=True, overflow="ellipsis", max_width=24)
    table.add_column("ERROR", no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column("WORKFLOW", no_wrap=True, overflow="ellipsis", max_width=20)
    for one in errors:
        what = f"{one['machine']}.{one['what']}" if one["machine"] else one["what"]
        said = f"{one['error']}: {one['message']}" if one["message"] else one["error"]
        table.add_row(
            f"{one['times']:,}",
            f"{lasting(max(0, now_ms - epoch_ms(one['at'])))} ago",
            plain(what),
            Text(plain(said), style="red"),
            plain(one["workflow_id"]),
        )
    return table


def _table(*, expand: bool = False) -> Table:
    return Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0), expand=expand)
