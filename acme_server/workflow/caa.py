"""CAA before a certificate is issued: once more for each name whose last check is too old.

Validations check as well (``validators.registry``); what they found holds for eight hours, or for
the lifetime of the records if that is longer. Each name counts on its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import structlog

from acme_server.workflow.clock import Clock
from policy.model.accounts import Caller
from policy.model.authorizations import Authorization, AuthorizationStatus
from policy.model.errors import ErrorKind, Problem, ServerError
from policy.model.identifiers import Identifier, IdentifierType
from policy.model.ids import AccountId
from storage.caachecks import CaaCheck, CaaChecks
from validators.caa import CaaOutcome
from validators.sockets import SocketsExhausted
from validators.trace import Trace

_log = structlog.get_logger()

# What the Baseline Requirements, section 3.2.2.8, allow at least.
CHECK_LIFETIME = timedelta(hours=8)
# Of this process: names looked up at once, and orders whose check nobody waits for.
_CONCURRENCY = 32
_MOST_ADVISORY = 100
_BUSY_RETRY_SECONDS = 10


class NameChecker(Protocol):
    """Checks one name (``validators.caa.CaaChecker``)."""

    async def check(
        self, name: str, *, is_wildcard: bool, account_id: AccountId, method: str, trace: Trace
    ) -> CaaOutcome:
        """Never raises for what DNS answers."""
        ...


@dataclass(frozen=True, slots=True)
class _Name:
    """A name of an order, and the authorization that covers it, None if there is none."""

    identifier: Identifier
    authorization: Authorization | None

    @property
    def method(self) -> str:
        """The challenge type by which control was proven, "" for none."""
        challenges = () if self.authorization is None else self.authorization.challenges
        return next((each.type for each in challenges if each.validated_at is not None), "")


class CaaUseCases:
    """Checks the names of orders. Unless ``is_enforced``, objections are logged, no more.

    ``patience`` bounds the check of all names of an order.
    """

    def __init__(
        self,
        checker: NameChecker,
        checks: CaaChecks,
        clock: Clock,
        *,
        is_enforced: bool,
        patience: timedelta,
    ) -> None:
        self._checker = checker
        self._checks = checks
        self._clock = clock
        self._is_enforced = is_enforced
        self._patience = patience.total_seconds()
        self._turns = asyncio.Semaphore(_CONCURRENCY)
        self._running: set[asyncio.Task[None]] = set()

    async def check(
        self,
        caller: Caller,
        identifiers: Sequence[Identifier],
        authorizations: Sequence[Authorization],
    ) -> None:
        """Look the stale names up again. Unless enforced, that is not waited for.

        Raises ServerError: CAA for what records forbid, DNS for lookups that failed, UNAVAILABLE
        without sockets for them.
        """
        names = [
            _Name(identifier, _covering(identifier, authorizations))
            for identifier in identifiers
            if identifier.type is IdentifierType.DNS
        ]
        if self._is_enforced:
            await self._enforce(caller, names)
        elif stale := [name for name in names if not self._is_validation_fresh(name)]:
            self._advise_later(caller, stale)

    async def drain(self, grace: float) -> None:
        """Wait up to ``grace`` seconds for checks that nobody waits for."""
        if self._running:
            await asyncio.wait(self._running, timeout=grace)

    async def _enforce(self, caller: Caller, names: list[_Name]) -> None:
        ids = {name.authorization.id for name in names if name.authorization is not None}
        checks = await self._checks.find(list(ids))
        fresh = {(each.name, each.is_wildcard) for each in checks if self._is_fresh(each)}
        stale = [name for name in names if _key(name.identifier) not in fresh]
        if not stale:
            return
        try:
            problems = await self._look_up(caller, stale)
        except TimeoutError:
            raise ServerError(
                ErrorKind.DNS,
                f"The CAA records of the names were not all found within {self._patience:g} s. "
                "Check that their name servers answer, and finalize the order again.",
            ) from None
        except SocketsExhausted:
            raise ServerError(
                ErrorKind.UNAVAILABLE,
                "Too many lookups are under way; finalize the order again a little later.",
                retry_after=_BUSY_RETRY_SECONDS,
            ) from None
        if problems:
            raise _refusal(problems, len(names))

    def _advise_later(self, caller: Caller, stale: list[_Name]) -> None:
        if len(self._running) >= _MOST_ADVISORY:
            _not_checked(caller, stale, "too many checks are under way")
            return
        task = asyncio.get_running_loop().create_task(self._advise(caller, stale))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _advise(self, caller: Caller, stale: list[_Name]) -> None:
        try:
            await self._look_up(caller, stale)
        except TimeoutError:
            _not_checked(caller, stale, "it took too long")
        except SocketsExhausted as error:
            _not_checked(caller, stale, str(error))

    async def _look_up(self, caller: Caller, stale: list[_Name]) -> list[Problem]:
        """What is wrong with each of the names. Raises TimeoutError, SocketsExhausted."""
        try:
            async with asyncio.timeout(self._patience), asyncio.TaskGroup() as group:
                lookups = [group.create_task(self._look_up_one(caller, name)) for name in stale]
        except* SocketsExhausted as errors:
            raise SocketsExhausted("no sockets are left for CAA lookups") from errors
        outcomes = [lookup.result() for lookup in lookups]
        return [problem for problem in outcomes if problem is not None]

    async def _look_up_one(self, caller: Caller, name: _Name) -> Problem | None:
        async with self._turns:
            outcome = await self._checker.check(
                name.identifier.base.value,
                is_wildcard=name.identifier.is_wildcard,
                account_id=caller.account_id,
                method=name.method,
                trace=Trace(),
            )
        log = _log.info if outcome.failure is None else _log.warning
        log(
            "caa_checked" if outcome.failure is None else "caa_objected",
            account=str(caller.account_id),
            is_enforced=self._is_enforced,
            **outcome.facts,
        )
        if outcome.failure is None:
            return None
        problem = outcome.failure.as_problem()
        return Problem(
            kind=problem.kind,
            detail=f"{name.identifier.value}: {problem.detail}",
            identifier=name.identifier,
            cause=problem.cause,
        )

    def _is_fresh(self, check: CaaCheck) -> bool:
        return check.checked_at + max(CHECK_LIFETIME, check.ttl) > self._clock.now()

    def _is_validation_fresh(self, name: _Name) -> bool:
        """Whether the validation is young enough for the check that was part of it."""
        if name.authorization is None or _key(name.identifier) != _authorization_key(
            name.authorization
        ):
            return False
        oldest = self._clock.now() - CHECK_LIFETIME
        return any(
            challenge.validated_at is not None and challenge.validated_at > oldest
            for challenge in name.authorization.challenges
        )


def _covering(
    identifier: Identifier, authorizations: Sequence[Authorization]
) -> Authorization | None:
    """The valid authorization of the name itself, else that of the closest name above it."""
    name = f".{identifier.base.value}"
    covering = [
        each
        for each in authorizations
        if each.status is AuthorizationStatus.VALID
        and each.identifier.type is IdentifierType.DNS
        and name.endswith(f".{each.identifier.value}")
    ]
    return max(
        covering,
        key=lambda each: (len(each.identifier.value), _authorization_key(each) == _key(identifier)),
        default=None,
    )


def _key(identifier: Identifier) -> tuple[str, bool]:
    return identifier.base.value, identifier.is_wildcard


def _authorization_key(authorization: Authorization) -> tuple[str, bool]:
    return authorization.identifier.value, authorization.wildcard


def _not_checked(caller: Caller, names: list[_Name], reason: str) -> None:
    _log.warning("caa_not_checked", account=str(caller.account_id), names=len(names), reason=reason)


def _refusal(problems: list[Problem], count: int) -> ServerError:
    """One error for all objections; those of several names are its subproblems."""
    is_forbidden = any(problem.kind is ErrorKind.CAA for problem in problems)
    kind = ErrorKind.CAA if is_forbidden else ErrorKind.DNS
    first = problems[0]
    if count == 1:
        return ServerError(kind, first.detail, identifier=first.identifier)
    what = "CAA records forbid" if is_forbidden else "Failed CAA lookups prevent"
    detail = first.detail if len(problems) == 1 else f"{what} issuing for {len(problems)} names."
    return ServerError(kind, detail, subproblems=problems)
