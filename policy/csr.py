"""Certificate requests (RFC 2986): what of them counts, and what they must not ask for.

A request gives its public key and its names; the profile makes the rest. What asks for a
certificate of another kind is refused rather than dropped (RFC 8555, section 7.4). The library
decodes the outside and verifies the signature; names and extensions are read by our own strict
reader, see ``policy.requestedextensions``.
"""

from __future__ import annotations

import hashlib
import ipaddress
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from policy import der
from policy.keys import CertificateKey, parse_certificate_key
from policy.model.errors import ErrorKind, ServerError
from policy.model.identifiers import Identifier, IdentifierType
from policy.names import parse_identifier
from policy.profiles import CLIENT_AUTH, SERVER_AUTH
from policy.requestedextensions import ExtensionRefused, RequestedExtensions, read_extensions

MAX_CSR_BYTES = 48 * 1024
_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_COMMON_NAME = bytes.fromhex("550403")
# UTF8String, PrintableString, TeletexString, IA5String: a DNS name is the same octets in each.
_ASCII_STRINGS = frozenset({0x0C, 0x13, 0x14, 0x16})
# acme.sh and many an OpenSSL configuration write both without being asked to; the certificate has
# the profile's.
_TOLERATED_PURPOSES = (SERVER_AUTH, CLIENT_AUTH)
_CURVES = {"secp256r1": ("P-256", 32), "secp384r1": ("P-384", 48), "secp521r1": ("P-521", 66)}


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRequest:
    """A request whose own signature holds. ``spki`` is the canonical DER of its
    SubjectPublicKeyInfo, ``identifiers`` its names, canonical, from the SAN and the common name;
    ``purposes`` are the OIDs of the extended key usages that it asks for; ``must_staple`` tells
    whether it asks for the TLS feature status_request (RFC 7633)."""

    key: CertificateKey
    spki: bytes
    identifiers: frozenset[Identifier]
    common_name: str | None
    purposes: frozenset[str] = frozenset()
    must_staple: bool = False


class _Parts(NamedTuple):
    """Of a CertificationRequestInfo: subject and attributes as content, the key as a whole."""

    subject: bytes
    spki: bytes
    attributes: bytes


def parse_csr(unverified: bytes) -> CertificateRequest:
    """The request in DER, its signature verified. Raises ServerError(BAD_CSR) saying what to
    change."""
    if len(unverified) > MAX_CSR_BYTES:
        raise _bad(f"it has more than {MAX_CSR_BYTES} bytes")
    if unverified.lstrip().startswith((b"-----", b"MI")):
        raise _bad("send its DER in base64url, neither PEM nor another base64 within")
    csr, parts = _load(unverified)
    key = parse_certificate_key(parts.spki)
    _check_signature(csr)
    extensions = _read_extensions(parts.attributes)
    common_name = _common_name(parts.subject)
    return CertificateRequest(
        key=key,
        spki=key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        identifiers=_identifiers(extensions.unverified_names, common_name),
        common_name=common_name,
        purposes=extensions.purposes,
        must_staple=extensions.must_staple,
    )


def check_csr(
    request: CertificateRequest,
    ordered: Iterable[Identifier],
    *,
    purposes: Iterable[str] = (SERVER_AUTH,),
    allows_must_staple: bool = False,
) -> None:
    """Raises ServerError(BAD_CSR) unless the request names exactly what was ordered, and asks
    for nothing that the profile doesn't allow. ``purposes`` are the profile's extended key usages,
    as OIDs."""
    wanted = frozenset(ordered)
    if missing := wanted - request.identifiers:
        raise _bad(f"it lacks {_list(missing)}, which the order names")
    if extra := request.identifiers - wanted:
        raise _bad(f"it names {_list(extra)}, which the order does not")
    if strange := request.purposes.difference(purposes, _TOLERATED_PURPOSES):
        raise _bad(
            "it asks for an extended key usage that this profile does not have "
            f"({', '.join(sorted(strange)[:5])})"
        )
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


def _load(unverified: bytes) -> tuple[x509.CertificateSigningRequest, _Parts]:
    try:
        csr = x509.load_der_x509_csr(unverified)
        return csr, _parts_of(csr.tbs_certrequest_bytes)
    except x509.InvalidVersion as error:
        raise _bad("its version is not 1, which is encoded as 0") from error
    except ValueError as error:
        raise _bad("it is no well-formed PKCS #10 request in DER, with nothing after it") from error


def _parts_of(information: bytes) -> _Parts:
    _, start, _ = der.read(information, 0)
    _, _, version_end = der.read(information, start)
    _, subject, subject_end = der.read(information, version_end)
    _, _, key_end = der.read(information, subject_end)
    _, attributes, end = der.read(information, key_end)
    return _Parts(
        information[subject:subject_end],
        information[subject_end:key_end],
        information[attributes:end],
    )


def _check_signature(csr: x509.CertificateSigningRequest) -> None:
    try:
        algorithm, is_valid = csr.signature_hash_algorithm, csr.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _bad("its signature algorithm is not known, or not one of its key") from error
    if not isinstance(algorithm, _HASHES):
        raise _bad("sign it with SHA-256, SHA-384 or SHA-512")
    if not is_valid:
        raise _bad("its signature is not made by its own key")


def _read_extensions(attributes: bytes) -> RequestedExtensions:
    try:
        return read_extensions(attributes)
    except ExtensionRefused as refusal:
        raise _bad(str(refusal)) from None
    except ValueError as error:
        raise _bad("its attributes, or one of its extensions, are malformed") from error


def _identifiers(
    unverified_names: Iterable[tuple[str, str]] | None, common_name: str | None
) -> frozenset[Identifier]:
    named = None if common_name is None else _identifier(_kind_of(common_name), common_name)
    if unverified_names is None:
        if named is None:
            raise _bad("it has no subject alternative names")
        # A request of old with a common name alone asks for that name (RFC 8555, section 7.4).
        return frozenset({named})
    names = frozenset(_identifier(kind, value) for kind, value in unverified_names)
    if not names:
        raise _bad("its list of subject alternative names is empty")
    if named is not None and named not in names:
        raise _bad("its common name is none of its subject alternative names")
    return names


def _kind_of(common_name: str) -> str:
    """Requests for an address have its text as their common name."""
    try:
        ipaddress.ip_address(common_name)
    except ValueError:
        return IdentifierType.DNS
    return IdentifierType.IP


def _identifier(kind: str, value: str) -> Identifier:
    """All that could have been ordered; what was is compared later."""
    try:
        return parse_identifier(kind, value, ip=True, single_label=True)
    except ServerError as refusal:
        raise ServerError(ErrorKind.BAD_CSR, f"The CSR is refused: {refusal.detail}") from refusal


def _common_name(subject: bytes) -> str | None:
    """The common name in the content of a Name (RFC 5280, section 4.1.2.4)."""
    try:
        names = [
            (tag, octets)
            for _, attributes in der.values(subject)
            for _, attribute in der.values(attributes)
            for (_, oid), (tag, octets) in [tuple(der.values(attribute))]
            if oid == _COMMON_NAME
        ]
    except ValueError as error:
        raise _bad("its subject is malformed") from error
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
