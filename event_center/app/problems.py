"""
Problems of settings, in sentences: where, which key, what is wrong, and what was probably meant.

`load_settings` calls `described` with what pydantic found; the message lists every problem, flags
first, then environment variables, then the file from top to bottom.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from event_center.app.sources import Key, Source
from event_center.machine.spelling import nearest

ANY = "NAME"
"""Stands in keys for a name that the user chooses: `topics.NAME.machine`."""


def keys(model: type[BaseModel], above: Key = ()) -> Iterator[tuple[Key, FieldInfo]]:
    """Every setting of a model and of the tables in it, in the order of the code."""
    for name, info in model.model_fields.items():
        key = (*above, name)
        yield key, info
        inner, chosen = _table(info)
        if inner is not None:
            yield from keys(inner, (*key, ANY) if chosen else key)


def _table(info: FieldInfo) -> tuple[type[BaseModel] | None, bool]:
    """The model of a field that is a table, and whether tables lie in it under chosen names."""
    if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
        return info.annotation, False
    for argument in get_args(info.annotation):
        if isinstance(argument, type) and issubclass(argument, BaseModel):
            return argument, True
    return None, False


def described(error: ValidationError, model: type[BaseModel], sources: Sequence[Source]) -> str:
    """The message for all problems that pydantic found; `sources` come the strongest first."""
    found = []
    for problem in error.errors(include_url=False):
        key = tuple(str(part) for part in problem["loc"] if part != "[key]")
        source = _source_of(key, sources)
        place = place_of(key, sources)
        if problem["type"] == "extra_forbidden" and len(key) == 1:
            key = tuple(key[0].split("__"))  # an unknown variable comes under its whole name
        sentence = _sentence(key, problem, model)
        found.append((source, _line(place), f"{place}: {sentence}"))
    found.sort(key=lambda each: each[:2])
    if len(found) == 1:
        return found[0][2]
    return "\n".join([f"{len(found)} settings are wrong:", *(f"  {text}" for *_, text in found)])


def place_of(key: Key, sources: Sequence[Source]) -> str:
    """Where the setting was written, or the table that it would stand in."""
    return sources[_source_of(key, sources)].place(key)


def _source_of(key: Key, sources: Sequence[Source]) -> int:
    """The strongest source that has the key or, where the key is missing, the table around it."""
    while key:
        for number, source in enumerate(sources):
            if source.has(key):
                return number
        key = key[:-1]
    return len(sources) - 1


def _line(place: str) -> int:
    number = place.rpartition(":")[2]
    return int(number) if number.isdigit() else 0


def _sentence(key: Key, problem: Mapping[str, Any], model: type[BaseModel]) -> str:
    name = ".".join(key)
    shown = f"{name} is {_shown(key, problem['input'])}; "
    match problem["type"]:
        case "extra_forbidden":
            return f"there is no setting {name}; {_meant(key, model)}"
        case "missing":
            return f"{name} is missing. {_description(key, model)}"
        case "value_error":
            return _own_words(name, str(problem["ctx"]["error"]))
        case "literal_error":
            advice = f"write {problem['ctx']['expected']}"
        case "tuple_type":
            advice = 'write a list, as ["a", "b"]'
        case "path_type":
            advice = 'write a path in quotes, as "event-center.db"'
        case "model_type" | "model_attributes_type" | "dict_type":
            advice = f"it is a table, as [{name}]"
        case _:
            advice = problem["msg"].replace("Input should be", "it should be", 1)
    return shown + advice


def _shown(key: Key, value: object) -> str:
    """A value as it was written, unless it may hold a secret."""
    last = key[-1] if key else ""
    secret = last in {"sasl", "tls"} or "password" in last or isinstance(value, Mapping)
    return "of another kind" if secret else repr(value)


def _own_words(name: str, said: str) -> str:
    """What our own checks say: of the value, which begins the sentence, or of the key."""
    begins_with_value = said[0] in "'\"[{" or said[0].isdigit()
    return f"{name}: {said}" if begins_with_value else f"{name} {said}"


def _description(key: Key, model: type[BaseModel]) -> str:
    return next((info.description or "" for known, info in keys(model) if _same(known, key)), "")


def _same(known: Key, key: Key) -> bool:
    return len(known) == len(key) and all(
        part in {ANY, name} for part, name in zip(known, key, strict=True)
    )


def _meant(key: Key, model: type[BaseModel]) -> str:
    """The nearest known key: in the same table, of the same name elsewhere, or alike as a whole."""
    known = [each for each, _ in keys(model)]
    beside = [each[-1] for each in known if _same(each[:-1], key[:-1])]
    near = nearest(key[-1], beside)
    if near:
        return f"did you mean {'.'.join((*key[:-1], near))}?"
    elsewhere = [".".join(each) for each in known if each[-1] == key[-1]]
    alike = nearest(".".join(key), [".".join(each) for each in known if each != key[: len(each)]])
    for name in (*elsewhere, alike):
        if name:
            return f"did you mean {name}?"
    return f"here you can write {', '.join(beside)}" if beside else "docs/configuration.md has all"
