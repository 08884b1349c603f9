"""Every code of a problem is explained, and every example has the problem that it explains."""

from __future__ import annotations

from pathlib import Path

import pytest

from event_center.errors import DefinitionError
from event_center.machine import parse
from event_center.machine.explanations import EXPLANATIONS, explained
from event_center.machine.problems import Code
from event_center.machine.trial import failures

CHECKS = Path(__file__).resolve().parents[2] / "docs" / "checks.md"


@pytest.mark.parametrize("code", list(Code))
def test_each_example_has_its_problem(code: Code) -> None:
    """The example of a code gives problems of this code, and of no other."""
    example = EXPLANATIONS[code].example
    if not example:
        assert code is Code.LOST_STATE
        return
    if code is Code.TEST:
        assert {problem.code for problem in failures(parse(example))} == {code}
        return
    with pytest.raises(DefinitionError) as caught:
        parse(example)
    assert {problem.code for problem in caught.value.problems} == {code}


def test_the_document_has_all_of_them() -> None:
    """docs/checks.md is its introduction, and then every explanation, in the order of the codes."""
    text = CHECKS.read_text("utf-8")
    introduction = text[: text.index("## E")]
    assert text == introduction + "\n".join(explained(code) for code in Code)
