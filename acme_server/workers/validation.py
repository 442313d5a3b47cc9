"""Carrying out validations: those just answered, and those whose owner died."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import Protocol

import structlog

from acme_server.workflow.faults import fault
from acme_server.workflow.limits import LimitUseCases
from policy.model.authorizations import ValidationTask, Verdict
from policy.model.errors import DatabaseUnavailable
from policy.model.ids import AccountId
from storage.authorizations import Authorizations
from validators.scheduling import ValidatorsBusy

_log = structlog.get_logger()


class Validating(Protocol):
    """The validators behind one call (``validators.registry``)."""

    def has_room(self, account_id: AccountId) -> bool:
        """Whether a validation of this account would be accepted now."""
        ...

    async def validate(self, task: ValidationTask) -> Verdict:
        """Never raises for what a target sends; ValidatorsBusy when there is no room."""
        ...


class ValidationWorker:
    """Validates claimed tasks in this process and records the verdicts.

    ``deadline`` is the longest a validation may take. A claim outlives it, so a task is never
    carried out twice while its owner is alive and healthy.
    """

    def __init__(
        self,
        authorizations: Authorizations,
        validators: Validating,
        *,
        owner: str,
        deadline: timedelta,
        limits: LimitUseCases | None = None,
    ) -> None:
        self._authorizations = authorizations
        self._validators = validators
        self._owner = owner
        self._limits = limits or LimitUseCases()
        self._lease = deadline + timedelta(seconds=15)
        self._running: set[asyncio.Task[Verdict | None]] = set()

    @property
    def owner(self) -> str:
        """The name under which this process claims validations."""
        return self._owner

    @property
    def lease(self) -> timedelta:
        """How long a claim holds."""
        return self._lease

    def has_room(self, account_id: AccountId) -> bool:
        """Whether a validation of this account can be taken on now."""
        return self._validators.has_room(account_id)

    def submit(self, task: ValidationTask) -> asyncio.Future[Verdict | None]:
        """Validate and record ``task``; the verdict once recorded, None if it came too late."""
        running = asyncio.get_running_loop().create_task(self._carry_out(task))
        self._running.add(running)
        running.add_done_callback(self._ended)
        return running

    async def take_over(self, limit: int = 20) -> int:
        """Claim validations whose owner died and carry them out; the number claimed."""
        tasks = await self._authorizations.claim_abandoned(self._owner, self._lease, limit)
        for task in tasks:
            _log.warning(
                "validation_taken_over",
                authorization=str(task.authorization_id),
                type=task.type,
                attempt=task.attempt,
            )
        if tasks:
            await asyncio.wait([self.submit(task) for task in tasks])
        return len(tasks)

    async def stop(self, grace: float) -> None:
        """Let running validations end for ``grace`` seconds, then leave the rest to others."""
        if self._running:
            await asyncio.wait(self._running, timeout=grace)
        for task in self._running:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _carry_out(self, task: ValidationTask) -> Verdict | None:
        fault("answer_committed")
        verdict = await self._validators.validate(task)
        fault("validated")
        recorded = await self._authorizations.conclude(task, verdict)
        fault("concluded")
        _log.info(
            "validation_ended" if recorded else "validation_result_dropped",
            authorization=str(task.authorization_id),
            identifier=str(task.identifier),
            type=task.type,
            is_valid=verdict.is_valid,
            cause=None if verdict.problem is None else verdict.problem.cause,
        )
        if not recorded:
            return None
        await self._limits.concluded(task, verdict)
        return verdict

    def _ended(self, task: asyncio.Task[Verdict | None]) -> None:
        self._running.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        # The claim expires and another process carries the validation out again.
        if isinstance(error, DatabaseUnavailable | ValidatorsBusy):
            _log.warning("validation_postponed", reason=str(error))
        else:
            _log.error("validation_failed", exc_info=error)
