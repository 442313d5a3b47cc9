"""The server's own TLS certificate: issued by its own CA, on the one path, renewed by itself."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from acme_server.workflow.authority import Authority
from acme_server.workflow.clock import Clock, new_id
from acme_server.workflow.issuance import IssuanceRequest, IssuanceUseCases, Proof
from acme_server.workflow.sealing import MasterKey
from policy.csr import CertificateRequest
from policy.model.identifiers import Identifier, IdentifierType
from policy.names import NameRules
from policy.profiles import CONFIGURED, Profile
from storage.certificates import Certificates
from storage.secrets import SealedSecrets

PURPOSE = "service-certificate"
_REQUESTER = "system:service-certificate"
# The operator's own words, also for a name like localhost and for addresses.
_OWN_NAMES = NameRules(ip=True, single_labels=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceCertificate:
    """The certificate in use. ``pem`` is the private key, then the chain; ``version`` changes
    with each renewal."""

    pem: bytes
    version: UUID
    serial: bytes
    not_before: datetime
    not_after: datetime
    names: frozenset[str]


class ServiceCertificateUseCases:
    """Keeps the server's own certificate fresh, one for all replicas.

    ``host`` is the host of the external URL; on loopback the addresses are named too, so that
    clients that connect to 127.0.0.1 verify it as well.
    """

    def __init__(
        self,
        issuance: IssuanceUseCases,
        authority: Authority,
        secrets: SealedSecrets,
        master_key: MasterKey,
        certificates: Certificates,
        clock: Clock,
        profile: Profile,
        *,
        host: str,
    ) -> None:
        self._issuance = issuance
        self._authority = authority
        self._secrets = secrets
        self._master_key = master_key
        self._certificates = certificates
        self._clock = clock
        self._profile = profile
        self._identifiers = service_identifiers(host)

    async def current(self) -> ServiceCertificate | None:
        """The certificate to serve; None before the first was issued."""
        row = await self._secrets.find_by_purpose(PURPOSE)
        if row is None:
            return None
        pem = self._master_key.open(row.sealed, purpose=PURPOSE, row=row.id)
        leaf = x509.load_pem_x509_certificate(pem[pem.index(b"-----BEGIN CERTIFICATE-----") :])
        return ServiceCertificate(
            pem=pem,
            version=row.id,
            serial=leaf.serial_number.to_bytes((leaf.serial_number.bit_length() + 7) // 8),
            not_before=leaf.not_valid_before_utc,
            not_after=leaf.not_valid_after_utc,
            names=_names_of(leaf),
        )

    async def renew_if_due(self) -> bool:
        """Issue a new one when none fits, a third of its life is left, or it was revoked; True if
        it did."""
        present = await self.current()
        if present is not None and not self._is_due(present):
            record = await self._certificates.find_by_serial(present.serial)
            if record is None or record.revoked_at is None:
                return False
        pem = await self._issue()
        row = new_id()
        sealed = self._master_key.seal(pem, purpose=PURPOSE, row=row)
        await self._secrets.replace(
            row, PURPOSE, sealed, replaces=None if present is None else present.version
        )
        structlog.get_logger().info(
            "service_certificate_issued", names=[name.value for name in self._identifiers]
        )
        return True

    def _is_due(self, present: ServiceCertificate) -> bool:
        life = present.not_after - present.not_before
        wanted = {identifier.value for identifier in self._identifiers}
        return self._clock.now() > present.not_after - life / 3 or present.names != wanted

    async def _issue(self) -> bytes:
        key = ec.generate_private_key(ec.SECP256R1())
        now = self._clock.now()
        request = IssuanceRequest(
            requester=_REQUESTER,
            authentication="internal",
            identifiers=self._identifiers,
            proofs=tuple(
                Proof(identifier=name, method=CONFIGURED, validated_at=now)
                for name in self._identifiers
            ),
            csr=_request_of(key, self._identifiers),
            profile=self._profile,
            names=_OWN_NAMES,
        )
        _, certificate = await self._issuance.issue_internal(request)
        chain = (certificate, *self._authority.chain(self._authority.active.name))
        return b"".join([_private_pem(key), *map(_certificate_pem, chain)])


def service_identifiers(host: str) -> tuple[Identifier, ...]:
    """The names of a server reached as ``host`` (a DNS name or an address without brackets)."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        name = Identifier(IdentifierType.DNS, host.lower().rstrip("."))
        if name.value != "localhost":
            return (name,)
        loopback = (Identifier(IdentifierType.IP, text) for text in ("127.0.0.1", "::1"))
        return (name, *loopback)
    return (Identifier(IdentifierType.IP, str(address)),)


def _request_of(
    key: ec.EllipticCurvePrivateKey, identifiers: tuple[Identifier, ...]
) -> CertificateRequest:
    """What a CSR would say; nobody has to prove to us that we have the key."""
    public = key.public_key()
    return CertificateRequest(
        key=public,
        spki=public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
        identifiers=frozenset(identifiers),
        common_name=None,
    )


def _names_of(leaf: x509.Certificate) -> frozenset[str]:
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return frozenset(str(name.value) for name in names)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _certificate_pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM)
