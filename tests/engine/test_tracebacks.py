"""What is kept of a traceback: the user's calls and those of the causes, within bounds."""

from __future__ import annotations

from event_center.engine.attempt import CAUSES, FRAMES, MAX_MESSAGE, failure_of


def _raised(depth: int) -> Exception:
    try:
        _fall(depth)
    except ValueError as error:
        return error
    raise AssertionError


def _fall(depth: int) -> None:
    if depth:
        _fall(depth - 1)
    raise ValueError("too deep")


def test_the_last_calls_are_kept() -> None:
    """However deep it was, the last calls are kept, with the line that raised at the end."""
    kept = failure_of("dig", _raised(100), 0, 1).traceback
    assert kept.count("  File ") == FRAMES
    assert kept.rstrip().endswith('raise ValueError("too deep")')
    assert len(kept) <= MAX_MESSAGE


def test_causes_follow() -> None:
    """What caused an error is told behind it, and a long chain ends."""
    error = _raised(0)
    for _ in range(10):
        another = _raised(0)
        another.__cause__ = error
        error = another
    assert failure_of("dig", error, 0, 1).traceback.count("because of ValueError") == CAUSES - 1


def test_an_error_that_does_not_tell_is_one_without_calls() -> None:
    """An error of a user's own kind that fails when it is looked at is a failure like any other."""

    class Dark(Exception):
        @property
        def __traceback__(self) -> None:  # type: ignore[override]  # a user's class may do so
            raise SystemExit

    assert failure_of("dig", Dark("x"), 0, 1)[:3] == ("dig", "Dark", "x")
    assert not failure_of("dig", ValueError("never raised"), 0, 1).traceback
