"""
What each code of a problem means, with a small machine that has it and what to do about it.

`event-center check --explain CODE` prints one of them; docs/checks.md has them all, and tests load
every example. Called by the terminal only.
"""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import dedent, indent
from typing import NamedTuple

from event_center.machine.problems import Code


class Explanation(NamedTuple):
    """One code, explained."""

    title: str
    example: str
    """A whole machine with this problem; empty where no text alone can have it."""
    advice: str


_HEAD = "machine: lamp\nversion: 1\ninitial: off\n"
_TEXTS = {
    Code.SYNTAX: (
        "The text is not readable",
        "machine: lamp\nversion: 1\ninitial: off\nstates: {off: {on: {press: off}",
        (
            "Machines are YAML 1.2 in UTF-8: one document, without tags. The place is where the reader "
            "noticed; the cause often stands a little before it."
        ),
    ),
    Code.DUPLICATE_KEY: (
        "A key is written twice",
        _HEAD + "states:\n  off: {on: {press: lit, press: off}}\n  lit: {type: final}",
        (
            "Only one of them could count. Write branches of one event as a list under one key; names of "
            "states are unique in the whole machine, also inside of other states."
        ),
    ),
    Code.DURATION: (
        "Not a duration",
        _HEAD + "states:\n  off: {on: {press: lit}, after: {30: lit}}\n  lit: {type: final}",
        "Write a whole number and a unit: 500ms, 30s, 5m, 24h, 3d.",
    ),
    Code.UNKNOWN_KEY: (
        "An unknown key",
        _HEAD + "states:\n  off: {on: {press: lit}, entyr: glow}\n  lit: {type: final}",
        "The message guesses at the key that was meant, or lists those that there are.",
    ),
    Code.NOT_SUPPORTED: (
        "Not in this release",
        _HEAD + "context_type: {}\nstates:\n  off: {on: {press: lit}}\n  lit: {type: final}",
        "The key belongs to the wider language, and this release would not obey it. Remove it.",
    ),
    Code.VALUE: (
        "A value of the wrong kind",
        (
            "machine: lamp\nversion: one\ninitial: off\nstates:\n  off: {on: {press: lit}}\n"
            "  lit: {type: final}"
        ),
        "The message says what belongs there.",
    ),
    Code.INITIAL: (
        "Nothing to begin with",
        (
            "machine: lamp\nversion: 1\ninitial: of\nstates:\n  off: {on: {press: lit}}\n"
            "  lit: {type: final}"
        ),
        ("`initial` names a state of the same level: one that is not final, and no history state."),
    ),
    Code.TARGET: (
        "A target is not declared",
        _HEAD + "states:\n  off: {on: {press: litt}}\n  lit: {type: final}",
        "Targets are names of states, wherever in the machine they stand.",
    ),
    Code.UNDECLARED_EVENT: (
        "An event is not declared",
        _HEAD + "events: {press: }\nstates:\n  off: {on: {pres: lit}}\n  lit: {type: final}",
        "With `events`, every event that the machine names is declared there.",
    ),
    Code.UNREACHABLE_BRANCH: (
        "A branch that is never taken",
        _HEAD + "states:\n  off:\n    on: {press: [lit, {target: lit, guard: =payload.hard}]}\n"
        "  lit: {type: final}",
        (
            "Branches are tried in order. One without a guard always wins, and one whose guard holds "
            "only where another one before it does never is: order them, or remove what can not happen."
        ),
    ),
    Code.FINAL_WITH_EXITS: (
        "A final state that does more than end",
        _HEAD + "states:\n  off: {on: {press: lit}}\n  lit: {type: final, on: {press: off}}",
        "Nothing leads out of a final state. One that stands inside of another has no `entry` either.",
    ),
    Code.NO_DEFAULT: (
        "A choice without a default",
        _HEAD + "states:\n  off: {on: {press: pick}}\n  lit: {type: final}\n"
        "  pick: {type: choice, always: [{target: lit, guard: =payload.hard}]}",
        (
            "If every guard says no a workflow would be stuck between two states: the last branch of a "
            "choice has no guard."
        ),
    ),
    Code.UNREACHABLE_STATE: (
        "A state that is never entered",
        _HEAD
        + "states:\n  off: {on: {press: lit}}\n  lit: {type: final}\n  dim: {on: {press: lit}}",
        "No branch leads there from where workflows begin. Connect it, or remove it.",
    ),
    Code.LIVELOCK: (
        "States without a way to an end",
        _HEAD + "states:\n  off: {on: {press: lit, burn: out}}\n  lit: {on: {press: dim}}\n"
        "  dim: {on: {press: lit}}\n  out: {type: final}",
        (
            "Whoever comes here goes round for ever; the message says on which events one comes here. "
            "If this is meant, mark a state or the machine `perpetual: true`."
        ),
    ),
    Code.DEAD_END: (
        "A state without a way out",
        _HEAD + "states:\n  off: {on: {press: lit, burn: out}}\n  lit:\n  out: {type: final}",
        "A workflow would stay for ever. Add a branch, `type: final`, or `perpetual: true`.",
    ),
    Code.ENDLESS: (
        "A step without an end",
        _HEAD + "states:\n  off: {on: {press: one}}\n  one: {type: choice, always: two}\n"
        "  two: {type: choice, always: one}",
        (
            "`always` leads back to itself if all guards say no. Where only certain values make it go "
            "round, `check` warns; what it can not see is cut after 100 moves when it happens: the "
            "event fails."
        ),
    ),
    Code.MISPLACED: (
        "A key or state without meaning here",
        _HEAD + "states:\n  off: {on: {press: pick}}\n  lit: {type: final}\n"
        "  pick: {type: choice, always: lit, entry: glow}",
        "Each type of state has its own keys: docs/machine-language.md lists them.",
    ),
    Code.NEVER_DONE: (
        "`on_done` that never happens",
        _HEAD + "states:\n  off: {on: {press: lit}, on_done: lit}\n  lit: {type: final}",
        (
            "A state is done when its entry callbacks are; one with states inside when a final state in "
            "it is reached, a parallel one when each region has reached one. The end of a job has an "
            "`on_done` of its own, below `invoke`."
        ),
    ),
    Code.NEVER_HOLDS: (
        "A guard that can never hold",
        _HEAD
        + "states:\n  off: {on: {press: [{target: lit, guard: =payload.n > 5 and payload.n < 3}, lit]}}"
        "\n  lit: {type: final}",
        (
            "Found where a guard compares fields with constants, with and, or and not between them. What "
            "nobody can decide without an event is no problem; `check --verbose` lists it."
        ),
    ),
    Code.EXPRESSION: (
        "Not an expression",
        _HEAD + "states:\n  off: {on: {press: {target: lit, guard: =payload.hard()}}}\n"
        "  lit: {type: final}",
        "Expressions are a closed subset of Python's, without calls.",
    ),
    Code.SCHEMA: (
        "Not a schema of a payload",
        _HEAD
        + "events:\n  press: {schema: {type: object, requird: [hard]}}\nstates:\n"
        + "  off: {on: {press: lit}}\n  lit: {type: final}",
        (
            "A schema is JSON Schema (drafts 4, 6, 7 and 2019-09), written into the machine: misspelt "
            "keywords and schemas elsewhere are refused, for they would be passed over."
        ),
    ),
    Code.UNKNOWN_RETRY: (
        "An unknown retry policy",
        _HEAD + "states:\n  off: {on: {press: lit}}\n"
        "  lit: {type: final, entry: {do: glow, retry: often}}",
        "Declare the policy in `retries`, write it in place, or use `default` or `none`.",
    ),
    Code.SAME_CALLBACK: (
        "One idempotency key for two runs",
        _HEAD + "states:\n  off: {on: {press: {target: lit, before: note, actions: note}}}\n"
        "  lit: {type: final}",
        (
            "A run's key has the callback's name in it. Give one of them another name; a plugin can "
            "implement both with one function."
        ),
    ),
    Code.UNKNOWN_DATA: (
        "Data that nobody declares",
        _HEAD + "states:\n  off: {on: {press: {target: lit, guard: =data.count > 3}}}\n"
        "  lit: {type: final}",
        "Declare the key with its default in `data`, or assign it somewhere.",
    ),
    Code.CROSSING: (
        "A branch into another region",
        _HEAD.replace("off", "on") + "states:\n  on:\n    type: parallel\n    states:\n"
        "      light: {initial: dark, states: {dark: {on: {press: loud}}}}\n"
        "      sound: {initial: quiet, states: {quiet: {}, loud: {}}}\n    on: {unplug: out}\n"
        "  out: {type: final}",
        (
            "Regions are active together, and each moves by itself: a branch from one into another would "
            "leave all of them, and begin the own one anew. Let both regions hear the event, `raise` one "
            "that the other region hears, or write the branch at the parallel state."
        ),
    ),
    Code.TEST: (
        "A test of the machine comes out otherwise",
        _HEAD + "states:\n  off: {on: {press: lit}}\n  lit: {type: final}\n"
        "tests:\n- {steps: [{event: press, state: off}]}",
        (
            "Found by `check` and by pytest, not when a center starts. Mend the machine, or the test: the "
            "message says what the step came to."
        ),
    ),
    Code.LOST_STATE: (
        "A workflow in a state that is no more",
        "",
        (
            "Found when an event comes for it. Put the state back into the machine, or move the workflow: "
            "`event-center set-state`."
        ),
    ),
}

EXPLANATIONS: Mapping[Code, Explanation] = {
    code: Explanation(*texts) for code, texts in _TEXTS.items()
}
"""All codes, in their order."""


def explained(code: Code) -> str:
    """One explanation, as docs/checks.md has it."""
    title, example, advice = EXPLANATIONS[code]
    shown = f"```\n{dedent(example)}\n```\n\n" if example else ""
    return f"## {code}: {title}\n\n{shown}{advice}\n"


def explained_plainly(code: Code) -> str:
    """One explanation for the terminal."""
    title, example, advice = EXPLANATIONS[code]
    shown = indent(dedent(example), "    ") + "\n\n" if example else ""
    return f"{code}: {title}\n\n{shown}{advice}"
