"""Telling the user what takes longer."""

from __future__ import annotations

import time
from collections.abc import Callable

Progress = Callable[[str], None]


class News:
    """Tells the same thing once a second, and not at once."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._next = time.monotonic() + 1.0

    def tell(self, text: str) -> None:
        """Tell it if it is time."""
        if time.monotonic() >= self._next:
            self._next += 1.0
            self._progress(text)
