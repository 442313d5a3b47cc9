"""Which certificates prove control, apart from any network (RFC 8737, section 3)."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from policy.model.identifiers import Identifier, IdentifierType
from support.challengecertificates import ChallengeCertificate, common_name, octet_string
from support.validation import NAME, THUMBPRINT, TOKEN
from validators.challengecertificates import (
    CertificateRefused,
    DigestDiffers,
    check_certificate,
)
from validators.keyauth import expected_digest

DIGEST = expected_digest(TOKEN, THUMBPRINT)
DNS = Identifier(IdentifierType.DNS, NAME)
IPV6 = Identifier(IdentifierType.IP, "2001:db8::1")
KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())
ISSUER_ALTERNATIVE_NAME = bytes.fromhex("0603551d12")
SUBJECT_ALTERNATIVE_NAME = bytes.fromhex("0603551d11")


def certificate(**changes: object) -> bytes:
    values: dict[str, object] = {"names": [NAME], "digest": DIGEST, "key": KEY} | changes
    return ChallengeCertificate(**values).der()  # type: ignore[arg-type]


def test_the_certificate_of_the_rfc_proves_control() -> None:
    check_certificate(certificate(), DNS, DIGEST)


def test_names_are_compared_without_case() -> None:
    check_certificate(certificate(names=["WWW.Example.TEST"]), DNS, DIGEST)


def test_an_address_is_an_ip_address_entry() -> None:
    check_certificate(certificate(names=["ip:2001:db8:0::1"]), IPV6, DIGEST)


def test_other_extensions_do_no_harm() -> None:
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])

    check_certificate(certificate(more=[(usage, False)]), DNS, DIGEST)


REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "no names": ({"names": []}, "no subjectAltName"),
    "two names": ({"names": [NAME, "other.test"]}, "exactly one entry"),
    "the name twice": ({"names": [NAME, NAME]}, "exactly one entry"),
    "the name and an address": ({"names": [NAME, "ip:192.0.2.1"]}, "exactly one entry"),
    "another name": ({"names": ["other.test"]}, "not the identifier"),
    "the wildcard": ({"names": [f"*.{NAME}"]}, "not the identifier"),
    "a final dot": ({"names": [f"{NAME}."]}, "not the identifier"),
    "an address": ({"names": ["ip:192.0.2.1"]}, "not the identifier"),
    "the name as e-mail": ({"names": [x509.RFC822Name(NAME)]}, "not the identifier"),
    "the name as URI": ({"names": [x509.UniformResourceIdentifier(NAME)]}, "not the identifier"),
    "the name as directory name": (
        {"names": [x509.DirectoryName(common_name(NAME))]},
        "not the identifier",
    ),
    "not critical": ({"is_critical": False}, "not critical"),
    "another extension": (
        {"extension": x509.ObjectIdentifier("1.3.6.1.5.5.7.1.30.1")},
        "no acmeIdentifier",
    ),
    "a bare digest": ({"value": DIGEST}, "no octet string"),
    "a short digest": ({"value": octet_string(DIGEST[:31])}, "no octet string"),
    "a long digest": ({"value": octet_string(DIGEST + b"\0")}, "no octet string"),
    "data after the digest": ({"value": octet_string(DIGEST) + b"\0"}, "no octet string"),
    "a bit string": ({"value": b"\x03\x20" + DIGEST}, "no octet string"),
    "a long form length": ({"value": b"\x04\x81\x20" + DIGEST}, "no octet string"),
    "an empty value": ({"value": b""}, "no octet string"),
    "another issuer": ({"issuer": "CA", "signing_key": OTHER_KEY}, "not self-signed"),
    "its own name, signed by another": ({"signing_key": OTHER_KEY}, "not self-signed"),
    "another name, signed by itself": ({"issuer": "CA"}, "not self-signed"),
}


@pytest.mark.parametrize(("changes", "reason"), REFUSED.values(), ids=REFUSED)
def test_other_certificates_prove_nothing(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(CertificateRefused, match=reason) as raised:
        check_certificate(certificate(**changes), DNS, DIGEST)

    assert not isinstance(raised.value, DigestDiffers)


def test_another_digest_is_told_apart() -> None:
    other = expected_digest(TOKEN, bytes(32))

    with pytest.raises(DigestDiffers):
        check_certificate(certificate(digest=other), DNS, DIGEST)


@pytest.mark.parametrize("name", ["ip:2001:db8::2", "2001:db8::1", "ip:192.0.2.1"])
def test_another_address_proves_nothing(name: str) -> None:
    with pytest.raises(CertificateRefused, match="not the identifier"):
        check_certificate(certificate(names=[name]), IPV6, DIGEST)


def test_letters_outside_ascii_are_not_folded() -> None:
    """U+212A, the Kelvin sign, is k in lower case."""
    name = "\u212a.test.example".encode()
    encoded = bytes([0x30, len(name) + 2, 0x82, len(name)]) + name
    names = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, encoded)
    identifier = Identifier(IdentifierType.DNS, "k.test.example")

    with pytest.raises(CertificateRefused, match="not the identifier"):
        check_certificate(certificate(names=[], more=[(names, False)]), identifier, DIGEST)


def _with_duplicate_names(der: bytes) -> bytes:
    assert der.count(ISSUER_ALTERNATIVE_NAME) == 1
    return der.replace(ISSUER_ALTERNATIVE_NAME, SUBJECT_ALTERNATIVE_NAME)


def test_a_repeated_extension_is_no_defect() -> None:
    names = x509.IssuerAlternativeName([x509.DNSName(NAME)])

    with pytest.raises(CertificateRefused, match="can't be read"):
        check_certificate(_with_duplicate_names(certificate(more=[(names, False)])), DNS, DIGEST)


def test_a_repeated_acme_identifier_is_no_defect() -> None:
    other = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.32")
    extension = x509.UnrecognizedExtension(other, octet_string(DIGEST))
    der = certificate(more=[(extension, True)])
    tail = bytes.fromhex("2b0601050507011f"), bytes.fromhex("2b06010505070120")
    assert der.count(tail[1]) == 1

    with pytest.raises(CertificateRefused, match="can't be read"):
        check_certificate(der.replace(tail[1], tail[0]), DNS, DIGEST)


@pytest.mark.parametrize(
    "der", [b"", b"\x30", b"\x30\x80\0\0", b"junk", b"\x30\x84\xff\xff\xff\xff", bytes(65536)]
)
def test_what_is_no_certificate_is_no_defect(der: bytes) -> None:
    with pytest.raises(CertificateRefused, match="can't be read"):
        check_certificate(der, DNS, DIGEST)


def test_a_negative_serial_number_is_no_defect() -> None:
    serial = bytes.fromhex("02023039")
    der = certificate(serial_number=12345)
    assert der.count(serial) == 1

    with pytest.raises(CertificateRefused, match="can't be read"):
        check_certificate(der.replace(serial, bytes.fromhex("0202ffff")), DNS, DIGEST)


GOOD = certificate()
# The signature value has bits that mean nothing; what is signed has none.
SIGNED = len(x509.load_der_x509_certificate(GOOD).tbs_certificate_bytes)


@given(st.lists(st.tuples(st.integers(0, SIGNED), st.integers(1, 255)), min_size=1, max_size=4))
def test_no_altered_certificate_proves_control(edits: list[tuple[int, int]]) -> None:
    altered = bytearray(GOOD)
    for position, change in edits:
        altered[position] ^= change
    if altered == GOOD:
        return

    with pytest.raises(CertificateRefused):
        check_certificate(bytes(altered), DNS, DIGEST)
