"""The section of limits: nothing is limited by default, and what is written is taken strictly."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_network
from uuid import UUID

import pytest

from acme_server.config.settings import Settings
from policy.limits import Limit, LimitKind, LimitRules
from policy.model.ids import encode_id

Load = Callable[..., Settings]
Refuse = Callable[..., list[str]]

ACCOUNT = UUID("01890000-0000-7000-8000-000000000001")
LIMIT = Limit(burst=300, period=timedelta(hours=3))


def test_nothing_is_limited_by_default(load: Load) -> None:
    rules = load(None).limits.rules

    assert rules == LimitRules()
    assert not rules.spares_renewals


@pytest.mark.parametrize("kind", list(LimitKind))
def test_each_limit_has_a_burst_and_a_period(load: Load, kind: LimitKind) -> None:
    settings = load(f"limits: {{{kind}: {{burst: 300, period: 3h}}}}")

    assert settings.limits.rules.limits == {kind: LIMIT}


@pytest.mark.parametrize("kind", list(LimitKind))
def test_each_limit_may_be_off(load: Load, kind: LimitKind) -> None:
    settings = load(f"limits: {{{kind}: off}}")

    assert settings.limits.rules == LimitRules()


@pytest.mark.parametrize("written", [encode_id(ACCOUNT), str(ACCOUNT)])
def test_overrides_are_limits_of_their_own_or_none(load: Load, written: str) -> None:
    settings = load(
        "limits:\n"
        f"  account_overrides: {{{written}: {{burst: 300, period: 3h}}}}\n"
        "  domain_overrides: {Example.co.uk: off}\n"
        "  address_overrides: {10.0.0.0/8: off, 10.1.0.0/16: {burst: 300, period: 3h}}\n"
    )

    rules = settings.limits.rules
    assert rules.by_account == {ACCOUNT: LIMIT}
    assert rules.by_domain == {"example.co.uk": None}
    assert rules.by_network == {ip_network("10.0.0.0/8"): None, ip_network("10.1.0.0/16"): LIMIT}
    assert rules.spares_renewals


def test_environment_sets_the_parts_of_a_limit(load: Load) -> None:
    settings = load(
        None,
        {
            "ACME_SERVER__LIMITS__ORDERS_PER_ACCOUNT__BURST": "300",
            "ACME_SERVER__LIMITS__ORDERS_PER_ACCOUNT__PERIOD": "3h",
            "ACME_SERVER__LIMITS__PAUSE_AFTER_FAILURES": "20",
        },
    )

    assert settings.limits.orders_per_account == LIMIT
    assert settings.limits.pause_after_failures == 20


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("orders_per_account: {burst: 0, period: 3h}", "must be 1 to 1000000"),
        ("orders_per_account: {burst: 3, period: 0s}", "must be 1s to 366d"),
        ("orders_per_account: {burst: 3}", "needs period as well"),
        ("orders_per_account: {burst: 3, period: 3h, key: a}", '"key" is unknown here'),
        ("orders_per_account: 300", '"300" is not one of off'),
        ("orders_per_accont: off", 'did you mean "limits.orders_per_account"?'),
        ("pause_after_failures: 0", "must be 1 to 100000"),
        ("requests_per_address: {burst: 3, period: 1d}", "must be 1s to 1h"),
        ("account_overrides: {alice: off}", '"alice" is no id of an account'),
        ("account_overrides: [alice]", "must be a mapping"),
        ("address_overrides: {10.0.0.1/8: off}", 'did you mean "10.0.0.0/8"?'),
        ("address_overrides: {10.0.0.0/8: 5}", '"5" is not one of off'),
        ("address_overrides: {10.0.0.1: off, 10.0.0.1/32: off}", "10.0.0.1/32 is given twice"),
        (
            "domain_overrides: {www.example.co.uk: off}",
            "www.example.co.uk is below the registered domain example.co.uk",
        ),
    ],
)
def test_what_is_no_limit_is_refused(refuse: Refuse, text: str, message: str) -> None:
    [problem] = refuse(f"limits: {{{text}}}")

    assert message in problem
