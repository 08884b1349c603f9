"""Every name of a machine is implemented exactly once, or all that is wrong is said at once."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from event_center.errors import PluginError
from event_center.machine import Machine, parse
from event_center.model import Event, Snapshot
from event_center.plugins.callbacks import Callbacks, callbacks
from event_center.plugins.context import Context
from event_center.plugins.registry import resolve, unclaimed

ORDER = """\
machine: order
version: 1
initial: initial
states:
  initial:
    on: {flow_begin: {target: running, guard: affordable, before: reserve}}
  running:
    entry: start_processing
    exit: [log_exit, free]
    on: {process_complete: completed, process_error: completed}
  completed: {type: final}
"""


def _order() -> Machine:
    return parse(ORDER, "order.yaml")


def _complete() -> Callbacks:
    """What implements all of ORDER, in every way there is."""
    order = callbacks("order")

    @order.entry("running")
    async def start(ctx: Context) -> str:
        return ctx.state

    @order.exit("running")
    def log_exit(payload: object) -> None:
        del payload

    @order.action("free")
    async def free_it() -> None: ...

    @order.action
    async def reserve(ctx: Context) -> None:
        del ctx

    @order.guard
    def affordable(data: dict[str, int]) -> bool:
        return data.get("total", 0) < 10

    @order.lifespan
    async def client() -> AsyncIterator[None]:
        yield

    return order


def _without(name: str) -> Callbacks:
    order = _complete()
    order.implementations[:] = [
        one for one in order.implementations if one.function.__name__ != name
    ]
    return order


def _problems(*found: Callbacks, machine: Machine | None = None) -> list[str]:
    with pytest.raises(PluginError) as caught:
        resolve(machine or _order(), found)
    return str(caught.value).splitlines()


def test_every_name_is_bound() -> None:
    """Entry and exit by state or by name, actions and guards by name: all find their function."""
    bound = resolve(_order(), [_complete()])
    names = {name: bound.callback(name).function.__name__ for name in bound.callbacks}
    assert names == {
        "start_processing": "start",
        "log_exit": "log_exit",
        "free": "free_it",
        "reserve": "reserve",
    }
    assert bound.callback("start_processing").machine == "order"
    assert bound.callback("start_processing").name == "start_processing"
    assert len(bound.lifespans) == 1
    assert bound.warnings == ()


def test_guards_decide() -> None:
    """The machine that comes out steps with the plugin's guards."""
    machine = resolve(_order(), [_complete()]).machine
    snapshot = Snapshot("o-1", "order", 1, "initial")
    snapshot.data = {"total": 5}
    assert getattr(machine.step(snapshot, Event("flow_begin"), 0), "target", None) == "running"
    snapshot.data = {"total": 50}
    assert getattr(machine.step(snapshot, Event("flow_begin"), 0), "detail", None) == "affordable"


def test_a_machine_without_names_needs_no_plugin() -> None:
    """A machine that names no callback and no guard is bound as it is."""
    text = "machine: m\nversion: 1\ninitial: a\nstates:\n  a: {on: {go: b}}\n  b: {type: final}\n"
    machine = parse(text)
    assert resolve(machine, []).machine is machine


def test_callbacks_of_several_modules_add_up() -> None:
    """One machine may be implemented by several modules, and other machines' are left alone."""
    more = callbacks("order")

    @more.action
    async def reserve() -> None: ...

    bound = resolve(_order(), [_without("reserve"), more, callbacks("job")])
    assert bound.callback("reserve").function is reserve


def test_one_function_may_serve_twice() -> None:
    """Decorating a function for two places that share a name is no conflict."""
    order = _without("free_it")

    @order.exit("running")
    @order.action("free")
    async def free() -> None: ...

    assert resolve(_order(), [order]).callback("free").function is free


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("start", "order.yaml:8:12: nobody implements the callback 'start_processing'"),
        ("free_it", "order.yaml:9:22: nobody implements the callback 'free'"),
        ("affordable", "order.yaml:6:47: nobody implements the guard 'affordable'"),
    ],
)
def test_a_missing_name_is_said_with_its_place(name: str, line: str) -> None:
    """A name without a function is named with its position in the YAML, and where to write it."""
    (problem,) = _problems(_without(name))
    assert problem.startswith(f"{line} of machine 'order'; decorate a function in ")
    assert "test_registry.py with `." in problem


def test_a_missing_name_is_guessed() -> None:
    """What the plugin implements under a similar name is offered."""
    order = _without("reserve")

    @order.action("reserv")
    async def reserve() -> None: ...

    (problem,) = _problems(order)
    assert "the callback 'reserve' of machine 'order'; did you mean 'reserv'?; decorate" in problem


def test_no_plugin_at_all() -> None:
    """Without any plugin every name is missing, and the message says how to begin one."""
    problems = _problems()
    assert len(problems) == 5
    assert all('no plugin has `callbacks("order")`' in problem for problem in problems)


def test_implemented_twice() -> None:
    """Two functions for one name are both named."""
    order = _complete()

    @order.action("reserve")
    async def again() -> None: ...

    (problem,) = _problems(order)
    assert "again() implements 'reserve' of machine 'order', and so does " in problem
    assert problem.endswith("reserve(); keep one of them")


def test_an_unknown_state() -> None:
    """A decorator that names a state which is not there gets a guess."""
    order = _complete()

    @order.entry("runing")
    async def other() -> None: ...

    (problem,) = _problems(order)
    assert "other(): @entry('runing'): machine 'order' has no such state" in problem
    assert "did you mean 'running'?" in problem


def test_a_state_without_entry() -> None:
    """A state whose YAML declares no entry would never call the function: add it there."""
    order = _complete()

    @order.entry("initial")
    async def greet() -> None: ...

    (problem,) = _problems(order)
    assert "the state declares no entry; add `entry: greet` to it in order.yaml" in problem


def test_a_state_with_several_exits() -> None:
    """Of several exits of a state, the function's name picks one."""
    order = _complete()

    @order.exit("running")
    async def log_exi() -> None: ...

    (problem,) = _problems(order)
    assert "declares several (log_exit, free), so the function's name must be one" in problem
    assert "did you mean 'log_exit'?" in problem


def test_all_problems_come_at_once() -> None:
    """Missing names, wrong signatures and async guards are said together, a line each."""
    order = _without("start")
    order.implementations[:] = [one for one in order.implementations if one.role != "guard"]

    @order.entry("running")
    async def start(context: Context) -> None:
        del context

    @order.guard
    async def affordable() -> bool:
        return True

    @order.lifespan
    async def forgot() -> None: ...

    wrong, late, empty = sorted(_problems(order), key=lambda line: "start" not in line)
    assert "start(): a callback cannot take context" in wrong
    assert "affordable() is async, and a guard may not be" in late
    assert "forgot() has no `yield`" in empty


def test_what_is_not_used_is_a_warning() -> None:
    """A function for a name that the machine does not use is no error, but is said."""
    order = _complete()

    @order.action
    async def reserver() -> None: ...

    (warning,) = resolve(_order(), [order]).warnings
    assert "reserver() implements the action 'reserver', which machine 'order' does" in warning
    assert "did you mean 'reserve'?" in warning


def test_callbacks_of_no_machine() -> None:
    """Callbacks for a machine that is not loaded are said, with a guess."""
    oder = callbacks("oder")

    @oder.action
    async def reserve() -> None: ...

    (sentence,) = unclaimed([_complete(), oder], ["order", "job"])
    assert "callbacks('oder') is for a machine that is not loaded" in sentence
    assert "did you mean 'order'?" in sentence


def test_a_decorator_without_its_state() -> None:
    """`@order.entry` bare is refused where it stands."""
    order = callbacks("order")

    async def start() -> None: ...

    with pytest.raises(PluginError, match=r"entry of callbacks\('order'\).*write `.entry"):
        order.entry(start)  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize("name", ["", None, 3])
def test_callbacks_of_nothing(name: object) -> None:
    """`callbacks()` takes a machine's name and nothing else."""
    with pytest.raises(PluginError, match="takes the name of a machine"):
        callbacks(name)  # type: ignore[arg-type]  # on purpose


REFUSING = """\
machine: order
version: 1
initial: idle
perpetual: true
states:
  idle: {on: {go: {target: busy, actions: reserve}}}
  busy: {entry: [{do: pay, eager: true}, ship], invoke: watch, on: {back: idle}}
"""


def _asking(name: str) -> Callbacks:
    """All of REFUSING, with `reconcile` for one of its callbacks."""
    order = callbacks("order")

    def asked(ctx: Context) -> None:
        del ctx

    for one in ("reserve", "pay", "ship", "watch"):

        async def do(ctx: Context) -> None:
            del ctx

        kind = order.job if one == "watch" else order.action
        kind(one, reconcile=asked if one == name else None)(do)
    return order


@pytest.mark.parametrize("name", ["ship", "watch"])
def test_what_is_asked_first_is_bound(name: str) -> None:
    """`reconcile` of an entry callback and of a job is a callback, sync or async as it is written."""
    found = resolve(parse(REFUSING, "order.yaml"), [_asking(name)]).callbacks
    assert [one for one in found if found[one].reconcile is not None] == [name]
    asked = found[name].reconcile
    assert asked is not None
    assert (asked.name, asked.is_async) == (name, False)


@pytest.mark.parametrize(("name", "why"), [("reserve", "before its transition"), ("pay", "eager")])
def test_what_can_not_be_asked_is_refused(name: str, why: str) -> None:
    """A decide callback and an eager one have no attempt that a takeover could find."""
    [problem] = _problems(_asking(name), machine=parse(REFUSING, "order.yaml"))
    assert problem.startswith("tests/plugins/test_registry.py:")
    assert f"{name!r} has `reconcile`" in problem
    assert why in problem


def test_what_is_asked_has_a_callbacks_signature() -> None:
    """A wrong parameter of it is found at the start, as of any callback."""
    order = _asking("")
    order.implementations[2] = order.implementations[2]._replace(reconcile=lambda payment: payment)
    [problem] = _problems(order, machine=parse(REFUSING, "order.yaml"))
    assert "a callback cannot take payment" in problem
