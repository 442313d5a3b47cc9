"""Rate limits: taken before what they limit is done, given back if it didn't come about."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

import structlog

from acme_server.workflow.clock import Clock, SystemClock
from policy.limits import Demand, LimitKind, LimitRules, name_set
from policy.model.authorizations import ValidationTask, Verdict
from policy.model.errors import CallerStale, DatabaseUnavailable, ErrorKind, Problem, ServerError
from policy.model.identifiers import Identifier
from policy.model.ids import AccountId
from storage.failingnames import FailingNames
from storage.limits import Limits, Refusal

_log = structlog.get_logger()

_WORDS = {
    LimitKind.NEW_ACCOUNTS_PER_ADDRESS: "new accounts from",
    LimitKind.NEW_ACCOUNTS_PER_RANGE: "new accounts from",
    LimitKind.ORDERS_PER_ACCOUNT: "new orders of",
    LimitKind.CERTIFICATES_PER_DOMAIN: "certificates for",
    LimitKind.CERTIFICATES_PER_NAME_SET: "certificates for",
    LimitKind.FAILED_VALIDATIONS: "failed validations of",
}


class Taking:
    """Around an operation: takes what it demands, all or nothing, and gives it back if the
    operation is refused. Entering raises ServerError(RATE_LIMITED)."""

    __slots__ = ("_demands", "_limits", "_names", "_now", "_taken")

    def __init__(
        self,
        limits: Limits | None,
        demands: tuple[Demand, ...],
        now: Callable[[], datetime],
        names: bytes | None = None,
    ) -> None:
        self._limits = limits
        self._demands = demands
        self._now = now
        self._names = names
        self._taken: tuple[Demand, ...] = ()

    async def __aenter__(self) -> Self:
        if self._limits is not None and self._demands:
            outcome = await self._limits.take(self._demands, names=self._names)
            if outcome.refused:
                raise refusal_of(outcome.refused, self._now())
            self._taken = outcome.taken
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # After any other failure it isn't known whether the operation came about.
        if isinstance(error, ServerError | CallerStale):
            await self.give_back()

    async def give_back(self) -> None:
        """Undo it; what was given back before stays so."""
        taken, self._taken = self._taken, ()
        if not taken or self._limits is None:
            return
        try:
            await self._limits.give_back(taken)
        except DatabaseUnavailable as error:
            # The client is to hear why it was refused; it comes back with time.
            _log.warning("limit_not_given_back", reason=str(error))


class LimitUseCases:
    """The limits of an installation. Without arguments, nothing is limited.

    Each is one statement, and none where the rules limit nothing of it.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        failing: FailingNames | None = None,
        rules: LimitRules | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._limits = limits
        self._failing = failing
        self._rules = rules or LimitRules()
        self._clock = clock or SystemClock()

    def limits_accounts_from(self, address: str) -> bool:
        """Whether a new account from ``address`` takes anything."""
        return bool(self._rules.for_new_account(address))

    def new_account(self, address: str) -> Taking:
        """Around the creation of an account."""
        return self._taking(self._rules.for_new_account(address))

    async def new_order(self, account: AccountId, identifiers: Sequence[Identifier]) -> Taking:
        """Around the creation of an order, or of an authorization ahead of one, which costs as
        much. Raises ServerError(RATE_LIMITED) for paused names."""
        await self._refuse_paused(account, identifiers)
        return self._taking(self._rules.for_new_order(account, identifiers), identifiers)

    def certificate(self, identifiers: Sequence[Identifier]) -> Taking:
        """Around the claim of an order, which stays ready if it is refused."""
        return self._taking(self._rules.for_certificate(identifiers), identifiers)

    async def issued(self, identifiers: Sequence[Identifier]) -> None:
        """Note that a certificate was issued, whose renewals are spared."""
        if self._limits is None or not self._rules.spares_renewals:
            return
        try:
            await self._limits.record_names(name_set(identifiers))
        except DatabaseUnavailable as error:
            # The certificate is issued all the same; its renewal will count.
            _log.warning("issued_names_not_recorded", reason=str(error))

    async def concluded(self, task: ValidationTask, verdict: Verdict) -> None:
        """Count a failed validation, or end a row of them; not where the fault was ours."""
        if verdict.is_ours:
            return
        try:
            await self._count(task.account_id, task.identifier, is_valid=verdict.is_valid)
        except DatabaseUnavailable as error:
            # The verdict is on record; a limit is no reason to lose it.
            _log.warning(
                "validation_not_counted",
                authorization=str(task.authorization_id),
                reason=str(error),
            )

    async def forget_stale(self) -> int:
        """Remove what no limit needs any more, also where none is set now; how much it was."""
        forgotten = 0
        if self._limits is not None:
            forgotten += await self._limits.forget_stale()
        if self._failing is not None:
            forgotten += await self._failing.forget_stale()
        return forgotten

    async def _count(self, account: AccountId, name: Identifier, *, is_valid: bool) -> None:
        pause_after = self._rules.pause_after
        demand = None if is_valid else self._rules.for_failure(account, name)
        if demand is not None and self._limits is not None:
            await self._limits.count(demand)
        if pause_after is None or self._failing is None:
            return
        if is_valid:
            await self._failing.note_success(account, name)
        elif await self._failing.add_failure(account, name, pause_after):
            _log.warning("name_paused", account=str(account), identifier=str(name))

    def _taking(
        self, demands: tuple[Demand, ...], identifiers: Sequence[Identifier] = ()
    ) -> Taking:
        spares = any(demand.spares_renewals for demand in demands)
        names = name_set(identifiers) if spares else None
        return Taking(self._limits, demands, self._clock.now, names)

    async def _refuse_paused(self, account: AccountId, identifiers: Sequence[Identifier]) -> None:
        if self._failing is None or self._rules.pause_after is None:
            return
        names = dict.fromkeys(identifier.base for identifier in identifiers)
        paused = await self._failing.find_paused(account, names)
        if not paused:
            return
        problems = tuple(_paused(name) for name in names if name in paused)
        raise ServerError(
            ErrorKind.RATE_LIMITED,
            problems[0].detail
            if len(problems) == 1
            else f"{len(problems)} names are paused for this account after failing again and "
            "again; see the subproblems.",
            subproblems=problems,
        )


def refusal_of(refused: Sequence[Refusal], now: datetime) -> ServerError:
    """What a client is told: each limit, and when the last of them lets it through."""
    ordered = sorted(refused, key=lambda refusal: refusal.wait, reverse=True)
    longest = ordered[0]
    others = len(ordered) - 1
    detail = _detail(longest, now)
    if others:
        detail += f" {others} more {'limits are' if others > 1 else 'limit is'} exceeded."
    return ServerError(
        ErrorKind.RATE_LIMITED,
        detail,
        subproblems=tuple(_per_name(ordered, now)),
        retry_after=_seconds(longest.wait),
    )


def _per_name(refused: Iterable[Refusal], now: datetime) -> Iterable[Problem]:
    for refusal in refused:
        for identifier in refusal.demand.identifiers:
            yield Problem(
                kind=ErrorKind.RATE_LIMITED, detail=_detail(refusal, now), identifier=identifier
            )


def _detail(refusal: Refusal, now: datetime) -> str:
    demand = refusal.demand
    moment = datetime.fromtimestamp(math.ceil((now + refusal.wait).timestamp()), UTC)
    return (
        f"Too many {_WORDS[demand.kind]} {demand.subject} ({demand.kind}: {demand.limit.burst} "
        f"in {_period(demand.limit.period)}); try again after {moment:%Y-%m-%d %H:%M:%S} UTC."
    )


def _period(period: timedelta) -> str:
    """``3 hours``: in the largest unit that divides it."""
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if not period % timedelta(seconds=length):
            count = period // timedelta(seconds=length)
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{period.total_seconds():g} seconds"


def _seconds(wait: timedelta) -> int:
    return math.ceil(wait / timedelta(seconds=1))


def _paused(name: Identifier) -> Problem:
    return Problem(
        kind=ErrorKind.RATE_LIMITED,
        detail=(
            f"{name.value} is paused for this account: its validations failed again and again. "
            "Mend what the errors of your last orders told, then ask the operator of this server "
            "to unpause it; waiting does not help."
        ),
        identifier=name,
    )
