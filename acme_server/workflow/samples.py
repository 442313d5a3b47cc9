"""A sample certificate of each profile, made with throw-away keys and looked at.

Nothing of it is kept: the CA is made for the moment, and so are the keys.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from ssl import DER_cert_to_PEM_cert

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from policy.keys import CertificateKey
from policy.model.identifiers import Identifier, IdentifierType
from policy.profilechecks import faults_of
from policy.profiles import Profile
from policy.signing.authorities import AuthorityTemplate, issuer_facts, make_root
from policy.signing.lint import LintFailed, lint
from policy.signing.serials import make_serial
from policy.signing.signer import SoftwareSigner, generate_signer
from policy.signing.template import CertificateTemplate, IssuerFacts, assemble, build_tbs

_NAMES = {
    IdentifierType.DNS: Identifier(IdentifierType.DNS, "www.example.com"),
    IdentifierType.IP: Identifier(IdentifierType.IP, "192.0.2.1"),
}
_CURVES: dict[str, type[ec.EllipticCurve]] = {
    "secp256r1": ec.SECP256R1,
    "secp384r1": ec.SECP384R1,
    "secp521r1": ec.SECP521R1,
}
_OPENSSL_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleReport:
    """What was found in the samples of a profile, one for each type of key that it takes.

    ``findings`` is empty if all is well; ``certificates`` are DER. ``openssl`` tells whether
    OpenSSL has looked at them: it does where there is one.
    """

    profile: str
    certificates: tuple[bytes, ...]
    findings: tuple[str, ...]
    openssl: bool


class ProfileSamples:
    """Makes samples below a CA of its own, as of ``now``."""

    def __init__(self, now: datetime, openssl: str | None) -> None:
        self._now = now.replace(microsecond=0)
        self._openssl = openssl
        self._signer: SoftwareSigner = generate_signer("ec-p256")
        root = AuthorityTemplate(
            common_name="Sample",
            organization=None,
            serial=make_serial(os.urandom),
            not_before=self._now - timedelta(days=1),
            lifetime=timedelta(days=10_000),
            path_length=None,
        )
        self._root = make_root(root, self._signer)
        self._issuer: IssuerFacts = issuer_facts(
            "sample", self._root, self._signer, "http://sample.example", 1
        )

    def examine(self, profile: Profile) -> SampleReport:
        """The profile's faults, and what the lint and OpenSSL find in its samples."""
        findings = [f"{fault.field}: {fault.text}" for fault in faults_of(profile)]
        certificates = []
        for make_key in _key_makers(profile):
            template = self._template(profile, make_key())
            try:
                certificates.append(self._certificate(template))
            except LintFailed as failure:
                findings += failure.findings
        has_openssl = self._openssl is not None
        for certificate in certificates if has_openssl else ():
            findings += self._verify(certificate)
        return SampleReport(
            profile=profile.name,
            certificates=tuple(certificates),
            findings=tuple(findings),
            openssl=has_openssl,
        )

    def _template(self, profile: Profile, key: CertificateKey) -> CertificateTemplate:
        start, end = profile.validity_of(None, None, self._now, self._issuer.not_after)
        names = [name for kind, name in _NAMES.items() if kind in profile.identifier_types]
        return CertificateTemplate(
            profile=profile,
            issuer=self._issuer,
            serial=make_serial(os.urandom),
            identifiers=tuple(names[: profile.maximum_identifiers]),
            key=key,
            spki=key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            not_before=start,
            not_after=end,
            must_staple=profile.allows_must_staple,
        )

    def _certificate(self, template: CertificateTemplate) -> bytes:
        tbs = build_tbs(template)
        lint(tbs, template)
        return assemble(tbs, self._signer.algorithm, self._signer.sign(tbs))

    def _verify(self, certificate: bytes) -> Iterator[str]:
        assert self._openssl is not None
        with tempfile.TemporaryDirectory() as folder:
            root, leaf = Path(folder, "root.pem"), Path(folder, "leaf.pem")
            root.write_text(DER_cert_to_PEM_cert(self._root))
            leaf.write_text(DER_cert_to_PEM_cert(certificate))
            moment = str(int(self._now.timestamp()))
            options = ["-x509_strict", "-attime", moment, "-CAfile", str(root), str(leaf)]
            done = subprocess.run(  # noqa: S603 - a path that was looked up, and our own files
                [self._openssl, "verify", *options],
                capture_output=True,
                text=True,
                timeout=_OPENSSL_SECONDS,
                check=False,
            )
        if done.returncode != 0:
            said = " ".join(done.stderr.replace(folder, "").split())
            yield f"openssl verify: {said}"


def _key_makers(profile: Profile) -> Iterator[Callable[[], CertificateKey]]:
    """One for each curve that the profile takes, and for its smallest RSA keys."""
    if "ec" in profile.keys.kinds:
        for name in sorted(profile.keys.curves):
            yield partial(_make_ec_key, name)
    if "rsa" in profile.keys.kinds:
        yield partial(_make_rsa_key, profile.keys.min_rsa_bits)


def _make_ec_key(curve: str) -> CertificateKey:
    return ec.generate_private_key(_CURVES[curve]()).public_key()


def _make_rsa_key(bits: int) -> CertificateKey:
    return rsa.generate_private_key(65537, bits).public_key()
