"""Jobs that come round: each in a loop of its own, and none takes another down."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import structlog

from policy.model.errors import DatabaseUnavailable

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Something done again and again. ``every`` is the pause in seconds between two runs, drawn
    a tenth shorter or longer so that replicas don't march in step."""

    name: str
    every: float
    run: Callable[[], Awaitable[object]]


@dataclass(slots=True)
class JobRunner:
    """Runs jobs until it is stopped; ``failures`` counts, per job, the runs that raised."""

    jobs: Sequence[Job]
    failures: dict[str, int] = field(default_factory=dict)

    async def run(self) -> None:
        """Run all jobs for ever; ends by cancellation."""
        async with asyncio.TaskGroup() as group:
            for job in self.jobs:
                group.create_task(self._repeat(job), name=job.name)

    async def _repeat(self, job: Job) -> None:
        while True:
            try:
                await job.run()
            except DatabaseUnavailable as error:
                self._count(job)
                _log.warning("job_postponed", job=job.name, reason=str(error))
            except Exception:  # noqa: BLE001 - a worker loop: one bad run must not end the job
                self._count(job)
                _log.exception("job_failed", job=job.name)
            await asyncio.sleep(job.every * random.uniform(0.9, 1.1))  # noqa: S311 - only jitter

    def _count(self, job: Job) -> None:
        self.failures[job.name] = self.failures.get(job.name, 0) + 1
