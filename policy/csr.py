"""Certificate requests (RFC 2986): what of them counts, and what they must not ask for.

A request gives its public key and its names; the profile makes the rest. What asks for a
certificate of another kind is refused rather than dropped (RFC 8555, section 7.4).
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from policy import der
from policy.keys import CertificateKey, parse_certificate_key
from policy.model.errors import ErrorKind, ServerError
from policy.model.identifiers import Identifier
from policy.names import parse_identifier

MAX_CSR_BYTES = 48 * 1024
_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
# What the parser raises, besides ValueError: three kinds of its own, and what its conversions to
# Python run into. All of it is the sender's fault.
_PARSER_FAULTS = (
    ValueError,
    TypeError,
    OverflowError,
    RecursionError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
# Extensions that may be asked for, critical or not: names are read, purposes compared with what
# a server certificate has anyway, key identifiers are made by the CA.
_READ_EXTENSIONS = frozenset(
    {
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.TLS_FEATURE,
    }
)
# clientAuth won't be in the certificate, but acme.sh and many an OpenSSL configuration write it
# without being asked to.
_SERVER_PURPOSES = frozenset({ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH})
_EXTENSION_REQUEST = "1.2.840.113549.1.9.14"
# The library reads a request's extensions from this attribute too, whichever comes first.
_MICROSOFT_EXTENSION_REQUEST = "1.3.6.1.4.1.311.2.1.14"
_COMMON_NAME = b"\x55\x04\x03"
# UTF8String, PrintableString, TeletexString, IA5String: a DNS name is the same octets in each.
_ASCII_STRINGS = frozenset({0x0C, 0x13, 0x14, 0x16})
_CURVES = {"secp256r1": ("P-256", 32), "secp384r1": ("P-384", 48), "secp521r1": ("P-521", 66)}


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRequest:
    """A request whose own signature holds. ``spki`` is the canonical DER of its
    SubjectPublicKeyInfo, ``identifiers`` its names, canonical, from the SAN and the common name;
    ``must_staple`` tells whether it asks for the TLS feature status_request (RFC 7633)."""

    key: CertificateKey
    spki: bytes
    identifiers: frozenset[Identifier]
    common_name: str | None
    must_staple: bool = False


def parse_csr(unverified: bytes) -> CertificateRequest:
    """The request in DER, its signature verified. Raises ServerError(BAD_CSR) saying what to
    change."""
    if len(unverified) > MAX_CSR_BYTES:
        raise _bad(f"it has more than {MAX_CSR_BYTES} bytes")
    if unverified.lstrip().startswith((b"-----", b"MII")):
        raise _bad("send its DER in base64url, neither PEM nor another base64 within")
    with _faults_mean("it is no well-formed PKCS #10 request in DER, alone and of version 1"):
        csr = x509.load_der_x509_csr(unverified)
        subject, spki = _subject_and_key(csr.tbs_certrequest_bytes)
    key = parse_certificate_key(spki)
    _check_signature(csr)
    extensions = _extensions_of(csr)
    for extension in extensions:
        _check_extension(extension)
    common_name = _common_name(subject)
    return CertificateRequest(
        key=key,
        spki=key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        identifiers=_names_of(extensions, common_name),
        common_name=common_name,
        must_staple=any(extension.oid == ExtensionOID.TLS_FEATURE for extension in extensions),
    )


def check_csr(
    request: CertificateRequest, ordered: Iterable[Identifier], *, allows_must_staple: bool = False
) -> None:
    """Raises ServerError(BAD_CSR) unless the request names exactly what was ordered, and asks
    for nothing that the profile doesn't allow."""
    wanted = frozenset(ordered)
    if missing := wanted - request.identifiers:
        raise _bad(f"it lacks {_list(missing)}, which the order names")
    if extra := request.identifiers - wanted:
        raise _bad(f"it names {_list(extra)}, which the order does not")
    if request.must_staple and not allows_must_staple:
        raise _bad("this profile does not issue certificates with the TLS feature extension")


def jwk_thumbprint(key: CertificateKey) -> bytes:
    """The RFC 7638 thumbprint that the key would have as an account key: 32 bytes."""
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        text = f'{{"e":"{_b64_of(numbers.e)}","kty":"RSA","n":"{_b64_of(numbers.n)}"}}'
    else:
        name, size = _CURVES[key.curve.name]
        point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        x, y = _b64(point[1 : 1 + size]), _b64(point[1 + size :])
        text = f'{{"crv":"{name}","kty":"EC","x":"{x}","y":"{y}"}}'
    return hashlib.sha256(text.encode("ascii")).digest()


@contextmanager
def _faults_mean(reason: str) -> Iterator[None]:
    """What the parser stumbles over within is a fault of the CSR, for this reason."""
    try:
        yield
    except _PARSER_FAULTS as error:
        raise _bad(reason) from error


def _subject_and_key(information: bytes) -> tuple[bytes, bytes]:
    """The content of the subject, and the whole SubjectPublicKeyInfo.

    Read here since the library writes a warning about each subject that it finds unusual.
    """
    _, start, _ = der.read(information, 0)
    _, _, version_end = der.read(information, start)
    _, subject, subject_end = der.read(information, version_end)
    _, _, key_end = der.read(information, subject_end)
    return information[subject:subject_end], information[subject_end:key_end]


def _check_signature(csr: x509.CertificateSigningRequest) -> None:
    with _faults_mean("its signature algorithm is unknown; sign it with SHA-256"):
        algorithm = csr.signature_hash_algorithm
    if not isinstance(algorithm, _HASHES):
        raise _bad("sign it with SHA-256, SHA-384 or SHA-512")
    with _faults_mean("its signature can't be verified"):
        is_valid = csr.is_signature_valid
    if not is_valid:
        raise _bad("its signature is not made by its own key")


def _extensions_of(csr: x509.CertificateSigningRequest) -> x509.Extensions:
    """The requested extensions, from the one attribute that holds them by the standard."""
    with _faults_mean("its attributes are malformed"):
        oids = [attribute.oid.dotted_string for attribute in csr.attributes]
    if _MICROSOFT_EXTENSION_REQUEST in oids:
        raise _bad("put its extensions into the extensionRequest attribute alone (RFC 2985)")
    if oids.count(_EXTENSION_REQUEST) > 1:
        raise _bad("it has more than one extension request")
    try:
        return csr.extensions
    except x509.DuplicateExtension as error:
        raise _bad(f"it has the extension {error.oid.dotted_string} twice") from error
    except x509.UnsupportedGeneralNameType as error:
        raise _bad(_NEITHER_NAME_NOR_ADDRESS) from error
    except _PARSER_FAULTS as error:
        raise _bad("one of its extensions is malformed") from error


def _check_extension(extension: x509.Extension[x509.ExtensionType]) -> None:
    value = extension.value
    if extension.critical and extension.oid not in _READ_EXTENSIONS:
        raise _bad(f"it asks for a critical extension ({extension.oid.dotted_string})")
    if isinstance(value, x509.BasicConstraints) and value.ca:
        raise _bad("it asks for a CA certificate")
    if isinstance(value, x509.KeyUsage) and (value.key_cert_sign or value.crl_sign):
        raise _bad("it asks for the key usages of a CA")
    if isinstance(value, x509.ExtendedKeyUsage) and not _SERVER_PURPOSES.issuperset(value):
        raise _bad("it asks for an extended key usage other than serverAuth")
    if isinstance(value, x509.TLSFeature) and list(value) != [x509.TLSFeatureType.status_request]:
        raise _bad("it asks for TLS features other than status_request")


def _names_of(extensions: x509.Extensions, common_name: str | None) -> frozenset[Identifier]:
    named = None if common_name is None else _identifier("dns", common_name)
    try:
        alternatives = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        if named is None:
            raise _bad("it has no subject alternative names") from None
        # A request of old with a common name alone asks for that name (RFC 8555, section 7.4).
        return frozenset({named})
    names = frozenset(map(_identifier_of, alternatives))
    if not names:
        raise _bad("its list of subject alternative names is empty")
    if named is not None and named not in names:
        raise _bad("its common name is none of its subject alternative names")
    return names


_NEITHER_NAME_NOR_ADDRESS = (
    "it has a subject alternative name that is neither a DNS name nor an address"
)


def _identifier_of(name: x509.GeneralName) -> Identifier:
    if isinstance(name, x509.DNSName):
        return _identifier("dns", name.value)
    if isinstance(name, x509.IPAddress):
        return _identifier("ip", str(name.value))
    raise _bad(_NEITHER_NAME_NOR_ADDRESS)


def _identifier(kind: str, value: str) -> Identifier:
    """All that could have been ordered; which of it was is compared later."""
    try:
        return parse_identifier(kind, value, ip=True, single_label=True)
    except ServerError as refusal:
        raise ServerError(ErrorKind.BAD_CSR, f"The CSR is refused: {refusal.detail}") from refusal


def _common_name(subject: bytes) -> str | None:
    """The common name in the content of a Name (RFC 5280, section 4.1.2.4)."""
    with _faults_mean("its subject is malformed"):
        attributes = [
            list(der.values(attribute))
            for _, attributes in der.values(subject)
            for _, attribute in der.values(attributes)
        ]
        names = [value for (_, oid), value in attributes if oid == _COMMON_NAME]
    if len(names) > 1:
        raise _bad("it has more than one common name")
    if not names:
        return None
    tag, octets = names[0]
    if tag not in _ASCII_STRINGS or not octets.isascii():
        raise _bad("write its common name in ASCII, as UTF8String or PrintableString")
    return octets.decode("ascii")


def _list(identifiers: Iterable[Identifier]) -> str:
    values = sorted(identifier.value for identifier in identifiers)
    shown = ", ".join(values[:5])
    return shown if len(values) <= 5 else f"{shown} and {len(values) - 5} more"


def _b64_of(number: int) -> str:
    return _b64(number.to_bytes((number.bit_length() + 7) // 8))


def _b64(octets: bytes) -> str:
    return urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


def _bad(reason: str) -> ServerError:
    return ServerError(ErrorKind.BAD_CSR, f"The CSR is refused: {reason}.")
