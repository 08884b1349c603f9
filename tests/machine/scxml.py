"""
A direct, slow interpreter of nested machines: the algorithm of SCXML over the plain document.

It keeps the set of active states and walks the tree for every event; nothing is compiled or kept
between two steps. It shares no code with the machine room; tests compare the flat table with it. Two
things are ours (decision 21): what is around regions is asked only if none of them takes the event,
and states that are entered and left within one step run neither entry nor exit.
"""

from __future__ import annotations

import copy
from typing import Any

Doc = dict[str, Any]
Path = tuple[str, ...]


def listed(value: Any) -> list[Any]:
    """One thing or a list of them, as a list."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


LONGEST = 100
"""Microsteps of one step."""


class Endless(Exception):
    """The step would never end."""


class Interpreter:
    """One workflow of one document."""

    def __init__(self, document: Doc) -> None:
        self.document = document
        self.bodies: dict[str, Doc] = {}
        self.paths: dict[str, Path] = {}
        self._index(document["states"], ())
        self.data: Doc = copy.deepcopy(document.get("data", {}))
        self.memory: dict[str, list[str]] = {}
        self.active: set[str] = set()
        self._enter(document["initial"], (), self.active)

    def _index(self, states: Doc, around: Path) -> None:
        for name, body in states.items():
            self.bodies[name] = body or {}
            self.paths[name] = (*around, name)
            self._index(self.bodies[name].get("states", {}), (*around, name))

    # -- reading the document ------------------------------------------------------------------

    def kind(self, name: str) -> str:
        body = self.bodies[name]
        return str(body.get("type", "compound" if "states" in body else "atomic"))

    def children(self, name: str) -> list[str]:
        inside = self.bodies[name].get("states", {})
        return [child for child in inside if self.kind(child) != "history"]

    def ordered(self, names: Any) -> list[str]:
        return [name for name in self.paths if name in set(names)]

    def configuration(self) -> str:
        return "|".join(name for name in self.ordered(self.active) if not self.children(name))

    # -- one step ------------------------------------------------------------------------------

    def step(self, event: str, payload: Any) -> dict[str, Any] | None:
        """Take the event and all that follows from it; None: nobody took it, nothing changed."""
        self.payload = payload
        self.microsteps = 0
        self.decide: list[str] = []
        self.fresh: set[str] = set()
        self.follow: list[tuple[str, Any]] = []
        moved = self._microstep(self._select(event))
        if moved is None:
            return None
        while not self._is_over():
            again = self._microstep(self._select("always"))
            while again is None and self.follow:
                again = self._microstep(self._heard(*self.follow.pop(0)))
            if again is None:
                break
        owed, jobs = (
            [one for name in self.ordered(self.fresh) for one in listed(self.bodies[name].get(key))]
            for key in ("entry", "invoke")
        )
        return {
            "target": self.configuration(),
            "decide": list(dict.fromkeys(self.decide)),
            "owed": owed,
            "jobs": jobs,
            "data": self.data,
            "memory": {name: "|".join(names) for name, names in self.memory.items()},
        }

    def _heard(self, name: str, raised: Any) -> list[tuple[str | None, Doc]]:
        """What a state that is done leads to, or an event that was raised."""
        if raised is not None:
            self.payload = raised
            return self._select(name)
        if name not in self.active:
            return []
        return self._first(name, listed(self.bodies[name].get("on_done")))

    def _is_over(self) -> bool:
        return any(
            self.kind(name) == "final" and len(self.paths[name]) == 1 for name in self.active
        )

    def _select(self, event: str) -> list[tuple[str | None, Doc]]:
        if self._is_over():
            return []
        [top] = [name for name in self.active if len(self.paths[name]) == 1]
        found, kept = self._inside(top, event)
        if not found and not kept and event != "always":
            found = self._first(None, self._named(self.document, event))
        return found

    def _inside(self, name: str, event: str) -> tuple[list[tuple[str | None, Doc]], bool]:
        """The branches taken at or inside of a state, and whether the event is deferred there."""
        found: list[tuple[str | None, Doc]] = []
        active = [child for child in self.children(name) if child in self.active]
        kept = []
        for child in active:
            taken, deferred = self._inside(child, event)
            found += taken
            kept.append(deferred)
        if found:
            return found, False
        if kept and all(kept):
            return [], True
        body = self.bodies[name]
        ways = listed(body.get("always")) if event == "always" else self._named(body, event)
        return self._first(name, ways), event in listed(body.get("defer"))

    def _named(self, body: Doc, event: str) -> list[Any]:
        on = body.get("on", {})
        return listed(on.get(event)) + listed(on.get("*"))

    def _first(self, source: str | None, ways: list[Any]) -> list[tuple[str | None, Doc]]:
        for way in ways:
            branch = {"target": way} if isinstance(way, str) else way
            if self._holds(branch.get("guard")):
                return [(source, branch)]
        return []

    def _holds(self, guard: Any) -> bool:
        if guard is None:
            return True
        if isinstance(guard, dict):
            if "in" in guard:
                return guard["in"] in self.active
            return not self._holds(guard["not"])
        root, key = guard.removeprefix("=").split(".")
        return bool((self.data if root == "data" else self.payload)[key])

    # -- leaving and entering ------------------------------------------------------------------

    def _microstep(self, taken: list[tuple[str | None, Doc]]) -> bool | None:
        if not taken:
            return None
        self._count()
        before = set(self.active)
        kept: list[tuple[str | None, Doc]] = []
        gone: set[str] = set()
        entered: set[str] = set()
        for source, branch in taken:
            exits = self._exits(source, branch, before)
            if not exits & gone:
                kept.append((source, branch))
                gone |= exits
        for _, branch in kept:
            self.decide += listed(branch.get("before"))
        for name in reversed(self.ordered(gone)):
            self._exit(name, before)
        for source, branch in kept:
            if self._leaves(branch, before):
                self._enter(branch["target"], self._domain(source, branch), entered)
        for _, branch in kept:
            self.decide += listed(branch.get("actions"))
            self.follow += [(one["event"], one["payload"]) for one in listed(branch.get("raise"))]
            self._assign(branch)
        self.active = before - gone
        self.fresh |= entered
        for name in self.ordered(entered):
            self.active.add(name)
            self._complete(name)
        return True

    def _count(self) -> None:
        self.microsteps += 1
        if self.microsteps > LONGEST:
            raise Endless  # as the machine does

    def _assign(self, branch: Doc) -> None:
        new = {}
        for key, value in branch.get("assign", {}).items():
            computed = isinstance(value, str) and value.startswith("=")
            new[key] = self.payload[value.split(".")[1]] if computed else value
        self.data = {**self.data, **new}

    def _exit(self, name: str, before: set[str]) -> None:
        if name in self.fresh:
            self.fresh.remove(name)
        else:
            self.decide += listed(self.bodies[name].get("exit"))
        for child, body in self.bodies[name].get("states", {}).items():
            if (body or {}).get("type") == "history":
                inside = [one for one in self.ordered(before) if name in self.paths[one][:-1]]
                if body.get("history") == "deep":
                    self.memory[child] = [one for one in inside if not self.children(one)]
                else:
                    own = len(self.paths[name]) + 1
                    self.memory[child] = [one for one in inside if len(self.paths[one]) == own]

    def _complete(self, name: str) -> None:
        path = self.paths[name]
        if self.kind(name) == "final" and len(path) > 1:
            self.follow.append((path[-2], None))
            for around in reversed(path[:-2]):
                if self.kind(around) != "parallel" or not self._finished(around):
                    break
                self.follow.append((around, None))

    def _finished(self, name: str) -> bool:
        if self.kind(name) == "parallel":
            return all(self._finished(child) for child in self.children(name))
        return any(
            self.kind(child) == "final" and child in self.active for child in self.children(name)
        )

    def _leaves(self, branch: Doc, before: set[str]) -> bool:
        target = branch.get("target")
        if target is None:
            return False
        return bool(branch.get("reenter") or target not in before or self.children(target))

    def _exits(self, source: str | None, branch: Doc, before: set[str]) -> set[str]:
        if not self._leaves(branch, before):
            return set()
        domain = self._domain(source, branch)
        size = len(domain)
        return {
            name
            for name in before
            if self.paths[name][:size] == domain and len(self.paths[name]) > size
        }

    def _meant(self, target: str) -> list[str]:
        if self.kind(target) != "history":
            return [target]
        if target in self.memory:
            return self.memory[target]
        body, parent = self.bodies[target], self.paths[target][-2]
        if "target" in body:
            return [body["target"]]
        return (
            self.children(parent)
            if self.kind(parent) == "parallel"
            else [self.bodies[parent]["initial"]]
        )

    def _domain(self, source: str | None, branch: Doc) -> Path:
        """The path of the innermost state that stays."""
        if source is None:
            return ()
        targets = [self.paths[name] for name in self._meant(branch["target"])]
        own = self.paths[source]
        itself = branch["target"] == source
        least = len(own) if branch.get("reenter") else len(own) + 1
        for size in range(least - 1, 0, -1):
            around = own[:size]
            proper = size < len(own)
            if self.kind(around[-1]) == "compound" and all(
                path[:size] == around and (len(path) > size or (itself and not proper))
                for path in targets
            ):
                return around
        return ()

    def _enter(self, target: str, domain: Path, found: set[str]) -> None:
        if domain and target == domain[-1]:
            target = self.bodies[target]["initial"]
        names = self._meant(target)
        for name in names:
            self._down(name, found)
        for name in names:
            path = self.paths[name][len(domain) : -1]
            for around in reversed(path):
                found.add(around)
                if self.kind(around) == "parallel":
                    self._regions(around, found)

    def _down(self, name: str, found: set[str]) -> None:
        found.add(name)
        if self.kind(name) == "compound":
            self._down(self.bodies[name]["initial"], found)
        elif self.kind(name) == "parallel":
            self._regions(name, found)

    def _regions(self, name: str, found: set[str]) -> None:
        for region in self.children(name):
            if not any(region in self.paths[one] for one in found):
                self._down(region, found)
