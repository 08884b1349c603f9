"""
Every error that this package raises, in one tree; the docstring says what it means and what to do next.

    EventCenterError
    ├── ConfigurationError          the settings file, an environment variable or a flag
    ├── DefinitionError             a machine's YAML: carries every problem found, in one pass
    ├── EventRefused                a bound record refuses an event, and its caller wants to hear of it
    ├── RecordChanged               a bound record was moved by somebody else while an event was decided
    ├── PluginError                 a callback module: import, signature, a name nobody implements
    ├── ExpressionError             an expression could not be compiled, or failed on its values
    ├── GuardFailed                 a guard of a plugin raised; names it and its line
    ├── UpgradeFailed               a function of `migrate` raised; names it and its line
    ├── TooLarge                    more than there may be: of data by `migrate`, of a letter written anew
    ├── FormatError                 bytes in the log that are not in a format of docs/formats.md
    ├── ExchangeError               a file of another tool is not what it should be
    ├── MigrationError              a migration can not begin, or go on, or ended with other contents
    ├── Stopped                     what was begun was not wanted any longer; nothing of it is left
    ├── ProcessFailed               a process that `run --processes` started can not be kept alive
    ├── Undecodable                 a record carries no event that its topic's rules can find
    ├── LogError                    the log itself
    │   ├── LogUnavailable          cannot be opened or reached
    │   │   └── LogRefused              it is there, and does not let us: waiting alone does not help
    │   ├── LogInUse                another daemon runs on it
    │   ├── UnknownTopic            no such topic or partition in the log
    │   ├── DataLost                records are gone before they were read, or a topic was made anew
    │   ├── NotCommitted            certain: nothing of the cut is durable; the lease stands
    │   ├── Fenced                  the lease is lost; somebody else owns the shard
    │   └── Unknown                 the cut may or may not be durable: take the shard over and look
    ├── CallbackError               raised by callbacks on purpose
    │   ├── RetryLater              try again after a delay; uses an attempt
    │   └── PermanentError          do not try again
    ├── HeartbeatTimeout            a job was silent for longer than its `heartbeat`; a TimeoutError, too
    ├── TopicClosed                a run has published to a topic that takes nothing at the moment
    ├── Crashed                     a run seems to end its process each time: kept as its failure
    ├── Interrupted                 the center itself ended a run; never leaves the engine room
    ├── Standstill                  under virtual time nothing would ever happen again
    ├── Unsettled                   the center of a test does not come to rest, or serves nothing
    ├── NoSuchWorkflow              a test asks for a workflow that there is not; names those there are
    ├── UnknownState                somebody asks for a state that the machine does not have
    ├── NotReached                  a workflow has not got where it was waited for in time; a TimeoutError
    ├── NeverReached                a workflow has ended elsewhere than where it was waited for
    └── InvariantError              this package is wrong: the daemon stops, loudly
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple


class EventCenterError(Exception):
    """Base of all errors of this package."""


class ConfigurationError(EventCenterError):
    """A setting is unknown, missing or of the wrong form; the message names the key and its source."""


class ProcessFailed(EventCenterError):
    """A process that the supervisor started ends again and again; `code` is its last exit code, or 1."""

    def __init__(self, message: str, code: int) -> None:
        self.code = code
        super().__init__(message)


class Problem(NamedTuple):
    """One mistake in a machine definition."""

    source: str
    line: int
    column: int
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column} {self.code} {self.message}"


class DefinitionError(EventCenterError):
    """A machine definition has problems; `problems` holds all of them, in the order of the file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class EventRefused(EventCenterError):
    """A bound record refuses an event; `reason` and `accepted` say why, as data."""

    def __init__(self, message: str, reason: str, accepted: tuple[str, ...]) -> None:
        self.reason = reason
        """One of `model.Reason`."""
        self.accepted = accepted
        """The events that its state accepts."""
        super().__init__(message)


class RecordChanged(EventCenterError):
    """A bound record was moved while an event was decided; nothing of the event was written."""


class PluginError(EventCenterError):
    """A plugin cannot be used; the message names file, line and what was expected."""


class ExpressionError(EventCenterError):
    """An expression is not in the language, or failed on the values it was given."""

    where: str = ""
    """Of one in a machine: its file:line:column."""


class GuardFailed(EventCenterError):
    """A guard of a plugin raised; `__cause__` is what it raised."""

    def __init__(self, name: str, file_line: str) -> None:
        self.name = name
        """As the machine calls it."""
        self.file_line = file_line
        super().__init__(f"{file_line}: guard {name!r} failed")


class UpgradeFailed(EventCenterError):
    """A function that `migrate` names raised; `__cause__` is what it raised."""

    def __init__(self, name: str, file_line: str) -> None:
        self.name = name
        """As the machine calls it."""
        self.file_line = file_line
        super().__init__(f"{file_line}: upgrade {name!r} failed")


class TooLarge(EventCenterError):
    """
    More than there may be: of data that `migrate` makes, or of a letter's event written anew.

    The workflow stays as it was, and is parked; the letter is not replayed.
    """


class FormatError(EventCenterError):
    """Bytes are not in a known format: damaged, or written by a newer release."""


class ExchangeError(EventCenterError):
    """A file of another tool can not be read as a machine; the message says what was expected."""


class MigrationError(EventCenterError):
    """A migration can not begin, or go on, or both sides differ; the message says the way out."""


class Stopped(EventCenterError):
    """Ctrl-C or SIGTERM came before the work was done, and nothing of it is left half done."""


class Undecodable(EventCenterError):
    """A record carries no event that its topic's rules can find; `reason` goes into its dead letter."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        """One of `model.Reason`."""
        super().__init__(message)


class LogError(EventCenterError):
    """The log failed; `topic` is the one that takes nothing more as it is, if that is why."""

    def __init__(self, message: str = "", *, topic: str = "") -> None:
        self.topic = topic
        super().__init__(message)


class LogUnavailable(LogError):
    """The log cannot be opened or reached; the message says where it was looked for."""


class LogRefused(LogUnavailable):
    """The log is there and does not let us in, or not do this; the message says what to change."""


class LogInUse(LogError):
    """Somebody else is here: another daemon, another number of shards, or one more of an instance_id."""


class UnknownTopic(LogError):
    """The log has no such topic or partition; the message lists the topics it has."""


class DataLost(LogError):
    """
    The log has not what this center was to read next; the message says where, and what can be done.

    Nothing was skipped: `[log] on_data_loss = "continue"` goes on without what is gone.
    """


class NotCommitted(LogError):
    """Certain: nothing of this cut became durable. The lease stands; the same cut may be tried again."""


class Fenced(LogError):
    """The lease is lost: discard the shard's memory and everything in flight."""


class Unknown(LogError):
    """Nobody knows whether the cut became durable. Never retry it: take the shard over and restore."""


class CallbackError(EventCenterError):
    """Base of what a callback raises to say how its failure is meant."""


class RetryLater(CallbackError):
    """Try this callback again after `delay_s` seconds; it uses one of the policy's attempts."""

    def __init__(self, delay_s: float | timedelta, message: str = "") -> None:
        """
        Say after how long.

        Args:
            delay_s: seconds, or a `timedelta`.
            message: why; stands in the log and in `show`.

        Raises:
            TypeError: the delay is neither.
        """
        if isinstance(delay_s, timedelta):
            delay_s = delay_s.total_seconds()
        elif not isinstance(delay_s, int | float):
            raise TypeError(
                f"RetryLater takes seconds or a timedelta, not {type(delay_s).__name__}; "
                "write RetryLater(30) or RetryLater(timedelta(minutes=1))"
            )
        self.delay_s = delay_s
        super().__init__(message or f"asked to be tried again in {float(delay_s):g} s")


class PermanentError(CallbackError):
    """No further attempt can help: go to `on_error` or `on_failure` at once."""


class HeartbeatTimeout(EventCenterError, TimeoutError):
    """A job has not called `ctx.heartbeat` within its `heartbeat`: the attempt has failed."""


class Interrupted(EventCenterError):
    """The run was ended by the center, not by its callback: the attempt does not count."""


class TopicClosed(EventCenterError):
    """A callback has published to a topic that takes nothing now: it runs again, and loses no attempt."""


class Crashed(EventCenterError):
    """A run was begun at takeover after takeover, and its process ended each time before the run did."""


class Standstill(EventCenterError):
    """Under virtual time every asyncio task waits, and no timer would wake one."""


class Unsettled(EventCenterError):
    """The center of a test does not come to rest, or is down; the message names what goes on."""


class NoSuchWorkflow(EventCenterError, LookupError):
    """The center of a test has no workflow of this id; the message names those that it has."""


class UnknownState(EventCenterError, LookupError):
    """No workflow that is meant can ever be in this state; the message names those there are."""


class NotReached(EventCenterError, TimeoutError):
    """A workflow has not reached what was waited for in time; the message says where it is."""


class NeverReached(EventCenterError):
    """A workflow has ended, and not in the state that was waited for; the message says where."""


class InvariantError(EventCenterError):
    """A promise of this package does not hold inside this process. Please report it with the message."""
