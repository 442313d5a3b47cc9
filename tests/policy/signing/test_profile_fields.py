"""What profiles say beyond names and keys: subjects, purposes, extensions of their own."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from policy.extraextensions import ExtraExtension
from policy.profiles import CLIENT_AUTH, CODE_SIGNING, TLS_SERVER, CommonName, SubjectPattern
from policy.signing import der
from policy.signing.lint import LintFailed, lint
from policy.signing.template import CertificateTemplate, IssuerFacts, build_tbs
from support.csrs import ec_key, rsa_key
from support.signing import authority, dns, template_for, write_pem

PATTERN = SubjectPattern(country="DE", organization="Example GmbH", organizational_unit="Ops")
PLACED = replace(TLS_SERVER, subject=PATTERN)
PLACED_AND_NAMED = replace(PLACED, common_name=CommonName.FIRST_NAME)
EXTRA = ExtraExtension("1.3.6.1.4.1.99999.1", der.sequence(der.tlv(0x0C, b"team-a")))
OTHER_EXTRA = ExtraExtension("1.3.6.1.4.1.99999.2", b"\x05\x00")
EXTENDED = replace(TLS_SERVER, extensions=(EXTRA, OTHER_EXTRA))
CLIENT = replace(
    TLS_SERVER,
    extended_key_usages=(CLIENT_AUTH,),
    key_usages={
        "ec": frozenset({"digital_signature", "key_agreement"}),
        "rsa": frozenset({"digital_signature", "content_commitment"}),
    },
)
SIGNING = replace(TLS_SERVER, extended_key_usages=(CODE_SIGNING,))
PROFILES = (PLACED, PLACED_AND_NAMED, EXTENDED, CLIENT, SIGNING)


def _certificate(template: CertificateTemplate) -> x509.Certificate:
    tbs = build_tbs(template)
    lint(tbs, template)
    return x509.load_der_x509_certificate(authority().issue(tbs))


def _findings(tbs: bytes, template: CertificateTemplate) -> str:
    with pytest.raises(LintFailed) as failure:
        lint(tbs, template)
    return str(failure.value)


def test_bytes_of_tls_server_are_what_they_always_were() -> None:
    """A hash over the bytes for fixed facts: they change by a decision, never by the way."""
    key = ec.derive_private_key(1, ec.SECP256R1())
    start, end = TLS_SERVER.validity_of(None, None, datetime(2026, 11, 25, 12, tzinfo=UTC))
    facts = IssuerFacts(
        name="ca",
        subject=der.sequence(),
        key_identifier=bytes(20),
        algorithm=der.sequence(der.object_identifier("1.2.840.10045.4.3.2")),
        not_after=end,
        certificate_url="http://s.example/ca.cer",
        crl_url_prefix="http://s.example/crl/",
        shards=4,
    )
    template = template_for(
        issuer=facts,
        key=key.public_key(),
        serial=b"\x01" * 17,
        not_before=start,
        not_after=end,
    )

    digest = hashlib.sha256(build_tbs(template)).hexdigest()

    assert digest == "bead5840a306a7ba35c9e959bfee2aae3aa59198263e8fdc750a646d6817d16f"


def test_subject_has_the_patterns_parts_in_order_and_then_the_common_name() -> None:
    placed = _certificate(template_for(profile=PLACED))
    named = _certificate(template_for(profile=PLACED_AND_NAMED))

    parts = [
        (NameOID.COUNTRY_NAME, "DE"),
        (NameOID.ORGANIZATION_NAME, "Example GmbH"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "Ops"),
    ]
    assert [(part.oid, part.value) for part in placed.subject] == parts
    assert [(part.oid, part.value) for part in named.subject] == [
        *parts,
        (NameOID.COMMON_NAME, "www.example.com"),
    ]


@pytest.mark.parametrize("profile", [PLACED, PLACED_AND_NAMED])
def test_names_are_not_critical_beside_a_subject(profile: object) -> None:
    certificate = _certificate(template_for(profile=profile))  # type: ignore[arg-type]

    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert not names.critical


def test_extra_extensions_are_written_last_octet_by_octet_and_not_critical() -> None:
    extensions = list(_certificate(template_for(profile=EXTENDED)).extensions)

    assert [
        (found.oid.dotted_string, found.value.public_bytes(), found.critical)
        for found in extensions[-2:]
    ] == [(EXTRA.oid, EXTRA.value, False), (OTHER_EXTRA.oid, OTHER_EXTRA.value, False)]
    assert extensions[-3].oid == x509.SubjectAlternativeName.oid


@pytest.mark.parametrize("key", [ec_key(), rsa_key()], ids=["ec", "rsa"])
@pytest.mark.parametrize("profile", [CLIENT, SIGNING])
def test_purposes_and_usages_are_the_profiles(profile: object, key: object) -> None:
    template = template_for(profile=profile, key=key.public_key())  # type: ignore[arg-type,attr-defined]

    extensions = _certificate(template).extensions

    purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [oid.dotted_string for oid in purposes] == list(template.profile.extended_key_usages)
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    wanted = template.profile.key_usages["ec" if key is ec_key() else "rsa"]
    assert {name for name in ("key_agreement", "content_commitment") if getattr(usage, name)} == (
        wanted - {"digital_signature", "key_encipherment"}
    )


@pytest.mark.parametrize("key", [ec_key(), rsa_key()], ids=["ec", "rsa"])
@pytest.mark.parametrize("profile", PROFILES)
def test_certificate_is_accepted_by_openssl(profile: object, key: object, tmp_path: Path) -> None:
    ca = authority()
    template = template_for(dns("www.example.com"), profile=profile, key=key.public_key())  # type: ignore[arg-type,attr-defined]
    root, issuing = ca.write_pem(tmp_path)
    leaf = write_pem(tmp_path / "leaf.pem", ca.issue(build_tbs(template)))

    moment = str(int(template.not_before.timestamp()) + 60)
    command = ["openssl", "verify", "-x509_strict", "-attime", moment, "-CAfile", str(root)]
    done = subprocess.run(
        [*command, "-untrusted", str(issuing), str(leaf)], capture_output=True, timeout=30
    )

    assert done.returncode == 0, done.stderr


# Of each rule: what the bytes were made from, what was decided on, and what is found.
TAMPERED = {
    "no pattern where one is": (TLS_SERVER, PLACED, "the subject holds something else"),
    "a pattern where none is": (PLACED, TLS_SERVER, "the subject holds something else"),
    "another organization": (
        replace(PLACED, subject=replace(PATTERN, organization="Other")),
        PLACED,
        "the subject holds something else",
    ),
    "a common name beside the pattern": (
        PLACED_AND_NAMED,
        PLACED,
        "the subject holds something else",
    ),
    "an extension of nobody": (EXTENDED, TLS_SERVER, f"{EXTRA.oid} is there without need"),
    "an extension less": (
        replace(EXTENDED, extensions=(EXTRA,)),
        EXTENDED,
        f"{OTHER_EXTRA.oid} is missing",
    ),
    "another value": (
        replace(EXTENDED, extensions=(EXTRA, ExtraExtension(OTHER_EXTRA.oid, b"\x02\x01\x01"))),
        EXTENDED,
        f"the extension {OTHER_EXTRA.oid} is not the profile's",
    ),
    "usages of another purpose": (
        replace(CLIENT, extended_key_usages=TLS_SERVER.extended_key_usages),
        replace(CLIENT, extended_key_usages=TLS_SERVER.extended_key_usages),
        "not for subscribers with such a key",
    ),
    "the purpose of a responder": (
        replace(TLS_SERVER, extended_key_usages=("1.3.6.1.5.5.7.3.9",)),
        replace(TLS_SERVER, extended_key_usages=("1.3.6.1.5.5.7.3.9",)),
        "unlimited, or those of a responder",
    ),
    "a CA's usage with another purpose": (
        replace(CLIENT, key_usages={"ec": frozenset({"key_cert_sign"}), "rsa": frozenset()}),
        replace(CLIENT, key_usages={"ec": frozenset({"key_cert_sign"}), "rsa": frozenset()}),
        "not for subscribers with such a key",
    ),
}


@pytest.mark.parametrize(("made_from", "decided_on", "finding"), TAMPERED.values(), ids=TAMPERED)
def test_lint_finds_what_the_profile_does_not_say(
    made_from: object, decided_on: object, finding: str
) -> None:
    made = template_for(profile=made_from)  # type: ignore[arg-type]

    decided = replace(made, profile=decided_on)  # type: ignore[arg-type]

    assert finding in _findings(build_tbs(made), decided)


def test_lint_holds_public_certificates_to_the_limit_of_their_start() -> None:
    public = replace(TLS_SERVER, is_public=True)
    start = datetime(2029, 3, 15, tzinfo=UTC)
    template = template_for(profile=replace(public, is_public=False), now=start)
    template = replace(template, not_before=start, profile=public)

    assert "exceeds the profile's maximum" in _findings(build_tbs(template), template)
