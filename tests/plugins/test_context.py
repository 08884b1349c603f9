"""What a run may know and send: copies where it may change, checks where it sends."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from event_center.errors import PluginError
from event_center.model import Event, Owed, Snapshot
from event_center.plugins.context import Context, Emitted, Published


def _context(snapshot: Snapshot | None = None) -> Context:
    found = snapshot or Snapshot("o-1", "order", 1, "running")
    event = Event("flow_begin", {"card": "x"}, "id-1")
    return Context(found, event, "o-1/1/charge", topics=frozenset({"mail", "stats"}))


def test_it_knows_its_run() -> None:
    """A context tells workflow, machine, state, event, payload, attempt and key of its run."""
    ctx = _context()
    told = (ctx.workflow_id, ctx.machine, ctx.state, ctx.payload, ctx.attempt, ctx.idempotency_key)
    assert told == ("o-1", "order", "running", {"card": "x"}, 1, "o-1/1/charge")
    assert ctx.event.name == "flow_begin"


def test_the_key_is_that_of_the_run() -> None:
    """Made when it is asked for, of what the engine knows: not of what the callback has written over it."""
    ctx = Context(Snapshot("o-1", "orders", 1, "paid"), Event("pay"), Owed("charge", 1))
    ctx.workflow_id = "elsewhere"
    assert ctx.idempotency_key == "o-1/1/charge"


def test_data_are_a_copy_all_the_way_down() -> None:
    """Whatever a callback does to `data`, the workflow's own data stay as they are."""
    snapshot = Snapshot("o-1", "order", 1, "running")
    snapshot.data = {"items": [{"n": 1}], "total": 1}
    ctx = _context(snapshot)
    ctx.data["items"][0]["n"] = 2
    ctx.data["new"] = True
    assert snapshot.data == {"items": [{"n": 1}], "total": 1}
    assert ctx.data == {"items": [{"n": 2}], "total": 1, "new": True}


def test_the_event_is_a_copy_all_the_way_down() -> None:
    """Whatever a callback does to `event` and `payload`, the next attempt finds them as they were."""
    snapshot, event = Snapshot("o-1", "order", 1, "running"), Event("go", {"items": [1]}, "id-1")
    ctx = Context(snapshot, event, "o-1/1/charge")
    assert ctx.event == event
    assert ctx.payload is ctx.event.payload
    ctx.payload["items"].append(2)
    ctx.event.name = "stay"
    assert event == Event("go", {"items": [1]}, "id-1")


def test_names_of_the_centers_own_events_are_refused() -> None:
    """A callback can not emit a timer or the result of a callback; ids and machines are texts."""
    ctx = _context()
    for name in ("@after/3d", "@done"):
        with pytest.raises(PluginError, match=r"workflow o-1 emitted .* begin with @"):
            ctx.emit(name)
    with pytest.raises(PluginError, match="the id dict and the machine NoneType"):
        ctx.emit("go", id={})  # type: ignore[arg-type]  # on purpose
    with pytest.raises(PluginError, match="make a text of it"):
        ctx.publish("mail", 1, headers={1: "x"})  # type: ignore[dict-item]  # on purpose
    assert ctx.emitted is None
    assert ctx.published is None


def test_data_are_those_of_the_run() -> None:
    """A later transition replaces the workflow's data; the run under way still sees its own."""
    snapshot = Snapshot("o-1", "order", 1, "running")
    snapshot.data = {"total": 1}
    ctx = _context(snapshot)
    snapshot.data = {"total": 2}
    assert ctx.data == {"total": 1}


def test_emit_collects() -> None:
    """Events go to the own workflow unless another is named; an Event brings its payload and id."""
    ctx = _context()
    assert ctx.emitted is None
    ctx.emit("ping")
    ctx.emit("paid", {"n": 1}, workflow_id="o-2", id="e-1", machine="bill")
    ctx.emit(Event("told", [1], "e-2"))
    ctx.emit(Event("told", [1], "e-2"), [2], id="e-3")
    assert ctx.emitted == [
        Emitted("o-1", "ping", None, None),
        Emitted("o-2", "paid", {"n": 1}, "e-1", "bill"),
        Emitted("o-1", "told", [1], "e-2"),
        Emitted("o-1", "told", [2], "e-3"),
    ]


@pytest.mark.parametrize(
    ("event", "payload", "workflow_id"),
    [("", None, None), ("paid", None, ""), ("paid", object(), None), ("paid", {1: 2}, None)],
)
def test_emit_refuses_what_no_log_keeps(
    event: str, payload: object, workflow_id: str | None
) -> None:
    """An empty name, or a payload that is not JSON, fails at the call, and nothing is collected."""
    ctx = _context()
    with pytest.raises(PluginError, match="machine order, workflow o-1"):
        ctx.emit(event, payload, workflow_id=workflow_id)
    assert ctx.emitted is None


def test_publish_collects() -> None:
    """Records are encoded at once; the workflow's id is the key unless another is given."""
    ctx = _context()
    assert ctx.published is None
    ctx.publish("mail", {"to": "x"})
    ctx.publish("stats", b"raw", key="k", headers={"a": "b", "c": b"d"})
    assert ctx.published == [
        Published("mail", b"o-1", b'{"to":"x"}', ()),
        Published("stats", b"k", b"raw", (("a", b"b"), ("c", b"d"))),
    ]


def test_publish_goes_to_declared_topics_only() -> None:
    """An undeclared topic is refused, with the setting to add it to and what is declared."""
    ctx = _context()
    with pytest.raises(PluginError) as caught:
        ctx.publish("mial", {})
    assert "`[publish] topics`" in str(caught.value)
    assert "declared: mail, stats" in str(caught.value)
    assert ctx.published is None


def test_publish_refuses_what_is_not_json() -> None:
    """A value that is neither bytes nor JSON fails at the call."""
    with pytest.raises(PluginError, match="published to 'mail' is not JSON"):
        _context().publish("mail", object())


def test_the_log_knows_the_workflow() -> None:
    """What a callback logs carries its workflow, state, event and attempt."""
    with capture_logs() as logs:
        ctx = _context()
        ctx.log.info("charged", amount=3)
        assert ctx.log is ctx.log
    assert logs == [
        {
            "event": "charged",
            "log_level": "info",
            "amount": 3,
            "machine": "order",
            "workflow_id": "o-1",
            "state": "running",
            "seq": 0,
            "event_name": "flow_begin",
            "attempt": 1,
        }
    ]
