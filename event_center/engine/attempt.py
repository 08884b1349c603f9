"""
When a failed callback is tried again: a pure function of its policy, the attempt and what was raised.

`failing` (decide callbacks and guards) and `effect` (entry callbacks) ask it when to try again, and
`outbox` how to tell an error; what they do with the answer is theirs. Nothing that a callback can
raise makes it fail.
"""

from __future__ import annotations

import math
import traceback
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType

from event_center.errors import PermanentError, RetryLater
from event_center.machine.decision import Retry
from event_center.model import Failure, Owed

LONGEST_S = 366 * 86_400.0
"""
The longest delay that a callback can ask for: a year and a day is a mistake, or a state of its own.
"""
LARGEST = 700.0
"""The logarithm of the largest growth of a delay that is worked out: soon after it floats end."""
MAX_MESSAGE = 2_000
"""Characters of an error's message that are kept: it stands in the snapshot until the next event."""
FRAMES = 8
"""Calls of a traceback that are kept, the last ones: what is wrong is near the end."""
CAUSES = 3
"""Errors of a chain of causes of which the calls are kept: the first causes are seldom further away."""


ROOT = str(Path(__file__).parents[1])
"""Where the files of this package are."""
CRASHED = 10
"""
Takeovers that find a run without a result before its workflow is parked: what ended the process so often
will do it again, and a deploy or a crash of something else seldom meets the same run three times.
"""


def anew(owed: Owed) -> Owed:
    """The same run with all its attempts; that one of them may have happened is not forgotten."""
    return owed._replace(attempt=0, due_ms=0, starts=min(owed.starts, 1))


def has_failed(owed: Owed) -> bool:
    """Whether a run has failed for good, so that only a command begins it anew."""
    return owed.attempt > 0 and not owed.due_ms


def failure_of(callback: str, error: BaseException, at_ms: int, attempt: int) -> Failure:
    """What is kept of an error that a callback raised, as text that the log can hold."""
    try:
        message = str.__str__(str(error))  # of a text of the user's own kind, the plain text
    except BaseException as raised:  # noqa: BLE001 - user code: an error that can not be printed
        message = f"its message can not be read: {type(raised).__name__}"
    try:
        where = _storable("".join(_calls(error)))
    except BaseException:  # noqa: BLE001 - user code: an error that does not tell of itself
        where = ""
    return Failure(
        callback, _storable(type(error).__name__), _storable(message), at_ms, attempt, where
    )


def _calls(error: BaseException) -> Iterator[str]:
    """The calls in which the error and its causes were raised, this package's own left out."""
    for one in islice(_causes(error), CAUSES):
        frames = traceback.extract_tb(_of_users(one.__traceback__), limit=-FRAMES)
        if frames:
            yield "" if one is error else f"because of {type(one).__name__}:\n"
            for frame in frames:
                yield f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}\n'
                yield f"    {frame.line}\n"


def _causes(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)


def _of_users(found: TracebackType | None) -> TracebackType | None:
    """What a traceback holds from the first call on that is none of the engine's."""
    while found is not None and found.tb_frame.f_code.co_filename.startswith(ROOT):
        found = found.tb_next
    return found


def _storable(text: str) -> str:
    """A text as the log can store it: not too long, and with halves of characters written out."""
    return text[:MAX_MESSAGE].encode("utf-8", "backslashreplace").decode()


def delay_ms(retry: Retry, attempt: int, error: BaseException, key: str) -> int | None:
    """
    How long to wait after this attempt (1 for the first) before the next one; None: there is none.

    Full jitter is drawn from the idempotency key and the attempt, so that a replay of the same run
    waits as long, and runs that failed together do not come back together.
    """
    if isinstance(error, PermanentError) or attempt >= retry.max_attempts:
        return None
    if (
        retry.errors
        and not isinstance(error, RetryLater)
        and type(error).__name__ not in retry.errors
    ):
        return None
    if isinstance(error, RetryLater):
        # Not a number is no delay, and an endless one ends: the time has to fit into the log.
        asked = _asked_s(error)
        return round(min(asked, LONGEST_S) * 1000) if asked > 0 else 0
    steps = attempt - 1
    beyond = steps * math.log(retry.backoff_rate) > LARGEST
    growth = math.exp(LARGEST) if beyond else retry.backoff_rate**steps
    delay = min(retry.interval_ms * growth, retry.max_delay_ms)
    if retry.jitter == "full":
        delay *= zlib.crc32(f"{key}/{attempt}".encode()) / 0xFFFFFFFF
    return round(delay)


def _asked_s(error: RetryLater) -> float:
    """The delay that it asks for; 0 if a subclass has made something else than a number of it."""
    try:
        return error.delay_s if type(error.delay_s) is int else float(error.delay_s)
    except BaseException:  # noqa: BLE001 - user code: an attribute of a class of the user's
        return 0.0
