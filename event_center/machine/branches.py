"""
Nodes → branches: targets, guards, callbacks with their retries, assigns, and the timers of `after`.

Called by `reading` for each state and for the machine itself; `guard` and `reader` read the parts.
"""

from __future__ import annotations

from enum import StrEnum

from event_center.machine.decision import Action, Retry
from event_center.machine.definition import (
    NOWHERE,
    After,
    Branch,
    Branches,
    Call,
    Calls,
    On,
    Phase,
    Tags,
    Text,
)
from event_center.machine.document import MappingNode, Node, ScalarNode, SequenceNode
from event_center.machine.expression import Expression, is_expression
from event_center.machine.grammar import (
    BRANCH,
    CALL,
    ENTRY_CALL,
    GUARD,
    RETRY,
    TIMED_BRANCH,
    Grammar,
)
from event_center.machine.guard import (
    Computed,
    Condition,
    Either,
    Every,
    Inside,
    Named,
    Not,
    Raised,
)
from event_center.machine.problems import Code
from event_center.machine.reader import Fields, Reader, noun_of
from event_center.machine.scope import TIMER_ROOTS
from event_center.machine.sending import read_emits, read_raises
from event_center.machine.spelling import hint, quoted
from event_center.model import Json

ONCE = Retry(max_attempts=1)
"""The policy `none`: one attempt."""
DEFAULT_POLICY = "default"
NO_POLICY = "none"


class Jitter(StrEnum):
    """How a delay between attempts is spread."""

    NONE = "none"
    FULL = "full"


def read_on(reader: Reader, node: Node) -> dict[str, On]:
    """Events and their branches."""
    ways: dict[str, On] = {}
    for name, key, value in reader.named(node, "an event", "events"):
        ways[name] = On(place=key.place, branches=read_branches(reader, value, BRANCH))
    return ways


def _due(reader: Reader, key: ScalarNode, branches: Branches) -> Expression | None:
    """The time of a timer: an expression over what is known when its state is entered."""
    expression = reader.expression(key, str(key.value))
    if expression is None:
        return None
    others = sorted(expression.roots - TIMER_ROOTS)
    if others:
        message = (
            f"the time of a timer is worked out from data, now and state, not from {others[0]}; "
            "assign what it needs to `data` first"
        )
        reader.problems.add(key.place, Code.EXPRESSION, message)
    for branch in branches:
        if branch.repeat:
            message = "repeat needs a duration: a time that an expression gives comes once"
            reader.problems.add(branch.place, Code.VALUE, message)
    return expression


def read_after(reader: Reader, node: Node, name: str = "after") -> dict[str, After]:
    """Timers and their branches, by the duration or expression as it is written."""
    if not isinstance(node, MappingNode):
        reader.wrong(node, f"`{name}` maps durations to branches; this is {noun_of(node)}")
        return {}
    timers: dict[str, After] = {}
    for key, value in node.pairs:
        branches = read_branches(reader, value, TIMED_BRANCH)
        if is_expression(key.value):
            due = _due(reader, key, branches)
            if due is not None:
                after = After(place=key.place, branches=branches, delay_ms=0, due=due)
                timers[str(key.value)] = after
            continue
        delay_ms = reader.duration(key, least=1)
        if delay_ms is not None:
            timers[str(key.value)] = After(place=key.place, branches=branches, delay_ms=delay_ms)
    return timers


def read_way(reader: Reader, node: Node | None, grammar: Grammar = BRANCH) -> On | None:
    """The branches of `on_done`, `on_error` or `always`."""
    if node is None:
        return None
    return On(place=node.place, branches=read_branches(reader, node, grammar))


def read_branches(reader: Reader, node: Node, grammar: Grammar) -> Branches:
    """A target, a branch, or a list of them."""
    if not isinstance(node, SequenceNode):
        branch = _branch(reader, node, grammar)
        return () if branch is None else (branch,)
    if not node.items:
        reader.wrong(node, "this list of branches is empty; remove it, or write {} for no effect")
    branches = (_branch(reader, item, grammar) for item in node.items)
    return tuple(branch for branch in branches if branch is not None)


def _branch(reader: Reader, node: Node, grammar: Grammar) -> Branch | None:
    if isinstance(node, SequenceNode) or (
        isinstance(node, ScalarNode) and not isinstance(node.value, str)
    ):
        reader.wrong(node, f"a branch is a target or a mapping, not {noun_of(node)}")
        return None
    if isinstance(node, ScalarNode):
        target = reader.name(node, "a target")
        return (
            None
            if target is None
            else Branch(place=node.place, target=target, target_place=node.place)
        )
    fields = reader.fields(node, grammar)
    where = fields.get("target")
    target = None if where is None else reader.name(where, "a target")
    _check_flags(reader, fields)
    return Branch(
        place=node.place,
        target=target,
        target_place=NOWHERE if where is None else where.place,
        guard=_condition(reader, fields),
        before=read_calls(reader, fields.get("before"), Phase.BEFORE),
        actions=read_calls(reader, fields.get("actions"), Phase.ACTION),
        assign=_assign(reader, fields.get("assign")),
        raises=read_raises(reader, fields.get("raise")),
        emits=read_emits(reader, fields.get("emit")),
        reenter=reader.flag(fields.get("reenter"), "reenter"),
        repeat=reader.flag(fields.get("repeat"), "repeat"),
        description=read_text(reader, fields, "description"),
    )


def _check_flags(reader: Reader, fields: Fields) -> None:
    """`reenter` needs a target, `repeat` none."""
    reenter, repeat = fields.get("reenter"), fields.get("repeat")
    if reenter is not None and "target" not in fields:
        reader.wrong(reenter, "reenter needs a target: without one the state is not left")
    if repeat is not None and "target" in fields:
        reader.wrong(repeat, "repeat is for a branch without a target: with one the state is left")


def read_text(reader: Reader, fields: Fields, key: str) -> Text:
    """A text that nothing depends on, as a title; or one for each language."""
    node = fields.get(key)
    if not isinstance(node, MappingNode):
        return "" if node is None else reader.text(node, key) or ""
    named = reader.named(node, "a language", "languages")
    texts = ((name, reader.text(value, key)) for name, _, value in named)
    return {name: text for name, text in texts if text is not None}


def read_tags(reader: Reader, node: Node | None) -> Tags:
    """Words that nothing depends on; or some for each language."""
    if not isinstance(node, MappingNode):
        return _tags(reader, node)
    named = reader.named(node, "a language", "languages")
    return {name: _tags(reader, value) for name, _, value in named}


def _tags(reader: Reader, node: Node | None) -> tuple[str, ...]:
    if node is None:
        return ()
    nodes = node.items if isinstance(node, SequenceNode) else (node,)
    tags = (reader.text(item, "a tag") for item in nodes)
    return tuple(tag for tag in tags if tag is not None)


def read_meta(reader: Reader, fields: Fields) -> Json:
    """Whatever a tool keeps in a machine."""
    return reader.value(fields["meta"], computed=False) if "meta" in fields else None


def _condition(reader: Reader, fields: Fields) -> Condition | None:
    """The guard of a branch, and the errors that it is for."""
    guard = _guard(reader, fields["guard"]) if "guard" in fields else None
    names = read_errors(reader, fields.get("errors"))
    if not names:
        return guard
    raised = Raised(names=names)
    return raised if guard is None else Every(parts=(raised, guard))


def read_errors(reader: Reader, node: Node | None) -> tuple[str, ...]:
    """Names of error classes."""
    if node is None:
        return ()
    nodes = node.items if isinstance(node, SequenceNode) else (node,)
    if not nodes:
        reader.wrong(node, "this list of errors is empty; leave it out for all errors")
    names = (read_identifier(reader, item, "class of errors") for item in nodes)
    return tuple(name for name in names if name is not None)


def _assign(reader: Reader, node: Node | None) -> dict[str, object]:
    if node is None:
        return {}
    if not isinstance(node, MappingNode):
        reader.wrong(node, f"assign maps keys of data to values; this is {noun_of(node)}")
        return {}
    values: dict[str, object] = reader.value(node, computed=True)
    return values


def _guard(reader: Reader, node: Node) -> Condition | None:
    if isinstance(node, ScalarNode) and isinstance(node.value, str):
        return _plain_guard(reader, node, node.value)
    if not isinstance(node, MappingNode):
        message = "a guard is a name, an expression or not/and/or/in, not "
        reader.wrong(node, message + noun_of(node))
        return None
    fields = reader.fields(node, GUARD)
    if len(fields) != 1:
        if len(fields) == len(node.pairs):
            reader.wrong(node, "a guard has exactly one of the keys not, and, or, in")
        return None
    [(key, part)] = fields.items()
    if key == "in":
        state = reader.name(part, "a state")
        return None if state is None else Inside(place=part.place, state=state)
    if key == "not":
        negated = _guard(reader, part)
        return None if negated is None else Not(part=negated)
    return _joined(reader, key, part)


def _plain_guard(reader: Reader, node: ScalarNode, text: str) -> Condition | None:
    if is_expression(text):
        expression = reader.expression(node, text)
        return None if expression is None else Computed(place=node.place, expression=expression)
    name = read_identifier(reader, node, "guard")
    where = reader.where(node.place)
    return None if name is None else Named(place=node.place, name=name, where=where)


def _joined(reader: Reader, key: str, node: Node) -> Condition | None:
    if not isinstance(node, SequenceNode) or not node.items:
        empty = "an empty one" if isinstance(node, SequenceNode) else noun_of(node)
        reader.wrong(node, f"{quoted(key)} has a list of guards, not {empty}")
        return None
    read = [_guard(reader, item) for item in node.items]
    parts = tuple(part for part in read if part is not None)
    return Every(parts=parts) if key == "and" else Either(parts=parts)


def read_identifier(reader: Reader, node: Node, what: str) -> str | None:
    """The name of something that a plugin gives: names of Python, with dots between them."""
    name = reader.text(node, f"the name of a {what}")
    if name is None or all(part.isidentifier() for part in name.split(".")):
        return name
    advice = f"; an expression begins with '=': {quoted('=' + name)}" if what == "guard" else ""
    reader.wrong(
        node, f"{quoted(name)} can not name a {what}: use letters, digits, _ and dots{advice}"
    )
    return None


def read_calls(reader: Reader, node: Node | None, phase: Phase) -> Calls:
    """A callback or a list of them."""
    if node is None:
        return ()
    nodes = node.items if isinstance(node, SequenceNode) else (node,)
    if not nodes:
        reader.wrong(node, f"this list of {phase} callbacks is empty; remove it")
    calls = (_call(reader, item, phase) for item in nodes)
    return tuple(call for call in calls if call is not None)


def _call(reader: Reader, node: Node, phase: Phase) -> Call | None:
    if isinstance(node, ScalarNode):
        name = read_identifier(reader, node, "callback")
        fields: Fields = {}
    else:
        fields = reader.fields(node, ENTRY_CALL if phase is Phase.ENTRY else CALL)
        name = read_identifier(reader, fields["do"], "callback") if "do" in fields else None
    retry = read_retry(reader, fields.get("retry"))
    timeout_ms = reader.duration(fields["timeout"], least=1) if "timeout" in fields else None
    eager = reader.flag(fields.get("eager"), "eager")
    if name is None:
        return None
    action = Action(name, retry, eager=eager)
    if timeout_ms is not None:
        action = action._replace(timeout_ms=timeout_ms)
    return Call(place=node.place, action=action)


def read_retry(reader: Reader, node: Node | None) -> Retry:
    """The policy of a callback: named, written in place, or the default one."""
    default = reader.retries.get(DEFAULT_POLICY, Retry())
    if node is None:
        return default
    if isinstance(node, MappingNode):
        return read_policy(reader, node)
    name = reader.text(node, "retry")
    if name is None or name == DEFAULT_POLICY:
        return default
    if name == NO_POLICY:
        return ONCE
    if name not in reader.retries:
        guess = hint(name, [*sorted(reader.retries), NO_POLICY], "policies")
        message = f"retry policy {quoted(name)} is not declared in `retries`{guess}"
        reader.problems.add(node.place, Code.UNKNOWN_RETRY, message)
    return reader.retries.get(name, default)


def read_policy(reader: Reader, node: Node) -> Retry:
    """One retry policy; what it does not say is as in the built-in default."""
    fields = reader.fields(node, RETRY)
    policy = Retry()
    if "max_attempts" in fields:
        attempts = reader.whole(fields["max_attempts"], "max_attempts", 1)
        policy = policy._replace(max_attempts=attempts or policy.max_attempts)
    if "backoff_rate" in fields:
        rate = reader.number(fields["backoff_rate"], "backoff_rate", 1)
        policy = policy._replace(backoff_rate=float(rate or policy.backoff_rate))
    if "jitter" in fields:
        jitter = reader.choice(fields["jitter"], "jitter", Jitter)
        policy = policy._replace(jitter=str(jitter or policy.jitter))
    policy = policy._replace(errors=read_errors(reader, fields.get("errors")))
    interval_ms = reader.duration(fields["interval"]) if "interval" in fields else None
    if interval_ms is not None:
        policy = policy._replace(interval_ms=interval_ms)
    longest_ms = reader.duration(fields["max_delay"]) if "max_delay" in fields else None
    if longest_ms is not None:
        policy = policy._replace(max_delay_ms=longest_ms)
    return policy
