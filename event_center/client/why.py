"""
Why a workflow is where it is: what holds it up, what could move it, what came in vain, and what helps.

Every statement comes from the log, as of the last cut: snapshot, waiting entries, history, letters. The
machine's definition, where it is loaded, says which events would move the workflow and which guards they
would meet. The CLI's `why` makes sentences of it; `advice` has what an operator can do.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from event_center.client.advice import advice, failed_upgrade
from event_center.client.app import App
from event_center.client.dwell import moved
from event_center.client.letters import Sought, newest_letters
from event_center.client.stats import shard_entry
from event_center.client.stays import WEEK_MS, Stays, look_back
from event_center.client.workflows import show
from event_center.log.ownership import offset_key
from event_center.log.port import Log
from event_center.machine import Machine
from event_center.machine.outlook import ways_from
from event_center.model import Shard, Status
from event_center.wire.entries import ShardEntry
from event_center.wire.history import epoch_ms, rfc3339

LETTERS = 8
"""Letters that are named, the newest; all are counted: `dead-letters list` has the others."""
Told = dict[str, Any]


class Known(NamedTuple):
    """What the one who asks knows besides the log."""

    now_ms: int
    machine: Machine | None
    """The version that the workflow follows, as far as it is loaded."""
    served: bool | None
    """Whether a daemon runs; None: nobody can tell."""
    limits: tuple[Told, ...] = ()
    """The limits that the daemon says are reached."""


async def why(log: Log, app: App, workflow_id: str, known: Known) -> Told | None:
    """
    Everything that says why a workflow is where it is, ready to be written as JSON; None if there is none.

    Raises:
        FormatError: its snapshot, or a record about it, can not be read.
    """
    now_ms = known.now_ms
    shown = await show(log, app, workflow_id)
    if shown is None:
        return None
    stays = Stays(shown["machine"], shown["state"], now_ms - WEEK_MS)
    await look_back(log, app, workflow_id, stays)
    stayed_ms = _since(shown["entered_at"], now_ms)
    over = shown["status"] in {Status.FINAL, Status.EXPECTED}
    told = shown | {
        "stayed_s": None if stayed_ms is None else stayed_ms / 1_000,
        "stay": None if over or stayed_ms is None else stays.compared(stayed_ms),
        "moves": None if known.machine is None else _moves(known.machine, shown),
        "came_in_vain": _in_vain(stays.own, shown),
        "refused_result": _refused_result(stays.own, shown),
        "last_failed": _last_failed(stays.own),
        "last_command": next((_command(one) for one in reversed(stays.own) if _by(one)), None),
        "dead_letters": await _letters(log, app, workflow_id),
        "shard": await _shard(log, app, app.home(workflow_id), known),
    }
    for one in (*told["owed"], *told["jobs"]):
        one["max_attempts"] = _max_attempts(known.machine, shown["state"], one["callback"])
    told["because"] = because(told)
    told["helps"] = advice(told)
    return told


async def last_known(log: Log, app: App, workflow_id: str) -> list[Told]:
    """What the newest history tells of a workflow that is not there (any more), oldest first."""
    stays = Stays("", "", 0)
    await look_back(log, app, workflow_id, stays)
    return stays.own


def _since(at: str | None, now_ms: int) -> int | None:
    if at is None:
        return None
    return max(0, now_ms - epoch_ms(at))


def _moves(machine: Machine, shown: Told) -> list[Told] | None:
    """The ways out of its state; None: this machine does not have the state."""
    if shown["status"] == Status.FINAL:
        return []
    if not machine.rests(shown["state"]):
        return None
    return [way._asdict() for way in ways_from(machine.definition, shown["state"])]


def _max_attempts(machine: Machine | None, state: str, callback: str) -> int | None:
    if machine is None or not machine.rests(state):
        return None
    try:
        return machine.effect(state, callback).retry.max_attempts
    except KeyError:
        pass  # then it is a job's, or of a state that was left
    try:
        return machine.job(state, callback).action.retry.max_attempts
    except KeyError:
        return None


def _in_vain(own: list[Told], shown: Told) -> dict[str, int]:
    """Events since the state was entered that did not move it, counted by what became of them."""
    counts: dict[str, int] = {}
    for one in own:
        outcome = str(one.get("outcome"))
        fell = one["kind"] not in {"run", "command"} and outcome not in {"None", "applied"}
        if fell and one["at"] >= (shown["entered_at"] or ""):
            counts[outcome] = counts.get(outcome, 0) + 1
    return counts


def _refused_result(own: list[Told], shown: Told) -> Told | None:
    """What a callback of this stay returned and the state did not take; nothing else may come then."""
    for one in reversed(own):
        origin = str(one.get("origin")).split("/")
        if one["at"] < (shown["entered_at"] or ""):
            return None
        if origin[0] == "run" and one.get("outcome") in {"rejected", "ignored"}:
            names = ("event", "outcome", "reason", "at")
            return {"callback": origin[-1]} | {name: one.get(name) for name in names}
    return None


def _last_failed(own: list[Told]) -> Told | None:
    """
    The callback that failed for good last, or the event that could not be decided, in its life.

    `moved_it` says whether the last transition was by this failure.
    """
    names = ("callback", "state", "event", "error", "message", "attempt", "at")
    moved_by: str | None = None
    for one in reversed(own):
        if moved_by is None and moved(one):
            moved_by = str(one.get("origin", ""))
        if one["kind"] == "created":
            return None
        if one["kind"] == "run" and one["outcome"] == "failed" and "again_in_ms" not in one:
            by_it = moved_by == f"error/{one.get('seq')}/{one['callback']}"
            return {name: one.get(name) for name in names} | {"moved_it": by_it}
        if one.get("outcome") == "rejected" and one.get("reason") == "failed":
            error, _, message = one["detail"].partition(": ")
            by_it = moved_by == f"error/{_origin(one)}"
            said = {"error": error, "message": message, "moved_it": by_it}
            return {name: one.get(name) for name in names} | said
    return None


def _origin(told: Told) -> str:
    """Where an event came from: a place in a topic, or what the center made it of."""
    if "origin" in told:
        return str(told["origin"])
    return f"{told.get('topic')}/{told.get('partition')}/{told.get('offset')}"


def _by(told: Told) -> bool:
    return told["kind"] == "command" and told.get("outcome") == "applied"


def _command(told: Told) -> Told:
    names = ("command", "by", "why", "at")
    return {name: told.get(name) for name in names}


async def _letters(log: Log, app: App, workflow_id: str) -> Told:
    """Its dead letters: how many, and the newest."""
    newest, count = await newest_letters(log, app, LETTERS, Sought(workflow_id))
    return {
        "count": count,
        "newest": [
            {
                "letter": f"{one.position.partition}/{one.position.offset}",
                "at": rfc3339(one.at_ms),
                "event": one.event,
                "reason": one.reason,
                "number": one.number,
                "error": one.error,
                "message": one.message,
            }
            for one, _, _ in newest
        ],
    }


async def _shard(log: Log, app: App, shard: Shard, known: Known) -> Told:
    entry = await shard_entry(log, shard)
    return {
        "shard": shard,
        "owner": entry.owner,
        "takeovers": entry.takeovers,
        "served": known.served,
        "unread": await _unread(log, app, shard, entry),
        "limits": [one for one in known.limits if one.get("shard") in {None, shard}],
    }


async def _unread(log: Log, app: App, shard: Shard, entry: ShardEntry) -> int:
    """Records for this shard that no cut has taken in."""
    unread = 0
    infos = await log.topics()
    for topic in app.consumed():
        count = infos[topic].partitions if topic in infos else 0
        for partition in range(int(shard), count, app.shards):
            offset = entry.offsets.get(offset_key(topic, partition, shard), 0)
            unread += max(0, await log.watermark(topic, partition) - offset)
    return unread


def because(told: Told) -> str:
    """The one reason why a workflow stands where it is."""
    status = told["status"]
    if status == Status.EXPECTED:
        until = min((timer["due"] for timer in told["timers"]), default=None)
        count = told["waiting"]["count"]
        return f"there is no such workflow yet: {count} events are held for it until {until}"
    if status == Status.FINAL:
        return _ended(told)
    if status == Status.PARKED:
        return _parked(told)
    if status == Status.PAUSED:
        command = told["last_command"] or {}
        by = f" by {command['by']}" if command.get("command") == "pause" else ""
        reason = f' ("{command["why"]}")' if by and command["why"] else ""
        return f"it was paused{by}{reason}: events wait, timers stay due"
    return _moving(told)


def _ended(told: Told) -> str:
    failed = told["last_failed"]
    ended = f"it ended as {told['result']}"
    if failed is None or not (failed["moved_it"] or told["result"] == "failure"):
        return ended
    what = f"{failed['event']!r} could not be decided"
    if failed["callback"]:
        often = "" if failed["attempt"] is None else f" {_often(failed['attempt'])}"
        what = f"{failed['callback']} failed{often} in {failed['state']}"
    return f"{ended} after {what}: {failed['error']}: {failed['message']}"


def _often(attempts: int) -> str:
    return "once" if attempts == 1 else f"{attempts} times"


def _parked(told: Told) -> str:
    failure = told["failure"]
    error = "" if failure is None else f"{failure['type']}: {failure['message']}"
    what = "its callback" if failure is None else failure["callback"]
    if upgrade := failed_upgrade(told):
        return f"the function {upgrade} could not bring it to the loaded version: {error}"
    return {
        "failed": f"{what} failed and is not tried again: {error}",
        "crashed": f"the process ended while {what} ran, at ten takeovers in a row",
        "loop": "it made more than 1,000 transitions without an event from outside",
        "no_place": "no loaded version of its machine has its state and its callbacks",
        "cut_failed": "the log did not answer to three cuts with it alone, and took others",
    }.get(told["parked"], "it is parked")


def _moving(told: Told) -> str:
    """Why a workflow that nobody has stopped does not move."""
    failure, deciding = told["failure"], told["deciding"]
    error = "" if failure is None else f": {failure['type']}: {failure['message']}"
    if told["owed"]:
        run = told["owed"][0]
        if run["due"]:
            often = _often(run["attempt"])
            return f"{run['callback']} failed {often}{error}; tried again at {run['due']}"
        return f"its callback {run['callback']} has not ended yet, and its events wait for that"
    if deciding and deciding["due"]:
        return f"an event could not be decided{error}; tried again at {deciding['due']}"
    if told["letters"]["open"]:
        return (
            f"{told['letters']['open']} of its dead letters are open, and later events follow them"
        )
    if told["waiting"]["count"] and not all(one["deferred"] for one in told["waiting"]["first"]):
        return "an event of it is being decided"
    return _resting(told)


def _resting(told: Told) -> str:
    """Why nothing is under way: it waits, as it should, or because a callback's event was of no use."""
    result = told["refused_result"]
    if result is None:
        return "nothing is wrong: it waits for what moves it"
    why = f" ({result['reason']})" if result["reason"] else ""
    return (
        f"its callback {result['callback']} returned {result['event']!r}, which was "
        f"{result['outcome']}{why}; it waits for what moves it"
    )
