"""
Nodes → definition: the machine, its events and retry policies; all problems in one pass.

What could not be read is left out, so that the rest can still be checked. Called by `loading` after
`document`; the next step is `checks`.
"""

from __future__ import annotations

import re

from event_center.machine.branches import (
    DEFAULT_POLICY,
    NO_POLICY,
    read_after,
    read_meta,
    read_on,
    read_policy,
    read_tags,
    read_text,
    read_way,
)
from event_center.machine.cases import read_cases
from event_center.machine.decision import Retry
from event_center.machine.definition import (
    NOWHERE,
    Declared,
    Definition,
    Hold,
    Missing,
    OnFailure,
    OnUpgrade,
)
from event_center.machine.document import MappingNode, Node, ScalarNode
from event_center.machine.grammar import ERROR_BRANCH, EVENT, HELD, MACHINE
from event_center.machine.reader import Fields, Reader, noun_of
from event_center.machine.schema import read_schema
from event_center.machine.spelling import quoted
from event_center.machine.states import read_states, read_unhandled
from event_center.machine.upgrade import read_upgrades
from event_center.model import Json, Unhandled

_MACHINE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")


def read_definition(reader: Reader, root: Node) -> Definition:
    """The definition as far as it could be read."""
    fields = reader.fields(root, MACHINE)
    reader.retries = _retries(reader, fields.get("retries"))
    initial = fields.get("initial")
    return Definition(
        source=reader.problems.source,
        name=_machine_name(reader, fields),
        version=_version(reader, fields),
        initial="" if initial is None else reader.name(initial, "a state") or "",
        initial_place=NOWHERE if initial is None else initial.place,
        states=read_states(reader, fields.get("states")),
        data=_data(reader, fields.get("data")),
        events=_events(reader, fields["events"]) if "events" in fields else None,
        on=read_on(reader, fields["on"]) if "on" in fields else {},
        timeout=read_after(reader, fields["timeout"], "timeout") if "timeout" in fields else {},
        on_error=read_way(reader, fields.get("on_error"), ERROR_BRANCH),
        on_failure=_on_failure(reader, fields) or OnFailure.PARK,
        unhandled=read_unhandled(reader, fields) or Unhandled.REJECT,
        on_upgrade=_on_upgrade(reader, fields) or OnUpgrade.MOVE,
        upgrades=read_upgrades(reader, fields.get("migrate")),
        perpetual=reader.flag(fields.get("perpetual"), "perpetual"),
        title=read_text(reader, fields, "title"),
        description=read_text(reader, fields, "description"),
        tests=read_cases(reader, fields.get("tests")),
        tags=read_tags(reader, fields.get("tags")),
        meta=read_meta(reader, fields),
    )


def _machine_name(reader: Reader, fields: Fields) -> str:
    node = fields.get("machine")
    name = None if node is None else reader.text(node, "the name of a machine")
    if node is None or name is None:
        return ""
    if not _MACHINE_NAME.fullmatch(name):
        reader.wrong(
            node, f"a machine's name has 1 to 100 letters, digits, _ - and dots, not {quoted(name)}"
        )
    return name


def _version(reader: Reader, fields: Fields) -> int:
    node = fields.get("version")
    return 0 if node is None else reader.whole(node, "version", 1) or 0


def _on_failure(reader: Reader, fields: Fields) -> OnFailure | None:
    node = fields.get("on_failure")
    return None if node is None else reader.choice(node, "on_failure", OnFailure)


def _on_upgrade(reader: Reader, fields: Fields) -> OnUpgrade | None:
    node = fields.get("on_upgrade")
    return None if node is None else reader.choice(node, "on_upgrade", OnUpgrade)


def _data(reader: Reader, node: Node | None) -> dict[str, Json]:
    if node is None or (isinstance(node, ScalarNode) and node.value is None):
        return {}
    if not isinstance(node, MappingNode):
        reader.wrong(node, f"data maps keys to their defaults; this is {noun_of(node)}")
        return {}
    defaults: dict[str, Json] = reader.value(node, computed=False)
    return defaults


def _retries(reader: Reader, node: Node | None) -> dict[str, Retry]:
    if node is None:
        return {}
    policies: dict[str, Retry] = {}
    for name, key, value in reader.named(node, "a retry policy", "retry policies"):
        if name == NO_POLICY:
            reader.wrong(key, "'none' always means one attempt; give this policy another name")
        policies[name] = read_policy(reader, value)
    # Callbacks that name no policy have `default`, also while no policy of this name is declared.
    policies.setdefault(DEFAULT_POLICY, Retry())
    return policies


def _events(reader: Reader, node: Node) -> dict[str, Declared]:
    declared: dict[str, Declared] = {}
    for name, key, value in reader.named(node, "an event", "events"):
        empty = isinstance(value, ScalarNode) and value.value is None
        fields = {} if empty else reader.fields(value, EVENT)
        missing, hold = _missing(reader, fields.get("missing"))
        declared[name] = Declared(
            place=key.place,
            missing=missing,
            hold=hold,
            schema=read_schema(reader, fields.get("schema")),
            title=read_text(reader, fields, "title"),
            description=read_text(reader, fields, "description"),
        )
    return declared


def _missing(reader: Reader, node: Node | None) -> tuple[Missing | None, Hold | None]:
    if node is None:
        return None, None
    if isinstance(node, MappingNode):
        return _hold(reader, reader.fields(node, HELD))
    missing = reader.choice(node, "missing", Missing)
    if missing is Missing.HOLD:
        reader.wrong(node, "events are held for some time: write `missing: {hold: 10m}`")
    return missing, None


def _hold(reader: Reader, fields: Fields) -> tuple[Missing | None, Hold | None]:
    if "hold" not in fields:
        return None, None
    limit_ms = reader.duration(fields["hold"], least=1)
    expiry: Missing | None = Missing.DEAD_LETTER
    if "expiry" in fields:
        expiry = reader.choice(fields["expiry"], "expiry", Missing)
    if expiry in {Missing.CREATE, Missing.HOLD}:
        reader.wrong(fields["expiry"], "what was held for too long is for reject or dead_letter")
    if limit_ms is None or expiry is None:
        return None, None
    return Missing.HOLD, Hold(limit_ms, expiry)
