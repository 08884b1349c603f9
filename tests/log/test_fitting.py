"""What a process says of itself fits the place where it is said."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_center.log import fitting
from event_center.log.fitting import fitted

LISTS = st.dictionaries(st.sampled_from("abc"), st.lists(st.text(max_size=9) | st.integers(0, 99)))


@given(told=LISTS, room=st.integers(60, 200))
def test_as_much_as_fits(told: dict[str, list[Any]], room: int) -> None:
    """Only ends of lists are left out, as much as is needed; numbers beside them stay."""
    text = fitted({"pid": 7, **told}, room)
    said = orjson.loads(text)
    assert len(text) <= room
    assert said.pop("pid") == 7
    assert said == {name: value[: len(said[name])] for name, value in told.items()}
    if len(orjson.dumps({"pid": 7, **told})) <= room:
        assert said == told


def test_the_room_is_used() -> None:
    """What is left out last is the first that would not have fitted."""
    limits = ["x" * 97] * 50
    assert 900 < len(fitted({"limits": limits}, 1_000)) <= 1_000


def test_what_is_left_out_is_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand limits cost as many small texts, and two whole ones: no whole one for each left out."""
    sizes: list[int] = []

    class Counted:
        @staticmethod
        def dumps(told: Any) -> bytes:
            text = orjson.dumps(told)
            sizes.append(len(text))
            return text

    monkeypatch.setattr(fitting, "orjson", Counted)
    whole = {"limits": [{"limit": "log", "meaning": "m" * 200}] * 1_024}
    fitted(whole, 4_000)
    assert len(sizes) == 1_024 + 2
    assert sum(sizes) < 3 * len(orjson.dumps(whole))
