"""From a profile and a checked request to the exact bytes that are signed (RFC 5280, section 4.1).

The bytes are made without signing anything, so that they can be committed, linted and decided on
first. What is the same for all certificates of one profile and issuer is encoded once.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from policy.keys import CertificateKey, KeyKind, kind_of
from policy.model.identifiers import Identifier, IdentifierType
from policy.profiles import CommonName, Profile, SubjectPattern
from policy.signing import der

_DNS_NAME = 0x82
_IP_ADDRESS = 0x87
_VERSION_3 = der.explicit(0, der.integer(b"\x02"))
_EMPTY_NAME = der.sequence()
# TLS feature status_request (RFC 7633, section 4.2.3.1).
_MUST_STAPLE = der.extension("1.3.6.1.5.5.7.1.24", der.sequence(der.integer(b"\x05")))
_MAX_COMMON_NAME = 64
_USAGE_NAMES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerFacts:
    """What certificates say of their issuer. ``subject`` is the DER of its name, ``algorithm``
    the DER AlgorithmIdentifier of its signatures, ``key_identifier`` its SKI."""

    name: str
    subject: bytes
    key_identifier: bytes
    algorithm: bytes
    not_after: datetime
    certificate_url: str
    crl_url_prefix: str
    shards: int

    def shard_of(self, serial: bytes) -> int:
        """The CRL shard of a serial; stored with the certificate, for its whole life."""
        return int.from_bytes(serial[-4:]) % self.shards

    def crl_url(self, shard: int) -> str:
        """The URL of a shard's CRL, equal in certificates and in the CRL itself."""
        return f"{self.crl_url_prefix}{shard}.crl"


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateTemplate:
    """All that a certificate will say. ``serial`` is its big-endian magnitude, ``spki`` the DER
    of the SubjectPublicKeyInfo of ``key``."""

    profile: Profile
    issuer: IssuerFacts
    serial: bytes
    identifiers: tuple[Identifier, ...]
    key: CertificateKey
    spki: bytes
    not_before: datetime
    not_after: datetime
    must_staple: bool = False

    @property
    def shard(self) -> int:
        """The CRL shard that will list a revocation."""
        return self.issuer.shard_of(self.serial)

    @property
    def common_name(self) -> str | None:
        """The subject's common name, None where it has none."""
        if self.profile.common_name is CommonName.NONE:
            return None
        names = (name.value for name in self.identifiers if name.type is IdentifierType.DNS)
        return next((name for name in names if len(name) <= _MAX_COMMON_NAME), None)


def build_tbs(template: CertificateTemplate) -> bytes:
    """The DER of the TBSCertificate."""
    issuer = template.issuer
    subject = _subject(template.profile.subject, template.common_name)
    extensions = der.sequence(
        _fixed_extensions(template.profile, issuer, kind_of(template.key)),
        _MUST_STAPLE if template.must_staple else b"",
        _crl_distribution_point(issuer.crl_url(template.shard)),
        _subject_key_identifier(template.spki),
        _subject_alternative_name(template.identifiers, is_critical=subject == _EMPTY_NAME),
        _extra_extensions(template.profile),
    )
    return der.sequence(
        _VERSION_3,
        der.integer(template.serial),
        issuer.algorithm,
        issuer.subject,
        der.sequence(der.time(template.not_before), der.time(template.not_after)),
        subject,
        template.spki,
        der.explicit(3, extensions),
    )


def assemble(tbs: bytes, algorithm: bytes, signature: bytes) -> bytes:
    """The DER of a signed certificate or CRL from its parts."""
    return der.sequence(tbs, algorithm, der.bit_string(signature))


def key_identifier(spki: bytes) -> bytes:
    """The key identifier of a SubjectPublicKeyInfo: the leftmost 160 bits of the SHA-256 of its
    bit string (RFC 7093, section 2, method 1)."""
    return _key_identifier(spki)


@lru_cache(maxsize=1024)
def _key_identifier(spki: bytes) -> bytes:
    return hashlib.sha256(_bit_string_of(spki)).digest()[:20]


def _bit_string_of(spki: bytes) -> bytes:
    """The subjectPublicKey of a SubjectPublicKeyInfo that the library encoded."""
    _, start, _ = der.read(spki, 0)
    _, _, algorithm_end = der.read(spki, start)
    _, content, end = der.read(spki, algorithm_end)
    return spki[content + 1 : end]


def _subject(pattern: SubjectPattern, common_name: str | None) -> bytes:
    return _fixed_subject(pattern) if common_name is None else _encoded_name(pattern, common_name)


@lru_cache(maxsize=64)
def _fixed_subject(pattern: SubjectPattern) -> bytes:
    return _encoded_name(pattern, None)


def _encoded_name(pattern: SubjectPattern, common_name: str | None) -> bytes:
    attributes = [
        x509.NameAttribute(x509.ObjectIdentifier(oid), value) for oid, value in pattern.attributes
    ]
    if common_name is not None:
        attributes.append(x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name))
    return x509.Name(attributes).public_bytes()


@lru_cache(maxsize=64)
def _extra_extensions(profile: Profile) -> bytes:
    return b"".join(der.extension(extra.oid, extra.value) for extra in profile.extensions)


@lru_cache(maxsize=64)
def _fixed_extensions(profile: Profile, issuer: IssuerFacts, kind: KeyKind) -> bytes:
    """The extensions that don't depend on the certificate, encoded one after the other."""
    usages = profile.key_usages[kind]
    usage = x509.KeyUsage(**{name: name in usages for name in _USAGE_NAMES})
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (usage, True),
        (x509.ExtendedKeyUsage(map(x509.ObjectIdentifier, profile.extended_key_usages)), False),
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (x509.AuthorityKeyIdentifier(issuer.key_identifier, None, None), False),
        (authority_information(issuer.certificate_url), False),
    ]
    if profile.policies:
        policies = [
            x509.PolicyInformation(x509.ObjectIdentifier(oid), None) for oid in profile.policies
        ]
        extensions.append((x509.CertificatePolicies(policies), False))
    return b"".join(
        _extension(value.oid, value.public_bytes(), is_critical=critical)
        for value, critical in extensions
    )


def _subject_key_identifier(spki: bytes) -> bytes:
    value = der.tlv(der.OCTET_STRING, key_identifier(spki))
    return _extension(x509.SubjectKeyIdentifier.oid, value)


def authority_information(certificate_url: str) -> x509.AuthorityInformationAccess:
    """Where the issuer's certificate is (RFC 5280, section 4.2.2.1)."""
    return x509.AuthorityInformationAccess(
        [
            x509.AccessDescription(
                AuthorityInformationAccessOID.CA_ISSUERS,
                x509.UniformResourceIdentifier(certificate_url),
            )
        ]
    )


@lru_cache(maxsize=4096)
def _crl_distribution_point(url: str) -> bytes:
    name = x509.UniformResourceIdentifier(url)
    point = x509.DistributionPoint([name], None, None, None)
    value = x509.CRLDistributionPoints([point])
    return _extension(value.oid, value.public_bytes())


def _subject_alternative_name(identifiers: Sequence[Identifier], *, is_critical: bool) -> bytes:
    """Critical where the subject is empty (RFC 5280, section 4.2.1.6)."""
    names = b"".join(map(_general_name, identifiers))
    value = der.tlv(der.SEQUENCE, names)
    return _extension(x509.SubjectAlternativeName.oid, value, is_critical=is_critical)


def _general_name(identifier: Identifier) -> bytes:
    if identifier.type is IdentifierType.DNS:
        return der.tlv(_DNS_NAME, identifier.value.encode("ascii"))
    return der.tlv(_IP_ADDRESS, ipaddress.ip_address(identifier.value).packed)


def _extension(oid: x509.ObjectIdentifier, value: bytes, *, is_critical: bool = False) -> bytes:
    return der.extension(oid.dotted_string, value, is_critical=is_critical)
