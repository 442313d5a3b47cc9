"""Which rule of the operator's policy decided, and where it stands."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidingRule:
    """A rule by its name, its file as it is configured, and its line there, from 1."""

    name: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.name} ({self.file}:{self.line})"
