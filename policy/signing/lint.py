"""The last look at the exact bytes before they are committed and signed (BR 4.3.1.2).

Written against RFC 5280 and independent of ``template``: it reads the bytes with the library's
parser and compares what it finds with what was asked for.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from policy.model.identifiers import Identifier, IdentifierType
from policy.signing.template import CertificateTemplate, assemble

_CRITICAL = frozenset({x509.KeyUsage.oid, x509.BasicConstraints.oid})
_MIN_SERIAL_BITS = 64
_MAX_SERIAL_OCTETS = 20


class LintFailed(Exception):
    """The bytes break a rule; nothing may be signed. Every broken rule is named."""

    def __init__(self, findings: list[str]) -> None:
        super().__init__("; ".join(findings))
        self.findings = findings


def lint(tbs: bytes, template: CertificateTemplate) -> None:
    """Raises LintFailed unless ``tbs`` is a well-made certificate that says what ``template``
    says, no more."""
    try:
        # The parser wants a whole certificate; no signature is looked at.
        certificate = x509.load_der_x509_certificate(
            assemble(tbs, template.issuer.algorithm, b"\x00")
        )
        findings = list(_findings(certificate, template))
    except (ValueError, TypeError, LookupError, x509.ExtensionNotFound) as error:
        raise LintFailed([f"the bytes are no certificate: {error}"]) from error
    except (x509.DuplicateExtension, x509.InvalidVersion) as error:
        raise LintFailed([str(error)]) from error
    if findings:
        raise LintFailed(findings)


def _findings(certificate: x509.Certificate, template: CertificateTemplate) -> Iterator[str]:
    yield from _body_findings(certificate, template)
    yield from _validity_findings(certificate, template)
    extensions = certificate.extensions
    yield from _criticality_findings(extensions, bool(certificate.subject.rdns))
    yield from _name_findings(certificate, template)
    yield from _usage_findings(extensions, template)
    yield from _pointer_findings(extensions, template)


def _body_findings(certificate: x509.Certificate, template: CertificateTemplate) -> Iterator[str]:
    if certificate.version is not x509.Version.v3:
        yield "the version is not 3"
    serial = certificate.serial_number
    if serial != int.from_bytes(template.serial):
        yield "the serial is not the reserved one"
    bits = serial.bit_length()
    if bits <= _MIN_SERIAL_BITS or bits // 8 + 1 > _MAX_SERIAL_OCTETS:
        yield "the serial has too few or too many bits"
    if certificate.issuer.public_bytes() != template.issuer.subject:
        yield "the issuer is not the issuer's subject"
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if spki != template.spki:
        yield "the public key is not the requested one"


def _validity_findings(
    certificate: x509.Certificate, template: CertificateTemplate
) -> Iterator[str]:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if (start, end) != (template.not_before, template.not_after):
        yield "the validity is not the decided one"
    if end + timedelta(seconds=1) - start > template.profile.maximum_validity:
        yield "the validity exceeds the profile's maximum"
    if end <= start:
        yield "the validity ends before it starts"
    if end > template.issuer.not_after:
        yield "the certificate outlives its issuer"


def _criticality_findings(extensions: x509.Extensions, has_subject: bool) -> Iterator[str]:
    for extension in extensions:
        critical = extension.oid in _CRITICAL
        if extension.oid == x509.SubjectAlternativeName.oid:
            critical = not has_subject
        if extension.critical != critical:
            yield f"the criticality of {extension.oid.dotted_string} is wrong"


def _name_findings(certificate: x509.Certificate, template: CertificateTemplate) -> Iterator[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if [_identifier(name) for name in names] != list(template.identifiers):
        yield "the subject alternative names are not the authorized ones"
    allowed = template.profile.identifier_types
    if any(identifier.type not in allowed for identifier in template.identifiers):
        yield "the profile does not allow a type of these names"
    if len(template.identifiers) > template.profile.maximum_identifiers:
        yield "there are more names than the profile allows"
    attributes = list(certificate.subject)
    wanted = [] if template.common_name is None else [template.common_name]
    if [attribute.value for attribute in attributes] != wanted or any(
        attribute.oid != x509.NameOID.COMMON_NAME for attribute in attributes
    ):
        yield "the subject holds something else than the profile's common name"


def _identifier(name: x509.GeneralName) -> Identifier | None:
    if isinstance(name, x509.DNSName):
        return Identifier(IdentifierType.DNS, name.value)
    if isinstance(name, x509.IPAddress):
        return Identifier(IdentifierType.IP, str(ipaddress.ip_address(str(name.value))))
    return None


def _usage_findings(extensions: x509.Extensions, template: CertificateTemplate) -> Iterator[str]:
    constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
    if constraints.ca:
        yield "it is a CA certificate"
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    kind = "ec" if hasattr(template.key, "curve") else "rsa"
    allowed = template.profile.key_usages[kind]
    if usage.key_cert_sign or usage.crl_sign:
        yield "it may sign certificates or CRLs"
    if (usage.digital_signature, usage.key_encipherment) != (
        "digital_signature" in allowed,
        "key_encipherment" in allowed,
    ):
        yield "the key usages are not the profile's"
    purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    if [oid.dotted_string for oid in purposes] != list(template.profile.extended_key_usages):
        yield "the extended key usages are not the profile's"


def _pointer_findings(extensions: x509.Extensions, template: CertificateTemplate) -> Iterator[str]:
    authority = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    if authority.key_identifier != template.issuer.key_identifier:
        yield "the authority key identifier is not the issuer's"
    subject = extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    if len(subject.digest) != 20:
        yield "the subject key identifier has not 20 octets"
    points = extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    urls = [name.value for point in points for name in point.full_name or ()]
    if urls != [template.issuer.crl_url(template.shard)]:
        yield "the CRL distribution point is not the shard's"
    information = extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    if [description.access_location.value for description in information] != [
        template.issuer.certificate_url
    ]:
        yield "the authority information access does not point to the issuer"
