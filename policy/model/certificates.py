"""Certificates, from the committed bytes to the signed ones, and their issuers."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from policy.model.identifiers import Identifier
from policy.model.ids import AccountId, CertificateId, OrderId


class CertificateStatus(enum.StrEnum):
    """RESERVED: serial and bytes are committed, the signature is not on record. ISSUED: signed.
    ORPHANED: the signer's answer was lost, so the serial is treated as issued and revoked."""

    RESERVED = "reserved"
    ISSUED = "issued"
    ORPHANED = "orphaned"


CERTIFICATE_MOVES: Mapping[CertificateStatus, frozenset[CertificateStatus]] = {
    CertificateStatus.RESERVED: frozenset({CertificateStatus.ISSUED, CertificateStatus.ORPHANED}),
    CertificateStatus.ISSUED: frozenset(),
    CertificateStatus.ORPHANED: frozenset(),
}


class RevocationReason(enum.IntEnum):
    """CRLReason, RFC 5280, section 5.3.1 (7 is unused; 6 and 8 are for CRLs that we don't make)."""

    UNSPECIFIED = 0
    KEY_COMPROMISE = 1
    CA_COMPROMISE = 2
    AFFILIATION_CHANGED = 3
    SUPERSEDED = 4
    CESSATION_OF_OPERATION = 5
    PRIVILEGE_WITHDRAWN = 9
    AA_COMPROMISE = 10

    @property
    def word(self) -> str:
        """As RFC 5280 and clients write it: ``keyCompromise``."""
        first, *rest = self.name.lower().split("_")
        return first + "".join(part.capitalize() for part in rest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """A certification authority of this installation. ``name`` stands in URLs and is for life.

    ``key`` says where the private key is: ``sealed:<id>`` for one in the database.
    """

    name: str
    certificate: bytes
    parent: str | None
    key: str
    shards: int
    is_active: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """The claim of an order: what will be signed, committed before it is signed.

    ``tbs`` is the DER of the TBSCertificate, ``serial`` its big-endian bytes without the sign
    octet, ``shard`` the CRL shard, ``spki_sha256`` the SHA-256 of the SubjectPublicKeyInfo.
    """

    id: CertificateId
    serial: bytes
    issuer: str
    shard: int
    profile: str
    profile_version: str
    identifiers: tuple[Identifier, ...]
    not_before: datetime
    not_after: datetime
    spki_sha256: bytes
    tbs: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate on record. ``signature`` is the raw signature value, None until ISSUED;
    ``policy.signing.template.assemble`` makes the DER from ``tbs`` and it."""

    id: CertificateId
    serial: bytes
    issuer: str
    shard: int
    status: CertificateStatus
    account_id: AccountId | None
    order_id: OrderId | None
    profile: str
    identifiers: tuple[Identifier, ...]
    not_before: datetime
    not_after: datetime
    tbs: bytes
    signature: bytes | None
    revoked_at: datetime | None
    revocation_reason: RevocationReason | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokedEntry:
    """One line of a CRL."""

    serial: bytes
    revoked_at: datetime
    reason: RevocationReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Crl:
    """A published CRL of one shard. ``number`` is the CRL number (RFC 5280, section 5.2.3)."""

    issuer: str
    shard: int
    number: int
    this_update: datetime
    next_update: datetime
    der: bytes
