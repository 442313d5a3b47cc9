"""From settings to the resolver and the checks of CAA that they describe."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest

from acme_server.app.lookups import build_resolver, caa_of_orders, caa_of_validations
from acme_server.app.preparation import PreparationFailed, prepare
from acme_server.config.acmesettings import AcmeSettings
from acme_server.config.settings import ServerSettings, Settings
from acme_server.config.validationsettings import ValidationSettings
from acme_server.config.values import CaaMode, DnssecMode, EncryptedResolver, Endpoint
from acme_server.workflow.clock import SystemClock
from policy.model.ids import AccountId
from support.dns import DnsServer
from support.encrypteddns import NAME, Authority, EncryptedDns, ok
from validators.dnserrors import NotAuthentic
from validators.sockets import Sockets
from validators.trace import Trace


@pytest.fixture
async def dns_server() -> AsyncIterator[DnsServer]:
    async with DnsServer() as server:
        yield server


def settings_with(**validation: Any) -> Settings:
    return replace(
        Settings(),
        server=ServerSettings(external_url="https://acme.example"),
        acme=AcmeSettings(caa_identities=("CA.example",)),
        validation=ValidationSettings(**validation),
    )


def configured(server: DnsServer | EncryptedDns) -> Endpoint:
    return Endpoint(server.endpoint.address, server.endpoint.port)


async def txt(settings: Settings, name: str) -> tuple[bytes, ...]:
    return (await build_resolver(settings, Sockets()).txt(name, Trace())).values


async def test_the_configured_servers_are_asked(dns_server: DnsServer) -> None:
    dns_server.add("a.test", "TXT", "good")

    values = await txt(settings_with(resolvers=(configured(dns_server),)), "a.test")

    assert values == (b"good",)


@pytest.mark.parametrize("path", ["", "/dns-query"])
async def test_zones_are_asked_for_over_tls_with_the_configured_authority(
    dns_server: DnsServer, tmp_path: Path, path: str
) -> None:
    authority = Authority(tmp_path)
    dns_server.add("a.corp.test", "TXT", "good")
    respond = ok if path else None
    async with EncryptedDns(dns_server, authority.context(NAME), respond) as encrypted:
        own = (EncryptedResolver(configured(encrypted), NAME, path),)
        settings = settings_with(zone_resolvers=(("corp.test", own),), resolver_ca=authority.path)
        values = await txt(settings, "a.corp.test")

    assert values == (b"good",)


async def test_dnssec_is_demanded_of_the_configured_servers(dns_server: DnsServer) -> None:
    dns_server.add("a.test", "TXT", "good")
    settings = settings_with(resolvers=(configured(dns_server),), dnssec=DnssecMode.RESOLVER)

    with pytest.raises(NotAuthentic):
        await txt(settings, "a.test")


@pytest.mark.parametrize("mode", CaaMode)
def test_caa_is_checked_as_the_mode_says(mode: CaaMode) -> None:
    settings = settings_with(caa=mode)
    resolver = build_resolver(settings, Sockets())

    policy = caa_of_validations(settings, resolver)
    orders = caa_of_orders(settings, cast("Any", None), SystemClock())

    assert (policy is None) == (orders is None) == (mode is CaaMode.OFF)
    if policy is not None:
        assert policy.is_enforced is (mode is CaaMode.ENFORCE)


async def test_records_name_accounts_by_their_urls(dns_server: DnsServer) -> None:
    account = AccountId(UUID(int=1))
    settings = settings_with(caa=CaaMode.ENFORCE, resolvers=(configured(dns_server),))
    dns_server.add("a.test", "CAA", '0 issue "ca.example; accounturi=https://acme.example/x"')
    policy = caa_of_validations(settings, build_resolver(settings, Sockets()))
    assert policy is not None

    outcome = await policy.checker.check(
        "a.test", is_wildcard=False, account_id=account, method="http-01", trace=Trace()
    )

    assert outcome.failure is not None
    assert "accounturi=https://acme.example/acme/" in outcome.failure.as_problem().detail


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
async def test_a_resolver_ca_that_cannot_be_used_is_told_at_the_start(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(PreparationFailed, match=r"validation\.resolver_ca: can't read CA cert"):
        await prepare(settings_with(resolver_ca=path), print)
