"""
Writes docs/api.md: what is public, from `__all__`, signatures and docstrings.

    scripts/api        # after a change of the public interface; a test says when it is needed

Everything stands in the code; here is only which names belong together. `tests/docs/test_api.py` compares.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import event_center
from event_center import testing

PAGE = Path(__file__).parent.parent / "docs" / "api.md"
HEAD = """# API

What programs may rely on: everything in `event_center.__all__` and `event_center.testing.__all__`, and
nothing else. `scripts/api` makes this page of the docstrings. Importing `event_center` brings no log and
no settings along: `Center` and the publishers do, when they are first asked for.
"""
GROUPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "Running and publishing": (
        "A daemon inside of one's own program, and events for it: [README](../README.md#in-a-program).",
        ("Center", "Publisher", "SyncPublisher", "Event"),
    ),
    "Plugins": (
        "What callbacks are written with: [plugins.md](plugins.md).",
        (
            "callbacks",
            "Callbacks",
            "Context",
            "JobContext",
            "Notice",
            "DONE",
            "RetryLater",
            "PermanentError",
        ),
    ),
    "Machines": (
        "Read and asked, without a center: [machine-language.md](machine-language.md#from-python).",
        ("load", "parse", "Machine", "with_callbacks", "Bound"),
    ),
    "Machines as classes": (
        "[machine-language.md](machine-language.md#in-python) has examples.",
        ("Blueprint", "State", "Compound", "Parallel", "AnyState", "Do", "Job"),
    ),
}
MADE = {"Event", "State", "Do", "Job", "Evidence", "Started"}
"""Classes that users call; the others are made for them."""
ERRORS = "Every error of this package is an `EventCenterError`; its message says where and what to do next."
TESTING = "`from event_center.testing import ...`: [testing.md](testing.md)."


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    grouped: set[str] = set()
    for title, (intro, names) in GROUPS.items():
        parts.append(_group(title, intro, event_center, names))
        grouped.update(names)
    rest = [name for name in event_center.__all__ if name not in grouped]
    errors = [name for name in rest if isinstance(getattr(event_center, name), type)]
    errors = [name for name in errors if issubclass(getattr(event_center, name), Exception)]
    others = tuple(name for name in rest if name not in errors)
    if others:
        parts.append(_group("Others", "", event_center, others))
    parts.append(_group("Errors", ERRORS, event_center, tuple(errors)))
    parts.append(_group("Testing", TESTING, testing, tuple(testing.__all__)))
    return "\n".join(parts)


def _group(title: str, intro: str, module: ModuleType, names: tuple[str, ...]) -> str:
    lines = [f"## {title}", "", intro, ""]
    for name in names:
        lines += _entry(name, getattr(module, name))
    return "\n".join(lines)


def _entry(name: str, thing: Any) -> list[str]:
    """One public name, and below it what belongs to it."""
    made = inspect.isfunction(thing) or name in MADE
    shown = f"{name}{_parameters(thing)}" if made else name
    error = isinstance(thing, type) and issubclass(thing, Exception)
    members = list(_members(thing)) if isinstance(thing, type) and not error else []
    return [f"**`{shown}`** {_said(thing)}", "", *members, *([""] if members else [])]


def _members(thing: type) -> Iterator[str]:
    """The methods and properties of a class, in the order of the code; those of a public base are there."""
    public = {getattr(event_center, name) for name in event_center.__all__}
    for base in thing.__mro__:
        if base is not thing and base in public:
            yield f"- all of `{base.__name__}`"
            return
        for name, member in vars(base).items():
            if name.startswith("_") or not base.__module__.startswith("event_center"):
                continue
            plain = inspect.unwrap(getattr(member, "__func__", member))
            if isinstance(member, property):
                yield f"- `{name}`: {_said(member)}"
            elif inspect.isfunction(plain):
                kind = "await " if inspect.iscoroutinefunction(plain) else ""
                yield f"- `{kind}{name}{_parameters(plain)}`: {_said(plain)}"
        fields = [name for name in _fields(base) if not name.startswith("_")]
        if fields:
            yield f"- fields: {', '.join(f'`{name}`' for name in fields)}"


def _fields(thing: type) -> Sequence[str]:
    named = vars(thing).get("_fields") or vars(thing).get("__slots__") or ()
    return named if isinstance(named, tuple) and named else list(inspect.get_annotations(thing))


def _parameters(function: Any) -> str:
    """Names and defaults; types are for editors."""
    try:
        signature = inspect.signature(function)
    except ValueError:
        return ""
    kept = [
        one.replace(annotation=inspect.Parameter.empty)
        for one in signature.parameters.values()
        if one.name not in {"self", "cls"}
    ]
    told = str(signature.replace(parameters=kept, return_annotation=inspect.Signature.empty))
    return re.sub(r"<.+? at 0x[0-9a-f]+>", "...", told)  # a default that has no text of its own


def _said(thing: Any) -> str:
    """The first paragraph of a docstring, in one line."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n", maxsplit=1)[0].split())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
