"""Certificates of certification authorities."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from policy.model.certificates import RevocationReason, RevokedEntry
from policy.profiles import SERVICE
from policy.signing.authorities import issuer_facts, make_intermediate, make_root
from policy.signing.crl import build_crl_tbs
from policy.signing.signer import generate_signer
from policy.signing.template import assemble, build_tbs, key_identifier
from support.signing import (
    NOW,
    STATUS_URL,
    TestAuthority,
    authority,
    authority_template,
    dns,
    ip,
    template_for,
    write_pem,
)


def _openssl_accepts(ca: TestAuthority, leaf: bytes, directory: Path) -> bool:
    root, issuing = ca.write_pem(directory)
    command = ["openssl", "verify", "-x509_strict", "-attime", str(int(NOW.timestamp()))]
    files = ["-CAfile", root, "-untrusted", issuing, write_pem(directory / "leaf.pem", leaf)]
    return subprocess.run([*command, *files], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("key_type", ["ec-p256", "ec-p384", "rsa-2048", "ed25519"])
def test_root_is_self_signed_and_says_what_a_root_says(key_type: str) -> None:
    ca = authority(key_type)
    root = x509.load_der_x509_certificate(ca.root)

    root.verify_directly_issued_by(root)
    assert root.subject.rfc4514_string() == "CN=Root,O=Example"
    assert root.not_valid_after_utc + timedelta(seconds=1) - root.not_valid_before_utc == (
        timedelta(days=3650)
    )
    assert {type(e.value): (e.critical, e.value) for e in root.extensions} == {
        x509.BasicConstraints: (True, x509.BasicConstraints(ca=True, path_length=None)),
        x509.KeyUsage: (
            True,
            x509.KeyUsage(False, False, False, False, False, True, True, False, False),
        ),
        x509.SubjectKeyIdentifier: (
            False,
            x509.SubjectKeyIdentifier(key_identifier(ca.root_signer.spki)),
        ),
    }


def test_issuing_certificate_points_to_its_root() -> None:
    ca = authority()
    issuing = x509.load_der_x509_certificate(ca.issuing)
    extensions = issuing.extensions

    issuing.verify_directly_issued_by(x509.load_der_x509_certificate(ca.root))
    constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (constraints.ca, constraints.path_length) == (True, 0)
    authority_key = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert authority_key.key_identifier == key_identifier(ca.root_signer.spki)
    (point,) = extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert point.full_name == [x509.UniformResourceIdentifier(f"{STATUS_URL}/crl/ca-root/0.crl")]
    (access,) = extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    assert access.access_location.value == f"{STATUS_URL}/ca/ca-root.crt"


def test_facts_are_those_of_the_certificate() -> None:
    ca = authority()
    issuing = x509.load_der_x509_certificate(ca.issuing)

    assert ca.facts.subject == issuing.subject.public_bytes()
    assert ca.facts.not_after == issuing.not_valid_after_utc
    assert ca.facts.algorithm == ca.signer.algorithm
    assert ca.facts.certificate_url == f"{STATUS_URL}/ca/ca.crt"
    assert ca.facts.crl_url(5) == f"{STATUS_URL}/crl/ca/5.crl"


def test_key_of_another_authority_is_refused() -> None:
    ca = authority()

    with pytest.raises(ValueError, match="not the one in its certificate"):
        issuer_facts("ca", ca.issuing, ca.root_signer, STATUS_URL, 1)


def test_issuing_certificate_does_not_outlive_its_root() -> None:
    ca = authority()
    signer = generate_signer("ec-p256")
    as_long = authority_template("Issuing", lifetime=timedelta(days=3650))
    longer = authority_template("Issuing", lifetime=timedelta(days=3650, seconds=1))

    assert make_intermediate(as_long, signer, ca.root_facts, ca.root_signer)
    with pytest.raises(ValueError, match="outlive"):
        make_intermediate(longer, signer, ca.root_facts, ca.root_signer)


def test_path_length_0_ends_the_chain(tmp_path: Path) -> None:
    ca = authority()
    signer = generate_signer("ec-p256")
    template = authority_template("Below", lifetime=timedelta(days=100))
    below = make_intermediate(template, signer, ca.facts, ca.signer)
    facts = issuer_facts("below", below, signer, STATUS_URL, 1)
    tbs = build_tbs(template_for(issuer=facts))
    leaf = assemble(tbs, signer.algorithm, signer.sign(tbs))
    root, issuing = ca.write_pem(tmp_path)
    untrusted = tmp_path / "untrusted.pem"
    untrusted.write_bytes(
        issuing.read_bytes() + x509.load_der_x509_certificate(below).public_bytes(Encoding.PEM)
    )
    command = ["openssl", "verify", "-attime", str(int(NOW.timestamp())), "-CAfile", root]

    verdict = subprocess.run(
        [*command, "-untrusted", untrusted, write_pem(tmp_path / "leaf.pem", leaf)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert "path length constraint exceeded" in verdict.stderr


def test_root_without_an_organization_has_a_common_name_alone() -> None:
    root = make_root(authority_template("Only", organization=None), generate_signer("ec-p256"))

    assert x509.load_der_x509_certificate(root).subject.rfc4514_string() == "CN=Only"


@pytest.mark.parametrize(
    ("identifiers", "is_accepted"),
    [
        (dns("www.corp.example"), True),
        (dns("corp.example", "a.b.corp.example"), True),
        (dns("*.corp.example"), True),
        (dns("www.other.example"), False),
        (dns("evilcorp.example"), False),
        (dns("www.corp.example", "www.other.example"), False),
        (ip("192.0.2.1"), False),
        (ip("2001:db8::1"), False),
        ((*dns("www.corp.example"), *ip("192.0.2.1")), False),
    ],
)
def test_constrained_authority_is_trusted_for_its_names_only(
    identifiers: tuple[object, ...], is_accepted: bool, tmp_path: Path
) -> None:
    ca = authority("ec-p256", "corp.example")
    template = template_for(identifiers, profile=SERVICE, issuer=ca.facts)  # type: ignore[arg-type]

    leaf = ca.issue(build_tbs(template))

    assert _openssl_accepts(ca, leaf, tmp_path) is is_accepted


def test_name_constraints_are_critical() -> None:
    issuing = x509.load_der_x509_certificate(authority("ec-p256", "corp.example").issuing)

    constraints = issuing.extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical
    assert constraints.value.permitted_subtrees == [x509.DNSName("corp.example")]


def test_root_revokes_the_issuing_authority_by_its_own_crl(tmp_path: Path) -> None:
    ca = authority()
    root, issuing = ca.write_pem(tmp_path)
    serial = x509.load_der_x509_certificate(ca.issuing).serial_number.to_bytes(17)
    entry = RevokedEntry(serial=serial, revoked_at=NOW, reason=RevocationReason.CA_COMPROMISE)
    verdicts = []
    for number, entries in enumerate([[], [entry]]):
        tbs = build_crl_tbs(ca.root_facts, 0, number, entries, NOW, NOW + timedelta(days=30))
        crl = assemble(tbs, ca.root_signer.algorithm, ca.root_signer.sign(tbs))
        listed = tmp_path / f"{number}.pem"
        listed.write_bytes(x509.load_der_x509_crl(crl).public_bytes(Encoding.PEM))
        command = ["openssl", "verify", "-crl_check", "-extended_crl", "-attime"]
        files = [str(int(NOW.timestamp())), "-CAfile", root, "-CRLfile", listed, issuing]
        verdicts.append(subprocess.run([*command, *files], capture_output=True, check=False))

    assert verdicts[0].returncode == 0
    assert b"certificate revoked" in verdicts[1].stderr
