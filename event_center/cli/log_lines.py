"""
Log lines of the daemon: structlog's events on stderr, for people or for machines.

`run` sets this up once, before the center opens. Lines go to whatever `sys.stderr` is at the
moment, so that a progress bar can hold them above itself.
"""

from __future__ import annotations

import logging
import sys

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from event_center.app.settings import LoggingSettings


class _Lines:
    """A logger that writes one line for each event."""

    def msg(self, message: str) -> None:
        """Write the line."""
        sys.stderr.write(message + "\n")
        sys.stderr.flush()

    debug = info = warning = error = critical = exception = msg


def set_up_logging(settings: LoggingSettings, **always: object) -> None:
    """Log as the settings say, and these fields in every line."""
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    # What troubles the Kafka client ends in an event of ours; its own lines are for debugging.
    logging.getLogger("aiokafka").setLevel(level if settings.level == "debug" else logging.CRITICAL)
    people = settings.format == "console" or (settings.format == "auto" and sys.stderr.isatty())
    processors: list[Processor] = [
        lambda _logger, _name, event: {**event, **always},
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if people:
        # As the fields were given: whose line it is comes first.
        processors.append(
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), sort_keys=False)
        )
    else:
        processors += [structlog.processors.format_exc_info, _json]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_factory,
        cache_logger_on_first_use=False,
    )


def set_up_quiet_logging(settings: LoggingSettings) -> None:
    """Of what a log says only errors, unless all is asked for: a command has words of its own."""
    level = "debug" if settings.level == "debug" else "error"
    set_up_logging(settings.model_copy(update={"level": level}))


def _factory(*_: object) -> WrappedLogger:
    return _Lines()


def _json(_logger: WrappedLogger, _name: str, event: EventDict) -> str:
    first = {name: event.pop(name) for name in ("timestamp", "level", "event") if name in event}
    return orjson.dumps(first | dict(event), default=str, option=orjson.OPT_NON_STR_KEYS).decode()
