"""Bytes of a good certificate with a single thing changed: the lint finds each, and says which."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy import der as reader
from policy.profiles import TLS_SERVER, CommonName
from policy.signing import der
from policy.signing.lint import LintFailed, lint
from policy.signing.template import CertificateTemplate, build_tbs
from support.csrs import ec_key, ec_spki, spki_of
from support.signing import dns, template_for
from support.tbs import (
    ALGORITHM,
    AUTHORITY_KEY,
    CONSTRAINTS,
    EXTENSIONS,
    FEATURE,
    INFORMATION,
    ISSUER,
    KEY,
    KEY_USAGE,
    NAMES,
    POINTS,
    POLICIES,
    PURPOSES,
    SERIAL,
    SUBJECT,
    SUBJECT_KEY,
    VALIDITY,
    VERSION,
    with_extension,
    with_extensions,
    with_field,
)

GOOD = template_for(dns("www.example.com", "example.com"))
GOOD_TBS = build_tbs(GOOD)
NAMED = replace(TLS_SERVER, common_name=CommonName.FIRST_NAME)
WITH_POLICIES = replace(TLS_SERVER, policies=("1.2.3.4",))
STAPLED = replace(TLS_SERVER, allows_must_staple=True)


def _findings(tbs: bytes, template: CertificateTemplate = GOOD) -> list[str]:
    with pytest.raises(LintFailed) as failure:
        lint(tbs, template)
    assert str(failure.value) == "; ".join(failure.value.findings)
    return failure.value.findings


def _usages(bits: bytes) -> bytes:
    return with_extension(GOOD_TBS, KEY_USAGE, der.tlv(der.BIT_STRING, bits), is_critical=True)


def _purposes(*oids: str) -> bytes:
    return with_extension(GOOD_TBS, PURPOSES, der.sequence(*map(der.object_identifier, oids)))


def _names(*entries: tuple[int, bytes], is_critical: bool = True) -> bytes:
    value = der.sequence(*(der.tlv(tag, content) for tag, content in entries))
    return with_extension(GOOD_TBS, NAMES, value, is_critical=is_critical)


def _validity(not_before: bytes, not_after: bytes) -> bytes:
    return with_field(GOOD_TBS, VALIDITY, der.sequence(not_before, not_after))


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


def test_rebuilding_alone_changes_nothing() -> None:
    """What the tests below change is all that differs from bytes that pass."""
    assert with_extensions(GOOD_TBS, lambda found: found) == GOOD_TBS
    assert with_field(GOOD_TBS, VERSION, der.explicit(0, b"\x02\x01\x02")) == GOOD_TBS


# Bytes with a single thing changed that no template says.
TAMPERED = {
    "nothing": (b"", "no certificate"),
    "random": (bytes(range(200)), "no certificate"),
    "truncated": (GOOD_TBS[:-1], "no certificate"),
    "data after it": (GOOD_TBS + b"\x00", "no certificate"),
    "version 1 in words": (
        with_field(GOOD_TBS, VERSION, der.explicit(0, b"\x02\x01\x00")),
        "version",
    ),
    "version 2": (
        with_field(GOOD_TBS, VERSION, der.explicit(0, b"\x02\x01\x01")),
        "version is not 3",
    ),
    "version 4": (with_field(GOOD_TBS, VERSION, der.explicit(0, b"\x02\x01\x03")), "version"),
    "no version": (with_field(GOOD_TBS, VERSION, b""), "fields"),
    "a negative serial": (
        with_field(GOOD_TBS, SERIAL, b"\x02\x11\x81" + bytes(16)),
        "no certificate",
    ),
    "serial 0": (with_field(GOOD_TBS, SERIAL, b"\x02\x01\x00"), "no certificate"),
    "an issuer's unique identifier": (
        with_field(
            GOOD_TBS, KEY, der.tlv(0x30, reader.whole(GOOD.spki, 0x30)) + b"\x81\x02\x00\x01"
        ),
        "fields",
    ),
    "no extensions": (with_field(GOOD_TBS, EXTENSIONS, b""), "fields"),
    "an empty issuer": (with_field(GOOD_TBS, ISSUER, der.sequence()), "issuer is not"),
    "an algorithm with parameters": (
        with_field(
            GOOD_TBS,
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
        with_field(GOOD_TBS, SUBJECT, der.sequence(_name(b"www.example.com"))),
        "the subject holds something else",
    ),
    "an organization": (
        with_field(GOOD_TBS, SUBJECT, der.sequence(_name(b"Example", "2.5.4.10"))),
        "the subject holds something else",
    ),
    "another point": (
        with_field(GOOD_TBS, KEY, spki_of(ec_key("other"))),
        "the public key is not the requested one",
    ),
    "a point off the curve": (
        with_field(GOOD_TBS, KEY, ec_spki(b"\x04" + bytes(64))),
        "no certificate",
    ),
    "an unknown extension": (
        with_extension(GOOD_TBS, "1.2.3.4", b"\x05\x00"),
        "1.2.3.4 is there without",
    ),
    "an extension twice": (
        with_extensions(
            GOOD_TBS,
            lambda found: found.update(
                again=der.extension(CONSTRAINTS, b"\x30\x00", is_critical=True)
            ),
        ),
        "Duplicate",
    ),
    "a CA": (
        with_extension(GOOD_TBS, CONSTRAINTS, der.sequence(der.BOOLEAN_TRUE), is_critical=True),
        "a CA certificate",
    ),
    "a CA with a path length": (
        with_extension(
            GOOD_TBS, CONSTRAINTS, der.sequence(der.BOOLEAN_TRUE, b"\x02\x01\x00"), is_critical=True
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
        with_extension(GOOD_TBS, SUBJECT_KEY, der.tlv(der.OCTET_STRING, bytes(20))),
        "subject key identifier is not the key's",
    ),
    "an authority with issuer and serial": (
        with_extension(
            GOOD_TBS,
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
        with_extension(GOOD_TBS, AUTHORITY_KEY, der.sequence()),
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
        with_extension(
            GOOD_TBS, POINTS, der.sequence(_point(_url(CRL_URL)), _point(_url(CRL_URL)))
        ),
        "CRL distribution point is not the shard's",
    ),
    "a distribution point with two URLs": (
        with_extension(
            GOOD_TBS, POINTS, der.sequence(_point(_url(CRL_URL), _url("http://a.example/")))
        ),
        "CRL distribution point is not the shard's",
    ),
    "a distribution point for some reasons": (
        with_extension(
            GOOD_TBS, POINTS, der.sequence(_point(_url(CRL_URL), rest=der.tlv(0x81, b"\x06\x40")))
        ),
        "CRL distribution point is not the shard's",
    ),
    "a distribution point of another shard": (
        with_extension(
            GOOD_TBS,
            POINTS,
            der.sequence(_point(_url(GOOD.issuer.crl_url((GOOD.shard + 1) % 128)))),
        ),
        "CRL distribution point is not the shard's",
    ),
    "an OCSP responder": (
        with_extension(
            GOOD_TBS,
            INFORMATION,
            der.sequence(
                _access(CERTIFICATE_URL), _access("http://a.example/", "1.3.6.1.5.5.7.48.1")
            ),
        ),
        "does not point to the issuer",
    ),
    "the certificate as an OCSP responder": (
        with_extension(
            GOOD_TBS, INFORMATION, der.sequence(_access(CERTIFICATE_URL, "1.3.6.1.5.5.7.48.1"))
        ),
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
    findings = _findings(with_extensions(GOOD_TBS, lambda found: found.pop(oid)))

    assert findings == [f"the extension {oid} is missing"]


@pytest.mark.parametrize("oid", ALL_EXTENSIONS)
def test_wrong_criticality_is_found(oid: str) -> None:
    def flip(found: dict[str, bytes]) -> None:
        (_, _), *critical, (_, value) = reader.values(reader.whole(found[oid], 0x30))
        found[oid] = der.extension(oid, value, is_critical=not critical)

    assert f"the criticality of {oid} is wrong" in _findings(with_extensions(GOOD_TBS, flip))


def test_names_are_critical_exactly_without_a_subject() -> None:
    named = template_for(profile=NAMED)
    tbs = build_tbs(named)
    value = der.sequence(der.tlv(0x82, b"www.example.com"))

    lint(tbs, named)
    assert f"the criticality of {NAMES} is wrong" in _findings(
        with_extension(tbs, NAMES, value, is_critical=True), named
    )


def test_missing_policies_and_features_are_found() -> None:
    with_policies = template_for(profile=WITH_POLICIES)
    stapled = template_for(profile=STAPLED, must_staple=True)

    for template, oid in ((with_policies, POLICIES), (stapled, FEATURE)):
        tbs = with_extensions(build_tbs(template), lambda found, oid=oid: found.pop(oid))
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
        tbs = with_extension(build_tbs(with_policies), POLICIES, value)
        assert "the certificate policies are not the profile's" in _findings(tbs, with_policies)
    for value in (der.sequence(b"\x02\x01\x11"), der.sequence(b"\x02\x01\x05", b"\x02\x01\x11")):
        tbs = with_extension(build_tbs(stapled), FEATURE, value)
        assert "the TLS feature is not status_request alone" in _findings(tbs, stapled)


def test_time_of_2050_must_be_generalized() -> None:
    start = GOOD.not_before.replace(year=2050)
    template = replace(
        GOOD,
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
        with_field(tbs, VALIDITY, short), template
    )


@given(position=st.integers(0, len(GOOD_TBS) - 1), change=st.integers(1, 255))
def test_no_octet_can_be_changed(position: int, change: int) -> None:
    tampered = bytearray(GOOD_TBS)
    tampered[position] ^= change

    assert _findings(bytes(tampered))
