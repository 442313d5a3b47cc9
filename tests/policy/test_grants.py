"""Grants: deny overrides, names by whole labels, nothing allowed that no rule allows."""

from __future__ import annotations

import dataclasses
import ipaddress
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.grantindex import GrantPolicy
from policy.grants import (
    Effect,
    GrantRequest,
    NameKind,
    NamePattern,
    Principal,
    Role,
    Rule,
    Ruling,
)
from policy.model.decidingrules import DecidingRule
from policy.model.identifiers import Identifier, IdentifierType
from policy.model.ids import AccountId, ExternalAccountId
from support.naivegrants import naive_outcomes

ALICE, BOB = AccountId(UUID(int=1)), AccountId(UUID(int=2))
KEYS = tuple(ExternalAccountId(UUID(int=number)) for number in (11, 12, 13))
ROLES = (
    Role(name="web", accounts=frozenset({ALICE})),
    Role(name="build", labels=frozenset({"team:build"})),
    Role(name="long", external_accounts=frozenset({KEYS[1]}), labels=frozenset({"team:root"})),
)
LABELS = {KEYS[0]: frozenset({"team:build", "team:root"}), KEYS[2]: frozenset({"team:web"})}
DAY = timedelta(days=1)
_FACTS: dict[str, Any] = {"profile": "tls_server", "validity": 90 * DAY, "key_type": "ec"}


def _rule(name: str, effect: Effect = Effect.ALLOW, **conditions: Any) -> Rule:
    names = frozenset(map(NamePattern, conditions.pop("names", ())))
    networks = frozenset(map(ipaddress.ip_network, conditions.pop("networks", ())))
    for key, value in conditions.items():
        conditions[key] = frozenset(value) if isinstance(value, set) else value
    return Rule(
        source=DecidingRule(name=name, file="grants.yaml", line=1),
        effect=effect,
        names=names,
        networks=networks,
        **conditions,
    )


def _identifier(value: str) -> Identifier:
    is_address = ":" in value or value.replace(".", "").isdigit()
    return Identifier(IdentifierType.IP if is_address else IdentifierType.DNS, value)


def _request(*names: str, **facts: Any) -> GrantRequest:
    return GrantRequest(
        principal=Principal(account=facts.pop("account", ALICE), **facts.pop("principal", {})),
        identifiers=tuple(map(_identifier, names)),
        **_FACTS | facts,
    )


def _decide(rules: list[Rule], request: GrantRequest) -> Ruling:
    return GrantPolicy(rules, ROLES, LABELS).decide(request)


def _allows(rules: list[Rule], request: GrantRequest) -> bool:
    return _decide(rules, request).effect is Effect.ALLOW


@pytest.mark.parametrize(
    ("pattern", "covered", "not_covered"),
    [
        (
            "www.example.com",
            ["www.example.com"],
            ["example.com", "a.www.example.com", "xwww.example.com", "www.example.com.evil.org"],
        ),
        (
            "*.example.com",
            ["www.example.com", "*.example.com"],
            ["example.com", "a.b.example.com", "badexample.com", "*.b.example.com"],
        ),
        (
            "**.example.com",
            ["www.example.com", "a.b.example.com", "*.example.com", "*.b.example.com"],
            ["example.com", "badexample.com", "example.com.evil.org", "*.com"],
        ),
    ],
)
def test_names_match_by_whole_labels(
    pattern: str, covered: list[str], not_covered: list[str]
) -> None:
    rules = [_rule("only", names=[pattern])]

    assert [name for name in covered if not _allows(rules, _request(name))] == []
    assert [name for name in not_covered if _allows(rules, _request(name))] == []


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "*",
            "**",
            "*.",
            ".example.com",
            "***.example.com",
            "a.*.example.com",
            "*.*.example.com",
        ),
        *("WWW.example.com", "www.example.com.", "w*.example.com", "(a+)+$", "münchen.example"),
        *("a" * 64 + ".example.com", "a." * 200 + "example.com", "example.com\n"),
    ],
)
def test_what_is_no_pattern_of_labels_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no name in ASCII"):
        NamePattern(text)


def test_nothing_is_allowed_that_no_rule_allows() -> None:
    ruling = _decide([], _request("www.example.com"))

    assert (ruling.effect, ruling.rules) == (Effect.DENY, ())
    assert "no rule" in (ruling.deciding.reason or "")


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_deny_overrides_approval_and_approval_overrides_allow(order: tuple[int, ...]) -> None:
    rules = [
        _rule("yes", names=["**.example.com"]),
        _rule("ask", Effect.NEEDS_APPROVAL, names=["**.pay.example.com"]),
        _rule("no", Effect.DENY, names=["secret.pay.example.com"]),
    ]
    shuffled = [rules[number] for number in order]
    names = ("www.example.com", "a.pay.example.com", "secret.pay.example.com")

    decided = [_decide(shuffled, _request(name)) for name in names]

    assert [str(ruling.effect) for ruling in decided] == ["allow", "needs-approval", "deny"]
    assert [ruling.rules[0].name for ruling in decided] == ["yes", "ask", "no"]


def test_one_refused_name_refuses_the_request_and_is_named() -> None:
    rules = [_rule("own", names=["*.example.com"])]

    ruling = _decide(rules, _request("www.example.com", "www.example.org"))

    assert ruling.effect is Effect.DENY
    assert [outcome.identifier.value for outcome in ruling.refused] == ["www.example.org"]


def test_different_rules_may_allow_the_names_of_a_request() -> None:
    rules = [_rule("com", names=["*.example.com"]), _rule("org", names=["*.example.org"])]

    ruling = _decide(rules, _request("a.example.org", "a.example.com", "b.example.org"))

    assert [rule.name for rule in ruling.rules] == ["org", "com"]


def test_a_rule_that_denies_is_told_before_a_name_that_no_rule_is_about() -> None:
    rules = [_rule("no", Effect.DENY, names=["b.example.com"])]

    ruling = _decide(rules, _request("a.example.com", "b.example.com"))

    assert [rule.name for rule in ruling.rules] == ["no"]


def test_a_wildcard_is_denied_with_each_name_that_it_covers() -> None:
    rules = [
        _rule("own", names=["**.example.com"]),
        _rule("no", Effect.DENY, names=["secret.prod.example.com"]),
    ]

    assert not _allows(rules, _request("*.prod.example.com"))
    assert _allows(rules, _request("*.example.com"))
    assert _allows(rules, _request("*.dev.example.com"))


def test_a_wildcard_is_not_granted_by_an_approval_for_one_of_its_names() -> None:
    rules = [_rule("ask", Effect.NEEDS_APPROVAL, names=["a.example.com"])]

    assert _decide(rules, _request("*.example.com")).rules == ()
    assert _decide(rules, _request("a.example.com")).effect is Effect.NEEDS_APPROVAL


@pytest.mark.parametrize(
    ("facts", "is_allowed"),
    [
        ({"account": ALICE}, True),
        ({"account": BOB}, False),
        ({"account": None}, False),
        ({"account": ALICE, "validity": 90 * DAY + timedelta(seconds=1)}, False),
        ({"account": ALICE, "profile": "tls_client"}, False),
        ({"account": ALICE, "key_type": "rsa"}, False),
        ({"account": ALICE, "key_type": None}, True),
        ({"account": ALICE, "principal": {"directory": "other"}}, False),
    ],
)
def test_every_condition_must_hold(facts: dict[str, Any], is_allowed: bool) -> None:
    rule = _rule(
        "web",
        roles={"web"},
        names=["*.prod.example.com"],
        profiles={"tls_server"},
        key_types={"ec"},
        directories={"default"},
        validity_up_to=90 * DAY,
    )

    assert _allows([rule], _request("www.prod.example.com", **facts)) == is_allowed


@pytest.mark.parametrize(
    ("key", "is_allowed"), [(KEYS[0], True), (KEYS[1], True), (KEYS[2], False), (None, False)]
)
def test_roles_are_had_by_external_account_keys_and_their_labels(
    key: ExternalAccountId | None, is_allowed: bool
) -> None:
    rules = [
        _rule("short", validity_up_to=30 * DAY),
        _rule("long", roles={"long"}),
    ]
    request = _request("a.example.com", account=BOB, principal={"external_account": key})

    assert _allows(rules, request) == is_allowed
    assert _allows(rules, dataclasses.replace(request, validity=30 * DAY))


def test_whoever_has_an_excepted_role_is_not_denied() -> None:
    rules = [
        _rule("all"),
        _rule("no", Effect.DENY, validity_over=30 * DAY, except_roles={"web"}),
    ]

    assert _allows(rules, _request("a.example.com", account=ALICE))
    assert not _allows(rules, _request("a.example.com", account=BOB))
    assert _allows(rules, _request("a.example.com", account=BOB, validity=30 * DAY))


def test_a_rule_about_keys_does_not_deny_before_the_key_is_known() -> None:
    rules = [_rule("all"), _rule("no", Effect.DENY, key_types={"rsa"})]

    assert _allows(rules, _request("a.example.com", key_type=None))
    assert _allows(rules, _request("a.example.com", key_type="ec"))
    assert not _allows(rules, _request("a.example.com", key_type="rsa"))


def test_addresses_are_matched_by_their_networks() -> None:
    rules = [
        _rule("own", networks=["192.0.2.0/24", "2001:db8::/32"]),
        _rule("no", Effect.DENY, networks=["192.0.2.128/25", "2001:db8:1::1/128"]),
    ]
    names = [
        *("192.0.2.127", "192.0.2.128", "192.0.3.1", "2001:db8::1", "2001:db8:1::1"),
        *("2001:db9::1", "::ffff:192.0.2.127", "::ffff:192.0.2.128", "a.example.com"),
    ]

    allowed = [name for name in names if _allows(rules, _request(name))]

    assert allowed == ["192.0.2.127", "2001:db8::1", "::ffff:192.0.2.127"]


def test_kinds_of_names_are_told_apart() -> None:
    rules = [_rule("hosts", kinds={NameKind.DNS})]
    names = ("a.example.com", "*.example.com", "192.0.2.1")

    assert [name for name in names if _allows(rules, _request(name))] == ["a.example.com"]


def test_a_rule_for_a_role_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no role wbe"):
        GrantPolicy([_rule("typo", roles={"wbe"})], ROLES)


def test_attributes_of_a_principal_are_told() -> None:
    policy = GrantPolicy([], ROLES, LABELS)

    attributes = policy.attributes(Principal(account=ALICE, external_account=KEYS[0]))

    assert attributes == (("build", "long", "web"), ("team:build", "team:root"))


_WORDS = ("a", "b", "example", "com")
_BASES = st.lists(st.sampled_from(_WORDS), min_size=1, max_size=4).map(".".join)
_PATTERNS = st.tuples(st.sampled_from(["", "*.", "**."]), _BASES).map("".join)
_NETWORKS = st.sampled_from(
    ["10.0.0.0/8", "10.1.0.0/16", "10.1.0.1/32", "0.0.0.0/0", "::/0", "2001:db8::/32"]
)
_ADDRESSES = st.sampled_from(
    ["10.0.0.1", "10.1.0.1", "11.0.0.1", "2001:db8::1", "::1", "::ffff:10.1.0.1"]
)
_NAMES = st.one_of(_BASES, _BASES.map(lambda base: f"*.{base}"), _ADDRESSES)
_VALIDITIES = st.none() | st.sampled_from([30 * DAY, 90 * DAY])


def _some(values: Any) -> Any:
    """Mostly no condition, so that rules meet requests."""
    return st.one_of(
        st.just(frozenset()), st.frozensets(st.sampled_from(values), min_size=1, max_size=2)
    )


_RULES = st.builds(
    Rule,
    source=st.just(DecidingRule(name="?", file="grants.yaml", line=1)),
    effect=st.sampled_from(Effect),
    roles=_some(["web", "build", "long"]),
    except_roles=_some(["web", "build", "long"]),
    accounts=_some([ALICE, BOB]),
    external_accounts=_some(KEYS),
    labels=_some(["team:build", "team:root", "team:web"]),
    directories=_some(["default", "other"]),
    names=st.frozensets(_PATTERNS.map(NamePattern), max_size=3),
    networks=st.one_of(
        st.just(frozenset()), st.frozensets(_NETWORKS.map(ipaddress.ip_network), max_size=2)
    ),
    kinds=_some(list(NameKind)),
    profiles=_some(["tls_server", "tls_client"]),
    key_types=_some(["ec", "rsa"]),
    validity_up_to=_VALIDITIES,
    validity_over=_VALIDITIES,
)
_REQUESTS = st.builds(
    GrantRequest,
    principal=st.builds(
        Principal,
        account=st.sampled_from([None, ALICE, BOB]),
        external_account=st.sampled_from([None, *KEYS]),
        directory=st.sampled_from(["default", "other"]),
    ),
    identifiers=st.lists(_NAMES.map(_identifier), min_size=1, max_size=3).map(tuple),
    profile=st.sampled_from(["tls_server", "tls_client"]),
    validity=st.sampled_from([DAY, 30 * DAY, 31 * DAY, 90 * DAY, 365 * DAY]),
    key_type=st.sampled_from([None, "ec", "rsa"]),
)


@given(st.lists(_RULES, max_size=12), _REQUESTS)
@settings(max_examples=300)
def test_the_index_decides_as_reading_all_rules_does(
    rules: list[Rule], request: GrantRequest
) -> None:
    named = [
        dataclasses.replace(rule, source=dataclasses.replace(rule.source, name=f"rule {number}"))
        for number, rule in enumerate(rules)
    ]

    ruling = _decide(named, request)

    outcomes = [(str(o.effect), o.rule and o.rule.name) for o in ruling.outcomes]
    assert outcomes == naive_outcomes(named, ROLES, LABELS, request)


@given(st.lists(_RULES, max_size=8), _RULES, _REQUESTS)
@settings(max_examples=60)
def test_a_further_rule_that_denies_never_allows_more(
    rules: list[Rule], further: Rule, request: GrantRequest
) -> None:
    denying = dataclasses.replace(further, effect=Effect.DENY)

    before, after = _decide(rules, request), _decide([*rules, denying], request)

    assert not (before.effect is not Effect.ALLOW and after.effect is Effect.ALLOW)
