"""Certificate requests octet by octet, so that tests can write what no library would."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from policy.signing import der

ECDSA_SHA256 = der.sequence(der.object_identifier("1.2.840.10045.4.3.2"))
ECDSA_SHA1 = der.sequence(der.object_identifier("1.2.840.10045.4.1"))
RSA_SHA256 = der.sequence(der.object_identifier("1.2.840.113549.1.1.11"), b"\x05\x00")
RSA_SHA1 = der.sequence(der.object_identifier("1.2.840.113549.1.1.5"), b"\x05\x00")
RSA_MD5 = der.sequence(der.object_identifier("1.2.840.113549.1.1.4"), b"\x05\x00")

EXTENSION_REQUEST = "1.2.840.113549.1.9.14"
MICROSOFT_EXTENSION_REQUEST = "1.3.6.1.4.1.311.2.1.14"
SAN = "2.5.29.17"
UTF8, PRINTABLE, BMP = 0x0C, 0x13, 0x1E
DNS, IP, EMAIL, URI, DIRECTORY, REGISTERED_ID, X400, OTHER = (
    0x82,
    0x87,
    0x81,
    0x86,
    0xA4,
    0x88,
    0xA3,
    0xA0,
)


@cache
def ec_key(name: str = "leaf") -> ec.EllipticCurvePrivateKey:
    """The P-256 key of that name, one per test run."""
    return ec.generate_private_key(ec.SECP256R1())


@cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """The RSA key of that size, one per test run."""
    return rsa.generate_private_key(65537, bits)


def spki_of(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    """The DER of its SubjectPublicKeyInfo."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def rsa_spki(modulus: int, exponent: int = 65537) -> bytes:
    """A SubjectPublicKeyInfo with numbers that need not be a key."""
    numbers = (der.integer(n.to_bytes((n.bit_length() + 7) // 8)) for n in (modulus, exponent))
    algorithm = der.sequence(der.object_identifier("1.2.840.113549.1.1.1"), b"\x05\x00")
    return der.sequence(algorithm, der.bit_string(der.sequence(*numbers)))


def ec_spki(point: bytes, curve: str = "1.2.840.10045.3.1.7") -> bytes:
    """A SubjectPublicKeyInfo with octets that need not be a point."""
    algorithm = der.sequence(
        der.object_identifier("1.2.840.10045.2.1"), der.object_identifier(curve)
    )
    return der.sequence(algorithm, der.bit_string(point))


def common_name(value: bytes, tag: int = UTF8) -> bytes:
    """A relative distinguished name with a common name."""
    return attribute("2.5.4.3", der.tlv(tag, value))


def attribute(oid: str, value: bytes) -> bytes:
    """A relative distinguished name with one attribute."""
    return der.tlv(der.SET, der.sequence(der.object_identifier(oid), value))


def names(*entries: tuple[int, bytes], is_critical: bool = False) -> bytes:
    """A subject alternative name extension."""
    value = der.sequence(*(der.tlv(tag, content) for tag, content in entries))
    return der.extension(SAN, value, is_critical=is_critical)


def dns_names(*values: str) -> bytes:
    """A subject alternative name extension of DNS names."""
    return names(*((DNS, value.encode("latin-1")) for value in values))


def extension(oid: str, value: bytes, *, is_critical: bool = False) -> bytes:
    """An extension."""
    return der.extension(oid, value, is_critical=is_critical)


def purposes(*oids: str) -> bytes:
    """An extended key usage extension."""
    return extension("2.5.29.37", der.sequence(*map(der.object_identifier, oids)))


def key_usage(bits: bytes) -> bytes:
    """A key usage extension from the content of its BIT STRING."""
    return extension("2.5.29.15", der.tlv(der.BIT_STRING, bits), is_critical=True)


def features(*numbers: int) -> bytes:
    """A TLS feature extension."""
    values = (der.integer(bytes((number,))) for number in numbers)
    return extension("1.3.6.1.5.5.7.1.24", der.sequence(*values))


def requested(*extensions: bytes, oid: str = EXTENSION_REQUEST) -> bytes:
    """An attribute that asks for extensions."""
    return der.sequence(der.object_identifier(oid), der.tlv(der.SET, der.sequence(*extensions)))


def write_csr(
    *extensions: bytes,
    subject: Sequence[bytes] = (),
    attributes: Sequence[bytes] | None = None,
    version: bytes = b"\x02\x01\x00",
    spki: bytes | None = None,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None,
    algorithm: bytes | None = None,
    digest: hashes.HashAlgorithm | None = None,
) -> bytes:
    """The DER of a request for ``extensions``, signed with ``key``; ``attributes`` replace them."""
    key = key or ec_key()
    if attributes is None:
        attributes = [requested(*extensions)] if extensions else []
    information = der.sequence(
        version,
        der.sequence(*subject),
        spki_of(key) if spki is None else spki,
        # The values of a SET OF stand in the order of their encodings.
        der.explicit(0, b"".join(sorted(attributes))),
    )
    if isinstance(key, rsa.RSAPrivateKey):
        algorithm = algorithm or RSA_SHA256
        signature = key.sign(information, padding.PKCS1v15(), digest or hashes.SHA256())
    else:
        algorithm = algorithm or ECDSA_SHA256
        signature = key.sign(information, ec.ECDSA(digest or hashes.SHA256()))
    return der.sequence(information, algorithm, der.bit_string(signature))
