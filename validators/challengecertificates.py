"""What a certificate for tls-alpn-01 must look like (RFC 8737, section 3; RFC 8738, section 6)."""

from __future__ import annotations

import hmac
import ipaddress
import warnings

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.utils import CryptographyDeprecationWarning

from policy.model.identifiers import Identifier, IdentifierType

ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
_OCTET_STRING_OF_32 = b"\x04\x20"


class CertificateRefused(Exception):
    """The certificate is not one for this challenge; the text says why, without quoting it."""


class DigestDiffers(CertificateRefused):
    """The certificate is as it should be, for another key authorization."""


def check_certificate(der: bytes, identifier: Identifier, digest: bytes) -> None:
    """Whether ``der`` proves control of ``identifier``; ``digest`` is the expected one.

    Raises CertificateRefused. Control characters, other encodings and repeated extensions end
    there too, whichever error the parser makes of them.
    """
    certificate, extensions = _parse(der)
    _check_names(extensions, identifier)
    published = _find_digest(extensions)
    _check_self_signed(certificate)
    if not hmac.compare_digest(published, digest):
        raise DigestDiffers("it carries another digest")


def _parse(der: bytes) -> tuple[x509.Certificate, x509.Extensions]:
    """The certificate, and its extensions, which are read only when asked for."""
    try:
        # What is only warned about, such as a negative serial number, is no good certificate.
        with warnings.catch_warnings():
            warnings.simplefilter("error", CryptographyDeprecationWarning)
            certificate = x509.load_der_x509_certificate(der)
            return certificate, certificate.extensions
    except (
        CryptographyDeprecationWarning,
        ValueError,
        TypeError,
        UnsupportedAlgorithm,
        x509.DuplicateExtension,
        x509.InvalidVersion,
        x509.UnsupportedGeneralNameType,
    ) as error:
        raise CertificateRefused("it can't be read") from error


def _check_names(extensions: x509.Extensions, identifier: Identifier) -> None:
    try:
        names = list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        raise CertificateRefused("it has no subjectAltName") from None
    if len(names) != 1:
        raise CertificateRefused("its subjectAltName must have exactly one entry")
    if not _is_name_of(names[0], identifier):
        raise CertificateRefused("its subjectAltName is not the identifier")


def _is_name_of(name: x509.GeneralName, identifier: Identifier) -> bool:
    if identifier.type is IdentifierType.IP:
        return isinstance(name, x509.IPAddress) and name.value == ipaddress.ip_address(
            identifier.value
        )
    # Outside of ASCII, lower() turns other letters into ASCII ones (U+212A becomes k).
    return (
        isinstance(name, x509.DNSName)
        and name.value.isascii()
        and name.value.lower() == identifier.value
    )


def _find_digest(extensions: x509.Extensions) -> bytes:
    try:
        extension = extensions.get_extension_for_oid(ACME_IDENTIFIER)
    except x509.ExtensionNotFound:
        raise CertificateRefused("it has no acmeIdentifier extension") from None
    if not extension.critical:
        raise CertificateRefused("its acmeIdentifier extension is not critical")
    assert isinstance(extension.value, x509.UnrecognizedExtension)
    value = extension.value.value
    if len(value) != 34 or not value.startswith(_OCTET_STRING_OF_32):
        raise CertificateRefused("its acmeIdentifier is no octet string of 32 octets")
    return value[2:]


def _check_self_signed(certificate: x509.Certificate) -> None:
    try:
        certificate.verify_directly_issued_by(certificate)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise CertificateRefused("it is not self-signed") from error
