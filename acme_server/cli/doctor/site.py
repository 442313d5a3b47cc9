"""The installation that is examined, and what of the machine a check may look at."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from acme_server.config.settings import Settings

if TYPE_CHECKING:
    from acme_server.workflow.inspection import DatabaseFacts


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What the checks look at.

    ``database`` is None while the database can't be looked at; ``database_fault`` says why then.
    ``embedded_fault`` is what keeps the embedded database from running, ``migrations_fault`` why
    the database does not suit this version. ``master_key_fits``: whether the key opens the check
    value, None where either is missing.

    ``started`` is when the examination began, by both clocks. ``seconds`` is how long a check
    waits for one answer. ``cgroup`` and ``meminfo`` are where the kernel tells its limits.
    """

    settings: Settings
    config: Path | None = None
    environ: Mapping[str, str] = field(default_factory=dict)
    database: DatabaseFacts | None = None
    database_fault: str | None = None
    embedded_fault: str | None = None
    pending_migrations: tuple[str, ...] = ()
    migrations_fault: str | None = None
    master_key_fits: bool | None = None
    now: Callable[[], datetime] = _now
    monotonic: Callable[[], float] = time.monotonic
    started: tuple[datetime, float] = field(default_factory=lambda: (_now(), time.monotonic()))
    seconds: float = 5.0
    cgroup: Path = Path("/sys/fs/cgroup")
    meminfo: Path = Path("/proc/meminfo")
    least_free_bytes: int = 1024**3

    def get_database(self) -> DatabaseFacts:
        """The facts about the database; only for checks that need it."""
        assert self.database is not None
        return self.database
