"""
Random machines for the comparison with an interpreter that others wrote, and the same as SCXML.

A machine is drawn from a `Random`: that of hypothesis, which shrinks what it finds, or a plain one for
long runs. What the two languages mean differently by the same words is not drawn; `test_peer` has a
test for each such thing. `peer` runs the SCXML; `fuzzing` draws thousands.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple
from xml.sax.saxutils import quoteattr

EVENTS = ("e", "f", "g")
LEADS = 8
"""States that the machine itself has events for."""
DEEP = 3
"""States within states within states."""

Body = dict[str, Any]


class Drawn(NamedTuple):
    """A machine, and how often it has each shape."""

    document: Body
    shapes: Counter[str]

    @property
    def is_rich(self) -> bool:
        """It has what makes such machines hard: depth, regions or history."""
        return any(self.shapes[shape] for shape in ("deep", "parallel", "history"))


class Maker:
    """Draws one machine: the tree of its states first, then what leads from one to another."""

    def __init__(self, random_: random.Random) -> None:
        self._random = random_
        self.bodies: dict[str, Body] = {}
        self._above: dict[str, tuple[str, ...]] = {}
        self.shapes: Counter[str] = Counter()

    def chance(self, of: int) -> bool:
        """True once in so many times."""
        return self._random.randrange(of) == of - 1

    def document(self) -> Body:
        """One machine as a plain mapping."""
        tops = [self._state(DEEP, ()), self._state(1, ())]
        tops += [self._name((), {"type": "choice"}) for _ in range(self._random.randrange(3))]
        tops.append(self._name((), {"type": "final"}))
        for name, body in self.bodies.items():
            self._lead_on(name, body)
        # Whatever nothing else leads to can be entered from everywhere.
        led = self._random.sample(list(self.bodies), min(LEADS, len(self.bodies)))
        leads: Body = {f"to_{name}": {"target": name, "reenter": True} for name in led}
        leads |= {event: self._ways(None) for event in EVENTS if self.chance(3)}
        states = {name: self.bodies[name] for name in tops}
        return {
            "machine": "m", "version": 1, "initial": tops[0], "perpetual": True,
            "data": {"flag": False}, "on": leads, "states": states,
        }  # fmt: skip

    # -- the tree --------------------------------------------------------------------------------

    def _name(self, around: tuple[str, ...], body: Body) -> str:
        name = f"s{len(self.bodies) + 1}"
        self.bodies[name], self._above[name] = body, around
        kind = body.get("type")
        if kind is not None:
            self.shapes[kind] += 1
        return name

    def _state(self, depth: int, around: tuple[str, ...], *, ends: bool = False) -> str:
        shapes = ["leaf", "leaf", "compound", "parallel"][ends * 2 :]
        shape = self._random.choice(shapes)
        if not depth or shape == "leaf":
            return self._name(around, {})
        body: Body = {"type": "parallel"} if shape == "parallel" else {}
        name = self._name(around, body)
        inner = (name, *around)
        self.shapes["deep"] += len(inner) >= DEEP
        few = self._random.randrange(2, 4 if shape == "compound" else 3)
        ends = ends or (shape == "parallel" and self.chance(2))
        regions = ends and shape == "parallel"
        children = [self._state(depth - 1, inner, ends=regions) for _ in range(few)]
        if shape == "compound":
            self.shapes["compound"] += 1
            body["initial"] = children[0]
            if ends or self.chance(2):
                children.append(self._name(inner, {"type": "final"}))
        if self.chance(2):
            history = self._random.choice(["shallow", "deep"])
            children.append(self._name(inner, {"type": "history", "history": history}))
            self.shapes[f"{history} history"] += 1
        body["states"] = {child: self.bodies[child] for child in children}
        if self._ends(body):
            body["on_done"] = None
        return name

    def _ends(self, body: Body) -> bool:
        """Whether a final state is inside, of a parallel state in each region."""
        inside = [one for one in body.get("states", {}).values() if one.get("type") != "history"]
        if body.get("type") == "parallel":
            # Of a region that is parallel itself, SCXML does not tell the one around it.
            return all("initial" in one and self._ends(one) for one in inside)
        return any(one.get("type") == "final" for one in inside)

    # -- what leads from one to another ----------------------------------------------------------

    def _lead_on(self, name: str, body: Body) -> None:
        if body.get("type") in {"final", "history"}:
            return
        if body.get("type") == "choice":
            body["always"] = self._ways(name)
            return
        heard = [event for event in EVENTS if self.chance(2)] + ["*"] * self.chance(6)
        body["on"] = {event: self._ways(name) for event in heard}
        for way in (way for ways in body["on"].values() for way in ways if self.chance(8)):
            way.pop("target")
            way.pop("reenter", None)
        if self.chance(16):
            body["always"] = [self._branch(name, guarded=True)]
            self.shapes["always"] += 1
        if "on_done" in body:
            self.shapes["on_done"] += 1
            body["on_done"] = self._ways(name)

    def _ways(self, source: str | None) -> list[Body]:
        first = [self._branch(source, guarded=True)] if self.chance(2) else []
        return [*first, self._branch(source, guarded=False)]

    def _branch(self, source: str | None, *, guarded: bool) -> Body:
        target = self._target(source)
        made: Body = {"target": target}
        kind = self.bodies[target].get("type")
        leaf = kind != "history" and "states" not in self.bodies[target]
        if source is None or target == source or (leaf and not guarded) or self.chance(2):
            made["reenter"] = True
        guards = [self._guard()] if guarded else []
        if leaf and "reenter" not in made:
            # A leaf that is active already is not left here, and is in SCXML.
            guards.append({"not": {"in": target}})
        if guards:
            made["guard"] = {"and": guards} if len(guards) > 1 else guards[0]
        if self.chance(3):
            made["assign"] = {"flag": self.chance(2)}
        if self.chance(8):
            made["raise"] = self._random.choice(EVENTS)
            self.shapes["raise"] += 1
        return made

    def _target(self, source: str | None) -> str:
        """A state: mostly one beside the source, seldom one at which all is over."""
        names = list(self.bodies)
        if source is not None and self.chance(2):
            names = [one for one in names if self._above[one] == self._above[source]]
            lasts = [one for one in names if self.bodies[one].get("type") == "final"]
            names = lasts if lasts and self._above[source] and self.chance(2) else names
        if source is not None and self.bodies[source].get("type") == "choice":
            names = [one for one in names if self.bodies[one].get("type") != "choice"]
        ends = [
            one for one in names if self.bodies[one].get("type") == "final" and not self._above[one]
        ]
        return self._random.choice(
            names if self.chance(8) else [one for one in names if one not in ends]
        )

    def _guard(self) -> Any:
        actives = [name for name, body in self.bodies.items() if body.get("type") != "history"]
        inside = {"in": self._random.choice(actives)}
        return self._random.choice([inside, {"not": inside}, "=data.flag"])


def statechart(random_: random.Random) -> Drawn:
    """A random machine."""
    maker = Maker(random_)
    return Drawn(maker.document(), maker.shapes)


# -- the same as SCXML ---------------------------------------------------------------------------

AROUND = "around"
"""A state around all others: branches of the whole machine are its own in SCXML."""


def scxml(document: Body) -> str:
    """The same machine as SCXML."""
    names = [*_heard(document), "unheard"]
    whole: Body = {key: document[key] for key in ("initial", "states", "on") if key in document}
    over = [name for name, body in document["states"].items() if body.get("type") == "final"]
    lasts = [{"not": {"in": name}} for name in over]
    whole["on"] = {
        event: [_also(way, lasts) for way in _listed(ways)]
        for event, ways in document.get("on", {}).items()
    }
    return (
        '<scxml xmlns="http://www.w3.org/2005/07/scxml" version="1.0" name="m" '
        f'initial="{AROUND}"><datamodel><data id="flag" expr="False"/></datamodel>'
        f"{_element(AROUND, whole, names)}</scxml>"
    )


def ordered(states: Body) -> Iterator[str]:
    """The names of all states, in the order of the document."""
    for name, body in states.items():
        yield name
        yield from ordered(body.get("states", {}))


def _heard(body: Body) -> dict[str, None]:
    """The events that branches name, or raise."""
    found = dict.fromkeys((*EVENTS, *body.get("on", {})))
    for inner in body.get("states", {}).values():
        found |= _heard(inner)
    found.pop("*", None)
    return found


def _element(name: str, body: Body, names: list[str]) -> str:
    kind = body.get("type", "state")
    if kind == "final":
        return f'<final id="{name}"/>'
    inside = body.get("states", {})
    initial = f' initial="{body["initial"]}"' if "initial" in body else ""
    # `'*'` is asked after all that is named, and hears no `done.state` here.
    on = sorted(body.get("on", {}).items(), key=lambda item: item[0] == "*")
    ways = [(" ".join(names) if event == "*" else event, way) for event, way in on]
    ways += [(f"done.state.{name}", body.get("on_done") or []), ("", body.get("always", []))]
    within = set(ordered(inside)) if initial else set[str]()
    leads = "".join(_transition(event, one, within) for event, way in ways for one in _listed(way))
    regions = [one for one, other in inside.items() if other.get("type") != "history"]
    begin = body.get("initial", " ".join(regions))
    children = "".join(
        f'<history id="{one}" type="{other["history"]}"><transition target="{begin}"/></history>'
        if other.get("type") == "history"
        else _element(one, other, names)
        for one, other in inside.items()
    )
    tag = "parallel" if kind == "parallel" else "state"
    return f'<{tag} id="{name}"{initial}>{leads}{children}</{tag}>'


def _listed(ways: Any) -> list[Body]:
    """Branches in their long form."""
    found = ways if isinstance(ways, list) else [ways]
    return [{"target": one} if isinstance(one, str) else one for one in found]


def _also(way: Body, guards: list[Body]) -> Body:
    """A branch with more guards: those of the machine hear nothing once it is over."""
    own = [way["guard"]] if "guard" in way else []
    return {**way, "guard": {"and": [*guards, *own]}} if guards else way


def _transition(event: str, way: Body, within: set[str]) -> str:
    """A transition; one that stays within its compound state is SCXML's `internal`."""
    said = [f"event={quoteattr(event)}"] if event else []
    if "guard" in way:
        said.append(f"cond={quoteattr(_condition(way['guard']))}")
    if "target" in way:
        internal = way["target"] in within and not way.get("reenter")
        said.append(f'target="{way["target"]}" type="{"internal" if internal else "external"}"')
    done = "".join(
        f'<assign location="{key}" expr="{value}"/>' for key, value in way.get("assign", {}).items()
    )
    if "raise" in way:
        done = f'<raise event="{way["raise"]}"/>{done}'
    return f"<transition {' '.join(said)}>{done}</transition>"


def _condition(guard: Any) -> str:
    if isinstance(guard, str):
        return guard.removeprefix("=data.")
    [(word, part)] = guard.items()
    if word == "and":
        return " and ".join(_condition(one) for one in part)
    return f"not {_condition(part)}" if word == "not" else f"In('{part}')"
