"""What decides on the final template: each rule lets the good one pass and stops its own twin."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from policy import decision
from policy.blocklists import KeyBlocklist, make_blocklist, modulus_hash, spki_hash
from policy.decision import Allowed, Denied
from policy.keys import KeyRules
from policy.model.identifiers import Identifier, IdentifierType
from policy.names import NameRules
from policy.profiles import CONFIGURED, SERVICE, TLS_SERVER
from policy.shippedprofiles import SHIPPED
from policy.signing.template import CertificateTemplate
from support.csrs import rsa_key
from support.signing import NOW, dns, ip, template_for


@dataclass(frozen=True)
class Proof:
    """How control was proven."""

    identifier: Identifier
    method: str
    validated_at: datetime = NOW


def decide(
    template: CertificateTemplate,
    proofs: Iterable[Proof],
    names: NameRules,
    *,
    now: datetime = NOW,
    blocklist: KeyBlocklist | None = None,
) -> Allowed | Denied:
    """The decision at the moment for which templates are made, with no key blocked."""
    return decision.decide(template, proofs, names, now=now, blocklist=blocklist or KeyBlocklist())


def _proofs(*names: str, method: str = "http-01") -> list[Proof]:
    return [Proof(identifier, method) for identifier in dns(*names)]


NAMES = dns("www.example.com", "example.com")
PROOFS = _proofs("www.example.com", "example.com")
GOOD = template_for(NAMES)


def _changed(**changes: Any) -> CertificateTemplate:
    return dataclasses.replace(GOOD, **changes)


def test_template_within_all_rules_is_allowed_by_its_profile() -> None:
    assert decide(GOOD, PROOFS, NameRules()) == Allowed("profile:tls_server")


P384_KEY = ec.generate_private_key(ec.SECP384R1()).public_key()
NARROW = dataclasses.replace(TLS_SERVER, keys=KeyRules(curves=frozenset({"secp384r1"})))
DNS_ONLY = dataclasses.replace(TLS_SERVER, challenge_types=frozenset({"dns-01"}))
SMALL = dataclasses.replace(TLS_SERVER, maximum_identifiers=1)
STAPLED = dataclasses.replace(TLS_SERVER, allows_must_staple=True)
# Of each rule: a template, its proofs and the names served, that only this rule stops.
DENIED = {
    "no names": ("count", _changed(identifiers=()), PROOFS, NameRules()),
    "more names than the profile has": ("count", _changed(profile=SMALL), PROOFS, NameRules()),
    "a name twice": ("count", _changed(identifiers=NAMES + NAMES[:1]), PROOFS, NameRules()),
    "a name denied since": ("names", GOOD, PROOFS, NameRules(denied=frozenset({"example.com"}))),
    "a name not allowed": ("names", GOOD, PROOFS, NameRules(allowed=frozenset({"corp.example"}))),
    "an address in a profile of names": (
        "names",
        _changed(
            identifiers=ip("192.0.2.1"),
            profile=dataclasses.replace(
                TLS_SERVER, identifier_types=frozenset({IdentifierType.DNS})
            ),
        ),
        [Proof(ip("192.0.2.1")[0], "http-01")],
        NameRules(ip=True),
    ),
    "an address by a method of names": (
        "control",
        _changed(identifiers=ip("192.0.2.1")),
        [Proof(ip("192.0.2.1")[0], "dns-01")],
        NameRules(ip=True),
    ),
    "an address where none is served": (
        "names",
        template_for(ip("192.0.2.1"), profile=SERVICE),
        [Proof(ip("192.0.2.1")[0], CONFIGURED)],
        NameRules(),
    ),
    "no proofs": ("control", GOOD, [], NameRules()),
    "one name without proof": ("control", GOOD, PROOFS[:1], NameRules()),
    "proofs of other names": (
        "control",
        GOOD,
        _proofs("example.com", "example.org", "xwww.example.com"),
        NameRules(),
    ),
    "a proof by what the profile does not accept": (
        "control",
        _changed(profile=DNS_ONLY),
        PROOFS,
        NameRules(),
    ),
    "configured names in a profile for clients": (
        "control",
        GOOD,
        _proofs("www.example.com", "example.com", method=CONFIGURED),
        NameRules(),
    ),
    "a wildcard proven by http-01": (
        "control",
        _changed(identifiers=dns("*.example.com")),
        _proofs("example.com"),
        NameRules(),
    ),
    "a wildcard proven by a name below it": (
        "control",
        _changed(identifiers=dns("*.example.com")),
        _proofs("www.example.com", method="dns-01"),
        NameRules(),
    ),
    "a key that the profile does not take": (
        "key",
        _changed(profile=NARROW),
        PROOFS,
        NameRules(),
    ),
    "a weak key": (
        "key",
        _changed(key=rsa_key(1024).public_key()),
        PROOFS,
        NameRules(),
    ),
    "a second too long": (
        "validity",
        _changed(not_after=GOOD.not_after + timedelta(seconds=1)),
        PROOFS,
        NameRules(),
    ),
    "an end before its start": (
        "validity",
        _changed(not_after=GOOD.not_before - timedelta(seconds=1)),
        PROOFS,
        NameRules(),
    ),
    "must-staple without leave": ("must-staple", _changed(must_staple=True), PROOFS, NameRules()),
}


@pytest.mark.parametrize(("rule", "template", "proofs", "names"), DENIED.values(), ids=DENIED)
def test_template_is_denied_by_its_rule(
    rule: str, template: CertificateTemplate, proofs: list[Proof], names: NameRules
) -> None:
    answer = decide(template, proofs, names)

    assert isinstance(answer, Denied)
    assert answer.rule == rule
    assert answer.reason


ALLOWED = {
    "the most names that the profile has": (
        template_for(dns("example.com"), profile=SMALL),
        PROOFS,
        NameRules(),
    ),
    "names below an allowed tree": (GOOD, PROOFS, NameRules(allowed=frozenset({"example.com"}))),
    "a wildcard proven by dns-01": (
        _changed(identifiers=dns("*.example.com")),
        _proofs("example.com", method="dns-01"),
        NameRules(),
    ),
    "proofs of more names": (GOOD, PROOFS + _proofs("example.org"), NameRules()),
    "the key that the profile takes": (
        template_for(NAMES, profile=NARROW, key=P384_KEY),
        PROOFS,
        NameRules(),
    ),
    "must-staple with leave": (
        _changed(profile=STAPLED, must_staple=True),
        PROOFS,
        NameRules(),
    ),
    "a short life": (
        _changed(not_after=GOOD.not_before),
        PROOFS,
        NameRules(),
    ),
    "the server's own name and address": (
        template_for((*dns("localhost"), *ip("127.0.0.1")), profile=SERVICE),
        [Proof(identifier, CONFIGURED) for identifier in (*dns("localhost"), *ip("127.0.0.1"))],
        NameRules(ip=True),
    ),
}


@pytest.mark.parametrize(("template", "proofs", "names"), ALLOWED.values(), ids=ALLOWED)
def test_template_near_the_limits_is_allowed(
    template: CertificateTemplate, proofs: list[Proof], names: NameRules
) -> None:
    assert decide(template, proofs, names) == Allowed(f"profile:{template.profile.name}")


def test_first_rule_that_stops_is_told() -> None:
    template = _changed(identifiers=(), key=rsa_key(1024).public_key())

    answer = decide(template, [], NameRules())

    assert isinstance(answer, Denied)
    assert answer.rule == "count"


def test_each_of_many_names_is_looked_at() -> None:
    names = [f"a{number}.example.com" for number in range(30)]
    template = template_for(dns(*names))

    for missing in range(30):
        proofs = _proofs(*names[:missing], *names[missing + 1 :])
        answer = decide(template, proofs, NameRules())
        assert isinstance(answer, Denied)
        assert f"a{missing}.example.com" in answer.reason
        denied = NameRules(denied=frozenset({names[missing]}))
        assert isinstance(decide(template, _proofs(*names), denied), Denied)


def test_profile_that_needs_an_approval_is_denied_with_the_reason() -> None:
    profile = dataclasses.replace(TLS_SERVER, needs_approval=True)

    answer = decide(_changed(profile=profile), PROOFS, NameRules())

    assert answer == Denied(
        "approval",
        "certificates of this profile need an approval, and approvals are not available in this "
        "version",
    )


@pytest.mark.parametrize("key", [GOOD.key, rsa_key().public_key()], ids=["EC", "RSA"])
def test_blocked_key_is_denied(key: Any) -> None:
    template = template_for(NAMES, key=key)
    blocklist = make_blocklist([spki_hash(key)], [])

    answer = decide(template, PROOFS, NameRules(), blocklist=blocklist)

    assert isinstance(answer, Denied)
    assert answer.rule == "key"
    assert "compromised keys" in answer.reason
    other = make_blocklist([bytes(32)], [bytes(10)])
    assert isinstance(decide(template, PROOFS, NameRules(), blocklist=other), Allowed)


def test_debian_weak_key_is_denied() -> None:
    key = rsa_key().public_key()
    blocklist = make_blocklist([], [modulus_hash(key.public_numbers().n)])

    answer = decide(template_for(NAMES, key=key), PROOFS, NameRules(), blocklist=blocklist)

    assert isinstance(answer, Denied)
    assert "Debian" in answer.reason


PUBLIC = SHIPPED["public_tls"]
# BR 4.2.1: the first second of a new reuse period, and the days that hold before and from then on.
REUSE = [
    (datetime(2026, 3, 15, tzinfo=UTC), 398, 200),
    (datetime(2027, 3, 15, tzinfo=UTC), 200, 100),
    (datetime(2029, 3, 15, tzinfo=UTC), 100, 10),
]
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(("boundary", "before", "after"), REUSE)
def test_proof_for_a_public_certificate_is_as_old_as_its_day_allows_at_most(
    boundary: datetime, before: int, after: int
) -> None:
    for now, days in ((boundary - SECOND, before), (boundary, after), (boundary + SECOND, after)):
        template = template_for(NAMES[:1], profile=PUBLIC, now=now)
        oldest = now - timedelta(days=days)
        (proof,) = PROOFS[:1]
        good = dataclasses.replace(proof, validated_at=oldest)
        old = dataclasses.replace(proof, validated_at=oldest - SECOND)

        answer = decide(template, [old], NameRules(), now=now)

        assert isinstance(decide(template, [good], NameRules(), now=now), Allowed)
        assert answer == Denied(
            "control", f"control of www.example.com is not proven within the last {days} days"
        )


def test_validity_is_the_one_of_the_moment_of_signing_and_not_of_the_start() -> None:
    boundary = REUSE[1][0]
    long = dataclasses.replace(PUBLIC, validity=timedelta(days=398))
    template = template_for(NAMES[:1], profile=long, now=boundary - SECOND)
    proofs = [dataclasses.replace(PROOFS[0], validated_at=boundary - SECOND)]

    assert isinstance(decide(template, proofs, NameRules(), now=boundary - SECOND), Allowed)
    answer = decide(template, proofs, NameRules(), now=boundary)
    assert answer == Denied("validity", "certificates of this profile last at most 100 days")
