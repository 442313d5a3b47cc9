"""What an attempt did and saw, step by step, as evidence for the operator."""

from __future__ import annotations

import time
from typing import Any


class Trace:
    """The steps of one attempt, JSON-ready, in the order in which they began.

    A step is added before it is carried out, and its outcome written into it afterwards: when
    the time is over, the last step tells what was being waited for. Strings from outside must
    be excerpts (``validators.excerpts``).
    """

    __slots__ = ("_started", "steps")

    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []
        self._started = time.monotonic()

    def begin(self, step: str, **facts: object) -> dict[str, Any]:
        """Add a step; the caller writes its outcome into the returned mapping."""
        entry: dict[str, Any] = {"step": step, "at_ms": self._elapsed(), **facts}
        self.steps.append(entry)
        return entry

    @property
    def last(self) -> str:
        """The name of the last step, "" before the first."""
        return str(self.steps[-1]["step"]) if self.steps else ""

    def _elapsed(self) -> float:
        return round((time.monotonic() - self._started) * 1000, 1)
