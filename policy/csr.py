"""Certificate requests (RFC 2986): what of them counts, and what they must not ask for.

A request gives its public key and its names, nothing else; the profile makes the rest. What asks
for something that the certificate won't have is refused rather than dropped (RFC 8555, 7.4).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from policy.keys import CertificateKey, check_certificate_key
from policy.model.errors import ErrorKind, ServerError
from policy.model.identifiers import Identifier
from policy.names import parse_identifier

MAX_CSR_BYTES = 48 * 1024
_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
# Extensions that may be asked for: names are read, key usages are compared with what the profile
# gives anyway, identifiers of keys are made by the CA.
_READ_EXTENSIONS = frozenset(
    {
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
    }
)
_SERVER_PURPOSES = frozenset({ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH})
_EXTENSION_REQUEST = x509.ObjectIdentifier("1.2.840.113549.1.9.14")


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRequest:
    """A request whose own signature holds. ``spki`` is the DER of its SubjectPublicKeyInfo,
    ``identifiers`` its names, canonical, from the SAN and the common name."""

    key: CertificateKey
    spki: bytes
    identifiers: frozenset[Identifier]
    common_name: str | None


def parse_csr(der: bytes) -> CertificateRequest:
    """The request in ``der``. Raises ServerError(BAD_CSR) saying what to change."""
    if len(der) > MAX_CSR_BYTES:
        raise _bad(f"it has more than {MAX_CSR_BYTES} bytes")
    if der.lstrip().startswith(b"-----"):
        raise _bad("send DER in base64url, not PEM")
    try:
        return _read(x509.load_der_x509_csr(der))
    except ServerError:
        raise
    # The boundary of the parser: whatever it stumbles over is the sender's fault, and it raises
    # more kinds than it documents, some of them only when an attribute is looked at.
    except Exception as error:
        raise _bad("it is no well-formed PKCS #10 request in DER") from error


def check_csr(request: CertificateRequest, ordered: Iterable[Identifier]) -> None:
    """Raises ServerError(BAD_CSR) unless the request names exactly what was ordered."""
    wanted = frozenset(ordered)
    if missing := wanted - request.identifiers:
        raise _bad(f"it lacks {_list(missing)}, which the order names")
    if extra := request.identifiers - wanted:
        raise _bad(f"it names {_list(extra)}, which the order does not")


def jwk_thumbprint(key: CertificateKey) -> bytes:
    """The RFC 7638 thumbprint that the key would have as an account key: 32 bytes."""
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        members = {"e": _b64(numbers.e), "kty": "RSA", "n": _b64(numbers.n)}
    else:
        size = (key.curve.key_size + 7) // 8
        point = key.public_numbers()
        curve = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}[key.curve.name]
        members = {"crv": curve, "kty": "EC", "x": _b64(point.x, size), "y": _b64(point.y, size)}
    text = json.dumps(members, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).digest()


def _read(csr: x509.CertificateSigningRequest) -> CertificateRequest:
    key = csr.public_key()
    check_certificate_key(key)
    assert isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
    if not isinstance(csr.signature_hash_algorithm, _HASHES):
        raise _bad("sign it with SHA-256, SHA-384 or SHA-512")
    if not csr.is_signature_valid:
        raise _bad("its signature is not made by its own key")
    _check_attributes(csr)
    extensions = csr.extensions
    for extension in extensions:
        _check_extension(extension)
    names = _names_of(extensions)
    common_name = _common_name(csr)
    if common_name is not None:
        identifier = _identifier("dns", common_name)
        # A request of old with a common name alone asks for that name (RFC 8555, section 7.4).
        names = names or frozenset({identifier})
        if identifier not in names:
            raise _bad("its common name is none of its subject alternative names")
    if not names:
        raise _bad("it has no subject alternative names")
    return CertificateRequest(
        key=key,
        spki=key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        identifiers=names,
        common_name=common_name,
    )


def _check_attributes(csr: x509.CertificateSigningRequest) -> None:
    """Extensions are read from the one attribute that holds them by the standard.

    The library also reads a vendor's attribute in its place.
    """
    requests = [entry for entry in csr.attributes if entry.oid == _EXTENSION_REQUEST]
    if len(requests) > 1:
        raise _bad("it has more than one extension request")
    if not requests and len(csr.extensions):
        raise _bad("put its extensions into the extensionRequest attribute (RFC 2985)")


def _check_extension(extension: x509.Extension[x509.ExtensionType]) -> None:
    value = extension.value
    if extension.oid not in _READ_EXTENSIONS:
        if isinstance(value, x509.TLSFeature):
            raise _bad("this profile does not issue certificates with the TLS feature extension")
        if extension.critical:
            raise _bad(f"it asks for a critical extension ({extension.oid.dotted_string})")
    if isinstance(value, x509.BasicConstraints) and value.ca:
        raise _bad("it asks for a CA certificate")
    if isinstance(value, x509.KeyUsage) and (value.key_cert_sign or value.crl_sign):
        raise _bad("it asks for the key usages of a CA")
    if isinstance(value, x509.ExtendedKeyUsage) and not _SERVER_PURPOSES.issuperset(value):
        raise _bad("it asks for an extended key usage other than serverAuth")


def _names_of(extensions: x509.Extensions) -> frozenset[Identifier]:
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(_identifier_of(name) for name in names)


def _identifier_of(name: x509.GeneralName) -> Identifier:
    if isinstance(name, x509.DNSName):
        return _identifier("dns", name.value)
    if isinstance(name, x509.IPAddress):
        return _identifier("ip", str(name.value))
    raise _bad("it has a subject alternative name that is neither a DNS name nor an address")


def _identifier(kind: str, value: str) -> Identifier:
    try:
        return parse_identifier(kind, value, ip=True)
    except ServerError as refusal:
        raise ServerError(ErrorKind.BAD_CSR, f"The CSR is refused: {refusal.detail}") from refusal


def _common_name(csr: x509.CertificateSigningRequest) -> str | None:
    names = csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(names) > 1:
        raise _bad("it has more than one common name")
    if not names:
        return None
    value = names[0].value
    return value if isinstance(value, str) else value.decode("ascii")


def _list(identifiers: Iterable[Identifier]) -> str:
    values = sorted(identifier.value for identifier in identifiers)
    shown = ", ".join(values[:5])
    return shown if len(values) <= 5 else f"{shown} and {len(values) - 5} more"


def _b64(number: int, size: int | None = None) -> str:
    length = (number.bit_length() + 7) // 8 if size is None else size
    return base64.urlsafe_b64encode(number.to_bytes(length)).rstrip(b"=").decode("ascii")


def _bad(reason: str) -> ServerError:
    return ServerError(ErrorKind.BAD_CSR, f"The CSR is refused: {reason}.")
