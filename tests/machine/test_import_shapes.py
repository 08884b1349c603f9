"""What is imported may be any JSON: it ends in a machine, or in a sentence that says where it is none."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from event_center.errors import DefinitionError, ExchangeError
from event_center.machine import parse
from event_center.machine.exchange_import import yaml_from_xstate
from event_center.machine.exchange_xstate import xstate_of
from tests.machine.test_drawing import PARCEL
from tests.machine.test_exchange import FOREIGN, JOBS


def nested(levels: int) -> dict[str, Any]:
    """So many states, each inside of the one before."""
    made: dict[str, Any] = {}
    for _ in range(levels):
        made = {"initial": "a", "states": {"a": made}}
    return {"id": "m", **made}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"states": {"a": 5}}, "states.a must be object"),
        ({"states": {"a": {"on": [1]}}}, "states.a.on must be object or null"),
        ({"states": {"a": {"entry": ["x", 5]}}}, "states.a.entry.1 must be string or object"),
        ({"states": {"a": {"always": {"guard": {"type": "and"}}}}}, "must contain ['params']"),
        ({"states": {"a": {"type": ["final"]}}}, "states.a.type must be string or null"),
        (
            {"states": {"a": {"entry": {"type": ["x"]}}}},
            "states.a.entry.type must be string or null",
        ),
        (
            {"states": {"a": {"meta": {"event_center": {"always": []}}}}},
            "states.a.meta.event_center.always must contain at least 1 items",
        ),
        (
            {"states": {"a": {"meta": {"event_center": {"always": [5]}}}}},
            "states.a.meta.event_center.always.0 must be string or object",
        ),
        (nested(3_000), "nested too deep"),
    ],
)
def test_what_has_another_shape(config: dict[str, Any], said: str) -> None:
    """What is no configuration is refused in a sentence that says where, and not by accident."""
    with pytest.raises(ExchangeError, match=re.escape(said)):
        yaml_from_xstate(config)


def test_states_inside_of_states_are_imported() -> None:
    """The twin: as many levels as people write are read."""
    text, _ = yaml_from_xstate(nested(20))
    assert text.count("states:") == 20


SMALL = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a", "=1+", "final"])
JUNK = st.recursive(
    SMALL,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["a", "type", "params", "guards"]), inner, max_size=2)
    ),
    max_leaves=4,
)
WORDS = sorted(
    {
        "event_center",
        "states",
        "always",
        "type",
        "entry",
        "exit",
        "invoke",
        "guard",
        "cond",
        "output",
    }
    | {
        "actions",
        "params",
        "event",
        "meta",
        "on",
        "after",
        "onDone",
        "history",
        "target",
        "initial",
    }
)
CONFIGURATIONS = [
    json.dumps(one)
    for one in (FOREIGN, *(xstate_of(parse(text).definition)[0] for text in (PARCEL, JOBS)))
]


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every list and object in it with each of its keys."""
    if not isinstance(value, dict | list):
        return []
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    return [(value, key) for key in keys] + [one for key in keys for one in places(value[key])]


@settings(suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_shape_is_a_machine_or_a_sentence(data: st.DataObject) -> None:
    """Whatever stands in a configuration, its import ends in YAML or in an error with a sentence."""
    config = json.loads(data.draw(st.sampled_from(CONFIGURATIONS)))
    for _ in range(data.draw(st.integers(1, 3))):
        body, key = data.draw(st.sampled_from(places(config)))
        if isinstance(body, dict) and data.draw(st.booleans()):
            key = data.draw(st.sampled_from(WORDS))
        body[key] = data.draw(JUNK)
    try:
        text, _ = yaml_from_xstate(config)
    except ExchangeError:
        return
    with suppress(DefinitionError):
        parse(text)
