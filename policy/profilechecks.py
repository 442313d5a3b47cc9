"""What is wrong with a profile: all of it at once, each fault by the field to change.

The lint holds certificates to the same; this is for whoever writes a profile, before any
certificate is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from policy.baseline import DOMAIN_VALIDATED, RESERVED_POLICIES
from policy.extraextensions import ExtraExtension, check_oid
from policy.model.identifiers import IdentifierType
from policy.profiles import (
    DIGITAL_SIGNATURE,
    KEY_ENCIPHERMENT,
    SERVER_AUTH,
    CommonName,
    Profile,
    SubjectPattern,
)

MAX_EXTENSIONS = 8
_COUNTRY = re.compile(r"[A-Z]{2}", re.ASCII)
_ANY_PURPOSE = "2.5.29.37.0"
_OCSP_SIGNING = "1.3.6.1.5.5.7.3.9"
# BR 7.1.2.7.11 for TLS; RFC 8813, section 3 and RFC 4055, section 1.2 for the rest.
_TLS_USAGES: Mapping[str, frozenset[str]] = {
    "ec": frozenset({DIGITAL_SIGNATURE}),
    "rsa": frozenset({DIGITAL_SIGNATURE, KEY_ENCIPHERMENT}),
}
_OTHER_USAGES: Mapping[str, frozenset[str]] = {
    "ec": frozenset({DIGITAL_SIGNATURE, "content_commitment", "key_agreement"}),
    "rsa": frozenset(
        {DIGITAL_SIGNATURE, "content_commitment", KEY_ENCIPHERMENT, "data_encipherment"}
    ),
}


class Fault(NamedTuple):
    """What is wrong with a field of a profile; the text follows the field's name."""

    field: str
    text: str


def faults_of(profile: Profile) -> Iterator[Fault]:
    """All faults of the profile."""
    for check in _CHECKS:
        yield from check(profile)
    if profile.is_public:
        yield from _public_faults(profile)


def _purpose_faults(profile: Profile) -> Iterator[Fault]:
    if not profile.extended_key_usages:
        yield Fault("extended_key_usages", "must not be empty")
    for oid in profile.extended_key_usages:
        if oid in (_ANY_PURPOSE, _OCSP_SIGNING):
            yield Fault("extended_key_usages", f"{oid} is for no subscriber's certificate")
    for field, oids in (
        ("extended_key_usages", profile.extended_key_usages),
        ("policies", profile.policies),
    ):
        for oid in oids:
            if (reason := _fault_of_oid(oid)) is not None:
                yield Fault(field, reason)


def _fault_of_oid(oid: str) -> str | None:
    try:
        check_oid(oid)
    except ValueError as error:
        return str(error)
    return None


def _usage_faults(profile: Profile) -> Iterator[Fault]:
    is_tls = SERVER_AUTH in profile.extended_key_usages
    for kind in sorted(profile.keys.kinds):
        usages = profile.key_usages.get(kind, frozenset())
        possible = (_TLS_USAGES if is_tls else _OTHER_USAGES)[kind]
        if not usages:
            yield Fault(f"{kind}_key_usages", "must not be empty")
        elif strange := sorted(usages - possible):
            use = "in TLS" if is_tls else "by subscribers"
            yield Fault(
                f"{kind}_key_usages", f"{', '.join(strange)} is not used {use} with such a key"
            )


def _key_faults(profile: Profile) -> Iterator[Fault]:
    if not profile.keys.kinds:
        yield Fault("key_types", "must not be empty")
    if "ec" in profile.keys.kinds and not profile.keys.curves:
        yield Fault("curves", "must not be empty while key_types has ec")


def _name_faults(profile: Profile) -> Iterator[Fault]:
    if not profile.identifier_types:
        yield Fault("identifier_types", "must not be empty")
    if profile.maximum_identifiers < 1:
        yield Fault("maximum_identifiers", "must be at least 1")
    if not profile.challenge_types:
        yield Fault("challenge_types", "must not be empty")
    country = profile.subject.country
    if country is not None and not _COUNTRY.fullmatch(country):
        yield Fault("country", "must be two capital letters (ISO 3166-1)")


def _extension_faults(profile: Profile) -> Iterator[Fault]:
    oids = [extra.oid for extra in profile.extensions]
    if len(oids) > MAX_EXTENSIONS:
        yield Fault("extensions", f"has more than {MAX_EXTENSIONS} entries")
    for oid in sorted({oid for oid in oids if oids.count(oid) > 1}):
        yield Fault("extensions", f"has {oid} twice")
    for extra in profile.extensions:
        if not _can_be_read(extra):
            yield Fault("extensions", f"the value of {extra.oid} is not what that extension has")


def _can_be_read(extra: ExtraExtension) -> bool:
    """Whether those who know the extension can read its value: a certificate with it is loaded."""
    key = ec.generate_private_key(ec.SECP256R1())
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    name = x509.Name([])
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=1,
        not_valid_before=moment,
        not_valid_after=moment,
    )
    value = x509.UnrecognizedExtension(x509.ObjectIdentifier(extra.oid), extra.value)
    certificate = builder.add_extension(value, critical=False).sign(key, hashes.SHA256())
    try:
        len(x509.load_der_x509_certificate(certificate.public_bytes(Encoding.DER)).extensions)
    except ValueError:
        return False
    return True


def _public_faults(profile: Profile) -> Iterator[Fault]:
    """BR 7.1.2.7.2 and what follows it, where stricter than what the CA may do otherwise."""
    if profile.subject != SubjectPattern(country=profile.subject.country):
        yield Fault("organization", "stands in no domain validated certificate (BR 7.1.2.7.2)")
    if profile.common_name is not CommonName.NONE:
        yield Fault("common_name", "is not recommended in public certificates (BR 7.1.2.7.2)")
    if profile.extended_key_usages != (SERVER_AUTH,):
        yield Fault("extended_key_usages", "must be server_auth alone in public certificates")
    if DOMAIN_VALIDATED not in profile.policies:
        yield Fault("policies", f"must have {DOMAIN_VALIDATED}, domain validated (BR 7.1.6.1)")
    if strange := sorted({*profile.policies} & RESERVED_POLICIES - {DOMAIN_VALIDATED}):
        claims = ", ".join(strange)
        yield Fault("policies", f"{claims} is for another kind of validation (BR 7.1.2.7.9)")
    if profile.identifier_types != {IdentifierType.DNS}:
        # Reserved addresses (BR 7.1.2.7.12) are not told apart here.
        yield Fault("identifier_types", "must be dns alone in public certificates")
    if profile.extensions:
        yield Fault("extensions", "must be empty for public certificates (BR 7.1.2.7.6)")


_CHECKS: tuple[Callable[[Profile], Iterator[Fault]], ...] = (
    _purpose_faults,
    _usage_faults,
    _key_faults,
    _name_faults,
    _extension_faults,
)
