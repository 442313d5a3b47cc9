"""What operators ask about: accounts, orders, certificates, the CA. Only reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from policy.model.accounts import Account
from policy.model.authorizations import Authorization
from policy.model.certificates import Certificate, CertificateStatus, Issuer
from policy.model.identifiers import Identifier, IdentifierType
from policy.model.ids import AccountId, CertificateId, OrderId, time_ordered_id
from policy.model.orders import Order
from policy.signing import der
from policy.signing.template import assemble
from storage.accounts import Accounts
from storage.audit import AuditEvent, AuditEvents
from storage.certificates import Certificates
from storage.crls import Crls
from storage.failingnames import FailingNames
from storage.issuers import Issuers
from storage.lookups import CertificateFilter, Lookups, RecordedValidation
from storage.pool import Database

__all__ = [
    "AccountReport",
    "AuditEvent",
    "CertificateFilter",
    "IssuerReport",
    "OrderReport",
    "RecordedValidation",
    "Reports",
]

_MOST_EVENTS = 200
_MOST_ORDERS = 20
_MOST_ACCOUNTS_CERTIFICATES = 20
_MOST_PAUSED = 100
# Clocks of two machines may differ by this much; an event older than its order is still found.
_CLOCK_SLACK = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountReport:
    """An account with its newest orders and certificates, and the first names that it may not
    order (``workflow.pauses``)."""

    account: Account
    paused: Sequence[Identifier]
    orders: Sequence[Order]
    certificates: Sequence[Certificate]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderReport:
    """All about an order. ``account`` is None only if the database lost it; ``certificate`` is
    the one that was claimed, whatever became of it; ``events`` are in the order of time."""

    order: Order
    account: Account | None
    authorizations: Sequence[Authorization]
    validations: Sequence[RecordedValidation]
    certificate: Certificate | None
    events: Sequence[AuditEvent]


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerReport:
    """A CA and the state of its CRLs: how many there are, and the first to end."""

    issuer: Issuer
    crls: int
    crl_next_update: object


class Reports:
    """Answers questions about an installation. All raise DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._accounts = Accounts(database)
        self._failing = FailingNames(database)
        self._audit = AuditEvents(database)
        self._certificates = Certificates(database)
        self._crls = Crls(database)
        self._issuers = Issuers(database)
        self._lookups = Lookups(database)

    async def list_accounts(self, after: AccountId | None, limit: int) -> Sequence[Account]:
        """Accounts, oldest first, from the first after ``after``."""
        return await self._accounts.list(after, limit)

    async def find_account(self, account_id: AccountId) -> AccountReport | None:
        """The account with what it did lately."""
        account = await self._accounts.find(account_id)
        if account is None:
            return None
        wanted = CertificateFilter(account_id=account_id)
        return AccountReport(
            account=account,
            paused=await self._failing.list_paused(account_id, _MOST_PAUSED),
            orders=await self._lookups.orders_of(account_id, None, _MOST_ORDERS),
            certificates=await self._lookups.certificates(
                wanted, None, _MOST_ACCOUNTS_CERTIFICATES
            ),
        )

    async def list_certificates(
        self, wanted: CertificateFilter, before: CertificateId | None, limit: int
    ) -> Sequence[Certificate]:
        """The wanted certificates, newest first, from the first before ``before``."""
        return await self._lookups.certificates(wanted, before, limit)

    async def find_certificate(self, serial: bytes) -> Certificate | None:
        """The certificate with this serial."""
        return await self._certificates.find_by_serial(serial)

    async def find_order(self, order_id: OrderId) -> OrderReport | None:
        """The order with all that happened to it."""
        found = await self._lookups.order(order_id)
        if found is None:
            return None
        order, certificate_id = found
        authorizations, validations = await self._lookups.authorizations(order.authorization_ids)
        certificate = None
        if certificate_id is not None:
            certificate = await self._lookups.certificate(certificate_id)
        return OrderReport(
            order=order,
            account=await self._accounts.find(order.account_id),
            authorizations=authorizations,
            validations=validations,
            certificate=certificate,
            events=await self._events_of(order, certificate_id),
        )

    async def list_issuers(self) -> Sequence[IssuerReport]:
        """The CAs, parents before their children."""
        return [await self._report_issuer(issuer) for issuer in await self._issuers.list()]

    async def _report_issuer(self, issuer: Issuer) -> IssuerReport:
        found = [await self._crls.find(issuer.name, shard) for shard in range(issuer.shards)]
        crls = [crl for crl in found if crl is not None]
        return IssuerReport(
            issuer=issuer,
            crls=len(crls),
            crl_next_update=min((crl.next_update for crl in crls), default=None),
        )

    async def _events_of(
        self, order: Order, certificate_id: CertificateId | None
    ) -> Sequence[AuditEvent]:
        subjects = [f"order:{order.id}"]
        subjects += [f"authorization:{entry}" for entry in order.authorization_ids]
        if certificate_id is not None:
            subjects.append(f"certificate:{certificate_id}")
        return await self._audit.about(subjects, _first_id(order), _MOST_EVENTS)


def names_of(name: str) -> tuple[Identifier, ...]:
    """What a certificate lists that covers ``name``: the name or address itself, or the wildcard
    one label above it."""
    lower = name.lower()
    wildcard = f"*.{lower.partition('.')[2]}"
    return (
        Identifier(IdentifierType.DNS, lower),
        Identifier(IdentifierType.DNS, wildcard),
        Identifier(IdentifierType.IP, lower),
    )


def der_of(certificate: Certificate) -> bytes | None:
    """The certificate as it was signed; None unless it is issued."""
    if certificate.status is not CertificateStatus.ISSUED or certificate.signature is None:
        return None
    return assemble(certificate.tbs, _algorithm_of(certificate.tbs), certificate.signature)


def _algorithm_of(tbs: bytes) -> bytes:
    """The AlgorithmIdentifier within a TBSCertificate: after the version and the serial."""
    _, content, _ = der.read(tbs, 0)
    _, _, version_end = der.read(tbs, content)
    _, _, serial_end = der.read(tbs, version_end)
    _, _, algorithm_end = der.read(tbs, serial_end)
    return tbs[serial_end:algorithm_end]


def _first_id(order: Order) -> UUID:
    """The smallest id that an event of the order can have."""
    moment = order.created_at - _CLOCK_SLACK
    return time_ordered_id(int(moment.timestamp() * 1000), bytes(10))
