"""The time and the randomness that use cases are given."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

from policy.model.ids import time_ordered_id


class Clock(Protocol):
    """Where a use case gets the time from; a test gives its own."""

    def now(self) -> datetime:
        """The present moment, in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The present moment, in UTC."""
        return datetime.now(UTC)


def new_id() -> UUID:
    """An id for an object made now (``policy.model.ids``)."""
    return time_ordered_id(time.time_ns() // 1_000_000, os.urandom(10))
