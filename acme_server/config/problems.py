"""What is wrong with a configuration, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something was read: ``source`` is a file or an environment variable.

    ``line`` and ``column`` count from 1; 0 means the source as a whole.
    """

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to be put right. ``key`` is the dotted path of the setting, None for the whole."""

    place: Place | None
    key: str | None
    message: str

    def __str__(self) -> str:
        parts = (None if self.place is None else str(self.place), self.key, self.message)
        return ": ".join(part for part in parts if part is not None)


class ConfigurationError(Exception):
    """The configuration is refused; ``problems`` are all that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)
