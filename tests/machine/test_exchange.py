"""Machines in XState's language and back: the same machine again, and nothing is lost in silence."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest
from hypothesis import HealthCheck, assume, given, settings

from event_center.errors import DefinitionError
from event_center.machine import Machine, load, parse
from event_center.machine.exchange_asyncapi import asyncapi_of
from event_center.machine.exchange_import import yaml_from_xstate
from event_center.machine.exchange_xstate import xstate_of
from tests.machine.asyncapi import faults_of
from tests.machine.test_drawing import PARCEL
from tests.machine.test_nested_properties import documents

ROOT = Path(__file__).parents[2]
LANGUAGE = (ROOT / "docs/machine-language.md").read_text(encoding="utf-8")
TEXTS = {
    path.stem: path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "machines").glob("*.yaml"))
} | {
    f"documented {number}": text
    for number, text in enumerate(re.findall(r"```yaml\n(.*?)```", LANGUAGE, re.DOTALL))
    if "machine:" in text
}


def there_and_back(machine: Machine) -> Machine:
    config, _ = xstate_of(machine.definition)
    text, notes = yaml_from_xstate(json.loads(json.dumps(config)))
    assert notes == []
    return parse(text)


@pytest.mark.parametrize("name", TEXTS)
def test_a_machine_comes_back_as_it_was(name: str) -> None:
    """Exported and imported again, each example has the same hash and the same YAML."""
    machine = parse(TEXTS[name])
    again = there_and_back(machine)
    assert again.to_yaml() == machine.to_yaml()
    assert again.hash == machine.hash


@settings(suppress_health_check=list(HealthCheck))
@given(documents())
def test_any_machine_comes_back(document: dict[str, Any]) -> None:
    """Random nested machines come back with the same hash."""
    try:
        machine = parse(json.dumps(document))
    except DefinitionError:
        assume(False)
    assert there_and_back(machine).hash == machine.hash


def test_names_of_several_words_stay_whole() -> None:
    """Where a line of YAML is full it is broken between two keys, and never within one."""
    for shift in range(1, 16):
        names = ["x" * shift, *(f"go to the house {n}" for n in range(60))]
        events = ", ".join(f"{name}: a" for name in names)
        head = "machine: m\nversion: 1\ninitial: a\nperpetual: true\n"
        machine = parse(f"{head}states: {{a: {{on: {{{events}}}}}}}")
        written = machine.to_yaml()
        assert max(map(len, written.splitlines())) < 120
        assert parse(written).hash == machine.hash


def test_what_xstate_has_no_word_for_is_named() -> None:
    """Retries, timeouts, `before`, `defer`, `on_error`: each is named with its place."""
    _, notes = xstate_of(load(ROOT / "machines/order.yaml").definition)
    assert notes == [
        "retry of 'start_processing' in entry of state 'running' is only a parameter in XState",
        "timeout of 'start_processing' in entry of state 'running' is only a parameter in XState",
        "on_error of state 'running' has no counterpart in XState",
        "tests of the machine has no counterpart in XState",
    ]
    _, notes = xstate_of(parse(PARCEL).definition)
    assert notes == [
        "defer of state 'waiting' has no counterpart in XState",
        "timeout of the machine has no counterpart in XState",
    ]


def test_what_xstate_has_words_for_is_in_its_own() -> None:
    """States, targets, guards, assigns and timers are said as XState says them."""
    config, _ = xstate_of(parse(PARCEL).definition)
    assert config["states"]["handling"]["type"] == "parallel"
    assert config["states"]["handling"]["onDone"] == [{"target": "#sent"}]
    payment = config["states"]["handling"]["states"]["payment"]
    assert payment["states"]["open"]["after"] == {
        "3600000": [{"target": "#reminded"}],
    }
    waiting = config["states"]["handling"]["states"]["packing"]["states"]["waiting"]
    assert waiting["on"]["pack"] == [
        {"target": "#packed", "guard": {"type": "stateIn", "params": {"stateId": "#paid"}}}
    ]
    assert config["states"]["lost"]["output"] == {"result": "failure"}


FOREIGN: dict[str, Any] = {
    "id": "fetch",
    "initial": "idle",
    "context": {"tries": 0},
    "predictableActionArguments": True,
    "states": {
        "idle": {"on": {"GO": {"target": "work.loading", "actions": ["note", {"type": "log"}]}}},
        "work": {
            "initial": "loading",
            "states": {
                "loading": {
                    "invoke": {
                        "src": "load",
                        "input": 1,
                        "onDone": "done",
                        "onError": {"target": "#fetch.failed"},
                    },
                    "after": {"5000": "done", "LATER": "done", "1500": "done"},
                },
                "done": {"type": "final", "output": {"n": 1}},
            },
            "after": {"60000": ".done"},
            "invoke": {"src": "watch", "onDone": ".done"},
            "onDone": [{"target": "idle", "guard": "again"}, {"target": "done"}],
        },
        "done": {"type": "final"},
        "failed": {"type": "final", "output": {"result": "failure"}},
    },
}


JOBS = """
machine: jobs
version: 1
initial: busy
states:
  busy:
    entry: prepare
    invoke:
      - do: build
        retry: {max_attempts: 9}
        timeout: 10m
        heartbeat: 30s
        grace: 2s
        on_done: {target: end, assign: {film: =payload.file}}
        on_error: [{target: busy, errors: TimeoutError, reenter: true}, {target: end, actions: note}]
      - look
    on: {leave: end}
  end: {type: final}
"""


def test_what_a_state_invokes_is_said_as_xstate_says_it() -> None:
    """Each job is an invoke with its own `onDone` and `onError`; limits are its input, and named."""
    machine = parse(JOBS)
    config, notes = xstate_of(machine.definition)
    [build, look] = config["states"]["busy"]["invoke"]
    assert look == {"id": "look", "src": "look"}
    assert (build["id"], build["src"]) == ("build", "build")
    assert build["onDone"][0]["target"] == "#end"
    assert [one["target"] for one in build["onError"]] == ["#busy", "#end"]
    assert build["input"]["event_center"]["heartbeat"] == "30s"
    assert "meta" not in config["states"]["busy"]
    for key in ("retry", "timeout", "heartbeat", "grace"):
        assert f"{key} of 'build' in invoke of state 'busy' is only an input in XState" in notes
    assert there_and_back(machine).hash == machine.hash


def test_the_input_of_an_invoke_that_is_not_ours_is_named() -> None:
    """The twin: the limits that an export kept come back without a word, another input does not."""
    config, _ = xstate_of(parse(JOBS).definition)
    config["states"]["busy"]["invoke"][0]["input"]["speed"] = 3
    config["states"]["busy"]["invoke"][1]["src"] = {"type": "inline"}
    text, notes = yaml_from_xstate(config)
    assert notes == [
        "'input' of the invoke of state 'busy' is left out: machines here have no such thing",
        "a source without a name of the invoke of state 'busy' is left out: machines here have no"
        " such thing",
    ]
    assert "heartbeat: 30s" in text


UNNAMED: tuple[Any, ...] = ({}, {"type": None}, {"type": "", "params": {"a": 1}}, {"retry": "x"})


@pytest.mark.parametrize("place", ["entry", "exit", "actions"])
@pytest.mark.parametrize("unnamed", UNNAMED, ids=str)
@pytest.mark.parametrize("alone", [True, False], ids=["alone", "beside another"])
def test_an_action_without_a_type_is_named(place: str, unnamed: Any, *, alone: bool) -> None:
    """It is left out, what stands beside it is not, and nothing is called None."""
    calls = unnamed if alone else [unnamed, {"type": "ring"}]
    state = (
        {"on": {"go": {"target": "z", "actions": calls}}} if place == "actions" else {place: calls}
    )
    begin = {"on": {"go": "z"}} | state
    text, notes = yaml_from_xstate({"initial": "a", "states": {"a": begin, "z": {"type": "final"}}})
    [note] = notes
    assert note.startswith("an action without a type of ")
    assert "None" not in text
    called = [call.action.name for _, call in parse(text).definition.calls()]
    assert called == ([] if alone else ["ring"])


def test_a_raise_without_an_event_is_named() -> None:
    """The same of what is raised."""
    events: list[dict[str, Any]] = [{}, {"event": {}}, {"event": {"type": "end"}}]
    ways = {"go": {"actions": [{"type": "raise", "params": event} for event in events]}}
    states = {"a": {"on": {**ways, "end": "z"}}, "z": {"type": "final"}}
    text, notes = yaml_from_xstate({"initial": "a", "states": states})
    assert [note.partition(" of ")[0] for note in notes] == ["a raise without an event"] * 2
    assert "raise: end" in text
    parse(text)


def test_what_others_wrote_is_imported() -> None:
    """Relative targets, `invoke`, short forms and equal names come along; the rest is named."""
    text, notes = yaml_from_xstate(FOREIGN)
    lines = "\n".join(notes)
    for named in (
        "'predictableActionArguments' of the machine is left out",
        "state 'done' inside of 'work' is called 'work.done'",
        "'input' of the invoke of state 'loading' is left out",
        "the delay 'LATER', which is a name, of state 'loading'",
        "output of state 'work.done' is left out",
    ):
        assert named in lines
    machine = parse(text)
    states = machine.definition.states
    assert [one.target for one in states["idle"].on["GO"].branches] == ["loading"]
    assert machine.callbacks["note"] == {"action"}
    assert list(states["loading"].after) == ["5s", "1500ms"]
    assert [one.target for one in states["work"].after["1m"].branches] == ["work.done"]
    [load_, watch] = [states[name].invoke[0] for name in ("loading", "work")]
    assert (load_.action.name, watch.action.name) == ("load", "watch")
    ways = [way for way in (load_.on_done, load_.on_error, watch.on_done) if way is not None]
    assert [way.branches[0].target for way in ways] == ["work.done", "failed", "work.done"]
    assert machine.guards == {"again"}
    assert there_and_back(machine).hash == machine.hash


@pytest.mark.parametrize(
    ("states", "names"),
    [
        ({"a": {"b": {}}, "b": {}, "a.b": {}}, ["a", "a.b.2", "b", "a.b"]),
        (
            {"a": {"b": {}}, "b": {}, "a.b": {}, "a.b.2": {}},
            ["a", "a.b.3", "b", "a.b", "a.b.2"],
        ),
        # Two whole paths that read alike.
        (
            {"a": {"b.c": {}}, "a.b": {"c": {}}, "b.c": {}, "c": {}},
            ["a", "a.b.c", "a.b", "a.b.c.2", "b.c", "c"],
        ),
    ],
)
def test_a_name_that_is_made_is_taken_by_no_other(states: dict[str, Any], names: list[str]) -> None:
    """A state whose key and whole path are both taken gets a number, and is where its targets lead."""

    def key_of(key: str) -> str:
        return key.replace(".", "\\.")

    def body(inner: dict[str, Any], path: str) -> dict[str, Any]:
        within = {key: body(value, f"{path}/{key}") for key, value in inner.items()}
        nested = {"initial": key_of(next(iter(within))), "states": within} if within else {}
        return {"description": path, "on": {"END": "#end"}, **nested}

    inside = {key: body(value, key) for key, value in states.items()}
    first = next(iter(states["a"]))
    inside["a"]["on"] |= {"IN": f".{key_of(first)}"} | {key: key_of(key) for key in states}
    inside["z"] = {"type": "final", "id": "end"}
    text, notes = yaml_from_xstate({"initial": "a", "states": inside})
    found = parse(text).definition.states
    assert list(found) == [*names, "z"]
    assert found[names[1]].description == f"a/{first}"
    ways = {event: on.branches[0].target for event, on in found["a"].on.items()}
    assert ways == {"END": "z", "IN": names[1]} | {key: key for key in states}
    assert (
        f"state {first!r} inside of 'a' is called {names[1]!r}: names are unique in a machine"
        in notes
    )


def test_an_import_that_leaves_something_out_says_so() -> None:
    """The twin: the same configuration without what machines lack is imported without a word."""
    config = {
        "id": "m",
        "version": "3",
        "initial": "a",
        "states": {"a": {"on": {"GO": "b"}}, "b": {"type": "final"}},
    }
    text, notes = yaml_from_xstate(config)
    assert notes == []
    assert parse(text).version == 3
    assert yaml_from_xstate({**config, "version": "3.1.0"})[1] != []
    assert yaml_from_xstate({**config, "delimiter": "/"})[1] != []


def test_events_as_asyncapi() -> None:
    """Each event is a message that every topic's channel has, with the keys that the machine reads."""
    document = asyncapi_of(load(ROOT / "machines/review.yaml").definition, ["reviews", "others"])
    assert document["asyncapi"] == "3.0.0"
    assert [one["address"] for one in document["channels"].values()] == ["reviews", "others"]
    messages = {one["name"]: one for one in document["components"]["messages"].values()}
    assert messages.keys() == load(ROOT / "machines/review.yaml").events
    payload = messages["SAVE"]["payload"]["properties"]["payload"]
    assert payload["properties"] == {"title": {}, "ends_at": {}}
    assert messages["SUBMIT"]["x-accepted-in"] == ["DRAFT", "PASSED"]
    assert asyncapi_of(parse(PARCEL).definition)["channels"]["channel1"]["address"] is None


def test_each_machine_is_an_asyncapi_document() -> None:
    """What AsyncAPI 3 asks of what we write holds for every example, with and without topics."""
    for text in TEXTS.values():
        for topics in ([], ["one", "with/two"]):
            document = asyncapi_of(parse(text).definition, topics)
            assert faults_of(json.loads(json.dumps(document))) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("asyncapi", "2.6.0"),
        ("info/version", 1),
        ("servers", {}),
        ("channels/channel1/topic", "reviews"),
        ("channels/channel1/messages/event1/$ref", "#/components/messages/event99"),
        ("operations/receive1/action", "subscribe"),
        ("operations/receive1/channel", "channel1"),
        ("components/messages/event1/acceptedIn", []),
        ("components/messages/event1/payload/type", "dict"),
    ],
)
def test_a_document_that_is_not_asyncapi_is_found(path: str, value: Any) -> None:
    """The twin: each rule of the check is broken once, and named."""
    document: Any = asyncapi_of(parse(TEXTS["review"]).definition, ["reviews"])
    *way, last = path.split("/")
    at = document
    for key in way:
        at = at[key]
    at[last] = value
    assert len(faults_of(document)) == 1


def test_events_that_are_published_fit_their_messages() -> None:
    """Each line of the sample events is a record as the document describes it."""
    for name in ("order", "review"):
        document = asyncapi_of(parse(TEXTS[name]).definition)
        messages = {one["name"]: one for one in document["components"]["messages"].values()}
        for line in (ROOT / f"machines/events/{name}.jsonl").read_text().splitlines():
            record = json.loads(line)
            fastjsonschema.validate(messages[record["event"]]["payload"], record)


def test_a_schema_is_that_of_the_message() -> None:
    """A declared schema takes the place of what the guards read, unless it names parts of itself."""
    text = (
        "machine: m\nversion: 1\ninitial: a\nperpetual: true\n"
        "events: {go: {schema: {type: object, properties: {n: SCHEMA}}}}\n"
        "states: {a: {on: {go: {emit: {event: e, workflow_id: =payload.to}}}}}\n"
    )

    def payload(schema: str) -> Any:
        document = asyncapi_of(parse(text.replace("SCHEMA", schema)).definition)
        [message] = document["components"]["messages"].values()
        return message["payload"]["properties"]["payload"]

    assert payload("{type: string}") == {"type": "object", "properties": {"n": {"type": "string"}}}
    assert payload("{$ref: '#'}")["properties"] == {"to": {}}
