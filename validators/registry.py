"""All validators behind one call, with its deadline, retries and limits."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import structlog

from policy.model.authorizations import Evidence, ValidationTask, Verdict
from policy.model.errors import Problem
from policy.model.identifiers import IdentifierType
from policy.model.ids import AccountId
from validators import causes
from validators.caa import CaaChecker, CaaOutcome
from validators.causes import CAUSES, ValidationFailure
from validators.excerpts import excerpt
from validators.scheduling import LoadSettings, Turns, ValidatorsBusy
from validators.sockets import SocketsExhausted
from validators.trace import Trace

_log = structlog.get_logger()

# Codes of causes that may be gone a moment later.
PASSING = frozenset(code for code, cause in CAUSES.items() if cause.is_transient)

_DNS_STEPS = frozenset({"query"})


class Validator(Protocol):
    """One challenge type."""

    async def prove(self, task: ValidationTask, trace: Trace) -> timedelta | None:
        """Returns when control is proven; raises ValidationFailure when it is not.

        What it returns is how long the proof may be relied on, None for no bound of its own.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySettings:
    """A failure with one of ``causes`` (codes) is tried again, after ``delay``, until
    ``attempts`` were made; every other failure is final at once."""

    attempts: int = 3
    delay: timedelta = timedelta(seconds=1)
    causes: frozenset[str] = PASSING


@dataclass(frozen=True, slots=True, kw_only=True)
class CaaPolicy:
    """What to do about CAA records. Unless ``is_enforced``, what they say is noted, no more."""

    checker: CaaChecker
    is_enforced: bool


@dataclass(slots=True)
class _Run:
    """What happened to a task so far; ``caa`` is the evidence of the last check."""

    traces: list[Trace] = field(default_factory=list)
    failure: ValidationFailure | None = None
    is_proven: bool = False
    reliance: timedelta | None = None
    caa: dict[str, Any] | None = None
    defect: str | None = None


class Validators:
    """Carries out validation tasks by the validator of their type.

    ``deadline`` holds for a task with all its attempts. ``perspective`` names this place of the
    network in the evidence. ``now`` tells the time, in UTC.
    """

    def __init__(
        self,
        validators: Mapping[str, Validator],
        *,
        deadline: timedelta,
        retries: RetrySettings | None = None,
        load: LoadSettings | None = None,
        caa: CaaPolicy | None = None,
        perspective: str = "primary",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._validators = dict(validators)
        self._deadline = deadline.total_seconds()
        self._retries = retries or RetrySettings()
        self._turns = Turns(load or LoadSettings())
        self._caa = caa
        self._perspective = perspective
        self._now = now

    def has_room(self, account_id: AccountId) -> bool:
        """Whether a validation of this account would be accepted now."""
        return self._turns.has_room(account_id)

    async def validate(self, task: ValidationTask) -> Verdict:
        """The verdict, at most ``deadline`` after the task's turn came.

        Whatever a target sends ends in a verdict, and so does a defect of ours, which is logged.
        Raises ValidatorsBusy, and nothing else.
        """
        await self._turns.take(task.account_id)
        try:
            return await self._carry_out(task)
        finally:
            self._turns.give_back(task.account_id)

    async def _carry_out(self, task: ValidationTask) -> Verdict:
        started_at = self._now()
        run = _Run()
        try:
            async with asyncio.timeout(self._deadline):
                await self._attempt_until_final(task, run)
        except TimeoutError:
            run.failure = run.failure or self._deadline_failure(run)
        except SocketsExhausted as error:
            raise ValidatorsBusy("no sockets are left") from error
        except Exception as error:  # noqa: BLE001 - the edge; it is logged and concluded
            run.failure = ValidationFailure(causes.INTERNAL)
            run.defect = "".join(traceback.format_exception(error))
            _log.exception(
                "validation_crashed", authorization=str(task.authorization_id), type=task.type
            )
        return self._conclude(task, run, started_at)

    async def _attempt_until_final(self, task: ValidationTask, run: _Run) -> None:
        validator = self._validators.get(task.type)
        if validator is None:
            run.failure = ValidationFailure(causes.TYPE_UNSUPPORTED, type=excerpt(task.type))
            return
        for attempt in range(1, self._retries.attempts + 1):
            trace = Trace()
            run.traces.append(trace)
            try:
                run.reliance = await validator.prove(task, trace)
                await self._check_caa(task, trace, run)
            except ValidationFailure as failure:
                run.failure = failure
                if failure.cause.code not in self._retries.causes:
                    return
            else:
                run.is_proven = True
                return
            if attempt < self._retries.attempts:
                await asyncio.sleep(self._retries.delay.total_seconds())

    async def _check_caa(self, task: ValidationTask, trace: Trace, run: _Run) -> None:
        """Raises ValidationFailure for what CAA forbids, if it is enforced."""
        if self._caa is None or task.identifier.type is not IdentifierType.DNS:
            return
        # A check that only informs can't make the validation fail, not even by the deadline.
        run.is_proven = not self._caa.is_enforced
        outcome = await self._caa.checker.check(
            task.identifier.value,
            is_wildcard=task.wildcard,
            account_id=task.account_id,
            method=task.type,
            trace=trace,
        )
        run.caa = outcome.facts
        trace.begin("caa", **outcome.facts)
        if outcome.failure is not None:
            _log_objection(task, outcome, is_enforced=self._caa.is_enforced)
            if self._caa.is_enforced:
                raise outcome.failure

    def _deadline_failure(self, run: _Run) -> ValidationFailure:
        """Named after what was being waited for."""
        waited_for = run.traces[-1].last if run.traces else ""
        cause = causes.DEADLINE_DNS if waited_for in _DNS_STEPS else causes.DEADLINE_NETWORK
        return ValidationFailure(cause, seconds=self._deadline)

    def _conclude(self, task: ValidationTask, run: _Run, started_at: datetime) -> Verdict:
        facts: dict[str, Any] = {"attempts": [trace.steps for trace in run.traces]}
        if run.caa is not None:
            facts["caa"] = run.caa
        if run.defect is not None:
            facts["defect"] = excerpt(run.defect, 4000)
        problem: Problem | None = None
        is_ours = False
        if not run.is_proven:
            assert run.failure is not None
            problem, is_ours = run.failure.as_problem(), run.failure.is_ours
        return Verdict(
            problem=problem,
            is_ours=is_ours,
            reliance=run.reliance,
            evidence=Evidence(
                method=task.type,
                perspective=self._perspective,
                started_at=started_at,
                finished_at=self._now(),
                facts=facts,
            ),
        )


def _log_objection(task: ValidationTask, outcome: CaaOutcome, *, is_enforced: bool) -> None:
    _log.warning(
        "caa_objected",
        authorization=str(task.authorization_id),
        is_enforced=is_enforced,
        **outcome.facts,
    )
