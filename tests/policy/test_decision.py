"""What decides on the final template: each rule lets the good one pass and stops its own twin."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from policy.decision import Allowed, Denied, decide
from policy.keys import KeyRules
from policy.model.identifiers import Identifier
from policy.names import NameRules
from policy.profiles import CONFIGURED, SERVICE, TLS_SERVER
from policy.signing.template import CertificateTemplate
from support.csrs import rsa_key
from support.signing import dns, ip, template_for


@dataclass(frozen=True)
class Proof:
    """How control was proven."""

    identifier: Identifier
    method: str


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
        _changed(identifiers=ip("192.0.2.1")),
        [Proof(ip("192.0.2.1")[0], "http-01")],
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
    decision = decide(template, proofs, names)

    assert isinstance(decision, Denied)
    assert decision.rule == rule
    assert decision.reason


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

    decision = decide(template, [], NameRules())

    assert isinstance(decision, Denied)
    assert decision.rule == "count"


def test_each_of_many_names_is_looked_at() -> None:
    names = [f"a{number}.example.com" for number in range(30)]
    template = template_for(dns(*names))

    for missing in range(30):
        proofs = _proofs(*names[:missing], *names[missing + 1 :])
        decision = decide(template, proofs, NameRules())
        assert isinstance(decision, Denied)
        assert f"a{missing}.example.com" in decision.reason
        denied = NameRules(denied=frozenset({names[missing]}))
        assert isinstance(decide(template, _proofs(*names), denied), Denied)
