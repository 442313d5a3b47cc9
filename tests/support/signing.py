"""An authority and templates for tests of certificate bytes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from policy.model.identifiers import Identifier, IdentifierType
from policy.profiles import TLS_SERVER, Profile
from policy.signing.authorities import (
    AuthorityTemplate,
    issuer_facts,
    make_intermediate,
    make_root,
)
from policy.signing.serials import make_serial
from policy.signing.signer import SoftwareSigner, generate_signer
from policy.signing.template import CertificateTemplate, IssuerFacts, assemble
from support.csrs import ec_key

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
STATUS_URL = "http://status.example:14080"


def authority_template(name: str, **changes: Any) -> AuthorityTemplate:
    """What a CA certificate of ten years says, valid since a day."""
    values: dict[str, Any] = {
        "common_name": name,
        "organization": "Example",
        "serial": make_serial(os.urandom),
        "not_before": NOW - timedelta(days=1),
        "lifetime": timedelta(days=3650),
        "path_length": None,
    }
    return AuthorityTemplate(**values | changes)


@dataclass(frozen=True)
class TestAuthority:
    """A root and an issuing CA below it, with their keys."""

    __test__ = False

    root: bytes
    root_facts: IssuerFacts
    root_signer: SoftwareSigner
    issuing: bytes
    facts: IssuerFacts
    signer: SoftwareSigner

    def issue(self, tbs: bytes) -> bytes:
        """The certificate or CRL of the issuing CA with these bytes."""
        return assemble(tbs, self.signer.algorithm, self.signer.sign(tbs))

    def write_pem(self, directory: Path) -> tuple[Path, Path]:
        """The root and the issuing certificate as files for OpenSSL."""
        return (
            write_pem(directory / "root.pem", self.root),
            write_pem(directory / "issuing.pem", self.issuing),
        )


@cache
def authority(key_type: str = "ec-p256", *permitted_names: str) -> TestAuthority:
    """The authority with keys of that type, one per test run."""
    root_signer, signer = generate_signer(key_type), generate_signer(key_type)
    root = make_root(authority_template("Root"), root_signer)
    root_facts = issuer_facts("ca-root", root, root_signer, STATUS_URL, 1)
    template = authority_template(
        "Issuing",
        path_length=0,
        lifetime=timedelta(days=1000),
        permitted_names=permitted_names,
    )
    issuing = make_intermediate(template, signer, root_facts, root_signer)
    facts = issuer_facts("ca", issuing, signer, STATUS_URL, 128)
    return TestAuthority(root, root_facts, root_signer, issuing, facts, signer)


def dns(*values: str) -> tuple[Identifier, ...]:
    """DNS identifiers."""
    return tuple(Identifier(IdentifierType.DNS, value) for value in values)


def ip(*values: str) -> tuple[Identifier, ...]:
    """Address identifiers."""
    return tuple(Identifier(IdentifierType.IP, value) for value in values)


def template_for(
    identifiers: Sequence[Identifier] = dns("www.example.com"),
    *,
    profile: Profile = TLS_SERVER,
    issuer: IssuerFacts | None = None,
    key: Any = None,
    now: datetime = NOW,
    **changes: Any,
) -> CertificateTemplate:
    """A template that policy allows, changed as the test is about."""
    issuer = issuer or authority().facts
    key = key or ec_key().public_key()
    start, end = profile.validity_of(None, None, now, issuer.not_after)
    values: dict[str, Any] = {
        "profile": profile,
        "issuer": issuer,
        "serial": make_serial(os.urandom),
        "identifiers": tuple(identifiers),
        "key": key,
        "spki": key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "not_before": start,
        "not_after": end,
    }
    return CertificateTemplate(**values | changes)


def write_pem(path: Path, der: bytes) -> Path:
    """The certificate in ``der`` as a PEM file."""
    path.write_bytes(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM))
    return path
