"""The log: structured events, natively to bytes, one line each on standard error."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import types
from typing import Any

import orjson
import structlog

from acme_server.config.settings import LoggingSettings
from acme_server.config.values import LogFormat

PARENT = "parent"


def set_up_log(settings: LoggingSettings, role: str) -> None:
    """Configure structlog for this process; ``role`` stands in each event.

    What libraries log, and an exception that nobody caught, become events as well.
    """
    level = logging.getLevelName(settings.level.upper())
    structlog.configure(
        processors=_processors(settings.format),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_logger_factory(settings.format),
        # The parent logs little, and its level may change while it runs.
        cache_logger_on_first_use=role != PARENT,
    )
    structlog.contextvars.bind_contextvars(role=role, pid=os.getpid())
    logging.basicConfig(handlers=[_LibraryEvents()], level=logging.WARNING, force=True)
    logging.captureWarnings(True)
    sys.excepthook = _log_crash


class _StandardError:
    """Standard error for whole lines, unbuffered. That its reader is gone stops nobody."""

    def write(self, line: bytes) -> None:
        """Write all of ``line``; what can't be written is lost."""
        with contextlib.suppress(OSError):
            while line:
                line = line[os.write(2, line) :]

    def flush(self) -> None:
        """Nothing is kept back."""


class _LibraryEvents(logging.Handler):
    """Turns what libraries log into events of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        """Called by the logging module."""
        structlog.get_logger().log(
            record.levelno,
            "library_logged",
            library=record.name,
            message=record.getMessage(),
            exc_info=record.exc_info,
        )


def _processors(format_: LogFormat) -> list[Any]:
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if format_ is LogFormat.CONSOLE:
        # The default formatter shows local variables where rich is installed: keys, bodies.
        console = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        return [*shared, console]
    return [
        *shared,
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(serializer=_dump),
    ]


def _logger_factory(format_: LogFormat) -> Any:
    if format_ is LogFormat.CONSOLE:
        return structlog.PrintLoggerFactory(sys.stderr)
    return structlog.BytesLoggerFactory(_StandardError())  # type: ignore[arg-type] # it has all that is used


def _dump(event: Any, default: Any = None, **_: Any) -> bytes:
    return orjson.dumps(event, default=default or str)


def _log_crash(
    kind: type[BaseException], error: BaseException, trace: types.TracebackType | None
) -> None:
    structlog.get_logger().critical("process_crashed", exc_info=(kind, error, trace))
