"""Whatever is read ends in a value or in a problem with its place: some thousands of random inputs."""

from __future__ import annotations

import random

import pytest

from event_center.errors import ExpressionError
from tests.machine import fuzzing


def test_random_expressions_have_a_value_or_a_problem() -> None:
    """No random text makes anything but an expression or an ExpressionError with its place."""
    found = fuzzing.fuzz("expressions", 4_000, seed=random.randrange(2**40))
    assert set(found) == {"has a value", "failed", "refused"}


def test_mutated_machines_have_problems_or_run() -> None:
    """No mutated machine makes anything but a machine or problems with their places."""
    found = fuzzing.fuzz("machines", 150, seed=random.randrange(2**40))
    assert found["refused"] > found["walked"] > 0


def test_what_breaks_the_rule_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin: an error without a place ends the run, with the seed that makes it again."""

    def compiled(*_arguments: object) -> None:
        raise ExpressionError("somewhere")

    monkeypatch.setattr(fuzzing, "compile_expression", compiled)
    with pytest.raises(AssertionError) as raised:
        fuzzing.fuzz("expressions", 1, seed=7)
    assert raised.value.__notes__[-1] == "scripts/fuzz expressions 1 7"
