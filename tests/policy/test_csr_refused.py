"""Certificate requests that are refused, row by row, each with a sentence for its sender."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding

from policy.csr import MAX_CSR_BYTES, parse_csr
from policy.model.errors import ErrorKind, ServerError
from policy.requestedextensions import read_extensions
from policy.signing import der
from support import csrs
from support.csrs import (
    common_name,
    dns_names,
    extension,
    features,
    key_usage,
    names,
    purposes,
    requested,
    write_csr,
)

NAME = b"www.example.com"
SAN = dns_names("www.example.com")
GOOD = write_csr(SAN)


def _refusal(csr: bytes) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ServerError) as refusal:
            parse_csr(csr)
    assert refusal.value.kind is ErrorKind.BAD_CSR
    assert refusal.value.detail.isprintable()
    assert refusal.value.detail.endswith(".")
    return refusal.value.detail


ED25519_CSR = (
    x509.CertificateSigningRequestBuilder(x509.Name([]))
    .sign(ed25519.Ed25519PrivateKey.generate(), None)
    .public_bytes(Encoding.DER)
)
PEM = x509.load_der_x509_csr(GOOD).public_bytes(Encoding.PEM)


def _indefinite(csr: bytes) -> bytes:
    """The request with an outer length that BER allows and DER does not."""
    _, start, _ = der.read(csr, 0)
    return b"\x30\x80" + csr[start:] + b"\x00\x00"


def _long_length(csr: bytes) -> bytes:
    _, start, end = der.read(csr, 0)
    return b"\x30\x84" + (end - start).to_bytes(4) + csr[start:]


def _with_signature(csr: bytes, change: bytes) -> bytes:
    return csr[: -len(change)] + change


# What is refused: a part of the sentence that its sender reads.
REFUSED = {
    "empty": (b"", "well-formed"),
    "random": (bytes(range(256)), "well-formed"),
    "truncated": (GOOD[:-1], "well-formed"),
    "half of it": (GOOD[: len(GOOD) // 2], "well-formed"),
    "data after it": (GOOD + b"\x00", "nothing after it"),
    "twice": (GOOD + GOOD, "nothing after it"),
    "PEM": (PEM, "PEM"),
    "PEM after white space": (b"\n  " + PEM, "PEM"),
    "base64 within base64url": (b"".join(PEM.split(b"\n")[1:-2]), "base64"),
    "text": (b"not a request", "well-formed"),
    "BER of indefinite length": (_indefinite(GOOD), "well-formed"),
    "BER with a long length": (_long_length(GOOD), "well-formed"),
    "deep nesting": (b"\x30\x80" * 20_000, "well-formed"),
    "a certificate": (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(csrs.ec_key().public_key())
        .serial_number(1)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2027, 1, 1, tzinfo=UTC))
        .sign(csrs.ec_key(), hashes.SHA256())
        .public_bytes(Encoding.DER),
        "well-formed",
    ),
    "too large": (
        write_csr(SAN, extension("1.2.3.4", der.tlv(der.OCTET_STRING, bytes(MAX_CSR_BYTES)))),
        "more than 49152 bytes",
    ),
    "version 2": (write_csr(SAN, version=b"\x02\x01\x01"), "version"),
    "version -1": (write_csr(SAN, version=b"\x02\x01\xff"), "well-formed"),
    "signed with SHA-1": (
        write_csr(SAN, digest=hashes.SHA1(), algorithm=csrs.ECDSA_SHA1),
        "SHA-256, SHA-384 or SHA-512",
    ),
    "RSA signed with SHA-1": (
        write_csr(SAN, key=csrs.rsa_key(), digest=hashes.SHA1(), algorithm=csrs.RSA_SHA1),
        "SHA-256, SHA-384 or SHA-512",
    ),
    "RSA signed with MD5": (
        write_csr(SAN, key=csrs.rsa_key(), digest=hashes.MD5(), algorithm=csrs.RSA_MD5),
        "SHA-256, SHA-384 or SHA-512",
    ),
    "signed with another key": (
        write_csr(SAN, key=csrs.ec_key("other"), spki=csrs.spki_of(csrs.ec_key())),
        "not made by its own key",
    ),
    "an unknown signature algorithm": (
        write_csr(SAN, algorithm=der.sequence(der.object_identifier("1.2.3.4"))),
        "not known",
    ),
    "an algorithm of another key type": (write_csr(SAN, algorithm=csrs.RSA_SHA256), "own key"),
    "an altered signature": (
        _with_signature(GOOD, bytes((GOOD[-1] ^ 1,))),
        "not made by its own key",
    ),
    "RSA of 1024 bits": (write_csr(SAN, key=csrs.rsa_key(1024)), "1024 bits"),
    "RSA of 16384 bits": (write_csr(SAN, spki=csrs.rsa_spki(1 << 16383 | 1)), "16384 bits"),
    "RSA of 300000 bits": (write_csr(SAN, spki=csrs.rsa_spki(1 << 299_999 | 1)), "300000 bits"),
    "Ed25519": (ED25519_CSR, "use RSA, or ECDSA"),
    "the point at infinity": (write_csr(SAN, spki=csrs.ec_spki(b"\x00")), "public key is refused"),
    "no names": (write_csr(), "no subject alternative names"),
    "no names but extensions": (write_csr(key_usage(b"\x05\xa0")), "no subject alternative names"),
    "an empty list of names": (write_csr(names()), "list of subject alternative names is empty"),
    "an empty list of names and a common name": (
        write_csr(names(), subject=[common_name(NAME)]),
        "list of subject alternative names is empty",
    ),
    "an empty name": (write_csr(dns_names("")), "no DNS name to certify"),
    "the common name is no SAN": (
        write_csr(dns_names("example.com"), subject=[common_name(NAME)]),
        "common name is none of",
    ),
    "two common names": (
        write_csr(SAN, subject=[common_name(NAME), common_name(NAME)]),
        "more than one common name",
    ),
    "two common names in one RDN": (
        write_csr(
            SAN,
            subject=[
                der.tlv(
                    der.SET,
                    b"".join(
                        der.sequence(der.object_identifier("2.5.4.3"), der.tlv(csrs.UTF8, value))
                        for value in (b"a.example.com", NAME)
                    ),
                )
            ],
        ),
        "more than one common name",
    ),
    "an empty common name": (write_csr(SAN, subject=[common_name(b"")]), "no DNS name"),
    "another address as common name": (
        write_csr(names((csrs.IP, bytes((192, 0, 2, 1)))), subject=[common_name(b"192.0.2.2")]),
        "its common name is none of its subject alternative names",
    ),
    "a common name with NUL": (
        write_csr(SAN, subject=[common_name(b"www.example.com\x00.evil.com")]),
        "no DNS name",
    ),
    "a common name with CRLF": (
        write_csr(SAN, subject=[common_name(b"a\r\nSet-Cookie: x")]),
        "no DNS name",
    ),
    "a common name with markup": (
        write_csr(SAN, subject=[common_name(b"<script>alert(1)</script>")]),
        "no DNS name",
    ),
    "a common name with a lookup": (
        write_csr(SAN, subject=[common_name(b"${jndi:ldap://x}")]),
        "no DNS name",
    ),
    "a common name of 65 kB": (
        write_csr(SAN, subject=[common_name(b"a" * 40_000)]),
        "no DNS name",
    ),
    "a common name as BMPString": (
        write_csr(SAN, subject=[common_name("www.example.com".encode("utf-16-be"), csrs.BMP)]),
        "common name in ASCII",
    ),
    "a common name outside ASCII": (
        write_csr(SAN, subject=[common_name("bücher.example".encode())]),
        "common name in ASCII",
    ),
    "SAN twice": (write_csr(SAN, SAN), "2.5.29.17 twice"),
    "an unknown extension twice": (
        write_csr(SAN, *[extension("1.2.3.4", b"\x05\x00")] * 2),
        "1.2.3.4 twice",
    ),
    "two extension requests": (
        write_csr(attributes=[requested(SAN), requested(key_usage(b"\x05\xa0"))]),
        "more than one extension request",
    ),
    "two values in one extension request": (
        write_csr(
            attributes=[
                der.sequence(
                    der.object_identifier(csrs.EXTENSION_REQUEST),
                    der.tlv(der.SET, der.sequence(key_usage(b"\x05\xa0")) + der.sequence(SAN)),
                )
            ]
        ),
        "more than one extension request",
    ),
    "names in Microsoft's attribute": (
        write_csr(attributes=[requested(SAN, oid=csrs.MICROSOFT_EXTENSION_REQUEST)]),
        "extensionRequest attribute alone",
    ),
    "Microsoft's attribute besides the standard one": (
        write_csr(
            attributes=[
                requested(dns_names("evil.example"), oid=csrs.MICROSOFT_EXTENSION_REQUEST),
                requested(SAN),
            ]
        ),
        "extensionRequest attribute alone",
    ),
    "an extension request without a list": (
        write_csr(
            attributes=[
                der.sequence(
                    der.object_identifier(csrs.EXTENSION_REQUEST), der.tlv(der.SET, b"\x05\x00")
                )
            ]
        ),
        "malformed",
    ),
    "an attribute that is none": (write_csr(attributes=[b"\x05\x00"]), "well-formed"),
    "iPAddress of 0 octets": (write_csr(names((csrs.IP, b""))), "neither"),
    "iPAddress of 5 octets": (write_csr(names((csrs.IP, bytes(5)))), "neither"),
    "iPAddress of 8 octets": (write_csr(names((csrs.IP, bytes(8)))), "neither"),
    "an address as dNSName": (write_csr(dns_names("192.0.2.1")), "read as an address"),
    "an IPv6 address as dNSName": (write_csr(dns_names("2001:db8::1")), "read as an address"),
    "a malformed SAN": (write_csr(extension(csrs.SAN, b"\x30\x05\x82\x10www")), "malformed"),
    "SAN without a list": (write_csr(extension(csrs.SAN, NAME)), "malformed"),
    "a SAN of indefinite length": (
        write_csr(extension(csrs.SAN, b"\x30\x80\x82\x03a.b\x00\x00")),
        "malformed",
    ),
    "criticality FALSE in words": (
        write_csr(
            der.sequence(
                der.object_identifier(csrs.SAN),
                b"\x01\x01\x00",
                der.tlv(der.OCTET_STRING, der.sequence(der.tlv(csrs.DNS, NAME))),
            )
        ),
        "malformed",
    ),
    "an extension in a BIT STRING": (
        write_csr(
            der.sequence(
                der.object_identifier(csrs.SAN),
                der.tlv(der.BIT_STRING, der.sequence(der.tlv(csrs.DNS, NAME))),
            )
        ),
        "malformed",
    ),
    "an extension whose OID is text": (
        write_csr(
            der.sequence(
                der.tlv(csrs.UTF8, bytes.fromhex("551d11")),
                der.tlv(der.OCTET_STRING, der.sequence(der.tlv(csrs.DNS, NAME))),
            )
        ),
        "malformed",
    ),
    "an extension without a value": (
        write_csr(der.sequence(der.object_identifier(csrs.SAN))),
        "malformed",
    ),
    "keyCertSign": (write_csr(SAN, key_usage(b"\x02\x84")), "key usages of a CA"),
    "cRLSign": (write_csr(SAN, key_usage(b"\x01\x82")), "key usages of a CA"),
    "a key usage without bits": (write_csr(SAN, key_usage(b"\x00")), "malformed"),
    "CA:TRUE": (
        write_csr(SAN, extension("2.5.29.19", der.sequence(der.BOOLEAN_TRUE))),
        "a CA certificate",
    ),
    "CA:TRUE with a path length": (
        write_csr(SAN, extension("2.5.29.19", der.sequence(der.BOOLEAN_TRUE, b"\x02\x01\x00"))),
        "a CA certificate",
    ),
    "a path length without CA": (
        write_csr(SAN, extension("2.5.29.19", der.sequence(b"\x02\x01\x00"))),
        "malformed",
    ),
    "anyExtendedKeyUsage": (write_csr(SAN, purposes("2.5.29.37.0")), "extended key usage"),
    "any beside serverAuth": (
        write_csr(SAN, purposes("1.3.6.1.5.5.7.3.1", "2.5.29.37.0")),
        "extended key usage",
    ),
    "OCSPSigning": (write_csr(SAN, purposes("1.3.6.1.5.5.7.3.9")), "extended key usage"),
    "an unknown critical extension": (
        write_csr(SAN, extension("1.2.3.4", b"\x05\x00", is_critical=True)),
        "critical extension (1.2.3.4)",
    ),
    "name constraints": (
        write_csr(SAN, extension("2.5.29.30", der.sequence(), is_critical=True)),
        "critical extension (2.5.29.30)",
    ),
    "TLS feature status_request_v2": (write_csr(SAN, features(17)), "TLS features"),
    "both TLS features": (write_csr(SAN, features(5, 17)), "TLS features"),
    "an unknown TLS feature": (write_csr(SAN, features(93)), "TLS features"),
    "no TLS feature": (write_csr(SAN, features()), "TLS features"),
}
OTHER_KINDS = {
    "rfc822Name": (csrs.EMAIL, b"a@example.com"),
    "uniformResourceIdentifier": (csrs.URI, b"https://www.example.com/"),
    "directoryName": (csrs.DIRECTORY, der.sequence(common_name(NAME))),
    "directoryName with an odd country": (
        csrs.DIRECTORY,
        der.sequence(csrs.attribute("2.5.4.6", der.tlv(csrs.PRINTABLE, b"Germany"))),
    ),
    "registeredID": (csrs.REGISTERED_ID, b"\x2a\x03"),
    "x400Address": (csrs.X400, b"\x30\x00"),
    "otherName": (csrs.OTHER, der.object_identifier("1.2.3") + der.explicit(0, b"\x0c\x01a")),
}
ODD_NAMES = {
    "trailing dot": b"www.example.com.",
    "NUL": b"www.example.com\x00.evil.com",
    "NUL at the end": b"www.example.com\x00",
    "space": b"www example.com",
    "space at the end": b"www.example.com ",
    "line feed": b"www.example.com\n",
    "escape": b"\x1b[2Jwww.example.com",
    "underscore": b"a_b.example.com",
    "two wildcards": b"*.*.example.com",
    "wildcard within": b"f*.example.com",
    "wildcard of a single label": b"*.com",
    "URL": b"https://www.example.com",
    "port": b"www.example.com:443",
    "invalid A-label": b"xn--a.example.com",
}


@pytest.mark.parametrize(("csr", "reason"), REFUSED.values(), ids=REFUSED)
def test_request_is_refused_with_its_reason(csr: bytes, reason: str) -> None:
    assert reason in _refusal(csr)


@pytest.mark.parametrize("name", OTHER_KINDS.values(), ids=OTHER_KINDS)
def test_name_of_another_kind_is_refused_also_besides_a_good_one(name: tuple[int, bytes]) -> None:
    assert "neither a DNS name nor an address" in _refusal(write_csr(names(name)))
    assert "neither a DNS name nor an address" in _refusal(write_csr(names((csrs.DNS, NAME), name)))


@pytest.mark.parametrize("name", ODD_NAMES.values(), ids=ODD_NAMES)
def test_odd_name_is_refused_also_besides_a_good_one(name: bytes) -> None:
    for csr in (
        write_csr(names((csrs.DNS, name))),
        write_csr(names((csrs.DNS, NAME), (csrs.DNS, name))),
    ):
        detail = _refusal(csr)
        assert "no DNS name to certify" in detail
        assert detail.replace("…", "").isascii()


@pytest.mark.parametrize("octets", [b"b\xc3\xbccher.example", b"b\xfccher.example", b"\xff"])
def test_name_outside_ascii_is_malformed(octets: bytes) -> None:
    assert "malformed" in _refusal(write_csr(names((csrs.DNS, octets))))


def test_request_may_be_as_large_as_the_limit() -> None:
    def padded(count: int) -> bytes:
        padding = extension("1.2.3.4", der.tlv(der.OCTET_STRING, bytes(count)))
        return write_csr(SAN, padding, key=csrs.rsa_key())

    spare = MAX_CSR_BYTES - len(padded(48_000))
    largest = padded(48_000 + spare)

    assert len(largest) == MAX_CSR_BYTES
    assert parse_csr(largest).common_name is None
    assert "more than" in _refusal(padded(48_001 + spare))


@pytest.mark.parametrize("tag", [der.SEQUENCE, der.OCTET_STRING])
def test_attribute_without_a_set_of_values_is_malformed(tag: int) -> None:
    attribute = der.sequence(
        der.object_identifier(csrs.EXTENSION_REQUEST), der.tlv(tag, der.sequence(SAN))
    )

    with pytest.raises(ValueError, match="no attribute"):
        read_extensions(attribute)
