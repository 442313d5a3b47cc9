"""The DNS challenge that a lasting record answers (draft-ietf-acme-dns-persist)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from policy.model.authorizations import ValidationTask
from policy.model.identifiers import IdentifierType
from policy.model.ids import AccountId
from policy.registereddomains import registered_domain
from validators import causes
from validators.causes import ValidationFailure
from validators.dns01 import TextResolver
from validators.dnserrors import DnsError, NameMissing, NoRecords
from validators.excerpts import excerpt
from validators.persistrecords import LABEL, PersistRequest, judge
from validators.resolver import TextRecords
from validators.trace import Trace

# How long such a proof may be relied on at most, whatever the record's TTL (BR 3.2.2.4.22).
LONGEST_RELIANCE = timedelta(days=10)
# What is least far from proving comes last, and is what the applicant is told.
_TELLING = tuple(
    cause.code
    for cause in (
        causes.TXT_NAME_MISSING,
        causes.TXT_MISSING,
        causes.PERSIST_ISSUER,
        causes.PERSIST_MALFORMED,
        causes.PERSIST_ACCOUNT,
        causes.PERSIST_EXPIRED,
        causes.PERSIST_POLICY,
    )
)


class DnsPersist01Validator:
    """Looks for a record at ``_validation-persist.{name}`` that names this CA and the account; for
    a name without one, then at the names above it, where the record must have
    ``policy=wildcard``.

    ``issuers`` are this CA's names, at least one; ``account_url`` gives the URL of an account, as
    clients know it; ``now`` tells the time, in UTC.
    """

    type = "dns-persist-01"

    def __init__(
        self,
        resolver: TextResolver,
        *,
        issuers: Sequence[str],
        account_url: Callable[[AccountId], str],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if not issuers:
            raise ValueError("dns-persist-01 needs a name of this CA")
        self._resolver = resolver
        self._issuers = tuple(issuer.lower() for issuer in issuers)
        self._account_url = account_url
        self._now = now

    async def prove(self, task: ValidationTask, trace: Trace) -> timedelta:
        """How long the proof may be relied on; raises ValidationFailure when there is none."""
        if task.identifier.type is not IdentifierType.DNS:
            raise ValidationFailure(causes.IDENTIFIER_UNSUITED, type=self.type)
        account = self._account_url(task.account_id)
        failures: list[ValidationFailure] = []
        for name in _places(task):
            request = PersistRequest(
                issuers=self._issuers,
                account=account,
                needs_wildcard=task.wildcard or name != task.identifier.value,
                now=self._now(),
            )
            try:
                return await self._look_at(f"{LABEL}.{name}", request, trace)
            except ValidationFailure as failure:
                if failure.cause.code not in _TELLING:
                    raise
                # Above the name only what was meant for it is worth telling.
                if not failures or failure.cause in (causes.PERSIST_EXPIRED, causes.PERSIST_POLICY):
                    failures.append(failure)
        # Of equals the first: the closest name's.
        raise max(failures, key=lambda failure: _TELLING.index(failure.cause.code))

    async def _look_at(self, name: str, request: PersistRequest, trace: Trace) -> timedelta:
        """As ``prove``, for the records at one name."""
        try:
            records = await self._resolver.txt(name, trace)
        except (NameMissing, NoRecords) as error:
            is_missing = isinstance(error, NameMissing)
            cause = causes.TXT_NAME_MISSING if is_missing else causes.TXT_MISSING
            shown = {"name": name, "expected": f'"{request.wanted}"'}
            raise ValidationFailure(cause, **shown) from error
        except DnsError as error:
            raise error.as_failure() from error
        return _judge_all(records, request, trace)


def _places(task: ValidationTask) -> Iterator[str]:
    """The names whose record counts: for a wildcard its base alone, else the name and those above
    it, down to the registered domain, since nobody owns what is above."""
    name = task.identifier.value
    yield name
    if task.wildcard:
        return
    top = registered_domain(name)
    while name != top and "." in name:
        name = name.partition(".")[2]
        yield name


def _judge_all(records: TextRecords, request: PersistRequest, trace: Trace) -> timedelta:
    """Each record is an authorization of its own: one that will do is enough."""
    verdicts = [(judge(value, request), value) for value in records.values]
    # None, which stands for no objection, is above all causes.
    objection, value = max(
        verdicts,
        key=lambda each: len(_TELLING) if each[0] is None else _TELLING.index(each[0].code),
    )
    trace.begin(
        "judge",
        name=excerpt(records.name, 255),
        account=request.account,
        record=excerpt(value, 300),
        ttl=records.ttl,
        outcome="accepted" if objection is None else objection.code,
    )
    if objection is None:
        return min(timedelta(seconds=records.ttl), LONGEST_RELIANCE)
    raise ValidationFailure(
        objection,
        name=records.name,
        record=excerpt(value, 200),
        count=len(records.values),
        expected=f'"{request.wanted}"',
    )
