"""
Which keys stand where: the schema of a machine definition, by mapping.

A key of the wider schema that this release does not build is refused by name (`later`), any other
key with a guess at the one that was meant. docs/machine-language.md says what each key does. Used
by `reading` and `branches`.
"""

from __future__ import annotations

from typing import NamedTuple


class Grammar(NamedTuple):
    """The keys of one kind of mapping."""

    noun: str
    keys: frozenset[str]
    required: tuple[str, ...] = ()
    later: frozenset[str] = frozenset()


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


MACHINE = Grammar(
    "a machine",
    _words(
        "machine version title description tags meta initial data perpetual retries events on on_error"
        " on_failure unhandled states timeout tests migrate on_upgrade"
    ),
    ("machine", "version", "initial", "states"),
    _words("always defer after context_type"),
)
STATE = Grammar(
    "a state",
    _words(
        "type result title description tags meta perpetual entry exit invoke on after on_error"
        " on_done unhandled states initial always defer history target"
    ),
    (),
    _words("timeout on_timeout"),
)
_READERS = _words("type title description tags meta")
KEYS_OF = {
    "atomic": STATE.keys - _words("states initial history target"),
    "compound": STATE.keys - _words("history target"),
    "parallel": STATE.keys - _words("initial history target"),
    "final": _READERS | _words("result entry"),
    "choice": _READERS | _words("always"),
    "history": _READERS | _words("history target"),
}
"""What a state of each type may have; `result` is judged by itself."""
CASE = Grammar("a test", _words("name given steps"), ("steps",))
GIVEN = Grammar("what a test begins with", _words("state data"))
CASE_STEP = Grammar(
    "a step of a test",
    _words("event after done error payload guards state data actions effects refused result"),
)
EVENT = Grammar("an event", _words("title description missing schema"), (), _words("dedupe"))
HELD = Grammar("what is held", _words("hold expiry"), ("hold",))
BRANCH = Grammar(
    "a branch",
    _words("target guard before actions assign raise emit reenter description"),
    (),
    _words("with"),
)
ERROR_BRANCH = BRANCH._replace(keys=BRANCH.keys | {"errors"})
RAISE = Grammar("a raised event", _words("event payload"), ("event",))
EMIT = Grammar("an emitted event", _words("event topic workflow_id machine payload"), ("event",))
TIMED_BRANCH = BRANCH._replace(keys=BRANCH.keys | {"repeat"})
CALL = Grammar("a callback", _words("do retry timeout"), ("do",), _words("with"))
ENTRY_CALL = CALL._replace(keys=CALL.keys | {"eager"})
UPGRADE = Grammar("a part of `migrate`", _words("from states data drop"), ("from",))
JOB = Grammar(
    "a job",
    _words("do retry timeout heartbeat grace on_done on_error"),
    ("do",),
    _words("with"),
)
RETRY = Grammar(
    "a retry policy",
    _words("max_attempts interval backoff_rate max_delay jitter errors"),
)
GUARD = Grammar("a guard", _words("not and or in"))

ELSEWHERE = {
    ("a branch", "repeat"): "it is for branches of `after`",
    ("a branch", "errors"): "it is for branches of `on_error`, and for retry policies",
    ("a branch", "invoke"): "it is for states",
    ("a callback", "eager"): "it is for entry callbacks",
    ("a callback", "grace"): "it is for jobs, below `invoke`",
    ("a callback", "heartbeat"): "it is for jobs, below `invoke`",
    (
        "a callback",
        "reconcile",
    ): "it is for its decorator: `@machine.entry(STATE, reconcile=FUNCTION)`",
    ("a job", "reconcile"): "it is for its decorator: `@machine.job(NAME, reconcile=FUNCTION)`",
    ("a callback", "on_done"): "it is for states, and for jobs, below `invoke`",
    ("a callback", "on_error"): "it is for states, and for jobs, below `invoke`",
    ("a job", "eager"): "it is for entry callbacks: a job never starts before it is durable",
    ("an event", "expiry"): "it is for `missing: {hold: 10m}`",
    ("an event", "hold"): "it is for `missing: {hold: 10m}`",
    ("a state", "emit"): "it is for branches",
    ("a state", "raise"): "it is for branches",
    ("a machine", "emit"): "it is for branches",
    ("a machine", "raise"): "it is for branches",
    ("a state", "on_failure"): "it is for the machine",
    ("a state", "retries"): "it is for the machine",
    ("a state", "data"): "it is for the machine",
    ("a state", "repeat"): "it is for branches of `after`",
    ("a machine", "entry"): "it is for states",
    ("a machine", "exit"): "it is for states",
    ("a machine", "invoke"): "it is for states",
    ("a machine", "on_done"): "it is for states",
}
"""Keys of the language that stand in the wrong kind of mapping, and where they belong."""

SYNONYMS = {
    "id": "machine",
    "name": "machine",
    "context": "data",
    "outcome": "result",
    "output": "result",
    "cond": "guard",
    "condition": "guard",
    "if": "guard",
    "conditions": "guard",
    "to": "target",
    "onDone": "on_done",
    "onError": "on_error",
    "catch": "on_error",
    "on_enter": "entry",
    "on_entry": "entry",
    "on_exit": "exit",
    "transitions": "on",
    "action": "actions",
    "callback": "do",
    "maxAttempts": "max_attempts",
    "attempts": "max_attempts",
    "set": "assign",
    "delay": "after",
}
"""Words of other libraries, and ours for them."""
