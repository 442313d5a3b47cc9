"""All validators behind one call, with its deadline, retries and limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from policy.model.authorizations import ValidationTask, Verdict
from policy.model.ids import AccountId
from validators.causes import CAUSES
from validators.trace import Trace


class Validator(Protocol):
    """One challenge type."""

    async def prove(self, task: ValidationTask, trace: Trace) -> None:
        """Returns when control is proven; raises ValidationFailure when it is not."""
        ...


class ValidatorsBusy(Exception):
    """No validation can be started in time: the queue is full, or the wait was too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySettings:
    """A failure with one of ``causes`` (codes) is tried again, after ``delay``, until
    ``attempts`` were made; every other failure is final at once."""

    attempts: int = 3
    delay: timedelta = timedelta(seconds=1)
    causes: frozenset[str] = frozenset(code for code, cause in CAUSES.items() if cause.is_transient)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSettings:
    """How many validations run at a time, in all and for one account; how many may wait for
    their turn, and how long. Accounts take turns."""

    concurrency: int = 100
    per_account: int = 20
    queue: int = 1000
    queue_wait: timedelta = timedelta(seconds=10)


class Validators:
    """Carries out validation tasks by the validator of their type."""

    def __init__(
        self,
        validators: Mapping[str, Validator],
        *,
        deadline: timedelta,
        retries: RetrySettings = RetrySettings(),
        load: LoadSettings = LoadSettings(),
        perspective: str = "primary",
    ) -> None:
        self._validators = validators
        self._deadline = deadline

    def has_room(self, account_id: AccountId) -> bool:
        """Whether a validation of this account would be accepted now."""
        raise NotImplementedError

    async def validate(self, task: ValidationTask) -> Verdict:
        """The verdict, at most ``deadline`` after the task's turn came.

        Whatever a target sends ends in a verdict. Raises ValidatorsBusy, and nothing else.
        """
        raise NotImplementedError
