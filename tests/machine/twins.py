"""The machines of machines/ a second time, as classes: they must be the same, to the hash."""

from __future__ import annotations

from enum import StrEnum

from event_center import AnyState, Blueprint, Do, State
from event_center import Job as Invoke


class Order(
    Blueprint,
    version=1,
    data={"reason": None},
    retries={
        "default": {
            "max_attempts": 5,
            "interval": "1s",
            "backoff_rate": 2,
            "max_delay": "1m",
            "jitter": "full",
        }
    },
):
    """machines/order.yaml."""

    initial = State(initial=True)
    running = State(entry=Do("start_processing", retry="default", timeout="10s"))
    completed = State(final=True, result="success")
    error = State(final=True, result="failure")

    flow_begin = initial.to(running)
    process_complete = running.to(completed)
    process_error = running.to(error, assign={"reason": "=payload.message"})
    running.after("24h", error)
    running.on_error(error)


class Kind(StrEnum):
    """Events of a job."""

    ENQUEUE = "enqueue"
    START = "start"


class Job(
    Blueprint,
    version=1,
    data={"input": None, "result": None, "reason": None},
    retries={
        "short": {"max_attempts": 3, "interval": "100ms", "backoff_rate": 2, "max_delay": "1s"}
    },
):
    """machines/job.yaml."""

    queued = State(initial=True)
    running = State(entry=Do("run_job", retry="short", timeout="10s"))
    fallback = State(entry=Do("run_fallback", retry="none", timeout="10s"))
    done = State(final=True, result="success")
    failed = State(final=True, result="failure")
    cancelled = State(final=True, result="cancelled")

    queued.stay(event=Kind.ENQUEUE, assign={"input": "=payload"})
    queued.to(
        running,
        event=Kind.START,
        assign={"input": "=data.input if payload is None else payload"},
    )
    cancel = queued.to(cancelled)
    job_done = running.to(done, assign={"result": "=payload.result"})
    running.on_error(fallback, assign={"reason": "=payload.message"})
    fallback_done = fallback.to(done, assign={"result": "=payload.result"})
    fallback.on_error(failed, assign={"reason": "=payload.message"})


def past_end(data: dict[str, int], now: int) -> bool:
    """A guard as a function."""
    return now >= data["ends_at"]


_KEPT = {"title": "=payload.title", "ends_at": "=payload.ends_at"}


class Review(Blueprint, version=1, data={"title": None, "ends_at": None, "reject_reason": None}):
    """machines/review.yaml."""

    INIT = State(initial=True, title="Nothing saved yet")
    DRAFT = State()
    WAIT_VERIFY = State(tags=["human"])
    PASSED = State()
    REJECTED = State()
    WAIT_ONLINE = State()
    ONLINED = State(entry="publish", exit="unpublish")
    FINISHED = State(final=True)
    OFFLINED = State(final=True, result="cancelled")

    SAVE = (
        INIT.to(DRAFT, assign=_KEPT)
        | DRAFT.stay(actions="save_draft", assign=_KEPT)
        | REJECTED.to(DRAFT, assign=_KEPT)
    )
    SUBMIT = DRAFT.to(
        WAIT_VERIFY, guard="=data.title is not None", actions="notify_reviewers"
    ) | PASSED.to(WAIT_ONLINE)
    PASS = WAIT_VERIFY.to(PASSED, assign={"reject_reason": None})
    REJECT = WAIT_VERIFY.to(REJECTED, assign={"reject_reason": "=payload.reason"})
    WAIT_VERIFY.after("3d", actions="remind_reviewers", repeat=True)
    ONLINE = WAIT_ONLINE.to(ONLINED)
    OFFLINE = ONLINED.to(FINISHED, guard=past_end) | ONLINED.to(OFFLINED)


class Helpdesk(Blueprint, version=1, data={"resolution": None}):
    """machines/helpdesk.yaml."""

    new = State(initial=True)
    assigned = State()
    in_progress = State()
    waiting = State()
    upgrade = State(entry="request_upgrade")
    anomaly = State(entry="report_anomaly")
    scheduled = State(entry="plan_visit")
    resolved = State()
    closed = State(final=True)

    any_state = AnyState()
    any_state.to(new, event="Insert ticket")
    any_state.to(assigned, event="Assign seriousness")
    any_state.to(in_progress, event=["Take in charge ticket", "Resolve SW anomaly"])
    any_state.to(waiting, event="Wait")
    any_state.to(upgrade, event="Require upgrade")
    any_state.to(anomaly, event="Create SW anomaly")
    any_state.to(scheduled, event="Schedule intervention")
    any_state.to(resolved, event=["Resolve ticket", "RESOLVED"], assign={"resolution": "solved"})
    VERIFIED = any_state.to(resolved, assign={"resolution": "verified"})
    INVALID = any_state.to(resolved, assign={"resolution": "invalid"})
    DUPLICATE = any_state.to(resolved, assign={"resolution": "duplicate"})
    Closed = any_state.to(closed)


_FAILED = {"target": "error", "assign": {"reason": "=payload.message"}}
_FULL = {"target": "available", "errors": "NoSpace", "assign": {"reason": "=payload.message"}}


class Volume(
    Blueprint,
    version=1,
    data={"size": None, "host": None, "reason": None},
    retries={
        "storage": {"max_attempts": 3, "interval": "100ms", "backoff_rate": 2, "max_delay": "5s"}
    },
):
    """machines/volume.yaml."""

    requested = State(initial=True)
    available = State()
    deleted = State(final=True)
    error = State()
    creating = State(
        invoke=Invoke(
            "create_volume",
            retry="storage",
            timeout="10m",
            heartbeat="30s",
            grace="5s",
            on_done={"target": available, "assign": {"host": "=payload.host"}},
            on_error=_FAILED,
        ),
        defer="extend",
    )
    extending = State(
        invoke=Invoke(
            "extend_volume",
            retry="storage",
            timeout="10m",
            on_done=available,
            on_error=[_FULL, _FAILED],
        ),
        defer="delete",
    )
    deleting = State(
        invoke=Invoke(
            "delete_volume", retry="storage", timeout="10m", on_done=deleted, on_error=[_FAILED]
        )
    )

    requested.to(creating, event="create", assign={"size": "=payload.size"})
    error.to(creating, event="create", assign={"size": "=payload.size", "reason": None})
    extend = available.to(
        extending, guard="=payload.size > data.size", assign={"size": "=payload.size"}
    )
    delete = creating.to(deleting) | available.to(deleting) | error.to(deleting)
