"""The last look at the exact bytes before they are committed and signed (BR 4.3.1.2).

Written against RFC 5280 and the Baseline Requirements, and independent of ``template``: the outer
fields are compared octet by octet, the extensions as the library reads them, which is nearer to
how relying parties do than our own writer is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple, TypeAlias, TypeVar, cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from policy import der
from policy.keys import kind_of
from policy.model.identifiers import Identifier, IdentifierType
from policy.signing.template import CertificateTemplate, assemble

_VERSION_3 = b"\x02\x01\x02"
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_TIME_FORMS = {_UTC_TIME: re.compile(rb"\d{12}Z"), _GENERALIZED_TIME: re.compile(rb"\d{14}Z")}
_MIN_SERIAL_BITS = 64
_MAX_SERIAL_OCTETS = 20
_DNS_NAME = re.compile(
    r"(?=.{1,253}\Z)(?:\*\.)?[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
    r"(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*",
    re.ASCII,
)
# Content of AlgorithmIdentifiers: ECDSA and RSA PKCS #1 with SHA-256/384/512, Ed25519.
_ALGORITHMS = frozenset(
    bytes.fromhex(text)
    for text in (
        *(f"06082a8648ce3d0403{number:02x}" for number in (2, 3, 4)),
        *(f"06092a864886f70d0101{number:02x}0500" for number in (11, 12, 13)),
        "06032b6570",
    )
)
_CRITICAL = frozenset({x509.KeyUsage.oid, x509.BasicConstraints.oid})
_ALWAYS = frozenset(
    {
        x509.KeyUsage.oid,
        x509.ExtendedKeyUsage.oid,
        x509.BasicConstraints.oid,
        x509.AuthorityKeyIdentifier.oid,
        x509.SubjectKeyIdentifier.oid,
        x509.SubjectAlternativeName.oid,
        x509.AuthorityInformationAccess.oid,
        x509.CRLDistributionPoints.oid,
    }
)
_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
)
# What keys of each type can do for a subscriber: in TLS (BR 7.1.2.7.11), and else (RFC 8813,
# section 3 and RFC 4055, section 1.2).
_TLS_USAGES: Mapping[str, frozenset[str]] = {
    "ec": frozenset({"digital_signature"}),
    "rsa": frozenset({"digital_signature", "key_encipherment"}),
}
_OTHER_USAGES: Mapping[str, frozenset[str]] = {
    "ec": frozenset({"digital_signature", "content_commitment", "key_agreement"}),
    "rsa": frozenset(
        {"digital_signature", "content_commitment", "key_encipherment", "data_encipherment"}
    ),
}
# A responder's certificate lets its holder say what is revoked.
_FORBIDDEN_PURPOSES = frozenset(
    {ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE, ExtendedKeyUsageOID.OCSP_SIGNING}
)
_COMMON_NAME = x509.NameOID.COMMON_NAME.dotted_string
_STATUS_REQUEST = x509.TLSFeature([x509.TLSFeatureType.status_request])

# What the parser raises for what is no certificate.
_PARSER_FAULTS = (
    ValueError,
    TypeError,
    LookupError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)

_Found: TypeAlias = Mapping[x509.ObjectIdentifier, x509.Extension[x509.ExtensionType]]
_ExtensionT = TypeVar("_ExtensionT", bound=x509.ExtensionType)


class LintFailed(Exception):
    """The bytes break a rule; nothing may be signed. ``findings`` names each broken one."""

    def __init__(self, findings: list[str]) -> None:
        super().__init__("; ".join(findings))
        self.findings = findings


def lint(tbs: bytes, template: CertificateTemplate) -> None:
    """Raises LintFailed unless ``tbs`` is a well-made certificate that says what ``template``
    says, no more."""
    findings: list[str] = []
    try:
        findings += _field_findings(_fields_of(tbs), template)
        # The parser wants a whole certificate; no signature is looked at.
        certificate = x509.load_der_x509_certificate(
            assemble(tbs, template.issuer.algorithm, b"\x00")
        )
        findings += _validity_findings(certificate, template)
        findings += _key_findings(certificate.public_key(), template)
        findings += _subject_findings(certificate, template)
        findings += _extension_findings(certificate, template)
    except _PARSER_FAULTS as error:
        findings.append(f"the bytes are no certificate: {error}")
    if findings:
        raise LintFailed(findings)


class _Fields(NamedTuple):
    """A TBSCertificate: whole values where they are compared as such, else contents."""

    version: bytes
    serial: bytes
    algorithm: bytes
    issuer: bytes
    validity: bytes
    subject: bytes
    spki: bytes


def _fields_of(tbs: bytes) -> _Fields:
    tags, contents = zip(*der.values(der.whole(tbs, der.SEQUENCE)), strict=True)
    sequence = der.SEQUENCE
    # Exactly these: unique identifiers have no place between the key and the extensions.
    if tags != (0xA0, der.INTEGER, sequence, sequence, sequence, sequence, sequence, 0xA3):
        raise ValueError("the fields are not those of a certificate with extensions")
    return _Fields(*contents[:7])


def _field_findings(fields: _Fields, template: CertificateTemplate) -> Iterator[str]:
    if fields.version != _VERSION_3:
        yield "the version is not 3"
    serial = der.positive_integer(fields.serial)
    if serial != int.from_bytes(template.serial):
        yield "the serial is not the reserved one"
    if serial.bit_length() <= _MIN_SERIAL_BITS or len(fields.serial) > _MAX_SERIAL_OCTETS:
        yield "the serial has too few or too many bits"
    if fields.algorithm != der.whole(template.issuer.algorithm, der.SEQUENCE):
        yield "the signature algorithm is not the issuer's"
    if fields.algorithm not in _ALGORITHMS:
        yield "the signature algorithm is weak or unknown"
    if fields.issuer != der.whole(template.issuer.subject, der.SEQUENCE):
        yield "the issuer is not the issuer's subject"
    if fields.spki != der.whole(template.spki, der.SEQUENCE):
        yield "the public key is not the requested one"
    for (tag, text), moment in zip(
        der.values(fields.validity), (template.not_before, template.not_after), strict=True
    ):
        wanted = _UTC_TIME if moment.year < 2050 else _GENERALIZED_TIME
        if tag != wanted or not _TIME_FORMS[wanted].fullmatch(text):
            yield "a time is not in the form of its year"


def _validity_findings(
    certificate: x509.Certificate, template: CertificateTemplate
) -> Iterator[str]:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if (start, end) != (template.not_before, template.not_after):
        yield "the validity is not the decided one"
    if _seconds(start, end) > template.profile.longest_validity(start).total_seconds():
        yield "the validity exceeds the profile's maximum"
    if end <= start:
        yield "the validity ends before it starts"
    if end > template.issuer.not_after:
        yield "the certificate outlives its issuer"


def _seconds(start: datetime, end: datetime) -> float:
    """The length of a validity: both its first and its last second belong to it."""
    return (end + timedelta(seconds=1) - start).total_seconds()


def _key_findings(key: object, template: CertificateTemplate) -> Iterator[str]:
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        yield "the public key is of a type that no certificate has"
        return
    if (reason := template.profile.keys.refusal_of(key)) is not None:
        yield f"the public key is refused: {reason}"
    if kind_of(key) != kind_of(template.key):
        yield "the public key is not of the type that was decided on"


def _subject_findings(
    certificate: x509.Certificate, template: CertificateTemplate
) -> Iterator[str]:
    found = [(name.oid.dotted_string, name.value) for name in certificate.subject]
    wanted = template.common_name
    pattern = list(template.profile.subject.attributes)
    if found != (pattern if wanted is None else [*pattern, (_COMMON_NAME, wanted)]):
        yield "the subject holds something else than the profile's pattern and common name"
    if wanted is not None and all(name.value != wanted for name in template.identifiers):
        yield "the common name is none of the subject alternative names"


def _extension_findings(
    certificate: x509.Certificate, template: CertificateTemplate
) -> Iterator[str]:
    found: _Found = {extension.oid: extension for extension in certificate.extensions}
    wanted = _wanted_extensions(template)
    for oid in wanted ^ found.keys():
        presence = "missing" if oid in wanted else "there without need"
        yield f"the extension {oid.dotted_string} is {presence}"
    if wanted - found.keys():
        return
    yield from _criticality_findings(found, has_subject=len(certificate.subject.rdns) > 0)
    yield from _name_findings(found, template)
    yield from _usage_findings(found, template)
    yield from _identifier_findings(found, template)
    yield from _pointer_findings(found, template)
    yield from _policy_findings(found, template)
    for extra in template.profile.extensions:
        if found[x509.ObjectIdentifier(extra.oid)].value.public_bytes() != extra.value:
            yield f"the extension {extra.oid} is not the profile's"


def _wanted_extensions(template: CertificateTemplate) -> frozenset[x509.ObjectIdentifier]:
    wanted = _ALWAYS
    if template.profile.policies:
        wanted |= {x509.CertificatePolicies.oid}
    if template.must_staple and template.profile.allows_must_staple:
        wanted |= {x509.TLSFeature.oid}
    if template.profile.extensions:
        wanted |= {x509.ObjectIdentifier(extra.oid) for extra in template.profile.extensions}
    return wanted


def _criticality_findings(found: _Found, *, has_subject: bool) -> Iterator[str]:
    for oid, extension in found.items():
        wanted = oid in _CRITICAL or (oid == x509.SubjectAlternativeName.oid and not has_subject)
        if extension.critical != wanted:
            yield f"the criticality of {oid.dotted_string} is wrong"


def _name_findings(found: _Found, template: CertificateTemplate) -> Iterator[str]:
    names = [_identifier(name) for name in _value(found, x509.SubjectAlternativeName)]
    if names != list(template.identifiers):
        yield "the subject alternative names are not the authorized ones"
    if len(set(names)) != len(names) or not names:
        yield "the subject alternative names are repeated or none"
    if len(names) > template.profile.maximum_identifiers:
        yield "there are more names than the profile allows"
    for name in names:
        if name is None or name.type not in template.profile.identifier_types:
            yield "a name is of a type that the profile does not allow"
        elif name.type is IdentifierType.DNS and not _DNS_NAME.fullmatch(name.value):
            yield "a DNS name is not in the preferred syntax"


def _identifier(name: x509.GeneralName) -> Identifier | None:
    if isinstance(name, x509.DNSName):
        return Identifier(IdentifierType.DNS, name.value)
    if isinstance(name, x509.IPAddress):
        return Identifier(IdentifierType.IP, str(name.value))
    return None


def _usage_findings(found: _Found, template: CertificateTemplate) -> Iterator[str]:
    if _value(found, x509.BasicConstraints).ca:
        yield "it is a CA certificate"
    usage = _value(found, x509.KeyUsage)
    usages = {name for name in _USAGES if getattr(usage, name)}
    kind = kind_of(template.key)
    if usages != template.profile.key_usages[kind]:
        yield "the key usages are not the profile's"
    purposes = list(_value(found, x509.ExtendedKeyUsage))
    is_tls = ExtendedKeyUsageOID.SERVER_AUTH in purposes
    if not usages or not usages <= (_TLS_USAGES if is_tls else _OTHER_USAGES)[kind]:
        yield "the key usages are none, or not for subscribers with such a key"
    if [oid.dotted_string for oid in purposes] != list(template.profile.extended_key_usages):
        yield "the extended key usages are not the profile's"
    if not _FORBIDDEN_PURPOSES.isdisjoint(purposes):
        yield "the extended key usages are unlimited, or those of a responder"


def _identifier_findings(found: _Found, template: CertificateTemplate) -> Iterator[str]:
    authority = _value(found, x509.AuthorityKeyIdentifier)
    wanted = x509.AuthorityKeyIdentifier(template.issuer.key_identifier, None, None)
    if authority != wanted:
        yield "the authority key identifier is not the issuer's"
    _, (_, bits) = der.values(der.whole(template.spki, der.SEQUENCE))
    # RFC 7093, section 2, method 1; the first octet counts the unused bits.
    if _value(found, x509.SubjectKeyIdentifier).digest != hashlib.sha256(bits[1:]).digest()[:20]:
        yield "the subject key identifier is not the key's"


def _pointer_findings(found: _Found, template: CertificateTemplate) -> Iterator[str]:
    shard = template.issuer.crl_url(template.issuer.shard_of(template.serial))
    point = x509.DistributionPoint([x509.UniformResourceIdentifier(shard)], None, None, None)
    if list(_value(found, x509.CRLDistributionPoints)) != [point]:
        yield "the CRL distribution point is not the shard's"
    access = [
        (entry.access_method, entry.access_location.value)
        for entry in _value(found, x509.AuthorityInformationAccess)
    ]
    location = template.issuer.certificate_url
    if access != [(AuthorityInformationAccessOID.CA_ISSUERS, location)]:
        yield "the authority information access does not point to the issuer"
    # Whoever fetches them would have to verify a certificate to verify a certificate.
    if not all(url.startswith("http://") for url in (shard, location)):
        yield "a URL in the certificate is not plain HTTP"


def _policy_findings(found: _Found, template: CertificateTemplate) -> Iterator[str]:
    if x509.CertificatePolicies.oid in found:
        policies = _value(found, x509.CertificatePolicies)
        oids = [policy.policy_identifier.dotted_string for policy in policies]
        is_plain = all(policy.policy_qualifiers is None for policy in policies)
        if oids != list(template.profile.policies) or not is_plain:
            yield "the certificate policies are not the profile's"
    features = found.get(x509.TLSFeature.oid)
    if features is not None and features.value != _STATUS_REQUEST:
        yield "the TLS feature is not status_request alone"


def _value(found: _Found, kind: type[_ExtensionT]) -> _ExtensionT:
    return cast("_ExtensionT", found[kind.oid].value)
