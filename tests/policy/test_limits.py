"""Values of limits, and who or what each of them counts."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction
from ipaddress import ip_network
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.limits import Demand, Limit, LimitKind, LimitRules, address_key, address_range, name_set
from policy.model.identifiers import Identifier, IdentifierType
from policy.model.ids import AccountId
from policy.registereddomains import registered_domain

ACCOUNT = AccountId(UUID("01890000-0000-7000-8000-000000000001"))
LIMIT = Limit(burst=10, period=timedelta(hours=3))
OTHER = Limit(burst=1, period=timedelta(days=7))
MICROSECOND = timedelta(microseconds=1)


def dns(*values: str) -> tuple[Identifier, ...]:
    """DNS identifiers."""
    return tuple(Identifier(IdentifierType.DNS, value) for value in values)


def ip(*values: str) -> tuple[Identifier, ...]:
    """IP identifiers."""
    return tuple(Identifier(IdentifierType.IP, value) for value in values)


def keys(demands: tuple[Demand, ...]) -> dict[str, str]:
    """The keys of demands by kind; each kind at most once."""
    assert len({demand.kind for demand in demands}) == len(demands)
    return {demand.kind.value: demand.key for demand in demands}


@pytest.mark.parametrize(
    ("burst", "period"), [(0, LIMIT.period), (-1, LIMIT.period), (1, timedelta())]
)
def test_a_limit_of_nothing_is_none(burst: int, period: timedelta) -> None:
    with pytest.raises(ValueError, match="burst"):
        Limit(burst=burst, period=period)


@given(st.integers(1, 1_000_000), st.integers(1, 366 * 86_400 * 1_000_000))
def test_a_step_never_gives_back_more_than_the_limit_says(burst: int, microseconds: int) -> None:
    step = Limit(burst=burst, period=microseconds * MICROSECOND).step // MICROSECOND

    exact = Fraction(microseconds, burst)
    assert exact <= step < exact + 1


def test_nothing_demands_anything_without_limits() -> None:
    rules = LimitRules()

    assert rules.for_new_account("192.0.2.1") == ()
    assert rules.for_new_order(ACCOUNT, dns("a.example")) == ()
    assert rules.for_certificate(dns("a.example")) == ()
    assert rules.for_failure(ACCOUNT, dns("a.example")[0]) is None


def test_nobody_looks_for_registered_domains_that_are_not_limited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("policy.limits.registered_domain", lambda name: 1 / 0)
    limits = dict.fromkeys(LimitKind, LIMIT)
    del limits[LimitKind.CERTIFICATES_PER_DOMAIN]

    LimitRules(limits=limits).for_new_order(ACCOUNT, dns("a.example"))
    with pytest.raises(ZeroDivisionError):
        LimitRules(by_domain={"a.example": LIMIT}).for_new_order(ACCOUNT, dns("a.example"))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1", {"new_accounts_per_address": "192.0.2.1"}),
        (
            "2001:db8:1:2::3",
            {
                "new_accounts_per_address": "2001:db8:1:2::/64",
                "new_accounts_per_range": "2001:db8:1::/48",
            },
        ),
        ("", {"new_accounts_per_address": ""}),
    ],
)
def test_new_accounts_count_for_their_address_and_its_range(
    address: str, expected: dict[str, str]
) -> None:
    rules = LimitRules(limits=dict.fromkeys(LimitKind, LIMIT))

    assert keys(rules.for_new_account(address)) == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.0.0.1", None),
        ("10.1.0.1", OTHER),
        ("10.1.2.3", None),
        ("192.0.2.1", LIMIT),
        ("2001:db8::1", OTHER),
    ],
)
def test_the_smallest_network_with_an_override_counts(address: str, expected: Limit | None) -> None:
    rules = LimitRules(
        limits=dict.fromkeys(LimitKind, LIMIT),
        by_network={
            ip_network("10.1.0.0/16"): OTHER,
            ip_network("10.0.0.0/8"): None,
            ip_network("10.1.2.3/32"): None,
            ip_network("2001:db8::/32"): OTHER,
        },
    )

    demands = rules.for_new_account(address)

    single = [demand for demand in demands if demand.kind is LimitKind.NEW_ACCOUNTS_PER_ADDRESS]
    assert [(demand.key, demand.limit) for demand in single] == (
        [] if expected is None else [(address_key(address), expected)]
    )


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            OTHER,
            {
                "new_accounts_per_address": ("2001:db8:1:2::/64", OTHER),
                "new_accounts_per_range": ("2001:db8:1::/48", LIMIT),
            },
        ),
        (None, {}),
    ],
)
def test_only_a_network_without_any_limit_is_free_of_its_range_too(
    override: Limit | None, expected: dict[str, tuple[str, Limit]]
) -> None:
    rules = LimitRules(
        limits=dict.fromkeys(LimitKind, LIMIT),
        by_network={ip_network("2001:db8::/32"): override},
    )

    demands = rules.for_new_account("2001:db8:1:2::3")

    assert {demand.kind.value: (demand.key, demand.limit) for demand in demands} == expected


def test_a_network_may_be_limited_where_others_are_not() -> None:
    rules = LimitRules(by_network={ip_network("10.0.0.0/8"): OTHER})

    assert [demand.limit for demand in rules.for_new_account("10.0.0.1")] == [OTHER]
    assert rules.for_new_account("192.0.2.1") == ()


def test_an_order_takes_itself_and_looks_at_the_rest() -> None:
    rules = LimitRules(limits=dict.fromkeys(LimitKind, LIMIT))

    demands = rules.for_new_order(ACCOUNT, dns("a.example.com", "*.a.example.com", "b.example.org"))

    assert [(demand.kind.value, demand.subject, demand.spends) for demand in demands] == [
        ("certificates_per_domain", "example.com", False),
        ("certificates_per_domain", "example.org", False),
        ("certificates_per_name_set", "exactly these names", False),
        ("orders_per_account", "this account", True),
        ("failed_validations", "a.example.com and this account", False),
        ("failed_validations", "b.example.org and this account", False),
    ]
    assert {demand.kind for demand in demands if demand.spares_renewals} == {
        LimitKind.CERTIFICATES_PER_DOMAIN,
        LimitKind.ORDERS_PER_ACCOUNT,
    }


def test_demands_of_one_request_are_all_different() -> None:
    rules = LimitRules(limits=dict.fromkeys(LimitKind, LIMIT))
    names = dns("a.example.com", "b.example.com", "*.b.example.com") + ip("192.0.2.1")

    demands = rules.for_new_order(ACCOUNT, names)

    assert len({(demand.kind, demand.key) for demand in demands}) == len(demands)


def test_what_a_certificate_takes_is_what_its_order_looked_at() -> None:
    rules = LimitRules(limits=dict.fromkeys(LimitKind, LIMIT))
    names = dns("a.example.com")

    looked = {(d.kind, d.key) for d in rules.for_new_order(ACCOUNT, names) if not d.spends}
    taken = {(d.kind, d.key) for d in rules.for_certificate(names) if d.spends}
    failed = rules.for_failure(ACCOUNT, names[0])

    assert failed is not None
    assert failed.spends
    assert looked == taken | {(failed.kind, failed.key)}


def test_overrides_of_accounts_and_domains_replace_the_limit() -> None:
    rules = LimitRules(
        limits={LimitKind.CERTIFICATES_PER_DOMAIN: LIMIT},
        by_account={ACCOUNT: OTHER},
        by_domain={"example.com": None, "example.org": OTHER},
    )

    names = dns("a.example.com", "a.example.org", "a.example.net")
    demands = rules.for_new_order(ACCOUNT, names)

    assert {demand.key: demand.limit for demand in demands} == {
        "example.org": OTHER,
        "example.net": LIMIT,
        str(ACCOUNT): OTHER,
    }
    other = AccountId(UUID("01890000-0000-7000-8000-000000000002"))
    assert str(other) not in {demand.key for demand in rules.for_new_order(other, names)}


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (LimitRules(limits={LimitKind.ORDERS_PER_ACCOUNT: LIMIT}), True),
        (LimitRules(limits={LimitKind.CERTIFICATES_PER_DOMAIN: LIMIT}), True),
        (LimitRules(by_account={ACCOUNT: LIMIT}), True),
        (LimitRules(by_domain={"example.com": LIMIT}), True),
        (LimitRules(by_domain={"example.com": None}), False),
        (LimitRules(limits={LimitKind.CERTIFICATES_PER_NAME_SET: LIMIT}), False),
        (LimitRules(limits={LimitKind.FAILED_VALIDATIONS: LIMIT}, pause_after=1), False),
    ],
)
def test_issued_names_matter_where_renewals_are_spared(rules: LimitRules, expected: bool) -> None:
    assert rules.spares_renewals is expected


def test_addresses_count_as_ipv4_addresses_and_ipv6_networks() -> None:
    rules = LimitRules(limits={LimitKind.CERTIFICATES_PER_DOMAIN: LIMIT})

    demands = rules.for_certificate(
        ip("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1")
    )

    assert [demand.key for demand in demands] == [
        "192.0.2.1",
        "192.0.2.2",
        "2001:db8::/64",
        "2001:db8:0:1::/64",
    ]


def test_a_name_set_is_the_same_in_any_order_and_for_no_other_names() -> None:
    first = name_set(dns("a.example", "b.example"))

    assert name_set(dns("b.example", "a.example", "a.example")) == first
    assert len(first) == 32
    others = [dns("a.example"), dns("a.example", "*.b.example"), dns("a.exampleb.example"), ()]
    assert first not in [name_set(names) for names in others]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("192.0.2.1", None),
        ("nonsense", None),
    ],
)
def test_only_ipv6_addresses_have_a_range(address: str, expected: str | None) -> None:
    assert address_range(address) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("example.com", "example.com"),
        ("a.b.example.com", "example.com"),
        ("a.example.co.uk", "example.co.uk"),
        ("co.uk", "co.uk"),
        ("a.b.example.kawasaki.jp", "b.example.kawasaki.jp"),
        ("a.city.kawasaki.jp", "city.kawasaki.jp"),
        ("user.github.io", "user.github.io"),
        ("a.user.github.io", "user.github.io"),
        ("github.io", "github.io"),
        ("host.corp.internal", "corp.internal"),
        ("host.localhost", "host.localhost"),
        ("localhost", "localhost"),
        ("www.xn--85x722f.com.cn", "xn--85x722f.com.cn"),
        ("www.xn--85x722f.xn--55qx5d.cn", "xn--85x722f.xn--55qx5d.cn"),
    ],
)
def test_registered_domains_are_those_of_the_public_suffix_list(name: str, expected: str) -> None:
    assert registered_domain(name) == expected
