"""Each rule of the lint, broken once: a builder with any of these faults signs nothing."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from policy import der as reader
from policy.model.identifiers import Identifier, IdentifierType
from policy.profiles import SERVICE, TLS_SERVER, CommonName
from policy.signing import der
from policy.signing.lint import LintFailed, lint
from policy.signing.template import CertificateTemplate, build_tbs
from support.csrs import ec_key, ec_spki, rsa_key, spki_of
from support.signing import authority, dns, ip, template_for

SECOND = timedelta(seconds=1)
GOOD = template_for(dns("www.example.com", "example.com"))
GOOD_TBS = build_tbs(GOOD)
# Where each field of a TBSCertificate stands.
VERSION, SERIAL, ALGORITHM, ISSUER, VALIDITY, SUBJECT, KEY, EXTENSIONS = range(8)
KEY_USAGE, PURPOSES, CONSTRAINTS = "2.5.29.15", "2.5.29.37", "2.5.29.19"
AUTHORITY_KEY, SUBJECT_KEY, NAMES = "2.5.29.35", "2.5.29.14", "2.5.29.17"
INFORMATION, POINTS, POLICIES = "1.3.6.1.5.5.7.1.1", "2.5.29.31", "2.5.29.32"
FEATURE = "1.3.6.1.5.5.7.1.24"
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


def _with_field(position: int, value: bytes, tbs: bytes = GOOD_TBS) -> bytes:
    """The bytes with one field replaced by an encoded value; empty: left out."""
    fields = [der.tlv(tag, content) for tag, content in reader.values(reader.whole(tbs, 0x30))]
    fields[position] = value
    return der.sequence(*fields)


def _with_extensions(change: Callable[[dict[str, bytes]], object], tbs: bytes = GOOD_TBS) -> bytes:
    """The bytes with their extensions, by OID in dots, changed in place."""
    fields = list(reader.values(reader.whole(tbs, 0x30)))
    found = {}
    for _, content in reader.values(reader.whole(fields[EXTENSIONS][1], 0x30)):
        (_, oid), *_ = reader.values(content)
        found[reader.dotted(oid)] = der.sequence(content)
    change(found)
    extensions = der.explicit(3, der.sequence(*found.values()))
    return _with_field(EXTENSIONS, extensions, tbs)


def _with_extension(
    oid: str, value: bytes, *, is_critical: bool = False, tbs: bytes = GOOD_TBS
) -> bytes:
    """The bytes with one extension replaced, or added."""
    encoded = der.extension(oid, value, is_critical=is_critical)
    return _with_extensions(lambda found: found.update({oid: encoded}), tbs)


def _usages(bits: bytes) -> bytes:
    return _with_extension(KEY_USAGE, der.tlv(der.BIT_STRING, bits), is_critical=True)


def _purposes(*oids: str) -> bytes:
    return _with_extension(PURPOSES, der.sequence(*map(der.object_identifier, oids)))


def _names(*entries: tuple[int, bytes], is_critical: bool = True) -> bytes:
    value = der.sequence(*(der.tlv(tag, content) for tag, content in entries))
    return _with_extension(NAMES, value, is_critical=is_critical)


def _validity(not_before: bytes, not_after: bytes) -> bytes:
    return _with_field(VALIDITY, der.sequence(not_before, not_after))


def _name(value: bytes, oid: str = "2.5.4.3") -> bytes:
    attribute = der.sequence(der.object_identifier(oid), der.tlv(0x0C, value))
    return der.tlv(der.SET, attribute)


def _url(text: str) -> bytes:
    return der.tlv(0x86, text.encode())


def _point(*urls: bytes, rest: bytes = b"") -> bytes:
    return der.sequence(der.explicit(0, der.explicit(0, b"".join(urls))) + rest)


def _access(url: str, method: str = "1.3.6.1.5.5.7.48.2") -> bytes:
    return der.sequence(der.object_identifier(method), _url(url))


CRL_URL = GOOD.issuer.crl_url(GOOD.shard)
CERTIFICATE_URL = GOOD.issuer.certificate_url
AUTHORITY_KEY_VALUE = der.tlv(0x80, GOOD.issuer.key_identifier)


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


def test_rebuilding_alone_changes_nothing() -> None:
    """What the tests below change is all that differs from bytes that pass."""
    assert _with_extensions(lambda found: found) == GOOD_TBS
    assert _with_field(VERSION, der.explicit(0, b"\x02\x01\x02")) == GOOD_TBS


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
    "an address": (template_for(ip("192.0.2.1")), "type that the profile does not allow"),
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


# Bytes with a single thing changed that no template says.
TAMPERED = {
    "nothing": (b"", "no certificate"),
    "random": (bytes(range(200)), "no certificate"),
    "truncated": (GOOD_TBS[:-1], "no certificate"),
    "data after it": (GOOD_TBS + b"\x00", "no certificate"),
    "version 1 in words": (_with_field(VERSION, der.explicit(0, b"\x02\x01\x00")), "version"),
    "version 2": (_with_field(VERSION, der.explicit(0, b"\x02\x01\x01")), "version is not 3"),
    "version 4": (_with_field(VERSION, der.explicit(0, b"\x02\x01\x03")), "version"),
    "no version": (_with_field(VERSION, b""), "fields"),
    "a negative serial": (_with_field(SERIAL, b"\x02\x11\x81" + bytes(16)), "no certificate"),
    "serial 0": (_with_field(SERIAL, b"\x02\x01\x00"), "no certificate"),
    "an issuer's unique identifier": (
        _with_field(KEY, der.tlv(0x30, reader.whole(GOOD.spki, 0x30)) + b"\x81\x02\x00\x01"),
        "fields",
    ),
    "no extensions": (_with_field(EXTENSIONS, b""), "fields"),
    "an empty issuer": (_with_field(ISSUER, der.sequence()), "issuer is not"),
    "an algorithm with parameters": (
        _with_field(
            ALGORITHM,
            der.sequence(der.object_identifier("1.2.840.10045.4.3.2"), b"\x05\x00"),
        ),
        "the signature algorithm is not the issuer's",
    ),
    "a start in the wrong form": (
        _validity(
            der.tlv(der.GENERALIZED_TIME, GOOD.not_before.strftime("%Y%m%d%H%M%SZ").encode()),
            der.time(GOOD.not_after),
        ),
        "not in the form of its year",
    ),
    "a time without seconds": (
        _validity(der.tlv(der.UTC_TIME, b"2611251155Z"), der.time(GOOD.not_after)),
        "not in the form of its year",
    ),
    "a time with an offset": (
        _validity(der.tlv(der.UTC_TIME, b"261125115500+0000"), der.time(GOOD.not_after)),
        "not in the form of its year",
    ),
    "a common name": (
        _with_field(SUBJECT, der.sequence(_name(b"www.example.com"))),
        "the subject holds something else",
    ),
    "an organization": (
        _with_field(SUBJECT, der.sequence(_name(b"Example", "2.5.4.10"))),
        "the subject holds something else",
    ),
    "another point": (
        _with_field(KEY, spki_of(ec_key("other"))),
        "the public key is not the requested one",
    ),
    "a point off the curve": (_with_field(KEY, ec_spki(b"\x04" + bytes(64))), "no certificate"),
    "an unknown extension": (_with_extension("1.2.3.4", b"\x05\x00"), "1.2.3.4 is there without"),
    "an extension twice": (
        _with_extensions(
            lambda found: found.update(
                again=der.extension(CONSTRAINTS, b"\x30\x00", is_critical=True)
            )
        ),
        "Duplicate",
    ),
    "a CA": (
        _with_extension(CONSTRAINTS, der.sequence(der.BOOLEAN_TRUE), is_critical=True),
        "a CA certificate",
    ),
    "a CA with a path length": (
        _with_extension(
            CONSTRAINTS, der.sequence(der.BOOLEAN_TRUE, b"\x02\x01\x00"), is_critical=True
        ),
        "a CA certificate",
    ),
    "keyCertSign": (_usages(b"\x02\x84"), "key usages are not the profile's"),
    "cRLSign": (_usages(b"\x01\x82"), "key usages are not the profile's"),
    "keyEncipherment": (_usages(b"\x05\xa0"), "key usages are not the profile's"),
    "nonRepudiation": (_usages(b"\x06\xc0"), "key usages are not the profile's"),
    "dataEncipherment": (_usages(b"\x04\x90"), "key usages are not the profile's"),
    "keyAgreement": (_usages(b"\x03\x88"), "key usages are not the profile's"),
    "other usages alone": (_usages(b"\x05\x20"), "key usages are not the profile's"),
    "clientAuth too": (
        _purposes("1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"),
        "extended key usages are not the profile's",
    ),
    "any purpose": (_purposes("2.5.29.37.0"), "extended key usages are unlimited"),
    "a key identifier of SHA-1": (
        _with_extension(SUBJECT_KEY, der.tlv(der.OCTET_STRING, bytes(20))),
        "subject key identifier is not the key's",
    ),
    "an authority with issuer and serial": (
        _with_extension(
            AUTHORITY_KEY,
            der.sequence(
                AUTHORITY_KEY_VALUE,
                der.explicit(1, der.tlv(0xA4, GOOD.issuer.subject)),
                b"\x82\x01\x01",
            ),
        ),
        "authority key identifier is not the issuer's",
    ),
    "an authority without a key": (
        _with_extension(AUTHORITY_KEY, der.sequence()),
        "authority key identifier is not the issuer's",
    ),
    "an e-mail address": (
        _names((0x82, b"www.example.com"), (0x82, b"example.com"), (0x81, b"a@example.com")),
        "type that the profile does not allow",
    ),
    "a URI": (
        _names((0x82, b"www.example.com"), (0x82, b"example.com"), (0x86, b"http://a.example")),
        "type that the profile does not allow",
    ),
    "no list of names": (_names(), "repeated or none"),
    "two distribution points": (
        _with_extension(POINTS, der.sequence(_point(_url(CRL_URL)), _point(_url(CRL_URL)))),
        "CRL distribution point is not the shard's",
    ),
    "a distribution point with two URLs": (
        _with_extension(POINTS, der.sequence(_point(_url(CRL_URL), _url("http://a.example/")))),
        "CRL distribution point is not the shard's",
    ),
    "a distribution point for some reasons": (
        _with_extension(
            POINTS, der.sequence(_point(_url(CRL_URL), rest=der.tlv(0x81, b"\x06\x40")))
        ),
        "CRL distribution point is not the shard's",
    ),
    "a distribution point of another shard": (
        _with_extension(
            POINTS, der.sequence(_point(_url(GOOD.issuer.crl_url((GOOD.shard + 1) % 128))))
        ),
        "CRL distribution point is not the shard's",
    ),
    "an OCSP responder": (
        _with_extension(
            INFORMATION,
            der.sequence(
                _access(CERTIFICATE_URL), _access("http://a.example/", "1.3.6.1.5.5.7.48.1")
            ),
        ),
        "does not point to the issuer",
    ),
    "the certificate as an OCSP responder": (
        _with_extension(INFORMATION, der.sequence(_access(CERTIFICATE_URL, "1.3.6.1.5.5.7.48.1"))),
        "does not point to the issuer",
    ),
}
ALL_EXTENSIONS = (
    KEY_USAGE,
    PURPOSES,
    CONSTRAINTS,
    AUTHORITY_KEY,
    SUBJECT_KEY,
    NAMES,
    INFORMATION,
    POINTS,
)


@pytest.mark.parametrize(("tbs", "finding"), TAMPERED.values(), ids=TAMPERED)
def test_tampered_bytes_are_found(tbs: bytes, finding: str) -> None:
    assert finding in "; ".join(_findings(tbs))


@pytest.mark.parametrize("oid", ALL_EXTENSIONS)
def test_missing_extension_is_found(oid: str) -> None:
    findings = _findings(_with_extensions(lambda found: found.pop(oid)))

    assert findings == [f"the extension {oid} is missing"]


@pytest.mark.parametrize("oid", ALL_EXTENSIONS)
def test_wrong_criticality_is_found(oid: str) -> None:
    def flip(found: dict[str, bytes]) -> None:
        (_, _), *critical, (_, value) = reader.values(reader.whole(found[oid], 0x30))
        found[oid] = der.extension(oid, value, is_critical=not critical)

    assert f"the criticality of {oid} is wrong" in _findings(_with_extensions(flip))


def test_names_are_critical_exactly_without_a_subject() -> None:
    named = template_for(profile=NAMED)
    tbs = build_tbs(named)
    value = der.sequence(der.tlv(0x82, b"www.example.com"))

    lint(tbs, named)
    assert f"the criticality of {NAMES} is wrong" in _findings(
        _with_extension(NAMES, value, is_critical=True, tbs=tbs), named
    )


def test_missing_policies_and_features_are_found() -> None:
    with_policies = template_for(profile=WITH_POLICIES)
    stapled = template_for(profile=STAPLED, must_staple=True)

    for template, oid in ((with_policies, POLICIES), (stapled, FEATURE)):
        tbs = _with_extensions(lambda found, oid=oid: found.pop(oid), build_tbs(template))
        assert f"the extension {oid} is missing" in _findings(tbs, template)


def test_other_policies_and_features_are_found() -> None:
    with_policies = template_for(profile=WITH_POLICIES)
    stapled = template_for(profile=STAPLED, must_staple=True)
    other = der.sequence(der.sequence(der.object_identifier("1.2.3.5")))
    qualifier = der.sequence(
        der.object_identifier("1.3.6.1.5.5.7.2.1"), der.tlv(0x16, b"http://a.example/")
    )
    qualified = der.sequence(
        der.sequence(der.object_identifier("1.2.3.4"), der.sequence(qualifier))
    )

    for value in (other, qualified):
        tbs = _with_extension(POLICIES, value, tbs=build_tbs(with_policies))
        assert "the certificate policies are not the profile's" in _findings(tbs, with_policies)
    for value in (der.sequence(b"\x02\x01\x11"), der.sequence(b"\x02\x01\x05", b"\x02\x01\x11")):
        tbs = _with_extension(FEATURE, value, tbs=build_tbs(stapled))
        assert "the TLS feature is not status_request alone" in _findings(tbs, stapled)


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


def test_time_of_2050_must_be_generalized() -> None:
    start = GOOD.not_before.replace(year=2050)
    template = _changed(
        not_before=start,
        not_after=start + timedelta(days=1),
        issuer=replace(GOOD.issuer, not_after=start.replace(year=2051)),
    )
    tbs = build_tbs(template)
    short = der.sequence(
        der.tlv(der.UTC_TIME, start.strftime("%y%m%d%H%M%SZ").encode()),
        der.time(template.not_after),
    )

    lint(tbs, template)
    assert "a time is not in the form of its year" in _findings(
        _with_field(VALIDITY, short, tbs), template
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


@given(position=st.integers(0, len(GOOD_TBS) - 1), change=st.integers(1, 255))
def test_no_octet_can_be_changed(position: int, change: int) -> None:
    tampered = bytearray(GOOD_TBS)
    tampered[position] ^= change

    assert _findings(bytes(tampered))
