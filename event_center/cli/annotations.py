"""
What `check` has found, in the forms of other tools: SARIF 2.1.0, and annotations of GitHub Actions.

SARIF is what code hosts and editors show beside the lines; the annotations are lines that a workflow of
GitHub prints. Called by `checking`; nothing follows.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version
from typing import Any, NamedTuple

from event_center.machine.explanations import EXPLANATIONS
from event_center.machine.problems import Code


class Found(NamedTuple):
    """One problem, or one warning."""

    source: str | None
    line: int | None
    column: int | None
    code: str
    message: str

    def __str__(self) -> str:
        place = ":".join(str(part) for part in self[:3] if part is not None)
        return " ".join(part for part in (place, self.code, self.message) if part)


def sarif(
    problems: Iterable[Found], warnings: Iterable[Found], notes: Iterable[Found]
) -> dict[str, Any]:
    """One run as SARIF."""
    levels = (("error", problems), ("warning", warnings), ("note", notes))
    results = [_result(level, one) for level, found in levels for one in found]
    used = sorted({result["ruleId"] for result in results})
    driver = {
        "name": "event-center",
        "version": version("event-center"),
        "rules": [_rule(code) for code in used],
    }
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }


def _rule(code: str) -> dict[str, Any]:
    if code not in set(Code):
        return {"id": code}
    explanation = EXPLANATIONS[Code(code)]
    return {
        "id": code,
        "shortDescription": {"text": explanation.title},
        "help": {"text": explanation.advice},
    }


def _result(level: str, found: Found) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": found.code,
        "level": level,
        "message": {"text": found.message},
    }
    if found.source is not None:
        place: dict[str, Any] = {"artifactLocation": {"uri": found.source.replace("\\", "/")}}
        if found.line is not None:
            region = {"startLine": found.line, "startColumn": found.column or 1}
            place["region"] = region
        result["locations"] = [{"physicalLocation": place}]
    return result


def github(level: str, found: Found) -> str:
    """One line that GitHub Actions shows beside the code; level: error, warning or notice."""
    named = {"file": found.source, "line": found.line, "col": found.column, "title": found.code}
    parts = [f"{key}={_property(str(value))}" for key, value in named.items() if value is not None]
    return f"::{level} {','.join(parts)}::{_data(found.message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
