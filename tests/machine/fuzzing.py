"""
Random expressions and mutated machines: whatever is read ends in a value, or in a problem with its place.
And random machines beside another interpreter (`peer`): both are in the same states.

`tests/fuzzing.py` (`scripts/fuzz`) runs it for as many inputs as one likes and prints what it found; the
tests run some thousands. An input that breaks the rule is named by its seed, so that it can be made again.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from event_center.errors import DefinitionError, ExpressionError
from event_center.machine import Machine, parse
from event_center.machine.expression import compile_expression
from event_center.machine.making import evaluator, maker
from event_center.machine.scope import values_of
from event_center.machine.value import filled
from event_center.model import Event, Snapshot
from tests.machine.peer import compared
from tests.machine.statecharts import statechart

ROOT = Path(__file__).resolve().parents[2]
WHERE = "fuzz.yaml:3:7"
HEADERS = (("trace", b"t-1"), ("odd", b"\xff"))
ROOTS = frozenset({"payload", "data", "event", "workflow_id", "now", "state"})


def _words(text: str) -> list[str]:
    return text.split(" ")


ATOMS = _words(
    "payload data event workflow_id now state payload.a data.b payload.list[0] payload['a'] None True"
    " False null 0 1 -1 2.5 1e308 1e999 0x1f 1_000 'a' '' \"x\" b'a' f'{data}' [] [1,2] (1,) {} {1} ..."
    " 9223372036854775808 18446744073709551616 data.__class__ payload.class lambda:0 x:=1 *data"
    " data[1:2] print(1) data.a() 5j '\\ud800' \U0001f600 \u00e9 payload.a.b.c data['b']['c'] await"
)
JOINS = _words(
    "+ - * / // % ** @ << >> & | ^ == != < <= > >= in is and or , . : := = ; if else for"
    " not\tin is\tnot \n \t #"
)
VALUES: list[Any] = [None, True, 0, -1, 2**63, 1e308, "", "a", "é" * 50, [], [1, "a"], {"a": 1}, {}]


def expression(random_: random.Random, depth: int = 0) -> str:
    """A text that is an expression, or nearly one, or none at all."""
    kind = random_.randrange(12 if depth < 6 else 2)
    if kind < 4:
        return random_.choice(ATOMS)
    one, two, three = (expression(random_, depth + 1) for _ in range(3))
    forms = {
        4: f"({one})",
        5: f"{random_.choice(['not ', '-', '+', '~', '='])}{one}",
        6: f"{one}[{two}]",
        7: f"[{one}, {two}]",
        8: f"{one} if {two} else {three}",
    }
    return forms.get(kind, f"{one} {random_.choice(JOINS)} {two}")


def soup(random_: random.Random) -> str:
    """Characters that no grammar has put together."""
    parts = [*ATOMS, *JOINS, "(", ")", "[", "]"]
    made = "".join(random_.choices(parts, k=random_.randrange(20)))
    for _ in range(random_.randrange(3)):
        place = random_.randrange(len(made) + 1)
        made = made[:place] + chr(random_.randrange(0x300)) + made[place:]
    return made


def value(random_: random.Random, depth: int = 0) -> Any:
    """A value as JSON has them."""
    if depth > 2 or random_.random() < 0.5:
        return random_.choice(VALUES)
    if random_.random() < 0.7:
        return {key: value(random_, depth + 1) for key in ("a", "b", "list")}
    return [value(random_, depth + 1) for _ in range(random_.randrange(3))]


def try_expression(random_: random.Random) -> str:
    """One input; returns what became of it, and lets out what may not be."""
    text = soup(random_) if random_.random() < 0.2 else expression(random_)
    try:
        compiled = compile_expression(text, ROOTS, WHERE)
    except ExpressionError as error:
        return _placed(error, "refused")
    snapshot, event = Snapshot("w", "m", 1, "s"), Event("go", value(random_), None, 5, HEADERS)
    snapshot.data = value(random_)
    roots = values_of(snapshot, event, 7)
    # What is compiled into one function has to make what is worked out part by part, errors too.
    result = _made(lambda: evaluator(compiled)(snapshot, event, 7))
    assert result == _made(lambda: compiled.evaluate(roots))
    whole = {"one": [compiled, 1], "two": compiled}
    kept = _made(lambda: maker(whole)(snapshot, event, 7))
    assert kept == _made(lambda: filled(whole, roots))
    return "failed" if isinstance(result, Failed) else "has a value"


class Failed(NamedTuple):
    """What an expression that has no value says."""

    text: str


def _made(make: Callable[[], Any]) -> Failed | bytes:
    """What came of it, as JSON."""
    try:
        return orjson.dumps(make())
    except ExpressionError as error:
        _placed(error, "failed")
        return Failed(str(error))


def _placed(error: ExpressionError, became: str) -> str:
    """What became of it, if the error says where it is."""
    assert str(error).startswith(WHERE), error
    return became


# -- machines --------------------------------------------------------------------------------------


def machines() -> list[str]:
    """Texts to begin with: the examples, and those of the page about the language."""
    texts = [path.read_text("utf-8") for path in sorted((ROOT / "machines").glob("*.yaml"))]
    page = (ROOT / "docs/machine-language.md").read_text("utf-8")
    blocks = [block.split("```")[0] for block in page.split("```yaml\n")[1:]]
    return texts + [block for block in blocks if "machine: " in block and "states:" in block]


TOKENS = _words(
    "on entry exit after always emit raise guard target assign actions before schema migrate from states"
    " data drop type final choice parallel history initial retries timeout on_error on_done unhandled"
    " defer events missing reenter repeat perpetual title meta tags errors do retry none null true 5 -1"
    " 1.5 =payload =data.x == 30s 3d '*' '@x' {} [] {a:b} [a,b] & * ! !!int | > << - ? : # --- \" '"
    " \t \u00e9 \u2028 \x00 \ufeff 99999999999999999999 .inf .nan 0o7 ~"
)


def mutated(random_: random.Random, text: str) -> str:
    """The text with some of it cut, doubled, moved or replaced."""
    for _ in range(random_.randrange(1, 5)):
        lines = text.split("\n")
        number, other = random_.randrange(len(lines)), random_.randrange(len(lines))
        kind = random_.randrange(8)
        if kind == 0:
            del lines[number]
        elif kind == 1:
            lines.insert(other, lines[number])
        elif kind == 2:
            lines[number], lines[other] = lines[other], lines[number]
        elif kind == 3:
            lines[number] = " " * random_.randrange(9) + lines[number].lstrip()
        elif kind == 4 and lines[number].split():
            words = lines[number].split(" ")
            words[random_.randrange(len(words))] = random_.choice(TOKENS)
            lines[number] = " ".join(words)
        elif kind == 5 and lines[number].split():
            old = random_.choice(lines[number].split()).strip("{}[],:")
            lines[number] = lines[number].replace(old or "x", random_.choice(TOKENS), 1)
        elif kind == 6:
            lines = lines[:number]
        text = "\n".join(lines)
        if kind == 7:
            place = random_.randrange(len(text) + 1)
            text = text[:place] + random_.choice(TOKENS) + text[place + random_.randrange(4) :]
        text = text or "x"
    return text


TEXTS: list[str] = []


def try_machine(random_: random.Random) -> str:
    """One mutated machine; returns what became of it, and lets out what may not be."""
    if not TEXTS:
        TEXTS.extend(machines())
    text = mutated(random_, random_.choice(TEXTS))
    try:
        machine = parse(text, "fuzz.yaml")
    except DefinitionError as error:
        _check_places(error, text)
        return "refused"
    assert parse(machine.to_yaml()).hash == machine.hash
    return _walked(random_, machine)


def _check_places(error: DefinitionError, text: str) -> None:
    """Each problem stands somewhere in the text, or right behind it."""
    lines = len(text.splitlines()) + 1
    assert error.problems
    for problem in error.problems:
        assert problem.source == "fuzz.yaml", problem
        assert 1 <= problem.line <= lines, problem
        assert problem.column >= 1, problem


def _walked(random_: random.Random, machine: Machine) -> str:
    """Some events; what a step may raise is what its docstring says."""
    snapshot = Snapshot("w", machine.name, machine.version, machine.initial)
    try:
        birth = machine.birth(0, Event("x", value(random_)))
    except (ExpressionError, DefinitionError):
        return "not born"
    snapshot.state, snapshot.data, snapshot.timers = (
        birth.target,
        birth.data or {},
        birth.timers or (),
    )
    for name in random_.choices([*sorted(machine.events), "@done", "other"], k=6):
        try:
            decision = machine.step(snapshot, Event(name, value(random_)), 5)
        except (ExpressionError, DefinitionError):
            continue
        target = getattr(decision, "target", snapshot.state)
        assert machine.rests(target), (target, name)
        snapshot.state = target
        snapshot.data = getattr(decision, "data", None) or snapshot.data
    return "walked"


SEEN: Counter[str] = Counter()
"""What was compared with another interpreter."""


def try_statechart(random_: random.Random) -> str:
    """One machine beside another interpreter; returns what became of it."""
    return compared(statechart(random_), random_, SEEN)


TRIES: dict[str, Callable[[random.Random], str]] = {
    "expressions": try_expression,
    "machines": try_machine,
    "statecharts": try_statechart,
}


def fuzz(what: str, count: int, seed: int) -> Counter[str]:
    """So many inputs, each from a seed of its own; the first that breaks the rule is named."""
    found: Counter[str] = Counter()
    for number in range(seed, seed + count):
        try:
            found[TRIES[what](random.Random(number))] += 1
        except BaseException as error:
            error.add_note(f"scripts/fuzz {what} 1 {number}")
            raise
    return found
