"""Faults of profiles: none in those that are shipped, and each found by the field to change."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from policy.extraextensions import ExtraExtension
from policy.keys import KeyRules
from policy.model.identifiers import IdentifierType
from policy.profilechecks import faults_of
from policy.profiles import TLS_SERVER, CommonName, Profile, SubjectPattern
from policy.shippedprofiles import SHIPPED

PUBLIC = SHIPPED["public_tls"]
DAY = timedelta(days=1)


def _usages(ec: set[str], rsa: set[str]) -> dict[str, frozenset[str]]:
    return {"ec": frozenset(ec), "rsa": frozenset(rsa)}


def _own(number: int) -> ExtraExtension:
    return ExtraExtension(f"1.3.6.1.4.1.99999.{number}", b"\x05\x00")


@pytest.mark.parametrize("profile", SHIPPED.values(), ids=SHIPPED)
def test_shipped_profile_has_no_fault_and_a_description(profile: Profile) -> None:
    assert list(faults_of(profile)) == []
    assert profile.description


def test_shipped_profiles_last_as_they_are_documented() -> None:
    days = {name: profile.validity / DAY for name, profile in SHIPPED.items()}

    assert days == {
        "tls_server": 90,
        "webserver": 90,
        "tls_short": 6,
        "client_auth": 365,
        "code_signing": 1095,
        "public_tls": 90,
    }
    assert [name for name, profile in SHIPPED.items() if profile.needs_approval] == ["code_signing"]
    assert [name for name, profile in SHIPPED.items() if profile.allows_must_staple] == [
        "webserver"
    ]


def test_shipped_tls_server_makes_the_certificates_that_it_always_made() -> None:
    assert SHIPPED["tls_server"].version == TLS_SERVER.version


FAULTS: dict[str, tuple[Profile, dict[str, Any], str, str]] = {
    "no purposes": (
        TLS_SERVER,
        {"extended_key_usages": ()},
        "extended_key_usages",
        "must not be empty",
    ),
    "any purpose": (
        TLS_SERVER,
        {"extended_key_usages": ("2.5.29.37.0",)},
        "extended_key_usages",
        "for no subscriber",
    ),
    "OCSP signing": (
        TLS_SERVER,
        {"extended_key_usages": ("1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.9")},
        "extended_key_usages",
        "for no subscriber",
    ),
    "a purpose that is no OID": (
        TLS_SERVER,
        {"extended_key_usages": ("server",)},
        "extended_key_usages",
        "no object identifier",
    ),
    "a policy that is no OID": (TLS_SERVER, {"policies": ("3.1",)}, "policies", "no object"),
    "no usages of EC keys": (
        TLS_SERVER,
        {"key_usages": _usages(set(), {"digital_signature"})},
        "ec_key_usages",
        "must not be empty",
    ),
    "EC keys that agree in TLS": (
        TLS_SERVER,
        {"key_usages": _usages({"digital_signature", "key_agreement"}, {"digital_signature"})},
        "ec_key_usages",
        "key_agreement is not used in TLS",
    ),
    "RSA keys that sign certificates": (
        SHIPPED["client_auth"],
        {"key_usages": _usages({"digital_signature"}, {"key_cert_sign"})},
        "rsa_key_usages",
        "key_cert_sign is not used by subscribers",
    ),
    "no types of keys": (TLS_SERVER, {"keys": KeyRules(kinds=frozenset())}, "key_types", "empty"),
    "no curves": (TLS_SERVER, {"keys": KeyRules(curves=frozenset())}, "curves", "key_types has ec"),
    "no types of names": (
        TLS_SERVER,
        {"identifier_types": frozenset()},
        "identifier_types",
        "must not be empty",
    ),
    "no names": (TLS_SERVER, {"maximum_identifiers": 0}, "maximum_identifiers", "at least 1"),
    "no challenges": (TLS_SERVER, {"challenge_types": frozenset()}, "challenge_types", "empty"),
    "a country in words": (
        TLS_SERVER,
        {"subject": SubjectPattern(country="Germany")},
        "country",
        "two capital letters",
    ),
    "a value that the extension does not have": (
        TLS_SERVER,
        {"extensions": (ExtraExtension("1.3.6.1.4.1.311.21.7", b"\x05\x00"),)},
        "extensions",
        "1.3.6.1.4.1.311.21.7 is not what that extension has",
    ),
    "nine extensions": (
        TLS_SERVER,
        {"extensions": tuple(map(_own, range(9)))},
        "extensions",
        "more than 8",
    ),
    "an extension twice": (
        TLS_SERVER,
        {"extensions": (_own(1), _own(2), _own(1))},
        "extensions",
        "1.3.6.1.4.1.99999.1 twice",
    ),
    "an organization in public": (
        PUBLIC,
        {"subject": SubjectPattern(country="DE", organization="Example")},
        "organization",
        "no domain validated certificate",
    ),
    "a common name in public": (
        PUBLIC,
        {"common_name": CommonName.FIRST_NAME},
        "common_name",
        "not recommended",
    ),
    "client purposes in public": (
        PUBLIC,
        {"extended_key_usages": ("1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2")},
        "extended_key_usages",
        "server_auth alone",
    ),
    "no policy in public": (PUBLIC, {"policies": ("1.2.3.4",)}, "policies", "2.23.140.1.2.1"),
    "two kinds of validation in public": (
        PUBLIC,
        {"policies": ("2.23.140.1.2.1", "1.2.3.4", "2.23.140.1.2.2")},
        "policies",
        "2.23.140.1.2.2 is for another kind of validation",
    ),
    "addresses in public": (
        PUBLIC,
        {"identifier_types": frozenset(IdentifierType)},
        "identifier_types",
        "must be dns alone",
    ),
    "an extension in public": (PUBLIC, {"extensions": (_own(1),)}, "extensions", "must be empty"),
}


@pytest.mark.parametrize(("profile", "changes", "field", "text"), FAULTS.values(), ids=FAULTS)
def test_fault_is_told_by_its_field(
    profile: Profile, changes: dict[str, Any], field: str, text: str
) -> None:
    (fault,) = faults_of(dataclasses.replace(profile, **changes))

    assert fault.field == field
    assert text in fault.text


def test_all_faults_are_told_at_once() -> None:
    profile = dataclasses.replace(
        PUBLIC,
        extended_key_usages=(),
        maximum_identifiers=0,
        subject=SubjectPattern(country="de"),
    )

    assert [fault.field for fault in faults_of(profile)] == [
        "extended_key_usages",
        "maximum_identifiers",
        "country",
        "extended_key_usages",
    ]


def test_what_the_baseline_requirements_leave_open_is_no_fault() -> None:
    open_to_choice = dataclasses.replace(
        PUBLIC,
        keys=KeyRules(),
        policies=("2.23.140.1.2.1", "1.2.3.4"),
        subject=SubjectPattern(country="DE"),
        allows_must_staple=True,
        validity=300 * DAY,
    )

    assert list(faults_of(open_to_choice)) == []


@pytest.mark.parametrize(
    ("moment", "days"),
    [(datetime(2026, 3, 14, tzinfo=UTC), 300), (datetime(2026, 3, 15, tzinfo=UTC), 200)],
)
def test_the_limit_of_the_day_holds_whatever_a_public_profile_says(
    moment: datetime, days: int
) -> None:
    profile = dataclasses.replace(PUBLIC, validity=300 * DAY, maximum_validity=300 * DAY)

    start, end = profile.validity_of(None, None, moment)

    assert end - start + timedelta(seconds=1) == days * DAY


def test_usages_of_keys_that_are_not_taken_do_not_matter() -> None:
    only_ec = dataclasses.replace(
        TLS_SERVER,
        keys=KeyRules(kinds=frozenset({"ec"})),
        key_usages=_usages({"digital_signature"}, set()),
    )

    assert list(faults_of(only_ec)) == []
