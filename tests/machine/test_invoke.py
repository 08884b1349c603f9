"""Jobs in machines: what is read, what a step owes and leaves, and what their ends move."""

from __future__ import annotations

from textwrap import dedent

import pytest

from event_center import Blueprint, Job, State, load, parse
from event_center.errors import DefinitionError
from event_center.machine import Machine
from event_center.machine.decision import Decision, Refused, Retry, Transition
from event_center.model import Event, Snapshot

TEXT = """
machine: m
version: 1
initial: idle
on_error: broken
retries: {often: {max_attempts: 9}}
states:
  idle: {on: {go: busy, pair: pair, plain: plain}}
  busy:
    invoke:
      - do: build
        retry: often
        timeout: 10m
        heartbeat: 30s
        grace: 2s
        on_done: {target: idle, guard: =payload.whole}
        on_error: [{target: idle, errors: TimeoutError}]
      - look
    on_error: {target: sorry, errors: OSError}
    on: {leave: idle}
  plain: {invoke: look, on: {leave: end, stay: {}}}
  pair:
    type: parallel
    invoke: watch
    states:
      left: {initial: l1, states: {l1: {invoke: one, on: {next: l2}}, l2: {invoke: two}}}
      right: {invoke: three}
    on: {leave: idle}
  sorry: {on: {back: idle}}
  broken: {on: {back: idle}}
  end: {type: final}
"""


@pytest.fixture
def machine() -> Machine:
    return parse(TEXT)


def step(machine: Machine, state: str, event: Event) -> Decision:
    return machine.step(Snapshot("w", "m", 1, state), event, 0)


def taken(machine: Machine, state: str, name: str, payload: object = None) -> Transition:
    decision = step(machine, state, Event(name, payload))
    assert isinstance(decision, Transition)
    return decision


def test_what_is_said_of_a_job(machine: Machine) -> None:
    """Its limits, and the usual ones where nothing is said."""
    build, look = machine.job("busy", "build"), machine.job("busy", "look")
    assert build.action.retry == Retry(max_attempts=9)
    assert (build.action.timeout_ms, build.heartbeat_ms, build.grace_ms) == (600_000, 30_000, 2_000)
    assert (look.action.timeout_ms, look.heartbeat_ms, look.grace_ms) == (3_600_000, None, 10_000)
    assert machine.callbacks["build"] == {"invoke"}
    with pytest.raises(KeyError):
        machine.job("idle", "build")


def test_entering_owes_the_jobs_and_leaving_names_them(machine: Machine) -> None:
    """In the order of the file; a state that is left takes its own jobs along, and no others."""
    assert taken(machine, "idle", "go").jobs == ("build", "look")
    left = taken(machine, "busy", "leave")
    assert (left.jobs, left.left) == ((), None)
    assert taken(machine, "idle", "pair").jobs == ("watch", "one", "three")
    moved = taken(machine, "l1|right", "next")
    assert (moved.jobs, moved.left) == (("two",), frozenset({"one"}))
    assert taken(machine, "plain", "stay").entered is False


def test_a_machine_without_jobs_says_so() -> None:
    """None is what costs the engine nothing."""
    plain = parse(
        "{machine: m, version: 1, initial: a, states: {a: {on: {x: b}}, b: {type: final}}}"
    )
    assert taken(plain, "a", "x").jobs is None


def test_the_end_of_a_job_is_an_event(machine: Machine) -> None:
    """`@done/@name` with the result; who has no `on_done` hears nothing."""
    assert taken(machine, "busy", "@done/@build", {"whole": True}).target == "idle"
    refused = step(machine, "busy", Event("@done/@build", {"whole": False}))
    assert isinstance(refused, Refused)
    assert machine.has("busy", "@done/@build")
    assert not machine.has("busy", "@done/@look")
    assert not machine.has("idle", "@done/@build")


@pytest.mark.parametrize(
    ("job", "error", "target"),
    [
        ("build", "TimeoutError", "idle"),
        ("build", "OSError", "sorry"),
        ("build", "ValueError", "broken"),
        ("look", "OSError", "sorry"),
        ("look", "TimeoutError", "broken"),
    ],
)
def test_a_failure_asks_the_job_then_the_state_then_the_machine(
    machine: Machine, job: str, error: str, target: str
) -> None:
    """`on_error` of the job comes first, then those that hear of the state's callbacks."""
    assert taken(machine, "busy", f"@error/@{job}", {"type": error}).target == target


def test_a_birth_owes_jobs() -> None:
    """Also the initial state may have a job."""
    born = parse("{machine: m, version: 1, initial: a, states: {a: {invoke: {do: j, on_done: b}},"
                 " b: {type: final}}}")  # fmt: skip
    assert born.birth(0).jobs == ("j",)
    assert born.entering("a", 3, 0).jobs == ("j",)


def test_jobs_count_for_the_hash(machine: Machine) -> None:
    """Another limit is another machine; a layout is not."""
    assert parse(TEXT.replace("grace: 2s", "grace: 2000ms")).hash == machine.hash
    for old, new in (
        ("grace: 2s", "grace: 3s"),
        ("heartbeat: 30s", "heartbeat: 31s"),
        ("- look", "- see"),
    ):
        assert parse(TEXT.replace(old, new)).hash != machine.hash


def test_back_to_yaml(machine: Machine) -> None:
    """The text that is written reads as the same machine, in its shortest form."""
    text = machine.to_yaml()
    assert parse(text).hash == machine.hash
    assert "invoke: look" in text
    assert "heartbeat: 30s" in text


def test_the_end_of_a_job_is_a_way_out() -> None:
    """A state that only the end of its job leaves is no dead end; without `on_done` it is."""
    text = "{machine: m, version: 1, initial: a, states: {a: {invoke: JOB}, b: {type: final}}}"
    assert parse(text.replace("JOB", "{do: j, on_done: b}")).states == ("a", "b")
    with pytest.raises(DefinitionError, match="E207"):
        parse(text.replace("JOB", "j"))


class Lamp(Blueprint, version=1):
    """A machine with jobs as a class."""

    off = State(initial=True)
    lit = State(final=True)
    warming = State()

    @staticmethod
    @warming.invoke(
        timeout="5m", on_done=lit, on_error={"target": off, "assign": {"why": "=payload.type"}}
    )
    async def warm_up() -> int:
        """Warm up."""
        return 3

    press = off.to(warming)


def test_a_job_as_a_function_of_a_class() -> None:
    """The decorator says what `invoke` says in YAML."""
    text = """
        machine: lamp
        version: 1
        initial: off
        states:
          off: {on: {press: warming}}
          lit: {type: final}
          warming:
            invoke:
              do: warm_up
              timeout: 5m
              on_done: {target: lit}
              on_error: {target: off, assign: {why: =payload.type}}
    """
    assert load(Lamp).hash == parse(dedent(text)).hash


def test_guards_and_names_in_the_branches_of_a_job() -> None:
    """Functions, states and names stand there as in any branch."""

    def whole(payload: object) -> bool:
        return bool(payload)

    class Mill(Blueprint, version=1):
        grain = State(initial=True)
        flour = State(final=True)
        milling = State(
            invoke=Job("mill", on_done=[{"target": flour, "guard": whole}, "grain"], retry="none")
        )
        start = grain.to(milling)

    machine = load(Mill)
    assert machine.guards == {"whole"}
    assert machine.job("milling", "mill").action.retry.max_attempts == 1
