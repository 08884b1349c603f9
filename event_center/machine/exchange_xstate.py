"""
A machine as a configuration of XState 5, and back: for editors, pictures and programs in JavaScript.

What XState has no word for travels under `meta.event_center`, so that the way there and back gives the
same machine; every such thing is named, because XState does nothing about it. Works on the mappings
that YAML is made of: `writing` gives them, and `exchange_import` reads what comes back. Pure; called
by the CLI's `export`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from event_center.machine.definition import Definition
from event_center.machine.duration import duration_ms, in_words
from event_center.machine.expression import is_expression
from event_center.machine.spelling import quoted
from event_center.machine.writing import plain_of

OWN = "event_center"
"""The key of `meta` under which our own words travel."""
NOT, IN = "not", "stateIn"
ASSIGN, RAISE = "assign", "xstate.raise"

Plain = dict[str, Any]


def xstate_of(definition: Definition) -> tuple[Plain, list[str]]:
    """The configuration, and a sentence for each thing in it that XState does nothing about."""
    return _Exporter().machine(plain_of(definition))


def listed(value: Any) -> list[Any]:
    """One of something, or a list of them, as a list."""
    return value if isinstance(value, list) else [value]


class _Exporter:
    """Writes one machine, and notes what XState has no word for."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def machine(self, said: Plain) -> tuple[Plain, list[str]]:
        rest = dict(said)
        where = "the machine"
        made: Plain = {"id": rest.pop("machine"), "version": str(rest.pop("version"))}
        made["initial"] = rest.pop("initial")
        if "data" in rest:
            made["context"] = rest.pop("data")
        self._text(rest, made)
        if "on" in rest:
            made["on"] = self._table(rest.pop("on"), where)
        made["states"] = self._states(rest.pop("states"))
        self._keep(made, rest, where)
        return made, list(dict.fromkeys(self.notes))

    def _states(self, states: Mapping[str, Plain]) -> Plain:
        return {name: self._state(name, state) for name, state in states.items()}

    def _state(self, name: str, said: Plain) -> Plain:
        rest, where = dict(said), f"state {quoted(name)}"
        made: Plain = {"id": name}
        kind = rest.get("type")
        if kind != "choice" and kind is not None:
            made["type"] = rest.pop("type")
        self._text(rest, made)
        made |= {key: rest.pop(key) for key in ("initial", "history", "tags") if key in rest}
        if "target" in rest:
            made["target"] = reference(rest.pop("target"))
        if "result" in rest:
            made["output"] = {"result": rest.pop("result")}
        made |= self._ways(rest, where)
        if "states" in rest:
            made["states"] = self._states(rest.pop("states"))
        self._keep(made, rest, where)
        return made

    def _ways(self, rest: Plain, where: str) -> Plain:
        """What a state does when it comes and goes, and where it leads."""
        made: Plain = {}
        for key in ("entry", "exit"):
            if key in rest:
                made[key] = self._calls(rest.pop(key), f"{key} of {where}")
        if "invoke" in rest:
            made["invoke"] = [self._job(job, where) for job in listed(rest.pop("invoke"))]
        if "on" in rest:
            made["on"] = self._table(rest.pop("on"), where)
        if "after" in rest:
            made["after"] = self._after(rest.pop("after"), where)
        # XState's `onDone` is for states with states inside; of others, it is ours alone.
        named = (
            {"always": "always", "on_done": "onDone"} if "states" in rest else {"always": "always"}
        )
        for key, theirs in named.items():
            if key in rest:
                made[theirs] = self._branches(rest.pop(key), f"{key} of {where}")
        return made

    def _job(self, job: Any, where: str) -> Plain:
        """What a state invokes; its limits are only handed to it."""
        rest = {"do": job} if isinstance(job, str) else dict(job)
        name = rest.pop("do")
        named = f"{quoted(name)} in invoke of {where}"
        made: Plain = {"id": name, "src": name}
        for key, theirs in (("on_done", "onDone"), ("on_error", "onError")):
            if key in rest:
                made[theirs] = self._branches(rest.pop(key), f"{key} of {named}")
        if rest:
            made["input"] = {OWN: rest}
            self.notes += [f"{key} of {named} is only an input in XState" for key in rest]
        return made

    def _text(self, rest: Plain, made: Plain) -> None:
        if isinstance(rest.get("description"), str):
            made["description"] = rest.pop("description")

    def _keep(self, made: Plain, rest: Plain, where: str) -> None:
        """Put what is left under `meta`, and say so."""
        meta = rest.pop("meta", None)
        if isinstance(meta, dict):
            made["meta"] = dict(meta)
        elif meta is not None:
            rest["meta"] = meta
        if rest:
            made.setdefault("meta", {})[OWN] = rest
            said = sorted(rest.keys() - {"meta", "title", "type"})
            self.notes += [f"{key} of {where} has no counterpart in XState" for key in said]

    def _table(self, table: Mapping[str, Any], where: str) -> Plain:
        return {
            name: self._branches(way, f"{quoted(name)} of {where}") for name, way in table.items()
        }

    def _after(self, table: Mapping[str, Any], where: str) -> Plain:
        made: Plain = {}
        for key, way in table.items():
            named = f"after {key} of {where}"
            branches = self._branches(way, named)
            if is_expression(key):
                self.notes.append(f"{named} is a delay that XState needs an implementation of")
                made[key] = branches
                continue
            milliseconds = duration_ms(key)
            if str(milliseconds) in made:
                # Two keys of the same length: XState tells timers apart by their length alone.
                self.notes.append(f"{named} is as long as another timer: in XState they are one")
                branches = [*made[str(milliseconds)], *branches]
            if in_words(milliseconds) != key:
                for branch in branches[-len(listed(way)) :]:
                    branch.setdefault("meta", {}).setdefault(OWN, {})["after"] = key
            made[str(milliseconds)] = branches
        return made

    def _branches(self, way: Any, where: str) -> list[Plain]:
        return [self._branch(branch, where) for branch in listed(way)]

    def _branch(self, said: Any, where: str) -> Plain:
        rest = {"target": said} if isinstance(said, str) else dict(said)
        made: Plain = {}
        if "target" in rest:
            made["target"] = reference(rest.pop("target"))
        if "guard" in rest:
            made["guard"] = _guard(rest.pop("guard"))
        actions = [{"type": ASSIGN, "params": rest.pop("assign")}] if "assign" in rest else []
        if "actions" in rest:
            actions += self._calls(rest.pop("actions"), f"actions of {where}")
        if "raise" in rest:
            actions += [_raise(one) for one in listed(rest.pop("raise"))]
        if actions:
            made["actions"] = actions
        if rest.pop("reenter", False):
            made["reenter"] = True
        self._text(rest, made)
        self._keep(made, rest, where)
        return made

    def _calls(self, calls: Any, where: str) -> list[Plain]:
        return [self._call(call, where) for call in listed(calls)]

    def _call(self, call: Any, where: str) -> Plain:
        if isinstance(call, str):
            return {"type": call}
        params = {key: value for key, value in call.items() if key != "do"}
        named = f"{quoted(call['do'])} in {where}"
        self.notes += [f"{key} of {named} is only a parameter in XState" for key in params]
        return {"type": call["do"], "params": params}


def reference(name: str) -> str:
    """A state by its id, as targets name it: dots would otherwise lead to states inside."""
    escaped = name.replace("\\", "\\\\").replace(".", "\\.")
    return f"#{escaped}"


def _guard(guard: Any) -> Plain:
    """A guard; an expression is called by its own text."""
    if isinstance(guard, str):
        return {"type": guard}
    [(word, part)] = guard.items()
    if word == "in":
        return {"type": IN, "params": {"stateId": reference(part)}}
    parts: Iterable[Any] = [part] if word == "not" else part
    return {"type": word, "params": {"guards": [_guard(one) for one in parts]}}


def _raise(one: Any) -> Plain:
    if isinstance(one, str):
        return {"type": RAISE, "params": {"event": {"type": one}}}
    return {"type": RAISE, "params": {"event": {"type": one["event"], "payload": one["payload"]}}}
