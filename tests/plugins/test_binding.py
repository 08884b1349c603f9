"""A machine bound to a record: the caller's transaction, callbacks owed after it, and no promise more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import JSON, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from event_center import (
    Bound,
    Callbacks,
    Context,
    EventRefused,
    PluginError,
    RecordChanged,
    UnknownState,
    callbacks,
    parse,
    with_callbacks,
)
from event_center.plugins.binding import BoundRecord

ORDER = """
machine: order
version: 1
initial: new
data: {paid: 0, note: null}
states:
  new:
    on:
      pay:
        - {target: paid, guard: enough, before: check, actions: book, assign: {paid: =payload.amount}}
      note: {assign: {note: =payload.text}}
  paid: {entry: [send_receipt, pack], exit: unpack, on: {refund: gone, ship: gone}, after: {1h: gone}}
  gone: {type: final, result: cancelled}
"""


class Shop:
    """What the callbacks did, and what they are to do next."""

    def __init__(self, *, asynchronous: bool = False) -> None:
        self.ran: list[tuple[str, str, dict[str, Any]]] = []
        self.raises: set[str] = set()
        self.returns: dict[str, str] = {}
        self.keys: list[str] = []
        self.callbacks = self._made(asynchronous)

    def _did(self, name: str, ctx: Context) -> str | None:
        self.keys.append(ctx.idempotency_key)
        if name in self.raises:
            raise ConnectionError(name)
        self.ran.append((name, ctx.state, ctx.data))
        return self.returns.get(name)

    def _made(self, asynchronous: bool) -> Callbacks:
        order = callbacks("order")
        order.guard("enough")(lambda payload: payload["amount"] >= 10)
        for name in ("check", "book", "unpack", "send_receipt", "pack"):
            order.action(name)(self._async(name) if asynchronous else self._sync(name))
        return order

    def _sync(self, name: str) -> Any:
        def did(ctx: Context) -> str | None:
            return self._did(name, ctx)

        return did

    def _async(self, name: str) -> Any:
        async def did(ctx: Context) -> str | None:
            return self._did(name, ctx)

        return did

    def bound(self) -> Bound:
        return with_callbacks(parse(ORDER), self.callbacks)


class Row:
    """A record."""

    def __init__(self, state: str | None = None, data: dict[str, Any] | None = None) -> None:
        self.state = state
        self.data = data


def test_an_event_changes_the_record() -> None:
    """Guards, decide callbacks and assigns are done in `send`; entries are owed until `run_sync`."""
    shop, row = Shop(), Row()
    order = shop.bound().bind(row, "state", "data", workflow_id="o-1")
    assert (order.state, order.accepts("pay"), order.accepts("ship")) == ("new", True, False)
    sent = order.send("pay", {"amount": 12}, now_ms=1_000)
    assert (row.state, row.data) == ("paid", {"paid": 12, "note": None})
    assert [name for name, _, _ in shop.ran] == ["check", "book"]
    assert shop.ran[0][1:] == ("new", {"paid": 0, "note": None})
    assert sent.owed == ("send_receipt", "pack")
    assert [(timer.id, timer.due_ms) for timer in sent.timers] == [("@after/1h", 3_601_000)]
    shop.returns["pack"] = "ship"
    [event] = sent.run_sync()
    assert shop.ran[2:] == [
        ("send_receipt", "paid", {"paid": 12, "note": None}),
        ("pack", "paid", {"paid": 12, "note": None}),
    ]
    assert not sent.owed
    assert order.send(event.name).result == "cancelled"
    assert order.send("pay").refused is not None


async def test_an_asyncio_program_does_the_same() -> None:
    """Async callbacks are awaited by `send_async` and `run`; sync ones are run by them, too."""
    for asynchronous in (True, False):
        shop, row = Shop(asynchronous=asynchronous), Row("new", {"paid": 1})
        order = shop.bound().bind(row, "state", "data")
        sent = await order.send_async("pay", {"amount": 12})
        assert (row.state, [name for name, _, _ in shop.ran]) == ("paid", ["check", "book"])
        assert await sent.run() == []
        assert [name for name, _, _ in shop.ran][2:] == ["send_receipt", "pack"]


def test_a_sync_caller_is_told_of_async_callbacks() -> None:
    """An async callback on the way of a sync caller is refused before anything has run."""
    shop, row = Shop(asynchronous=True), Row("new")
    order = shop.bound().bind(row, "state", "data")
    with pytest.raises(PluginError, match="is async; await send_async"):
        order.send("pay", {"amount": 12})
    assert (row.state, shop.ran) == ("new", [])
    sent = order.send("note", {"text": "soon"})
    assert sent.accepted
    assert sent.run_sync() == []


@pytest.mark.parametrize("name", ["check", "book"])
def test_what_raises_leaves_the_record_as_it_was(name: str) -> None:
    """A decide callback, a guard or an assign that raises changes nothing."""
    shop, row = Shop(), Row("new", {"paid": 0})
    shop.raises.add(name)
    order = shop.bound().bind(row, "state", "data")
    with pytest.raises(ConnectionError):
        order.send("pay", {"amount": 12})
    with pytest.raises(Exception, match="guard 'enough' failed"):
        order.send("pay", {})
    with pytest.raises(Exception, match="text"):
        order.send("note", {})
    assert (row.state, row.data) == ("new", {"paid": 0})
    shop.raises.clear()
    assert order.send("pay", {"amount": 12}).state == "paid"


def test_both_fields_change_or_none() -> None:
    """A record that does not take the state has its data again as they were."""

    class Strict(Row):
        def __setattr__(self, name: str, value: Any) -> None:
            if name == "state" and value == "paid":
                raise ValueError("no such state here")
            super().__setattr__(name, value)

    row = Strict("new", {"paid": 0})
    with pytest.raises(ValueError, match="no such state here"):
        Shop().bound().bind(row, "state", "data").send("pay", {"amount": 12})
    assert (row.state, row.data) == ("new", {"paid": 0})


def test_a_refusal_is_data_or_an_error() -> None:
    """By default a refusal is returned, with `strict` it is raised; both say why, as data."""
    shop, row = Shop(), Row("new")
    bound = shop.bound()
    sent = bound.bind(row, "state", "data").send("ship")
    assert sent.refused is not None
    assert (sent.accepted, sent.refused.reason, sent.refused.accepted) == (
        False,
        "not_accepted",
        ("note", "pay"),
    )
    assert (sent.owed, sent.run_sync()) == ((), [])
    with pytest.raises(EventRefused, match="enough") as caught:
        bound.bind(row, "state", "data", strict=True).send("pay", {"amount": 1})
    assert (caught.value.reason, caught.value.accepted) == ("guard", ("note", "pay"))


def test_what_fails_after_the_commit_stays_owed() -> None:
    """An entry callback that raises is owed with those behind it; run again, it has the same key."""
    shop, row = Shop(), Row("new")
    sent = shop.bound().bind(row, "state", "data").send("pay", {"amount": 12})
    shop.raises.add("pack")
    with pytest.raises(ConnectionError):
        sent.run_sync()
    assert sent.owed == ("pack",)
    shop.raises.clear()
    sent.run_sync()
    assert not sent.owed
    assert row.state == "paid"
    assert shop.keys[-1] == shop.keys[-2]
    assert len(set(shop.keys)) == len(shop.keys) - 1


async def test_a_record_that_was_moved_meanwhile() -> None:
    """What somebody else did to the record while callbacks ran is not written over."""
    shop, row = Shop(), Row("new")
    order = shop.bound().bind(row, "state", "data")
    original = shop._did

    def moved(name: str, ctx: Context) -> str | None:
        row.state = "gone"
        return original(name, ctx)

    shop._did = moved  # type: ignore[method-assign]  # a callback that looks
    with pytest.raises(RecordChanged, match="is in 'gone' now"):
        order.send("pay", {"amount": 12})
    assert row.state == "gone"


def test_a_record_in_a_state_that_there_is_not() -> None:
    """An old name in the database is told, with the new one that it is like; the record stays."""
    row = Row("neww")
    order = Shop().bound().bind(row, "state", "data")
    for ask in (order.send, order.accepts):
        with pytest.raises(UnknownState, match=r"is in 'neww', and .*; did you mean 'new'\?"):
            ask("pay")
    assert row.state == "neww"


def test_a_record_needs_room() -> None:
    """Data and history states without a field, and callbacks that send, are refused in a sentence."""
    with pytest.raises(PluginError, match=r"has data \(note, paid\)"):
        Shop().bound().bind(Row(), "state")
    text = (
        "machine: m\nversion: 1\ninitial: a\nperpetual: true\non: {back: h}\n"
        "states: {a: {initial: b, states: {b: {}, h: {type: history}}}}\n"
    )
    with pytest.raises(PluginError, match="history state 'h'"):
        with_callbacks(parse(text), callbacks("m")).bind(Row(), "state")
    order = Shop().callbacks
    order.implementations = [one for one in order.implementations if one.name != "book"]

    @order.action("book")
    def book(ctx: Context) -> None:
        ctx.emit("other", workflow_id="o-2")

    row = Row("new")
    with pytest.raises(PluginError, match="a bound record has no log"):
        with_callbacks(parse(ORDER), order).bind(row, "state", "data").send("pay", {"amount": 12})
    assert row.state == "new"


DEVICE = """
machine: device
version: 1
initial: working
data: {faults: 0}
states:
  working:
    initial: idle
    on: {fault: {target: broken, assign: {faults: =data.faults + 1}}, scrap: scrapped}
    states:
      idle: {on: {begin: measuring}}
      measuring: {initial: fast, states: {fast: {on: {slow: slowly}}, slowly: {}}}
      as before: {type: history, history: deep}
  broken: {on: {mended: as before, scrap: scrapped}}
  scrapped: {type: final}
"""


class Device(Row):
    """A record with room for the memory of history states."""

    memory: dict[str, str] | None = None


def test_history_states_have_a_field_of_their_own() -> None:
    """What the machine was left in is in the record, and another `bind` brings it back from there."""
    machine, device = with_callbacks(parse(DEVICE), callbacks("device")), Device()

    def bound() -> BoundRecord:
        return machine.bind(device, "state", "data", memory_field="memory")

    for name, state, memory in [
        ("begin", "fast", None),
        ("slow", "slowly", None),
        ("fault", "broken", {"as before": "slowly"}),
        ("mended", "slowly", {"as before": "slowly"}),
        ("fault", "broken", {"as before": "slowly"}),
    ]:
        assert bound().send(name).accepted
        assert (device.state, device.memory) == (state, memory)
    assert device.data == {"faults": 2}
    device.memory = None
    assert bound().send("mended").state == "idle"


def test_memory_changes_with_the_state_or_not_at_all() -> None:
    """A record that does not take its new state has memory and data again as they were."""

    class Stiff(Device):
        def __setattr__(self, name: str, value: Any) -> None:
            if value == "broken":
                raise ValueError("this one never breaks")
            super().__setattr__(name, value)

    device = Stiff("idle", {"faults": 0})
    stiff = with_callbacks(parse(DEVICE), callbacks("device"))
    bound = stiff.bind(device, "state", "data", memory_field="memory")
    with pytest.raises(ValueError, match="never breaks"):
        bound.send("fault")
    assert (device.state, device.data, device.memory) == ("idle", {"faults": 0}, None)


def test_on_done_is_the_callers() -> None:
    """Where the machine says `on_done`, `run` hands its event back, and `send` takes it."""
    states = "{a: {on: {go: b}}, b: {entry: x, on_done: c}, c: {type: final}}"
    text = f"machine: m\nversion: 1\ninitial: a\nstates: {states}\n"
    plugin = callbacks("m")
    plugin.action("x")(lambda: None)
    row = Row("a")
    bound = with_callbacks(parse(text), plugin).bind(row, "state")
    [event] = bound.send("go").run_sync()
    assert bound.send(event.name, event.payload).result == "success"
    assert row.state == "c"


# -- a database -----------------------------------------------------------------------------------


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(default="")
    data: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


@pytest.fixture(name="database")
def _database(tmp_path: Path) -> Iterator[Any]:
    engine = create_engine(f"sqlite:///{tmp_path}/shop.db")
    Base.metadata.create_all(engine)
    with Session(engine) as session, session.begin():
        session.add(Order(id=1))
    yield engine
    engine.dispose()


def stored(database: Any) -> tuple[str, dict[str, Any]]:
    with Session(database) as session:
        order = session.get_one(Order, 1)
        return order.state, order.data


def test_a_row_moves_with_its_transaction(database: Any) -> None:
    """State and data are committed with the rest of the transaction; entries run after the commit."""
    shop = Shop()
    with Session(database) as session, session.begin():
        order = shop.bound().bind(session.get_one(Order, 1), "state", "data", workflow_id="1")
        sent = order.send("pay", {"amount": 12})
        assert stored(database) == ("", {})
    assert stored(database) == ("paid", {"paid": 12, "note": None})
    assert [name for name, _, _ in shop.ran] == ["check", "book"]
    sent.run_sync()
    assert [name for name, _, _ in shop.ran] == ["check", "book", "send_receipt", "pack"]


def test_a_rollback_takes_the_transition_back(database: Any) -> None:
    """The twin: what fails later in the caller's transaction undoes the move, and nothing owed runs."""
    shop = Shop()

    def checkout() -> None:
        with Session(database) as session, session.begin():
            order = shop.bound().bind(session.get_one(Order, 1), "state", "data")
            assert order.send("pay", {"amount": 12}).state == "paid"
            session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        checkout()
    assert stored(database) == ("", {})
    assert [name for name, _, _ in shop.ran] == ["check", "book"]
