"""Certificates as others read them: OpenSSL, the library's verifier, and octet by octet."""

from __future__ import annotations

import dataclasses
import subprocess
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import verification
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policy.model.identifiers import Identifier, IdentifierType
from policy.profiles import SERVICE, TLS_SERVER, CommonName
from policy.signing import der
from policy.signing.lint import lint
from policy.signing.template import CertificateTemplate, build_tbs, key_identifier
from support.csrs import ec_key, rsa_key, spki_of
from support.signing import NOW, TestAuthority, authority, dns, ip, template_for, write_pem

NAMED = dataclasses.replace(TLS_SERVER, common_name=CommonName.FIRST_NAME)
WITH_POLICIES = dataclasses.replace(TLS_SERVER, policies=("2.23.140.1.2.1", "1.2.3.4"))
STAPLED = dataclasses.replace(TLS_SERVER, allows_must_staple=True)
EVERY = dataclasses.replace(SERVICE, maximum_identifiers=100)
KEYS = [
    ec_key(),
    ec.generate_private_key(ec.SECP384R1()),
    ec.generate_private_key(ec.SECP521R1()),
    rsa_key(),
]


def _certificate(
    template: CertificateTemplate, ca: TestAuthority | None = None
) -> x509.Certificate:
    tbs = build_tbs(template)
    return x509.load_der_x509_certificate((ca or authority()).issue(tbs))


def _verify_with_openssl(ca: TestAuthority, leaf: bytes, directory: Path) -> None:
    root, issuing = ca.write_pem(directory)
    moment = str(int(NOW.timestamp()))
    command = ["openssl", "verify", "-x509_strict", "-attime", moment, "-purpose", "sslserver"]
    subprocess.run(
        [*command, "-CAfile", root, "-untrusted", issuing, write_pem(directory / "leaf.pem", leaf)],
        check=True,
        capture_output=True,
    )


def _verify_with_library(ca: TestAuthority, leaf: bytes, subject: Identifier) -> None:
    root, issuing, certificate = map(x509.load_der_x509_certificate, (ca.root, ca.issuing, leaf))
    name: verification.Subject = (
        x509.DNSName(subject.value.replace("*", "any"))
        if subject.type is IdentifierType.DNS
        else x509.IPAddress(ip_address(subject.value))
    )
    verifier = (
        verification.PolicyBuilder()
        .store(verification.Store([root]))
        .time(NOW)
        .build_server_verifier(name)
    )
    assert len(verifier.verify(certificate, [issuing])) == 3


def test_certificate_says_what_the_template_says_and_no_more() -> None:
    template = template_for(dns("www.example.com", "*.example.org"))
    issuer = template.issuer

    certificate = _certificate(template)

    assert certificate.version is x509.Version.v3
    assert certificate.serial_number == int.from_bytes(template.serial)
    assert certificate.issuer.public_bytes() == issuer.subject
    assert certificate.subject.rdns == []
    assert certificate.not_valid_before_utc == template.not_before
    assert certificate.not_valid_after_utc == template.not_after
    assert certificate.public_key() == template.key
    shard = int.from_bytes(template.serial[-4:]) % 128
    assert {type(e.value): (e.critical, e.value) for e in certificate.extensions} == {
        x509.KeyUsage: (
            True,
            x509.KeyUsage(True, False, False, False, False, False, False, False, False),
        ),
        x509.ExtendedKeyUsage: (
            False,
            x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]),
        ),
        x509.BasicConstraints: (True, x509.BasicConstraints(ca=False, path_length=None)),
        x509.AuthorityKeyIdentifier: (
            False,
            x509.AuthorityKeyIdentifier(issuer.key_identifier, None, None),
        ),
        x509.SubjectKeyIdentifier: (
            False,
            x509.SubjectKeyIdentifier(key_identifier(template.spki)),
        ),
        x509.AuthorityInformationAccess: (
            False,
            x509.AuthorityInformationAccess(
                [
                    x509.AccessDescription(
                        x509.AuthorityInformationAccessOID.CA_ISSUERS,
                        x509.UniformResourceIdentifier("http://status.example:14080/ca/ca.crt"),
                    )
                ]
            ),
        ),
        x509.CRLDistributionPoints: (
            False,
            x509.CRLDistributionPoints(
                [
                    x509.DistributionPoint(
                        [
                            x509.UniformResourceIdentifier(
                                f"http://status.example:14080/crl/ca/{shard}.crl"
                            )
                        ],
                        None,
                        None,
                        None,
                    )
                ]
            ),
        ),
        x509.SubjectAlternativeName: (
            True,
            x509.SubjectAlternativeName(
                [x509.DNSName("www.example.com"), x509.DNSName("*.example.org")]
            ),
        ),
    }


def test_rsa_key_may_encipher_keys_too() -> None:
    certificate = _certificate(template_for(key=rsa_key().public_key()))

    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage == x509.KeyUsage(True, False, True, False, False, False, False, False, False)


def test_key_identifier_is_the_first_of_rfc_7093() -> None:
    expected = x509.SubjectKeyIdentifier.from_public_key(ec_key().public_key()).digest

    identifier = key_identifier(spki_of(ec_key()))

    assert len(identifier) == 20
    # The library makes RFC 5280's, of SHA-1, from the same octets; ours is no SHA-1.
    assert identifier != expected


def test_same_template_gives_the_same_bytes() -> None:
    template = template_for(dns("www.example.com", "example.com"))

    assert build_tbs(template) == build_tbs(dataclasses.replace(template))


def test_serial_of_any_bits_is_positive() -> None:
    for serial in (b"\x7f" + bytes(16), b"\x80" + bytes(16), b"\xff" * 17, b"\x01" + bytes(16)):
        certificate = _certificate(template_for(serial=serial))
        assert certificate.serial_number == int.from_bytes(serial)


def test_common_name_is_the_first_name_that_fits() -> None:
    long = f"{'a' * 60}.example.com"
    certificate = _certificate(template_for(dns(long, "www.example.com"), profile=NAMED))

    assert certificate.subject.rfc4514_string() == "CN=www.example.com"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert not names.critical


def test_subject_is_empty_where_no_name_fits() -> None:
    for identifiers in (dns(f"{'a' * 60}.example.com"), dns(f"*.{'a' * 60}.example.com")):
        certificate = _certificate(template_for(identifiers, profile=NAMED))
        assert certificate.subject.rdns == []
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        assert names.critical


def test_policies_and_must_staple_are_written_where_the_profile_has_them() -> None:
    policies = _certificate(template_for(profile=WITH_POLICIES)).extensions
    stapled = _certificate(template_for(profile=STAPLED, must_staple=True)).extensions

    found = policies.get_extension_for_class(x509.CertificatePolicies)
    assert [entry.policy_identifier.dotted_string for entry in found.value] == [
        "2.23.140.1.2.1",
        "1.2.3.4",
    ]
    feature = stapled.get_extension_for_class(x509.TLSFeature)
    assert feature.value == x509.TLSFeature([x509.TLSFeatureType.status_request])
    assert feature.critical is found.critical is False


def test_shard_is_stable_and_spread() -> None:
    facts = authority().facts
    shards = {facts.shard_of(b"\x01" + bytes(12) + number.to_bytes(4)) for number in range(1024)}

    assert shards == set(range(128))


@pytest.mark.parametrize("key_type", ["ec-p256", "ec-p384", "rsa-2048"])
@pytest.mark.parametrize("profile", [TLS_SERVER, NAMED, WITH_POLICIES, STAPLED])
def test_certificate_is_accepted_by_openssl_and_the_library(
    key_type: str, profile: object, tmp_path: Path
) -> None:
    ca = authority(key_type)
    for key in KEYS:
        template = template_for(
            dns("www.example.com", "*.example.org"),
            profile=profile,  # type: ignore[arg-type]
            issuer=ca.facts,
            key=key.public_key(),
            must_staple=profile is STAPLED,
        )
        leaf = ca.issue(build_tbs(template))
        _verify_with_openssl(ca, leaf, tmp_path)
        for identifier in template.identifiers:
            _verify_with_library(ca, leaf, identifier)


def test_certificate_of_an_ed25519_authority_is_accepted_by_openssl(tmp_path: Path) -> None:
    ca = authority("ed25519")

    leaf = ca.issue(build_tbs(template_for(issuer=ca.facts)))

    _verify_with_openssl(ca, leaf, tmp_path)


def test_certificate_of_the_service_names_addresses(tmp_path: Path) -> None:
    ca = authority()
    identifiers = (*dns("localhost"), *ip("127.0.0.1", "::1"))

    leaf = ca.issue(build_tbs(template_for(identifiers, profile=SERVICE)))

    _verify_with_openssl(ca, leaf, tmp_path)
    for identifier in identifiers:
        _verify_with_library(ca, leaf, identifier)


LABELS = st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?", fullmatch=True).filter(
    lambda label: label[2:4] != "--"
)
NAMES = st.builds(
    lambda prefix, labels, end: prefix + ".".join((*labels, end)),
    st.sampled_from(["", "*."]),
    st.lists(LABELS, min_size=1, max_size=5),
    st.sampled_from(["com", "org", "localhost", "xn--p1ai"]),
).map(lambda name: Identifier(IdentifierType.DNS, name))
ADDRESSES = st.ip_addresses().map(lambda address: Identifier(IdentifierType.IP, str(address)))
TEMPLATES = st.builds(
    template_for,
    st.lists(NAMES | ADDRESSES, min_size=1, max_size=8, unique=True),
    profile=st.just(EVERY),
    key=st.sampled_from([key.public_key() for key in KEYS]),
    serial=st.binary(min_size=16, max_size=16).map(lambda random: b"\x01" + random),
    now=st.datetimes(
        min_value=NOW.replace(tzinfo=None), max_value=NOW.replace(tzinfo=None) + timedelta(days=900)
    ).map(lambda moment: moment.replace(tzinfo=NOW.tzinfo)),
)


@given(template=TEMPLATES)
def test_any_template_that_policy_allows_passes_lint_and_reads_as_it_says(
    template: CertificateTemplate,
) -> None:
    tbs = build_tbs(template)

    lint(tbs, template)
    certificate = x509.load_der_x509_certificate(authority().issue(tbs))
    assert certificate.tbs_certificate_bytes == tbs
    certificate.verify_directly_issued_by(x509.load_der_x509_certificate(authority().issuing))


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(identifiers=st.lists(NAMES | ADDRESSES, min_size=1, max_size=100, unique=True))
def test_any_names_are_accepted_by_openssl_and_the_library(
    identifiers: list[Identifier], tmp_path: Path
) -> None:
    ca = authority()

    leaf = ca.issue(build_tbs(template_for(identifiers, profile=EVERY)))

    _verify_with_openssl(ca, leaf, tmp_path)
    for identifier in identifiers[:5]:
        _verify_with_library(ca, leaf, identifier)


def test_large_certificate_has_lengths_in_their_shortest_form() -> None:
    identifiers = dns(*(f"{number:03}{'a' * 60}.example.com" for number in range(100)))
    template = template_for(identifiers)

    tbs = build_tbs(template)

    lint(tbs, template)
    assert len(der.tlv(der.SEQUENCE, tbs)) > 6000
