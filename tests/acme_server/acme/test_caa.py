"""CAA as clients meet it: orders refused, permitted, and refused at the last moment."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from acme_server.web.urls import Urls
from storage.pool import Database
from support.acme import EXTERNAL_URL, AcmeClient, AcmeServed, serve_house
from support.caa import caa_use_cases, checking_house
from support.dns import DnsServer, failing
from support.jose import b64
from support.validation import CAA_IDENTITY, PATIENT, Lab
from support.workflow import House, csr_for

CAA = "urn:ietf:params:acme:error:caa"
NAME = "www.example.test"
NOBODY = '0 issue ";"'
OURS = f'0 issue "{CAA_IDENTITY}"'


@pytest.fixture
async def dns_server() -> AsyncIterator[DnsServer]:
    async with DnsServer() as server:
        yield server


@pytest.fixture
def lab(dns_server: DnsServer) -> Lab:
    urls = Urls(EXTERNAL_URL)
    return Lab(dns=(dns_server.endpoint,), caa=True, account_url=urls.account)


@pytest.fixture
async def house(database: Database, lab: Lab) -> House:
    house = await checking_house(database, lab)
    house.issuance._caa = caa_use_cases(house, lab)
    return house


@pytest.fixture
async def served(house: House) -> AsyncIterator[AcmeServed]:
    async with serve_house(house) as served:
        yield served


async def read(client: AcmeClient, url: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((await client.read(url)).body)
    return document


async def validated(
    client: AcmeClient, house: House, *names: str, kind: str = "http-01"
) -> dict[str, Any]:
    """An order after challenges of this kind (wildcards: of dns-01) were validated."""
    identifiers = [{"type": "dns", "value": name} for name in names]
    reply = await client.post(client.urls.new_order, {"identifiers": identifiers})
    for url in json.loads(reply.body)["authorizations"]:
        authorization = await read(client, url)
        offered = {each["type"]: each["url"] for each in authorization["challenges"]}
        await client.post(offered.get(kind, offered["dns-01"]), {})
    await house.worker.stop(PATIENT.total_seconds())
    return await read(client, reply.headers["location"])


async def test_an_order_that_caa_forbids_is_invalid(
    house: House, served: AcmeServed, dns_server: DnsServer
) -> None:
    dns_server.add("example.test", "CAA", NOBODY)
    client = await served.registered()

    order = await validated(client, house, NAME)

    authorization = await read(client, order["authorizations"][0])
    (challenge,) = [each for each in authorization["challenges"] if "error" in each]
    assert order["status"] == authorization["status"] == "invalid"
    assert order["error"]["type"] == challenge["error"]["type"] == CAA
    assert f"example.test. CAA {NOBODY}" in challenge["error"]["detail"]
    assert f'example.test. CAA 0 issue "{CAA_IDENTITY}"' in challenge["error"]["detail"]


async def test_an_order_that_caa_permits_becomes_a_certificate(
    house: House, served: AcmeServed, dns_server: DnsServer
) -> None:
    dns_server.add("example.test", "CAA", OURS)
    client = await served.registered()
    order = await validated(client, house, NAME)

    reply = await client.post(order["finalize"], {"csr": b64(csr_for(NAME))})

    assert json.loads(reply.body)["status"] == "valid"


@pytest.mark.parametrize(
    ("records", "statuses"),
    [
        ((OURS, '0 issuewild ";"'), ["valid", "invalid"]),
        ((NOBODY, f'0 issuewild "{CAA_IDENTITY}"'), ["invalid", "valid"]),
        ((NOBODY,), ["invalid", "invalid"]),
    ],
)
async def test_issuewild_is_about_the_wildcard_of_an_order(
    house: House,
    served: AcmeServed,
    dns_server: DnsServer,
    records: tuple[str, ...],
    statuses: list[str],
) -> None:
    dns_server.add("example.test", "CAA", *records)
    client = await served.registered()

    plain = await validated(client, house, "example.test")
    wild = await validated(client, house, "*.example.test")

    found = [await read(client, order["authorizations"][0]) for order in (plain, wild)]
    assert [authorization["status"] for authorization in found] == statuses


@pytest.mark.parametrize("is_ours", [True, False])
async def test_accounturi_is_the_url_of_the_account(
    house: House, served: AcmeServed, dns_server: DnsServer, is_ours: bool
) -> None:
    client, other = await served.registered(), await served.registered()
    named = client if is_ours else other
    dns_server.add(NAME, "CAA", f'0 issue "{CAA_IDENTITY}; accounturi={named.kid}"')

    order = await validated(client, house, NAME)

    assert order["status"] == ("ready" if is_ours else "invalid")
    if not is_ours:
        assert order["error"]["type"] == CAA
        assert f"accounturi={client.kid}" in order["error"]["detail"]


@pytest.mark.parametrize(("kind", "status"), [("http-01", "invalid"), ("dns-01", "ready")])
async def test_validationmethods_are_the_challenges_that_count(
    house: House, served: AcmeServed, dns_server: DnsServer, kind: str, status: str
) -> None:
    dns_server.add(NAME, "CAA", f'0 issue "{CAA_IDENTITY}; validationmethods=dns-01"')
    client = await served.registered()

    order = await validated(client, house, NAME, kind=kind)

    assert order["status"] == status


async def test_what_is_forbidden_after_eight_hours_is_refused_by_finalize(
    house: House, served: AcmeServed, lab: Lab, dns_server: DnsServer
) -> None:
    names = ["a.example.test", "b.example.test", "c.example.test"]
    client = await served.registered()
    order = await validated(client, house, *names)
    house.issuance._caa = caa_use_cases(house, lab, hours=9)
    dns_server.add(names[1], "CAA", NOBODY)
    dns_server.add(names[2], "CAA", '128 unknown "x"')

    refused = await client.post(order["finalize"], {"csr": b64(csr_for(*names))})

    problem = refused.problem()
    subproblems = problem["subproblems"]
    assert (refused.status, problem["type"]) == (403, CAA)
    assert isinstance(subproblems, list)
    assert [sub["identifier"]["value"] for sub in subproblems] == names[1:]
    assert all(sub["type"] == CAA for sub in subproblems)


async def test_an_order_that_finalize_refused_for_caa_can_be_finalized_later(
    house: House, served: AcmeServed, lab: Lab, dns_server: DnsServer
) -> None:
    client = await served.registered()
    order = await validated(client, house, NAME)
    house.issuance._caa = caa_use_cases(house, lab, hours=9)
    dns_server.script(NAME, "CAA", failing("SERVFAIL"))
    csr = {"csr": b64(csr_for(NAME))}
    refused = await client.post(order["finalize"], csr)
    dns_server.script(NAME, "CAA", failing("NXDOMAIN"))

    accepted = await client.post(order["finalize"], csr)

    assert refused.problem()["type"] == "urn:ietf:params:acme:error:dns"
    assert json.loads(accepted.body)["status"] == "valid"
