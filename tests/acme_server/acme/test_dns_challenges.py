"""dns-account-01 and dns-persist-01 as clients meet them: with real validators and a DNS server,
from the order to the certificate."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from acme_server.web.urls import Urls
from storage.pool import Database
from support.acme import EXTERNAL_URL, AcmeClient, AcmeServed, serve_house
from support.dns import DnsServer
from support.jose import b64
from support.validation import ISSUERS, PATIENT, Lab
from support.workflow import CHALLENGES, House, build_house, csr_for
from validators.dnsaccount01 import record_name

NAME = "www.example.test"
ACCOUNT, PERSIST = "dns-account-01", "dns-persist-01"


@pytest.fixture
async def dns_server() -> AsyncIterator[DnsServer]:
    async with DnsServer() as server:
        yield server


@pytest.fixture
async def house(database: Database, dns_server: DnsServer) -> House:
    house = await build_house(database)
    lab = Lab(dns=(dns_server.endpoint,), account_url=Urls(EXTERNAL_URL).account)
    house.worker._validators = lab.validators()
    rules = replace(house.orders._rules, challenge_types=(*CHALLENGES, ACCOUNT, PERSIST))
    house.orders._rules = rules
    return house


@pytest.fixture
async def served(house: House) -> AsyncIterator[AcmeServed]:
    async with serve_house(house, issuer_names=ISSUERS) as served:
        yield served


async def read(client: AcmeClient, url: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((await client.read(url)).body)
    return document


async def place(client: AcmeClient, *names: str, kind: str = "dns") -> dict[str, Any]:
    """A new order, with its own URL."""
    identifiers = [{"type": kind, "value": name} for name in names]
    reply = await client.post(client.urls.new_order, {"identifiers": identifiers})
    assert reply.status == 201, reply.body
    return {**json.loads(reply.body), "url": reply.headers["location"]}


async def offered(client: AcmeClient, order: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The challenges of an order's one name, by type."""
    (url,) = order["authorizations"]
    return {each["type"]: each for each in (await read(client, url))["challenges"]}


async def answer(client: AcmeClient, house: House, order: dict[str, Any], kind: str) -> Any:
    """The order's status, and the problem of its challenge, after the validation."""
    challenge = (await offered(client, order))[kind]
    await client.post(challenge["url"], {})
    await house.worker.stop(PATIENT.total_seconds())
    found = await read(client, challenge["url"])
    return (await read(client, order["url"]))["status"], found.get("error")


async def finalized(client: AcmeClient, order: dict[str, Any], name: str) -> dict[str, Any]:
    reply = await client.post(order["finalize"], {"csr": b64(csr_for(name))})
    document: dict[str, Any] = json.loads(reply.body)
    return document


def persist(client: AcmeClient, rest: str = "", *, issuer: str = ISSUERS[0]) -> str:
    """A TXT record for the client's account."""
    return f'"{issuer}; accounturi={client.kid}{rest}"'


def digest(client: AcmeClient, token: str) -> str:
    """The TXT value of a client's key authorization (RFC 8555, section 8.4)."""
    return b64(hashlib.sha256(f"{token}.{client.key.thumbprint}".encode()).digest())


def refused(error: dict[str, Any]) -> str:
    """The kind of a problem document."""
    return str(error["type"]).rpartition(":")[2]


async def test_the_challenge_objects_are_those_of_the_drafts(served: AcmeServed) -> None:
    client = await served.registered()

    found = await offered(client, await place(client, NAME))

    token = found["dns-01"]["token"]
    base = found["dns-01"]["url"].removesuffix("dns-01")
    assert found[ACCOUNT] == {
        "type": ACCOUNT,
        "url": base + ACCOUNT,
        "status": "pending",
        "token": token,
    }
    assert found[PERSIST] == {
        "type": PERSIST,
        "url": base + PERSIST,
        "status": "pending",
        "issuer-domain-names": list(ISSUERS),
    }


async def test_by_default_neither_is_offered(database: Database) -> None:
    async with serve_house(await build_house(database)) as served:
        client = await served.registered()
        found = await offered(client, await place(client, NAME))

    assert set(found) == set(CHALLENGES)


async def test_an_answer_to_a_type_that_is_not_offered_is_not_found(
    house: House, served: AcmeServed
) -> None:
    house.orders._rules = replace(house.orders._rules, challenge_types=CHALLENGES)
    client = await served.registered()
    found = await offered(client, await place(client, NAME))

    reply = await client.post(found["dns-01"]["url"].replace("dns-01", PERSIST), {})

    assert reply.status == 404


async def test_a_wildcard_is_offered_what_asks_the_dns(served: AcmeServed) -> None:
    client = await served.registered()

    found = await offered(client, await place(client, f"*.{NAME}"))

    assert set(found) == {"dns-01", ACCOUNT, PERSIST}


async def test_an_address_is_offered_neither(served: AcmeServed) -> None:
    client = await served.registered()

    found = await offered(client, await place(client, "192.0.2.1", kind="ip"))

    assert set(found) == {"http-01", "tls-alpn-01"}


@pytest.mark.parametrize("name", [NAME, f"*.{NAME}"])
async def test_dns_account_01_leads_to_a_certificate(
    house: House, served: AcmeServed, dns_server: DnsServer, name: str
) -> None:
    client = await served.registered()
    order = await place(client, name)
    token = (await offered(client, order))[ACCOUNT]["token"]
    assert client.kid is not None
    dns_server.add(record_name(NAME, client.kid), "TXT", digest(client, token))

    status, error = await answer(client, house, order, ACCOUNT)

    assert (status, error) == ("ready", None)
    assert (await finalized(client, order, name))["status"] == "valid"


async def test_dns_account_01_at_another_accounts_label_fails(
    house: House, served: AcmeServed, dns_server: DnsServer
) -> None:
    client, other = await served.registered(), await served.registered()
    order = await place(client, NAME)
    token = (await offered(client, order))[ACCOUNT]["token"]
    assert other.kid is not None
    dns_server.add(record_name(NAME, other.kid), "TXT", digest(client, token))

    status, error = await answer(client, house, order, ACCOUNT)

    assert (status, refused(error)) == ("invalid", "dns")
    assert client.kid is not None
    assert client.kid in error["detail"]


@pytest.mark.parametrize("issuer", ISSUERS)
@pytest.mark.parametrize(
    ("name", "rest"), [(NAME, ""), (NAME, "; policy=wildcard"), (f"*.{NAME}", "; policy=wildcard")]
)
async def test_dns_persist_01_leads_to_a_certificate(
    house: House, served: AcmeServed, dns_server: DnsServer, issuer: str, name: str, rest: str
) -> None:
    client = await served.registered()
    dns_server.add(f"_validation-persist.{NAME}", "TXT", persist(client, rest, issuer=issuer))
    order = await place(client, name)

    status, error = await answer(client, house, order, PERSIST)

    assert (status, error) == ("ready", None)
    assert (await finalized(client, order, name))["status"] == "valid"


@pytest.mark.parametrize(
    ("name", "rest", "kind"),
    [
        (f"*.{NAME}", "", "unauthorized"),
        (f"*.{NAME}", "; policy=other", "unauthorized"),
        (NAME, "; persistUntil=1700000000", "unauthorized"),
        (NAME, "; persistUntil=tomorrow", "malformed"),
        (NAME, "; accounturi=https://acme.example/2", "malformed"),
        (NAME, "x", "unauthorized"),
    ],
)
async def test_dns_persist_01_fails_by_what_the_record_says(
    house: House, served: AcmeServed, dns_server: DnsServer, name: str, rest: str, kind: str
) -> None:
    client = await served.registered()
    dns_server.add(f"_validation-persist.{NAME}", "TXT", persist(client, rest))
    order = await place(client, name)

    status, error = await answer(client, house, order, PERSIST)

    assert (status, refused(error)) == ("invalid", kind)


async def test_dns_persist_01_fails_by_records_of_others(
    house: House, served: AcmeServed, dns_server: DnsServer
) -> None:
    client, other = await served.registered(), await served.registered()
    dns_server.add(
        f"_validation-persist.{NAME}",
        "TXT",
        persist(other, "; policy=wildcard"),
        persist(client, issuer="other.example"),
    )
    order = await place(client, NAME)

    status, error = await answer(client, house, order, PERSIST)

    assert (status, refused(error)) == ("invalid", "unauthorized")
    assert persist(client) in error["detail"], "the record that would do"


async def test_a_proof_by_dns_persist_01_of_a_name_is_none_of_its_wildcard(
    house: House, served: AcmeServed, dns_server: DnsServer
) -> None:
    client = await served.registered()
    dns_server.add(f"_validation-persist.{NAME}", "TXT", persist(client))
    status, _ = await answer(client, house, await place(client, NAME), PERSIST)

    again = await place(client, f"*.{NAME}")

    assert (status, again["status"]) == ("ready", "pending")


RELIANCE = """
    SELECT p.expires_at - v.ended_at AS others, a.expires_at - v.ended_at AS own
    FROM proven_names AS p JOIN authorizations AS a ON a.id = p.authorization_id
    JOIN validations AS v ON v.authorization_id = a.id
"""


async def test_other_orders_rely_on_a_persistent_record_for_its_ttl_and_the_own_one_for_an_hour(
    house: House, served: AcmeServed, dns_server: DnsServer, database: Database
) -> None:
    client = await served.registered()
    dns_server.add(f"_validation-persist.{NAME}", "TXT", persist(client))

    await answer(client, house, await place(client, NAME), PERSIST)

    (row,) = await database.fetch(RELIANCE)
    # The server's clock and the database's may differ a little.
    assert timedelta(seconds=30) < row["others"] < timedelta(seconds=120)
    assert timedelta(minutes=55) < row["own"] < timedelta(minutes=65)


async def test_a_proof_whose_ttl_is_over_is_made_anew_for_the_next_order(
    house: House, served: AcmeServed, dns_server: DnsServer, database: Database
) -> None:
    client = await served.registered()
    dns_server.add(f"_validation-persist.{NAME}", "TXT", persist(client))
    first = await place(client, NAME)
    await answer(client, house, first, PERSIST)
    within = await place(client, NAME)
    await database.execute("UPDATE proven_names SET expires_at = expires_at - interval '61 s'")

    after = await place(client, NAME)

    assert (within["status"], after["status"]) == ("ready", "pending")
    assert (await finalized(client, first, NAME))["status"] == "valid"
