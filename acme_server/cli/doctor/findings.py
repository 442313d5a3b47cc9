"""What a check finds."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from acme_server.cli.doctor.site import Site


class Severity(enum.StrEnum):
    """How bad it is. OK and INFO need nothing, WARNING will hurt some day, ERROR hurts now."""

    OK = "ok"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def exit_code(self) -> int:
        """The command's exit code when nothing worse was found."""
        return {Severity.WARNING: 1, Severity.ERROR: 2}.get(self, 0)


_ORDER = list(Severity)


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a check. ``remedy`` says what to do; OK has none."""

    severity: Severity
    message: str
    remedy: str | None = None
    check: str = ""


Examine: TypeAlias = Callable[[Site], Iterator[Finding]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Something to look at. ``needs_database``: it is left out while there is none to look at."""

    name: str
    examine: Examine
    needs_database: bool = False


def ok(message: str) -> Finding:
    """Nothing is wrong."""
    return Finding(Severity.OK, message)


def info(message: str, remedy: str | None = None) -> Finding:
    """Worth knowing."""
    return Finding(Severity.INFO, message, remedy)


def warning(message: str, remedy: str) -> Finding:
    """It will hurt some day."""
    return Finding(Severity.WARNING, message, remedy)


def error(message: str, remedy: str) -> Finding:
    """It hurts now."""
    return Finding(Severity.ERROR, message, remedy)


def worst_of(findings: Iterable[Finding]) -> Severity:
    """The worst severity among the findings."""
    return max((finding.severity for finding in findings), key=_ORDER.index, default=Severity.OK)
