"""Each rule of the lint, broken once: a builder with any of these faults signs nothing."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from policy.model.identifiers import Identifier, IdentifierType
from policy.profiles import SERVICE, TLS_SERVER, CommonName
from policy.signing import der
from policy.signing.lint import LintFailed, lint
from policy.signing.template import CertificateTemplate, build_tbs
from support.csrs import ec_key, rsa_key, spki_of
from support.signing import authority, dns, ip, template_for

SECOND = timedelta(seconds=1)
GOOD = template_for(dns("www.example.com", "example.com"))
GOOD_TBS = build_tbs(GOOD)
NAMED = replace(TLS_SERVER, common_name=CommonName.FIRST_NAME)
WITH_POLICIES = replace(TLS_SERVER, policies=("1.2.3.4",))
STAPLED = replace(TLS_SERVER, allows_must_staple=True)


def _changed(**changes: Any) -> CertificateTemplate:
    return replace(GOOD, **changes)


def _findings(tbs: bytes, template: CertificateTemplate = GOOD) -> list[str]:
    with pytest.raises(LintFailed) as failure:
        lint(tbs, template)
    assert str(failure.value) == "; ".join(failure.value.findings)
    return failure.value.findings


@pytest.mark.parametrize("profile", [TLS_SERVER, NAMED, WITH_POLICIES, STAPLED])
@pytest.mark.parametrize("key", [ec_key(), rsa_key()])
@pytest.mark.parametrize("key_type", ["ec-p256", "ec-p384", "rsa-2048", "ed25519"])
def test_good_bytes_pass(profile: Any, key: Any, key_type: str) -> None:
    template = template_for(
        dns("www.example.com", "*.example.org"),
        profile=profile,
        key=key.public_key(),
        issuer=authority(key_type).facts,
        must_staple=profile is STAPLED,
    )

    lint(build_tbs(template), template)


LIMITS = {
    "a serial of 159 bits": _changed(serial=b"\x7f" + bytes(19)),
    "a serial of 65 bits": _changed(serial=b"\x01" + bytes(8)),
    "an end with its issuer's": _changed(issuer=replace(GOOD.issuer, not_after=GOOD.not_after)),
    "a second": _changed(not_after=GOOD.not_before + SECOND),
    "as many names as allowed": template_for(dns(*(f"a{n}.example.com" for n in range(100)))),
}


@pytest.mark.parametrize("template", LIMITS.values(), ids=LIMITS)
def test_good_bytes_pass_at_the_limits(template: CertificateTemplate) -> None:
    lint(build_tbs(template), template)


# Bytes made for another template than the one that was decided on.
OTHER_TEMPLATES = {
    "another serial": (_changed(serial=b"\x01" + os.urandom(16)), "not the reserved one"),
    "another key": (
        _changed(spki=spki_of(ec_key("other"))),
        "the public key is not the requested one",
    ),
    "another issuer": (
        _changed(issuer=replace(GOOD.issuer, subject=authority().root_facts.subject)),
        "the issuer is not the issuer's subject",
    ),
    "another algorithm": (
        _changed(issuer=replace(GOOD.issuer, algorithm=authority("rsa-2048").facts.algorithm)),
        "the signature algorithm is not the issuer's",
    ),
    "another issuer key": (
        _changed(issuer=replace(GOOD.issuer, key_identifier=bytes(20))),
        "the authority key identifier is not the issuer's",
    ),
    "an earlier start": (
        _changed(not_before=GOOD.not_before - SECOND),
        "the validity is not the decided one",
    ),
    "a later end": (
        _changed(not_after=GOOD.not_after + SECOND),
        "the validity is not the decided one",
    ),
    "a name more": (
        _changed(identifiers=GOOD.identifiers + dns("evil.example")),
        "names are not the authorized ones",
    ),
    "a name less": (
        _changed(identifiers=GOOD.identifiers[:1]),
        "names are not the authorized ones",
    ),
    "names in another order": (
        _changed(identifiers=GOOD.identifiers[::-1]),
        "names are not the authorized ones",
    ),
    "a name twice": (
        _changed(identifiers=GOOD.identifiers + GOOD.identifiers),
        "names are repeated or none",
    ),
    "no names": (_changed(identifiers=()), "names are repeated or none"),
    "a subject": (_changed(profile=NAMED), "the subject holds something else"),
    "policies": (_changed(profile=WITH_POLICIES), "2.5.29.32 is there without need"),
    "must-staple": (_changed(must_staple=True), "1.3.6.1.5.5.7.1.24 is there without need"),
    "the usages of an RSA key": (
        _changed(key=rsa_key().public_key()),
        "the key usages are not the profile's",
    ),
    "other purposes": (
        _changed(profile=replace(TLS_SERVER, extended_key_usages=("1.3.6.1.5.5.7.3.2",))),
        "the extended key usages are not the profile's",
    ),
    "another CRL": (
        _changed(issuer=replace(GOOD.issuer, crl_url_prefix="http://other.example/")),
        "the CRL distribution point is not the shard's",
    ),
    "another issuer certificate": (
        _changed(issuer=replace(GOOD.issuer, certificate_url="http://other.example/")),
        "does not point to the issuer",
    ),
}


@pytest.mark.parametrize(("other", "finding"), OTHER_TEMPLATES.values(), ids=OTHER_TEMPLATES)
def test_bytes_of_another_template_are_found(other: CertificateTemplate, finding: str) -> None:
    assert finding in "; ".join(_findings(build_tbs(other)))
    assert finding in "; ".join(_findings(build_tbs(other), GOOD))


# Templates that nothing should have made, with the bytes that say the same.
BAD_TEMPLATES = {
    "a serial of 8 octets": (_changed(serial=b"\x7f" + bytes(7)), "too few or too many bits"),
    "a serial of 64 bits": (_changed(serial=b"\xff" + bytes(7)), "too few or too many bits"),
    "a serial of 160 bits": (_changed(serial=b"\x80" + bytes(19)), "too few or too many bits"),
    "a second above the maximum": (
        _changed(not_after=GOOD.not_after + SECOND),
        "exceeds the profile's maximum",
    ),
    "an end before its start": (
        _changed(not_after=GOOD.not_before - SECOND),
        "ends before it starts",
    ),
    "an end at its start": (_changed(not_after=GOOD.not_before), "ends before it starts"),
    "an end after its issuer's": (
        _changed(issuer=replace(GOOD.issuer, not_after=GOOD.not_after - SECOND)),
        "outlives its issuer",
    ),
    "an issuer that signs with SHA-1": (
        _changed(
            issuer=replace(
                GOOD.issuer, algorithm=der.sequence(der.object_identifier("1.2.840.10045.4.1"))
            )
        ),
        "algorithm is weak or unknown",
    ),
    "a weak key": (
        template_for(key=rsa_key(1024).public_key()),
        "the RSA modulus has 1024 bits",
    ),
    "a key on another curve": (
        template_for(key=ec.generate_private_key(ec.SECP256K1()).public_key()),
        "the curve is secp256k1",
    ),
    "a key of another type than was decided on": (
        replace(template_for(key=rsa_key().public_key()), key=ec_key().public_key()),
        "not of the type that was decided on",
    ),
    "more names than the profile allows": (
        template_for(dns(*(f"a{number}.example.com" for number in range(101)))),
        "more names than the profile allows",
    ),
    "an address": (
        template_for(
            ip("192.0.2.1"),
            profile=dataclasses.replace(
                TLS_SERVER, identifier_types=frozenset({IdentifierType.DNS})
            ),
        ),
        "type that the profile does not allow",
    ),
    "a name in upper case": (template_for(dns("WWW.example.com")), "preferred syntax"),
    "a name with a dot at the end": (template_for(dns("www.example.com.")), "preferred syntax"),
    "a name with NUL": (template_for(dns("www.example.com\x00")), "preferred syntax"),
    "a name with a line feed": (template_for(dns("www.example.com\n")), "preferred syntax"),
    "a name with an underscore": (template_for(dns("a_b.example.com")), "preferred syntax"),
    "a name with a wildcard within": (template_for(dns("a.*.example.com")), "preferred syntax"),
    "an empty name": (template_for(dns("")), "preferred syntax"),
    "a long label": (template_for(dns("a" * 64 + ".example.com")), "preferred syntax"),
    "a long name": (template_for(dns("a." * 126 + "ab")), "preferred syntax"),
    "a profile with usages of a CA": (
        template_for(
            profile=replace(
                TLS_SERVER,
                key_usages={
                    "ec": frozenset({"digital_signature", "key_cert_sign"}),
                    "rsa": frozenset(),
                },
            )
        ),
        "not for subscribers with such a key",
    ),
    "a profile that lets EC keys encipher": (
        template_for(
            profile=replace(
                TLS_SERVER,
                key_usages={
                    "ec": frozenset({"digital_signature", "key_encipherment"}),
                    "rsa": frozenset(),
                },
            )
        ),
        "not for subscribers with such a key",
    ),
    "a profile without usages": (
        template_for(profile=replace(TLS_SERVER, key_usages={"ec": frozenset()})),
        "the key usages are none",
    ),
    "a profile without purposes": (
        template_for(profile=replace(TLS_SERVER, extended_key_usages=())),
        "no certificate",
    ),
    "a key that signs otherwise": (
        _changed(spki=authority("ed25519").signer.spki),
        "of a type that no certificate has",
    ),
    "a profile with any purpose": (
        template_for(profile=replace(TLS_SERVER, extended_key_usages=("2.5.29.37.0",))),
        "extended key usages are unlimited",
    ),
    "must-staple without leave": (_changed(must_staple=True), "is there without need"),
    "a CRL over HTTPS": (
        _changed(issuer=replace(GOOD.issuer, crl_url_prefix="https://status.example/crl/")),
        "not plain HTTP",
    ),
    "an issuer certificate in LDAP": (
        _changed(issuer=replace(GOOD.issuer, certificate_url="ldap://status.example/")),
        "not plain HTTP",
    ),
}


@pytest.mark.parametrize(("template", "finding"), BAD_TEMPLATES.values(), ids=BAD_TEMPLATES)
def test_template_that_breaks_a_rule_is_found(template: CertificateTemplate, finding: str) -> None:
    assert finding in "; ".join(_findings(build_tbs(template), template))


def test_common_name_that_is_no_san_is_found() -> None:
    class OtherName(CertificateTemplate):
        @property
        def common_name(self) -> str:
            return "evil.example"

    values = {field.name: getattr(GOOD, field.name) for field in dataclasses.fields(GOOD)}
    template = OtherName(**values | {"profile": NAMED})

    assert "the common name is none of the subject alternative names" in _findings(
        build_tbs(template), template
    )


def test_addresses_pass_in_a_profile_that_has_them() -> None:
    identifiers = (*dns("localhost"), *ip("127.0.0.1", "::1"))
    template = template_for(identifiers, profile=SERVICE)

    lint(build_tbs(template), template)
    other = replace(template, identifiers=(*dns("localhost"), *ip("127.0.0.2", "::1")))
    assert "names are not the authorized ones" in "; ".join(_findings(build_tbs(other), template))


def test_every_broken_rule_is_named() -> None:
    template = _changed(
        serial=b"\x01",
        identifiers=(Identifier(IdentifierType.DNS, "A.example.com"),),
        not_after=GOOD.not_after + SECOND,
    )

    findings = _findings(build_tbs(template), template)

    assert findings == [
        "the serial has too few or too many bits",
        "the validity exceeds the profile's maximum",
        "a DNS name is not in the preferred syntax",
    ]
