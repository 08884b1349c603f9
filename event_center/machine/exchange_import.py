"""
A configuration of XState 5 → a machine in YAML, and a sentence for each thing that could not come along.

States get names that are unique in the machine, what is invoked becomes a job, and what was exported by
`exchange_xstate` comes back as it was. What comes out is not checked here: the caller parses it. Pure;
called by the CLI's `import`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, count
from typing import Any

from event_center.errors import ExchangeError
from event_center.machine.duration import duration_ms, in_words
from event_center.machine.exchange_shape import check_shape
from event_center.machine.exchange_xstate import ASSIGN, IN, NOT, OWN, RAISE, Plain, listed
from event_center.machine.expression import is_expression
from event_center.machine.spelling import quoted
from event_center.machine.writing import yaml_text
from event_center.model import Json, Result

_BOTH = frozenset(["id", "type", "initial", "description", "on", "states", "meta", "onDone"])
_MACHINE = _BOTH | {"version", "context"}
_WAYS = frozenset(["entry", "exit", "after", "always", "invoke"])
_STATE = _BOTH | _WAYS | {"history", "target", "tags", "output", "key"}
_BRANCH = frozenset(
    ["target", "guard", "actions", "reenter", "description", "meta", "internal", "cond"]
)
_INVOKE = frozenset(["src", "onDone", "onError", "id", "input"])
LONGEST_NUMBER = 15
"""Digits of a version or of a delay in ms: 30,000 years."""
_TYPES = frozenset({"atomic", "compound"})
"""Types that need not be said."""
TOO_DEEP = "it is nested too deep: have fewer states inside of each other"


def yaml_from_xstate(config: Mapping[str, Json]) -> tuple[str, list[str]]:
    """
    The machine's YAML, and what of the configuration is not in it.

    Raises:
        ExchangeError: it has not the shape of a configuration.
    """
    try:
        check_shape(config)
        importer = _Importer(config)
        return yaml_text(importer.machine()), importer.notes
    except RecursionError:
        raise ExchangeError(TOO_DEEP) from None


class _Importer:
    """Reads one configuration."""

    def __init__(self, config: Mapping[str, Json]) -> None:
        self.notes: list[str] = []
        self._config = config
        self._names: dict[tuple[str, ...], str] = {}
        """The name of each state, by its path of keys."""
        self._ids: dict[str, tuple[str, ...]] = {}
        self._name_all()

    # -- names -----------------------------------------------------------------------------------

    def _name_all(self) -> None:
        """
        Outer states keep their keys; an inner one of the same key is called by its whole path.

        Where that is taken too, a number follows: `a.b.2`.
        """
        level: list[tuple[tuple[str, ...], Mapping[str, Any]]] = [((), self._config)]
        taken: set[str] = set()
        while level:
            inside = [
                ((*path, key), state) for path, body in level for key, state in _states_of(body)
            ]
            for own, state in inside:
                named = own[-1]
                if named in taken:
                    named = _free(".".join(own), taken)
                    self.notes.append(
                        f"state {quoted(own[-1])} inside of {quoted(own[-2])} is called "
                        f"{quoted(named)}: names are unique in a machine"
                    )
                taken.add(named)
                self._names[own] = named
                if isinstance(state.get("id"), str):
                    self._ids[state["id"]] = own
            level = inside

    def _target(self, target: Any, path: tuple[str, ...], where: str) -> str | None:
        """The state that a target means: by its id, inside of the own state, or beside it."""
        if not isinstance(target, str):
            self._lost(f"the target {target!r}", where)
            return None
        parts = _split(target)
        if parts[0].startswith("#"):
            name = parts[0][1:]
            whole = self._ids.get(target[1:].replace("\\.", "."))
            if whole is not None:
                return self._names[whole]
            base = () if name == self._config.get("id") else self._ids.get(name, (name,))
            found = (*base, *parts[1:])
        else:
            found = (*path, *parts[1:]) if not parts[0] else (*path[:-1], *parts)
        if found in self._names:
            return self._names[found]
        self._lost(f"the target {target!r}, which is no state", where)
        return None

    def _lost(self, what: str, where: str) -> None:
        self.notes.append(f"{what} of {where} is left out: machines here have no such thing")

    def _unknown(self, body: Mapping[str, Any], known: frozenset[str], where: str) -> None:
        for key in body:
            if key not in known:
                self._lost(quoted(key), where)

    # -- the machine -----------------------------------------------------------------------------

    def machine(self) -> Plain:
        """The machine as the mappings of its YAML."""
        config, where = self._config, "the machine"
        self._unknown(config, _MACHINE, where)
        made: Plain = {"machine": str(config.get("id") or "machine")}
        made["version"] = self._version(config.get("version"))
        made |= self._described(config)
        made["initial"] = self._first(config, (), where)
        if config.get("context"):
            made["data"] = config["context"]
        if config.get("on"):
            made["on"] = self._table(config["on"], (), where)
        if "onDone" in config or config.get("type") == "parallel":
            self._lost("being a state with regions or an end of its own", where)
        own = _own(config)
        states = dict(self._children(config, ()))
        return made | own | {"states": states}

    def _version(self, version: Any) -> int:
        text = str(version or 1)
        if _is_number(text) and int(text):
            return int(text)
        self.notes.append(f"version {text!r} is no whole number: the machine has version 1")
        return 1

    def _described(self, body: Mapping[str, Any]) -> Plain:
        text = body.get("description")
        return {"description": text} if isinstance(text, str) and text else {}

    def _first(self, body: Mapping[str, Any], path: tuple[str, ...], where: str) -> str:
        initial = body.get("initial")
        key = initial.get("target") if isinstance(initial, dict) else initial
        if isinstance(initial, dict) and initial.get("actions"):
            self._lost("actions of `initial`", where)
        return self._names.get((*path, *_split(str(key).lstrip("."))), str(key))

    def _children(
        self, body: Mapping[str, Any], path: tuple[str, ...]
    ) -> Iterator[tuple[str, Plain]]:
        for key, state in _states_of(body):
            own = (*path, key)
            yield self._names[own], self._state(state, own)

    def _state(self, body: Mapping[str, Any], path: tuple[str, ...]) -> Plain:
        where = f"state {quoted(self._names[path])}"
        self._unknown(body, _STATE, where)
        made: Plain = {}
        if body.get("type") not in {None, *_TYPES}:
            made["type"] = body["type"]
        made |= self._described(body)
        if body.get("states"):
            if body.get("type") != "parallel":
                made["initial"] = self._first(body, path, where)
            made["states"] = dict(self._children(body, path))
        if body.get("type") == "history":
            made["history"] = str(body.get("history") or "shallow")
            if body.get("target") is not None:
                made["target"] = self._target(body["target"], path, where)
        if body.get("tags"):
            made["tags"] = body["tags"]
        made |= self._ended(body, where) | self._ways(body, path, where)
        meta = {key: value for key, value in (body.get("meta") or {}).items() if key != OWN}
        own = _own(body)
        if meta:
            made["meta"] = meta
        made |= own
        if _is_choice(made):
            made["type"] = "choice"
        return {key: value for key, value in made.items() if value is not None}

    def _ended(self, body: Mapping[str, Any], where: str) -> Plain:
        output = body.get("output")
        if output is None:
            return {}
        result = output.get("result") if isinstance(output, dict) else None
        if not isinstance(result, str) or result not in set(Result):
            self._lost("output", where)
            return {}
        return {"result": result}

    def _ways(self, body: Mapping[str, Any], path: tuple[str, ...], where: str) -> Plain:
        made: Plain = {}
        for key in ("entry", "exit"):
            given = body.get(key)
            if given is not None and (calls := self._calls(given, f"{key} of {where}")):
                made[key] = calls
        if body.get("on"):
            made["on"] = self._table(body["on"], path, where)
        if body.get("after"):
            made["after"] = self._after(body["after"], path, where)
        for key, ours in (("always", "always"), ("onDone", "on_done")):
            if body.get(key):
                made[ours] = self._branches(body[key], path, f"{ours} of {where}")
        if body.get("invoke"):
            jobs = (self._job(one, path, where) for one in listed(body["invoke"]))
            made["invoke"] = _short([job for job in jobs if job is not None])
        return made

    def _job(self, invoke: Mapping[str, Any], path: tuple[str, ...], where: str) -> Any:
        """What is invoked is a job: its limits are what the export kept as its input."""
        named = f"the invoke of {where}"
        self._unknown(invoke, _INVOKE, named)
        given = invoke.get("input")
        limits = given.get(OWN) if isinstance(given, dict) else None
        if given is not None and not (isinstance(limits, dict) and given.keys() == {OWN}):
            self._lost("'input'", named)
        source = invoke.get("src")
        if not isinstance(source, str):
            self._lost("a source without a name", named)
            return None
        made: Plain = {"do": source, **(limits if isinstance(limits, dict) else {})}
        for key, ours in (("onDone", "on_done"), ("onError", "on_error")):
            if invoke.get(key):
                made[ours] = self._branches(invoke[key], path, f"{ours} of {named}")
        return made["do"] if made.keys() == {"do"} else made

    # -- branches --------------------------------------------------------------------------------

    def _table(self, table: Mapping[str, Any], path: tuple[str, ...], where: str) -> Plain:
        return {
            name: self._branches(way, path, f"{quoted(name)} of {where}")
            for name, way in table.items()
        }

    def _after(self, table: Mapping[str, Any], path: tuple[str, ...], where: str) -> Plain:
        made: Plain = {}
        for key, way in table.items():
            named = f"after {key} of {where}"
            written = in_words(int(key)) if _is_number(key) else key
            if not (_is_number(key) or is_expression(key) or _is_duration(key)):
                self._lost(f"the delay {key!r}, which is a name,", where)
                continue
            for branch in listed(way):
                own = _own(branch) if isinstance(branch, dict) else {}
                read = self._branch(branch, path, named)
                made.setdefault(str(own.get("after", written)), []).append(read)
        return {key: _short(branches) for key, branches in made.items()}

    def _branches(self, way: Any, path: tuple[str, ...], where: str) -> Any:
        return _short([self._branch(branch, path, where) for branch in listed(way)])

    def _branch(self, said: Any, path: tuple[str, ...], where: str) -> Any:
        body = {"target": said} if isinstance(said, str) or said is None else dict(said)
        self._unknown(body, _BRANCH, where)
        made: Plain = {}
        targets = listed(body["target"]) if body.get("target") is not None else []
        if len(targets) > 1:
            self._lost(f"the targets beside {targets[0]!r}", where)
        if targets:
            made["target"] = self._target(targets[0], path, where)
        guard = body.get("guard", body.get("cond"))
        if guard is not None:
            made["guard"] = self._guard(guard, path, where)
        made |= self._actions([] if body.get("actions") is None else body["actions"], where)
        if body.get("reenter"):
            made["reenter"] = True
        made |= self._described(body)
        own = {key: value for key, value in _own(body).items() if key != "after"}
        made |= own
        made = {key: value for key, value in made.items() if value is not None}
        return made["target"] if made.keys() == {"target"} else made

    def _guard(self, guard: Any, path: tuple[str, ...], where: str) -> Any:
        if isinstance(guard, str):
            return guard
        params = guard.get("params") or {}
        match guard.get("type"):
            case "and" | "or" as word:
                return {word: [self._guard(one, path, where) for one in params["guards"]]}
            case "not":
                return {NOT: self._guard(params["guards"][0], path, where)}
            case str(word) if word == IN:
                return {"in": self._target(params["stateId"], path, where)}
            case str(name):
                if params:
                    self._lost(f"the parameters of guard {quoted(name)}", where)
                return name
            case _:
                self._lost(f"the guard {guard!r}", where)
                return None

    def _actions(self, actions: Any, where: str) -> Plain:
        calls: list[Any] = []
        assign: Plain = {}
        raised: list[Any] = []
        for action in listed(actions):
            kind = action.get("type") if isinstance(action, dict) else None
            params = (action.get("params") or {}) if isinstance(action, dict) else {}
            if kind in {ASSIGN, "xstate.assign"}:
                assign |= params
            elif kind in {RAISE, "raise"}:
                event = params.get("event") or {}
                if not event.get("type"):
                    self._lost("a raise without an event", where)
                    continue
                payload = event.get("payload")
                named = {"event": event["type"], "payload": payload}
                raised.append(event["type"] if payload is None else named)
            else:
                calls += listed(self._calls(action, where))
        made = {"actions": _short(calls), "assign": assign, "raise": _short(raised)}
        return {key: value for key, value in made.items() if value}

    def _calls(self, calls: Any, where: str) -> Any:
        read = [self._call(call, where) for call in listed(calls)]
        return _short([call for call in read if call is not None])

    def _call(self, call: Any, where: str) -> Any:
        """What is to be called; None: it has no name."""
        if isinstance(call, str):
            return call
        if not call.get("type"):
            self._lost("an action without a type", where)
            return None
        params = dict(call.get("params") or {})
        ours = {key: params.pop(key) for key in ("retry", "timeout", "eager") if key in params}
        if params:
            self._lost(f"the parameters of {quoted(call['type'])}", where)
        return {"do": call["type"], **ours} if ours else call["type"]


def _free(name: str, taken: set[str]) -> str:
    """The name, or the first one with a number behind it that nobody has."""
    numbered = (f"{name}.{number}" for number in count(2))
    return next(one for one in chain([name], numbered) if one not in taken)


def _states_of(body: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [(key, state or {}) for key, state in (body.get("states") or {}).items()]


def _own(body: Mapping[str, Any]) -> Plain:
    """What `exchange_xstate` kept for us."""
    meta = body.get("meta")
    own = meta.get(OWN) if isinstance(meta, dict) else None
    return dict(own) if isinstance(own, dict) else {}


def _split(target: str) -> list[str]:
    """The keys of a path; a dot after a backslash is part of a key."""
    parts = [""]
    escaped = False
    for char in target:
        if escaped or char not in "\\.":
            parts[-1] += char
            escaped = False
        elif char == "\\":
            escaped = True
        else:
            parts.append("")
    return parts


def _is_number(text: str) -> bool:
    """Whether it is a whole number in plain digits, and not out of all proportion."""
    return text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER


def _is_duration(text: str) -> bool:
    try:
        return duration_ms(text) > 0
    except ValueError:
        return False


def _is_choice(made: Plain) -> bool:
    """A state that only asks `always`, and always finds a way on."""
    if made.keys() - {"always", "description", "title", "tags", "meta"} or "always" not in made:
        return False
    last = listed(made["always"])[-1]
    return isinstance(last, str) or "guard" not in last


def _short(parts: list[Any]) -> Any:
    return parts[0] if len(parts) == 1 else parts
