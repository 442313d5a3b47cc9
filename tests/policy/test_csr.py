"""Certificate requests that are accepted, and what is compared with the order."""

from __future__ import annotations

import warnings
from itertools import count

import josepy
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from policy.csr import CertificateRequest, check_csr, jwk_thumbprint, parse_csr
from policy.model.errors import ErrorKind, ServerError
from policy.model.identifiers import Identifier, IdentifierType
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
from support.signing import dns, ip

NAME = b"www.example.com"
SAN = dns_names("www.example.com")
GOOD = write_csr(SAN)


def _identifiers(csr: bytes) -> set[str]:
    return {identifier.value for identifier in parse_csr(csr).identifiers}


def test_request_gives_its_key_and_its_names() -> None:
    csr = write_csr(dns_names("www.example.com", "*.example.org"), subject=[common_name(NAME)])

    assert parse_csr(csr) == CertificateRequest(
        key=csrs.ec_key().public_key(),
        spki=csrs.spki_of(csrs.ec_key()),
        identifiers=frozenset(dns("www.example.com", "*.example.org")),
        common_name="www.example.com",
    )


# What is accepted: the names it asks for.
ACCEPTED = {
    "one name": (GOOD, {"www.example.com"}),
    "RSA key": (write_csr(SAN, key=csrs.rsa_key()), {"www.example.com"}),
    "signed with SHA-384": (
        write_csr(
            SAN,
            digest=hashes.SHA384(),
            algorithm=der.sequence(der.object_identifier("1.2.840.10045.4.3.3")),
        ),
        {"www.example.com"},
    ),
    "names in upper case": (
        write_csr(dns_names("WWW.Example.COM"), subject=[common_name(b"www.EXAMPLE.com")]),
        {"www.example.com"},
    ),
    "a name twice": (
        write_csr(dns_names("www.example.com", "WWW.example.com")),
        {"www.example.com"},
    ),
    "addresses": (
        write_csr(names((csrs.IP, bytes((192, 0, 2, 1))), (csrs.IP, bytes(15) + b"\x01"))),
        {"192.0.2.1", "::1"},
    ),
    "a single label": (write_csr(dns_names("localhost")), {"localhost"}),
    "common name alone": (write_csr(subject=[common_name(NAME)]), {"www.example.com"}),
    "common name as PrintableString": (
        write_csr(subject=[common_name(NAME, csrs.PRINTABLE)]),
        {"www.example.com"},
    ),
    "a critical SAN": (
        write_csr(names((csrs.DNS, NAME), is_critical=True)),
        {"www.example.com"},
    ),
    "a subject with all the rest": (
        write_csr(
            SAN,
            subject=[
                csrs.attribute(oid, der.tlv(csrs.UTF8, value))
                for oid, value in (
                    ("2.5.4.10", "Ex\u00e4mple <script>".encode()),
                    ("2.5.4.11", b"x" * 500),
                    ("2.5.4.6", b"Germany"),
                    ("2.5.4.5", b""),
                    ("1.2.840.113549.1.9.1", b"a@example.com"),
                )
            ],
        ),
        {"www.example.com"},
    ),
    "the usages of a server": (
        write_csr(
            SAN,
            key_usage(b"\x05\xa0"),
            purposes("1.3.6.1.5.5.7.3.1"),
            extension("2.5.29.19", der.sequence(), is_critical=True),
            extension("2.5.29.14", der.tlv(der.OCTET_STRING, b"key"), is_critical=True),
        ),
        {"www.example.com"},
    ),
    "clientAuth besides serverAuth": (
        write_csr(SAN, purposes("1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2")),
        {"www.example.com"},
    ),
    "an unknown extension that is not critical": (
        write_csr(SAN, extension("1.2.3.4", b"\x05\x00")),
        {"www.example.com"},
    ),
    "an extension that the library would stumble over": (
        write_csr(SAN, extension("2.5.29.31", b"\xff\xff")),
        {"www.example.com"},
    ),
    "a challenge password": (
        write_csr(
            attributes=[
                der.sequence(
                    der.object_identifier("1.2.840.113549.1.9.7"),
                    der.tlv(der.SET, der.tlv(csrs.UTF8, b"secret")),
                ),
                requested(SAN),
            ]
        ),
        {"www.example.com"},
    ),
    "45 kB of it": (
        write_csr(SAN, extension("1.2.3.4", der.tlv(der.OCTET_STRING, bytes(45_000)))),
        {"www.example.com"},
    ),
}


@pytest.mark.parametrize(("csr", "wanted"), ACCEPTED.values(), ids=ACCEPTED)
def test_request_is_accepted(csr: bytes, wanted: set[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert _identifiers(csr) == wanted


def test_request_signed_with_rsa_pss_is_accepted() -> None:
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size)
    csr = (
        x509.CertificateSigningRequestBuilder(
            x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "www.example.com")])
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("www.example.com")]), False)
        .sign(csrs.rsa_key(), hashes.SHA256(), rsa_padding=pss)
    )

    assert _identifiers(csr.public_bytes(Encoding.DER)) == {"www.example.com"}


def test_must_staple_is_a_fact_for_the_profile() -> None:
    request = parse_csr(write_csr(SAN, features(5)))

    assert request.must_staple
    assert not parse_csr(GOOD).must_staple
    check_csr(request, dns("www.example.com"), allows_must_staple=True)
    with pytest.raises(ServerError, match="TLS feature") as refusal:
        check_csr(request, dns("www.example.com"))
    assert refusal.value.kind is ErrorKind.BAD_CSR


def test_key_is_written_anew_in_its_one_form() -> None:
    key = csrs.ec_key()
    compressed = key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)

    request = parse_csr(write_csr(SAN, spki=csrs.ec_spki(compressed)))

    assert request.spki == csrs.spki_of(key)


ORDERED = ("www.example.com", "*.example.org")


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (("www.example.com",), r"lacks \*\.example\.org"),
        ((*ORDERED, "evil.example"), r"names evil\.example"),
        (("www.example.com", "example.org"), r"lacks \*\.example\.org"),
        (("xwww.example.com", "*.example.org"), r"lacks www\.example\.com"),
    ],
)
def test_request_for_other_names_than_ordered_is_refused(
    asked: tuple[str, ...], reason: str
) -> None:
    request = parse_csr(write_csr(dns_names(*asked)))

    with pytest.raises(ServerError, match=reason) as refusal:
        check_csr(request, dns(*ORDERED))

    assert refusal.value.kind is ErrorKind.BAD_CSR


def test_request_for_the_ordered_names_in_any_order_is_good() -> None:
    check_csr(parse_csr(write_csr(dns_names(*reversed(ORDERED)))), dns(*ORDERED))
    addresses = write_csr(names((csrs.IP, bytes((192, 0, 2, 1))), (csrs.DNS, NAME)))
    check_csr(parse_csr(addresses), (*dns("www.example.com"), *ip("192.0.2.1")))


def test_address_does_not_stand_for_a_name_that_reads_the_same() -> None:
    request = parse_csr(write_csr(names((csrs.IP, bytes((192, 0, 2, 1))))))

    with pytest.raises(ServerError):
        check_csr(request, [Identifier(IdentifierType.DNS, "192.0.2.1")])


def test_many_differences_are_told_in_short() -> None:
    request = parse_csr(write_csr(dns_names(*(f"a{number}.example.com" for number in range(9)))))

    with pytest.raises(ServerError) as refusal:
        check_csr(request, dns("a0.example.com"))

    assert "and 3 more" in refusal.value.detail


def _key_with_a_short_coordinate() -> ec.EllipticCurvePrivateKey:
    keys = (ec.derive_private_key(number, ec.SECP256R1()) for number in count(2))
    return next(key for key in keys if key.public_key().public_numbers().x >> 248 == 0)


@pytest.mark.parametrize(
    "key",
    [
        csrs.ec_key(),
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP521R1()),
        _key_with_a_short_coordinate(),
        csrs.rsa_key(),
    ],
)
def test_thumbprint_is_that_of_the_key_as_an_account_key(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
) -> None:
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    assert jwk_thumbprint(key.public_key()) == josepy.JWK.load(pem).thumbprint()


CODE_SIGNING = "1.3.6.1.5.5.7.3.3"


def test_purpose_is_for_profiles_that_have_it() -> None:
    names = dns("www.example.com")
    request = parse_csr(write_csr(SAN, purposes("1.3.6.1.5.5.7.3.1", CODE_SIGNING)))

    check_csr(request, names, purposes=(CODE_SIGNING,))
    with pytest.raises(ServerError, match=CODE_SIGNING) as refusal:
        check_csr(request, names)
    assert refusal.value.kind is ErrorKind.BAD_CSR


@pytest.mark.parametrize("profile", [("1.3.6.1.5.5.7.3.2",), (CODE_SIGNING,)])
def test_purposes_that_clients_write_unasked_are_tolerated_in_each_profile(
    profile: tuple[str, ...],
) -> None:
    request = parse_csr(write_csr(SAN, purposes("1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2")))

    check_csr(request, dns("www.example.com"), purposes=profile)
    assert request.purposes == {"1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"}
