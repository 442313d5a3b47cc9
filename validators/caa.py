"""Whether the CAA records of a domain let this CA issue (RFC 8659, with RFC 8657's parameters).

``evaluate`` decides about one set of records, without I/O. ``CaaChecker`` finds the set that
counts, and says what forbids and what to publish.
"""

from __future__ import annotations

import asyncio
import enum
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from policy.model.ids import AccountId
from validators import causes
from validators.caarecords import CaaRecord, IssueValue, parse_issue_value
from validators.causes import Cause, ValidationFailure
from validators.dnserrors import DnsError, NameMissing, NoRecords
from validators.excerpts import excerpt
from validators.resolver import CaaRecords
from validators.trace import Trace

# Registered properties that say nothing about certificates for servers, or nothing that binds a
# CA: they may be critical without forbidding anything.
_HARMLESS_TAGS = frozenset({"iodef", "contactemail", "contactphone", "issuemail", "issuevmc"})
_KNOWN_TAGS = _HARMLESS_TAGS | {"issue", "issuewild"}
_METHODS = re.compile(r"[A-Za-z0-9-]+(?:,[A-Za-z0-9-]+)*")
# Ancestors are asked for in groups: one round of questions for nearly every name, and no hundred
# questions at a time for one of a hundred labels.
_GROUP = 4


class CaaResolver(Protocol):
    """Where CAA records come from (``validators.resolver.Resolver``)."""

    async def caa(self, name: str, trace: Trace) -> CaaRecords:
        """Raises DnsError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CaaRequest:
    """Who wants to issue, and for whom. ``identities`` are our names in lower case, ``account``
    is the account's URL, ``method`` the challenge type by which control was proven."""

    identities: tuple[str, ...]
    is_wildcard: bool
    account: str
    method: str

    @property
    def tag(self) -> str:
        """The property that a permission for this request would have."""
        return "issuewild" if self.is_wildcard else "issue"


@dataclass(frozen=True, slots=True)
class CaaDecision:
    """``cause`` is None where issuing is permitted; ``record`` is the one that decided, None
    where no record restricts."""

    cause: Cause | None = None
    record: CaaRecord | None = None


class CaaResult(enum.StrEnum):
    """How a check ended: records permit or there are none, a record forbids, or DNS failed."""

    PERMITTED = "permitted"
    FORBIDDEN = "forbidden"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class CaaOutcome:
    """One check of one name. ``failure`` is None exactly when issuing is permitted.

    ``facts`` is JSON-ready evidence: ``result``, ``name``, ``wildcard``, and where records were
    found ``found_at``, ``record`` (the one that decided) and ``ttl`` in seconds.
    """

    result: CaaResult
    facts: dict[str, Any]
    failure: ValidationFailure | None = None


def evaluate(records: Sequence[CaaRecord], request: CaaRequest) -> CaaDecision:
    """Decide on the relevant set of records (RFC 8659, section 4)."""
    for record in records:
        if record.is_critical and record.tag not in _KNOWN_TAGS:
            return CaaDecision(causes.CAA_CRITICAL, record)
    relevant = [record for record in records if record.tag == "issue"]
    if request.is_wildcard:
        # Section 4.3: issue counts for wildcards only as long as there is no issuewild at all.
        relevant = [record for record in records if record.tag == "issuewild"] or relevant
    if not relevant:
        return CaaDecision()
    decisions = [CaaDecision(_objection(record, request), record) for record in relevant]
    return min(decisions, key=lambda decision: _TELLING.index(decision.cause))


def ancestors(name: str) -> Iterable[str]:
    """``name`` and the names above it, up to the top-level domain (RFC 8659, section 3)."""
    labels = name.removesuffix(".").split(".")
    return (".".join(labels[index:]) for index in range(len(labels)))


class CaaChecker:
    """Checks names one by one. ``account_url`` gives the URL of an account, as clients know it;
    ``lifetime`` bounds a check, however many labels the name has."""

    def __init__(
        self,
        resolver: CaaResolver,
        *,
        identities: Sequence[str],
        account_url: Callable[[AccountId], str],
        lifetime: timedelta = timedelta(seconds=10),
    ) -> None:
        self._resolver = resolver
        self._identities = tuple(identity.lower() for identity in identities)
        self._account_url = account_url
        self._lifetime = lifetime.total_seconds()

    async def check(
        self, name: str, *, is_wildcard: bool, account_id: AccountId, method: str, trace: Trace
    ) -> CaaOutcome:
        """Whether issuing for ``name`` (for ``*.name`` if ``is_wildcard``) is permitted."""
        request = CaaRequest(
            identities=self._identities,
            is_wildcard=is_wildcard,
            account=self._account_url(account_id),
            method=method,
        )
        facts: dict[str, Any] = {"name": excerpt(name, 255), "wildcard": is_wildcard}
        try:
            async with asyncio.timeout(self._lifetime):
                found = await self._find(name, trace)
        except DnsError as error:
            return _failed(facts, error.cause.code, error.name)
        except TimeoutError:
            return _failed(facts, causes.DNS_TIMEOUT.code, name)
        if found is None:
            facts["result"] = CaaResult.PERMITTED.value
            return CaaOutcome(result=CaaResult.PERMITTED, facts=facts)
        return _concluded(facts, found, request)

    async def _find(self, name: str, trace: Trace) -> CaaRecords | None:
        """The records of the closest name that has any.

        Raises the DnsError of a closer name: what wasn't seen can't be a permission.
        """
        names = list(ancestors(name))
        for start in range(0, len(names), _GROUP):
            for outcome in await asyncio.gather(
                *(self._look_up(each, trace) for each in names[start : start + _GROUP])
            ):
                if isinstance(outcome, DnsError):
                    raise outcome
                if outcome is not None:
                    return outcome
        return None

    async def _look_up(self, name: str, trace: Trace) -> CaaRecords | DnsError | None:
        try:
            return await self._resolver.caa(name, trace)
        except (NameMissing, NoRecords):
            return None
        except DnsError as error:
            return error


def _objection(record: CaaRecord, request: CaaRequest) -> Cause | None:
    """What keeps this property from permitting the request."""
    value = parse_issue_value(record.value)
    if value is None or value.issuer not in request.identities:
        return causes.CAA_FORBIDDEN
    if not _fits_account(value, request.account):
        return causes.CAA_ACCOUNT
    return None if _fits_method(value, request.method) else causes.CAA_METHOD


def _fits_account(value: IssueValue, account: str) -> bool:
    """RFC 8657, section 3: given twice, nobody satisfies it."""
    wanted = value.find_parameters("accounturi")
    return not wanted or wanted == [account]


def _fits_method(value: IssueValue, method: str) -> bool:
    """RFC 8657, section 4: an empty or malformed list has no method in it."""
    wanted = value.find_parameters("validationmethods")
    if not wanted:
        return True
    return (
        len(wanted) == 1
        and _METHODS.fullmatch(wanted[0]) is not None
        and method in wanted[0].split(",")
    )


def _failed(facts: dict[str, Any], code: str, name: str) -> CaaOutcome:
    facts |= {"result": CaaResult.FAILED.value, "error": code, "failed_at": excerpt(name, 255)}
    failure = ValidationFailure(causes.CAA_LOOKUP_FAILED, name=excerpt(name, 255), reason=code)
    return CaaOutcome(result=CaaResult.FAILED, facts=facts, failure=failure)


def _concluded(facts: dict[str, Any], found: CaaRecords, request: CaaRequest) -> CaaOutcome:
    decision = evaluate(found.values, request)
    owner = excerpt(found.name, 255)
    record = None if decision.record is None else f"{owner}. CAA {decision.record}"
    result = CaaResult.PERMITTED if decision.cause is None else CaaResult.FORBIDDEN
    facts |= {"result": result.value, "found_at": owner, "ttl": found.ttl, "record": record}
    if decision.cause is None:
        return CaaOutcome(result=result, facts=facts)
    failure = ValidationFailure(
        decision.cause,
        record=record,
        publish=f"{owner}. CAA 0 {request.tag} {_wanted_value(request, decision.cause)}",
        method=request.method,
    )
    return CaaOutcome(result=result, facts=facts, failure=failure)


def _wanted_value(request: CaaRequest, cause: Cause) -> str:
    """The value of the record that would permit the request."""
    identity = request.identities[0] if request.identities else "(a name of this CA)"
    if cause is causes.CAA_ACCOUNT:
        return f'"{identity}; accounturi={request.account}"'
    if cause is causes.CAA_METHOD:
        return f'"{identity}; validationmethods={request.method}"'
    return f'"{identity}"'


# A permission counts whatever else there is; then what comes closest to one.
_TELLING = (None, causes.CAA_METHOD, causes.CAA_ACCOUNT, causes.CAA_FORBIDDEN)
