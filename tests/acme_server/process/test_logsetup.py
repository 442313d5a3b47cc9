"""The log is JSON lines on standard error, whoever speaks."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from support.checkout import ROOT

_PROLOGUE = """
import logging, sys, warnings
import structlog
from acme_server.config.settings import LoggingSettings
from acme_server.config.values import LogFormat, LogLevel
from acme_server.process.logsetup import set_up_log
log = structlog.get_logger()
"""
_SET_UP = "set_up_log(LoggingSettings(), 'http')\n"


def run_script(script: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """A process of a few lines after the imports."""
    return subprocess.run(
        [sys.executable, "-c", _PROLOGUE + script],
        stderr=options.pop("stderr", subprocess.PIPE),
        stdout=subprocess.PIPE,
        cwd=ROOT,
        check=False,
        **options,
    )


def events_of(script: str) -> list[dict[str, Any]]:
    """The events that a script logs; each line must be one."""
    result = run_script(script)
    assert result.stdout == b""
    return [json.loads(line) for line in result.stderr.splitlines()]


def test_event_is_one_line_with_time_level_role_and_process() -> None:
    (event,) = events_of(_SET_UP + "log.info('order_created', order='a\\nb', count=3)")

    assert event["event"] == "order_created"
    assert event["order"] == "a\nb"
    assert event["count"] == 3
    assert event["level"] == "info"
    assert event["role"] == "http"
    assert event["pid"] > 0
    assert event["timestamp"].endswith("Z")


def test_less_important_events_are_left_out() -> None:
    script = "set_up_log(LoggingSettings(level=LogLevel.WARNING), 'http')\n"

    events = events_of(script + "log.info('a_done'); log.warning('b_done'); log.error('c_done')")

    assert [event["event"] for event in events] == ["b_done", "c_done"]


@pytest.mark.parametrize(("role", "levels"), [("parent", ["info"]), ("http", [])])
def test_level_changes_while_the_parent_runs(role: str, levels: list[str]) -> None:
    events = events_of(
        f"set_up_log(LoggingSettings(level=LogLevel.ERROR), {role!r}); log.info('a_done')\n"
        f"set_up_log(LoggingSettings(), {role!r}); log.info('b_done')"
    )

    assert [event["level"] for event in events] == levels


def test_exception_comes_with_its_traceback_and_no_values() -> None:
    (event,) = events_of(
        _SET_UP + "def f(secret):\n    raise ValueError('broken')\n"
        "try:\n    f('hidden')\nexcept ValueError:\n    log.exception('job_failed')"
    )

    assert event["exception"].endswith("ValueError: broken")
    assert "hidden'" not in event["exception"].replace("f('hidden')", "")


def test_what_libraries_log_becomes_an_event() -> None:
    info, warning = (
        "logging.getLogger('asyncio').info('x')",
        "logging.getLogger('asyncio').error('y')",
    )

    (event,) = events_of(f"{_SET_UP}{info}\n{warning}")

    assert (event["event"], event["level"]) == ("library_logged", "error")
    assert (event["library"], event["message"]) == ("asyncio", "y")


def test_warning_becomes_an_event() -> None:
    (event,) = events_of(_SET_UP + "warnings.warn('old')")

    assert event["event"] == "library_logged"
    assert "old" in event["message"]


def test_end_by_an_exception_is_an_event() -> None:
    result = run_script(_SET_UP + "raise ValueError('broken')")

    (event,) = map(json.loads, result.stderr.splitlines())
    assert result.returncode == 1
    assert (event["event"], event["level"]) == ("process_crashed", "critical")
    assert event["exception"].endswith("ValueError: broken")


def test_values_of_any_type_can_be_logged() -> None:
    (event,) = events_of(_SET_UP + "log.info('a_done', where=object, raw=b'x')")

    assert event["raw"] == "b'x'"
    assert event["where"] == "<class 'object'>"


def test_console_format_is_for_eyes() -> None:
    script = "set_up_log(LoggingSettings(format=LogFormat.CONSOLE), 'http')\n"

    result = run_script(script + "log.info('order_created', order='a')")

    assert b"order_created" in result.stderr
    assert b"order=a" in result.stderr
    assert not result.stderr.startswith(b"{")


def test_closed_standard_error_stops_nobody() -> None:
    result = run_script(
        "import os\n" + _SET_UP + "os.close(2)\nlog.info('a_done')\nprint('went on')"
    )

    assert result.stdout == b"went on\n"
    assert result.returncode == 0


def test_long_line_is_written_whole() -> None:
    (event,) = events_of(_SET_UP + "log.info('a_done', text='x' * 300_000)")

    assert len(event["text"]) == 300_000
