"""The log: structured events, natively to bytes, one line each on standard error."""

from __future__ import annotations

import logging
import sys
from typing import Any

import orjson
import structlog

from acme_server.config.settings import LoggingSettings
from acme_server.config.values import LogFormat


def set_up_log(settings: LoggingSettings, role: str) -> None:
    """Configure structlog for this process; ``role`` stands in each event."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    wrapper = structlog.make_filtering_bound_logger(logging.getLevelName(settings.level.upper()))
    if settings.format is LogFormat.CONSOLE:
        structlog.configure(
            processors=[*shared, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())],
            wrapper_class=wrapper,
            logger_factory=structlog.PrintLoggerFactory(sys.stderr),
            cache_logger_on_first_use=True,
        )
    else:
        structlog.configure(
            processors=[
                *shared,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(serializer=_dump),
            ],
            wrapper_class=wrapper,
            logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
            cache_logger_on_first_use=True,
        )
    structlog.contextvars.bind_contextvars(role=role)
    # Libraries' own messages; what matters of them reaches our events as causes.
    logging.basicConfig(level=logging.CRITICAL, stream=sys.stderr)


def _dump(event: Any, default: Any = None, **_: Any) -> bytes:
    return orjson.dumps(event, default=default or str)
