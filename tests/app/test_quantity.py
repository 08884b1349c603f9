"""Quantities and whole settings files, whatever is written into them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from event_center.app.problems import ANY, keys
from event_center.app.quantity import seconds, size
from event_center.app.settings import Settings, load_settings
from event_center.errors import ConfigurationError
from event_center.machine.duration import LONGEST_MS, duration_ms

DURATIONS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
SIZES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
COUNTS = st.integers(0, 10**12 - 1)
ODD = st.text(alphabet="0123456789mshdKiMGTB.- +eE_٣", max_size=8) | st.text(max_size=8)


@given(COUNTS, st.sampled_from(sorted(DURATIONS)))
def test_a_duration_is_its_number_of_units(count: int, unit: str) -> None:
    """Every whole number of a unit is read exactly, up to a hundred years; longer is refused."""
    ms = count * DURATIONS[unit]
    if ms > LONGEST_MS:
        with pytest.raises(ValueError, match="longer than a hundred years"):
            duration_ms(f"{count}{unit}")
    else:
        assert duration_ms(f"{count}{unit}") == ms
        assert seconds(f"{count}{unit}") == ms / 1_000


@given(COUNTS, st.sampled_from(sorted(SIZES)))
def test_a_size_is_its_number_of_units(count: int, unit: str) -> None:
    """Every whole number of a unit is read exactly."""
    assert size(f"{count}{unit}") == count * SIZES[unit]


@given(ODD | st.none() | st.booleans() | st.integers() | st.floats() | st.lists(st.text()))
def test_what_is_no_quantity_is_refused_with_an_example(written: object) -> None:
    """Nothing is guessed: a number without a unit, or any other text, is refused and told how to write."""
    for read, example in ((seconds, "30s"), (size, "64MiB")):
        said, found = _said(read, written)
        if said:
            assert example in said or "hundred years" in said
        else:
            assert isinstance(written, str)
            assert written[0] in "0123456789"
            assert found >= 0


def _said(read: Callable[[object], float], written: object) -> tuple[str, float]:
    """What is said of what is refused, or what was read."""
    try:
        return "", read(written)
    except ValueError as error:
        return str(error), -1


VALUES = st.recursive(
    ODD | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.text("abc_", min_size=1), inner, max_size=2)
    ),
    max_leaves=3,
)
PLACES = st.sampled_from([key for key, _ in keys(Settings)]) | st.lists(
    st.sampled_from(["log", "topics", "engine", "path", "machine", "x"]), min_size=1, max_size=3
).map(tuple)


@given(st.lists(st.tuples(PLACES, VALUES), max_size=4))
def test_any_settings_file_is_read_or_told_what_is_wrong_with_it(
    written: list[tuple[tuple[str, ...], Any]],
) -> None:
    """A file of whatever values is a configuration error that names the file, and nothing else."""
    body: dict[str, Any] = {}
    for key, value in written:
        table = body
        *above, last = ["t" if part == ANY else part for part in key]
        for part in above:
            inside = table.setdefault(part, {})
            table = inside if isinstance(inside, dict) else {}
        table[last] = value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "center.toml"
        path.write_text(tomlkit.dumps(body), encoding="utf-8")
        said = "center.toml"
        try:
            load_settings(path)
        except ConfigurationError as error:
            said = str(error)
        assert "center.toml" in said
