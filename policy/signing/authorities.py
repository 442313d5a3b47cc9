"""Certification authorities: the certificates of a root and of the CA below it that issues."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509

from policy.signing import der
from policy.signing.signer import Signer
from policy.signing.template import IssuerFacts, assemble, authority_information, key_identifier

_CA_USAGE = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
_ALL_ADDRESSES = ("0.0.0.0/0", "::/0")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityTemplate:
    """What a CA certificate says. ``path_length`` None is unlimited. ``permitted_names``, if any,
    are the only DNS name trees that certificates below it may be for (RFC 5280, 4.2.1.10)."""

    common_name: str
    organization: str | None
    serial: bytes
    not_before: datetime
    lifetime: timedelta
    path_length: int | None
    permitted_names: tuple[str, ...] = ()

    @property
    def not_after(self) -> datetime:
        """The last second of its validity (RFC 5280: both ends belong to it)."""
        return self.not_before + self.lifetime - timedelta(seconds=1)

    def subject(self) -> bytes:
        """The DER of its name."""
        attributes = [x509.NameAttribute(x509.NameOID.COMMON_NAME, self.common_name)]
        if self.organization is not None:
            name = x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, self.organization)
            attributes.insert(0, name)
        return x509.Name(attributes).public_bytes()


def make_root(template: AuthorityTemplate, signer: Signer) -> bytes:
    """The DER of a self-signed root certificate."""
    subject = template.subject()
    extensions = _common_extensions(template, signer)
    tbs = _tbs(template, signer.spki, subject, subject, signer.algorithm, extensions)
    return assemble(tbs, signer.algorithm, signer.sign(tbs))


def make_intermediate(
    template: AuthorityTemplate, signer: Signer, issuer: IssuerFacts, issuer_signer: Signer
) -> bytes:
    """The DER of a CA certificate for ``signer``'s key, signed by ``issuer``."""
    if template.not_after > issuer.not_after:
        raise ValueError("a CA certificate must not outlive its issuer's")
    shard = issuer.shard_of(template.serial)
    point = x509.DistributionPoint(
        [x509.UniformResourceIdentifier(issuer.crl_url(shard))], None, None, None
    )
    extensions = [
        *_common_extensions(template, signer),
        (x509.AuthorityKeyIdentifier(issuer.key_identifier, None, None), False),
        (x509.CRLDistributionPoints([point]), False),
        (authority_information(issuer.certificate_url), False),
    ]
    tbs = _tbs(
        template, signer.spki, template.subject(), issuer.subject, issuer.algorithm, extensions
    )
    return assemble(tbs, issuer.algorithm, issuer_signer.sign(tbs))


def issuer_facts(
    name: str, certificate: bytes, signer: Signer, status_url: str, shards: int
) -> IssuerFacts:
    """What certificates say of the issuer with this certificate (DER) and signer.

    Raises ValueError if the certificate is for another key.
    """
    parsed = x509.load_der_x509_certificate(certificate)
    identifier = parsed.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    if key_identifier(signer.spki) != identifier:
        raise ValueError(f"the key of issuer {name} is not the one in its certificate")
    return IssuerFacts(
        name=name,
        subject=parsed.subject.public_bytes(),
        key_identifier=identifier,
        algorithm=signer.algorithm,
        not_after=parsed.not_valid_after_utc,
        certificate_url=f"{status_url}/ca/{name}.crt",
        crl_url_prefix=f"{status_url}/crl/{name}/",
        shards=shards,
    )


def _common_extensions(
    template: AuthorityTemplate, signer: Signer
) -> list[tuple[x509.ExtensionType, bool]]:
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=True, path_length=template.path_length), True),
        (_CA_USAGE, True),
        (x509.SubjectKeyIdentifier(key_identifier(signer.spki)), False),
    ]
    if template.permitted_names:
        trees = [x509.DNSName(name) for name in template.permitted_names]
        # A type that is not mentioned is not constrained, so addresses are excluded in words.
        addresses = [x509.IPAddress(ipaddress.ip_network(all_of)) for all_of in _ALL_ADDRESSES]
        extensions.append((x509.NameConstraints(trees, addresses), True))
    return extensions


def _tbs(
    template: AuthorityTemplate,
    spki: bytes,
    subject: bytes,
    issuer: bytes,
    algorithm: bytes,
    extensions: list[tuple[x509.ExtensionType, bool]],
) -> bytes:
    encoded = (
        der.extension(value.oid.dotted_string, value.public_bytes(), is_critical=is_critical)
        for value, is_critical in extensions
    )
    return der.sequence(
        der.explicit(0, der.integer(b"\x02")),
        der.integer(template.serial),
        algorithm,
        issuer,
        der.sequence(der.time(template.not_before), der.time(template.not_after)),
        subject,
        spki,
        der.explicit(3, der.sequence(*encoded)),
    )
