"""Tests of machines: what a case says is checked, and cases are found that take every branch."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from event_center.errors import DefinitionError
from event_center.machine import Machine, load, parse
from event_center.machine.cases import plain_cases
from event_center.machine.coverage import branches_of, covered_by_events, covered_by_tests
from event_center.machine.deriving import derived
from event_center.machine.trial import failures
from event_center.machine.writing import yaml_text
from tests.machine.test_drawing import PARCEL
from tests.scenarios.desk import EVENTS, lines, needs_data

MACHINES = Path(__file__).parents[2] / "machines"

LAMP = """
machine: lamp
version: 1
initial: dark
data: {presses: 0, last: null}
states:
  dark:
    on:
      press: {target: lit, guard: powered, actions: count, assign: {presses: =data.presses + 1}}
      unplug: gone
  lit:
    entry: {do: glow, retry: none}
    on: {press: dark, dim: {guard: "=payload.to > 3", assign: {last: =payload.to}}}
    after: {1h: dark}
    on_error: broken
    on_done: {actions: note}
  broken: {on: {press: {target: dark, guard: powered}, unplug: gone}}
  gone: {type: final, result: cancelled}
"""

TESTS = """
tests:
- name: it is lit, and goes out by itself
  steps:
  - event: press
    guards: {powered: true}
    state: lit
    actions: [count]
    effects: [glow]
    data: {presses: 1}
  - {event: dim, payload: {to: 5}, state: lit, data: {last: 5, presses: 1}}
  - {event: dim, payload: {to: 1}, refused: guard}
  - {done: glow, actions: [note]}
  - {after: 59m, state: lit}
  - {after: 1m, state: dark}
- name: without power
  given: {state: broken, data: {presses: 7}}
  steps:
  - {event: press, guards: {powered: false}, refused: guard, data: {presses: 7}}
  - {event: dim, refused: not_accepted}
  - {event: nonsense, refused: unknown_event}
  - {event: unplug, state: gone, result: cancelled}
  - {event: press, refused: finished}
- name: the bulb breaks
  given: {state: lit}
  steps:
  - {error: glow, payload: {type: BulbError}, state: broken}
"""


def test_what_is_as_expected_passes() -> None:
    """Events, time, callbacks that are done or fail, data, effects, refusals and results are checked."""
    machine = parse(LAMP + TESTS)
    assert failures(machine) == []
    assert len(machine.definition.tests) == 3


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("state: gone", "state: dark", "the state is 'gone', not 'dark'"),
        ("effects: [glow]", "effects: []", "the effects are 'glow', not none"),
        ("actions: [note]", "actions: [count]", "the actions are 'note', not 'count'"),
        ("last: 5", "last: 6", "data.last is 5, not 6"),
        ("data: {presses: 1}", "data: {other: 1}", "data has no 'other'"),
        (
            "result: cancelled}\n  - {event: press",
            "result: failure}\n  - {event: press",
            "not failure",
        ),
        ("refused: unknown_event", "refused: guard", "refused (unknown_event, not guard)"),
        ("payload: {to: 1}, refused: guard", "payload: {to: 9}, refused: guard", "it is accepted"),
        ("{after: 59m, state: lit}", "{event: unplug}", "it is refused (not_accepted): state lit"),
        ("{done: glow,", "{done: glimmer,", "'glimmer' is not owed; owed is 'glow'"),
        ("{state: broken,", "{state: borken,", "nobody rests in 'borken'; did you mean 'broken'?"),
        ("payload: {to: 5}", "payload: {up: 5}", "'dim' fails:"),
        ("    guards: {powered: true}\n", "", "'press' fails:"),
    ],
)
def test_what_is_otherwise_is_told(right: str, wrong: str, said: str) -> None:
    """Each expectation has its twin that fails, with the place of its step and what came instead."""
    text = LAMP + TESTS
    assert text.count(right) >= 1
    [problem] = failures(parse(text.replace(right, wrong, 1), "lamp.yaml"))
    assert problem.code == "E401"
    assert said in problem.message
    assert problem.line > LAMP.count("\n")


def test_every_name_that_there_is_not_is_told() -> None:
    """Unknown states and events are told of every step, and two tests of one name, in one pass."""
    steps = (
        "{event: prss, state: lt}, {event: dim, state: drk}, {event: other, refused: unknown_event}"
    )
    first = f"tests:\n- {{name: a, given: {{state: lt}}, steps: [{steps}]}}\n"
    second = "- {name: a, steps: [{event: unplug, state: gone}]}\n"
    problems = failures(parse(f"{LAMP}{first}{second}"))
    line = LAMP.count("\n") + 2
    assert [(one.line, one.message) for one in problems] == [
        (line, "test 'a': nobody rests in 'lt'; did you mean 'lit'?"),
        (line, "test 'a': the machine has no event 'prss'; did you mean 'press'?"),
        (line, "test 'a': nobody rests in 'lt'; did you mean 'lit'?"),
        (line, "test 'a': nobody rests in 'drk'; did you mean 'dark'?"),
        (
            line + 1,
            f"test 'a': the test in line {line} has this name, too; give each its own",
        ),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tests: {}", "tests are a list of cases"),
        ("tests: [{name: a}]", "a test needs the key 'steps'"),
        ("tests: [{steps: []}]", "at least one step"),
        ("tests: [{steps: [{event: press, done: glow}]}]", "exactly one of the keys"),
        ("tests: [{steps: [{event: press, stat: lit}]}]", "did you mean 'state'?"),
        ("tests: [{steps: [{event: press, data: 3}]}]", "maps keys to values"),
        ("tests: [{steps: [{after: soon}]}]", "not a duration"),
        ("tests: [{steps: [{event: a, guards: {powered: 3}}]}]", "true or false"),
        ("tests: [{steps: [{event: a, refused: never}]}]", "is not a value of refused"),
    ],
)
def test_a_test_that_can_not_be_read(text: str, said: str) -> None:
    """Mistakes in tests are found with the machine's other problems."""
    with pytest.raises(DefinitionError, match="E10") as caught:
        parse(f"{LAMP}{text}\n")
    assert said in str(caught.value)


def test_tests_are_no_part_of_what_a_machine_does() -> None:
    """A machine has the same hash with and without tests; they are in its YAML again."""
    machine = parse(LAMP + TESTS)
    assert machine.hash == parse(LAMP).hash
    again = parse(machine.to_yaml())
    assert plain_cases(again.definition.tests) == plain_cases(machine.definition.tests)


def with_derived(machine: Machine) -> Machine:
    """The machine with the cases that were found for it as its tests."""
    found = derived(machine)
    assert found.missed == ()
    text = replace_tests(machine) + yaml_text({"tests": plain_cases(found.cases)})
    return parse(text)


def replace_tests(machine: Machine) -> str:
    bare = replace(machine.definition, tests=())
    return replace(machine, definition=bare).to_yaml()


@pytest.mark.parametrize("name", ["helpdesk", "job", "order", "lamp", "parcel", "volume"])
def test_derived_cases_take_every_branch(name: str) -> None:
    """Of each machine every branch and every refusal is found, and the cases pass as they stand."""
    texts = {"lamp": LAMP, "parcel": PARCEL}
    machine = parse(texts[name]) if name in texts else load(MACHINES / f"{name}.yaml")
    tested = with_derived(machine)
    assert failures(tested) == []
    taken = covered_by_tests(tested)
    assert [one.way for one in branches_of(tested.definition) if not taken[one.place]] == []
    refused = [case for case in tested.definition.tests if case.name.startswith("refused in")]
    assert refused or name == "helpdesk"


SHOP = files("event_center.app") / "templates/order/machines/order.yaml"
SCHEMAS = """
machine: form
version: 1
initial: new
events:
  fill:
    schema:
      type: object
      required: [at, lines, kind, sum, note, mail, sent]
      properties:
        at: {type: string, format: date-time}
        lines: {type: array, minItems: 2, items: {required: [n], properties: {n: {type: integer}}}}
        kind: {enum: [a, b]}
        sum: {type: number, exclusiveMinimum: 10}
        note: {type: string, minLength: 3, maxLength: 5}
        mail: {anyOf: [{type: string, format: email}, {type: "null"}]}
        sent: {const: false}
  sign: {schema: {type: object, required: [by], properties: {by: {type: string, pattern: "^[0-9]{9}$"}}}}
states:
  new: {on: {fill: [{guard: =payload.sum > 100, target: large}, {target: small}]}}
  small: {on: {sign: done}}
  large: {on: {sign: done}}
  done: {type: final}
"""


def test_derived_cases_fit_the_schemas() -> None:
    """A payload is made that a schema lets in, with the values that a guard asks for; else it is said."""
    found = derived(parse(SCHEMAS))
    assert [one.way for one in found.missed] == ["'sign' in 'small'", "'sign' in 'large'"]
    assert {"fill in new", "fill in new (2)"} <= {case.name for case in found.cases}
    tested = with_derived(parse(SHOP.read_text(encoding="utf-8")))
    assert failures(tested) == []
    [unpaid] = [one for one in tested.definition.tests if one.name == "refused in paying"]
    assert {step.expected.refused for step in unpaid.steps[1:]} == {"not_accepted"}


def test_derived_cases_see_a_changed_machine() -> None:
    """The twin: cases derived of one machine fail on another one."""
    tested = with_derived(parse(LAMP)).to_yaml()
    changed = tested.replace("after: {1h: dark}", "after: {1h: broken}")
    assert changed != tested
    assert {one.code for one in failures(parse(changed))} == {"E401"}


def test_a_branch_that_nothing_takes_is_named() -> None:
    """What no input that was tried leads to is missed, and said."""
    text = LAMP.replace("payload.to > 3", "payload.to == 'x' + 'y'")
    [missed] = derived(parse(text)).missed
    assert missed.way == "'dim' in 'lit'"


@needs_data
def test_coverage_by_the_events_of_a_help_desk() -> None:
    """The real events of a help desk take every branch of its machine, and 19 are refused."""
    machine = load(MACHINES / "helpdesk.yaml")
    read = [json.loads(line) for line in lines()]
    taken, refused = covered_by_events(
        machine, [(one["workflow_id"], one["event"], one.get("payload")) for one in read]
    )
    known = branches_of(machine.definition)
    assert [one.way for one in known if not taken[one.place]] == []
    assert (taken.total() + refused, refused) == (EVENTS, 19)


def test_coverage_of_few_events() -> None:
    """The twin: few events take few branches."""
    machine = load(MACHINES / "order.yaml")
    taken, refused = covered_by_events(
        machine, [("o", "flow_begin", None), ("o", "flow_begin", None)]
    )
    assert (taken.total(), refused) == (1, 1)


CHOOSING = """
machine: claim
version: 1
initial: size
states:
  size: {type: choice, always: [{target: large, guard: =payload.amount > 100}, small]}
  small: {on: {claim: {}, end: over}}
  large: {on: {claim: over}}
  over: {type: final}
tests:
  - {name: large, steps: [{event: claim, payload: {amount: 500}, state: over}]}
  - {name: small, steps: [{event: claim, payload: {amount: 5}, state: small}, {event: end, state: over}]}
  - {name: given, given: {state: large}, steps: [{event: claim, state: over}]}
"""


def test_a_case_of_a_machine_that_begins_in_a_choice() -> None:
    """Its first event makes the workflow, and is decided where the birth has led to."""
    assert failures(parse(CHOOSING)) == []
    [problem] = failures(
        parse(CHOOSING.replace("amount: 5}, state: small", "amount: 500}, state: small"))
    )
    assert "'over'" in problem.message


def test_cases_are_derived_from_a_choice_at_the_beginning() -> None:
    """The first step of each case is the event that makes the workflow."""
    found = derived(parse(CHOOSING))
    assert found.missed == ()
    assert all(case.steps[0].what in {"claim", "end"} for case in found.cases)


def test_what_is_emitted_is_read_for_payloads() -> None:
    """A branch that fails without a key of the payload, in what it sends, is taken with one."""
    machine = parse("""
        machine: m
        version: 1
        initial: a
        states:
          a: {on: {go: {target: b, emit: {event: e, workflow_id: "='x-' + payload.number"}}}}
          b: {on: {go: {target: c, raise: {event: e, payload: =payload.depth + 1}}}}
          c: {type: final}
    """)
    assert derived(machine).missed == ()


def test_a_callback_that_is_awaited_can_fail() -> None:
    """`error` is also for what a transition from here awaits: that is not taken, and `on_error` follows."""
    text = (MACHINES / "showcase/migration.yaml").read_text("utf-8")
    veto = """- name: no room
  steps:
  - {error: find_room, payload: {message: full}, state: ready, data: {refused: full, wanted: null}}
"""
    assert failures(parse(text + veto)) == []
    [problem] = failures(parse(text + veto.replace("find_room", "copy_memory")))
    assert "'copy_memory' is not owed; owed is nothing" in problem.message


def test_numbers_are_tried_beside_truths() -> None:
    """1 and true are two payloads, and a time is one more: what only these take is found."""
    machine = parse("""
        machine: m
        version: 1
        initial: a
        data: {due: null}
        states:
          a: {on: {go: {target: b, guard: =payload.n + 1 > 0, assign: {due: =payload.due}}}}
          b: {after: {=data.due: c}}
          c: {type: final}
    """)
    assert derived(machine).missed == ()
