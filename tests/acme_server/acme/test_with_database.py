"""The front end over the real use cases: accounts and whole issuances."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from cryptography import x509
from structlog.testing import capture_logs

from storage.pool import Database
from support.acme import AcmeClient, any_id, serve_house
from support.edge import PATIENT, Reply
from support.jose import b64
from support.workflow import House, build_house, csr_for

TERMS = "https://acme.example/terms"


@pytest.fixture
async def house(database: Database) -> House:
    """The use cases on a fresh database."""
    return await build_house(database)


def kind_of(reply: Reply) -> str:
    """The type of a problem, without its namespace."""
    return str(reply.problem()["type"]).removeprefix("urn:ietf:params:acme:error:")


def parsed(reply: Reply) -> dict[str, Any]:
    """The object in an answer."""
    document: dict[str, Any] = json.loads(reply.body)
    return document


def order_for(*names: str) -> dict[str, Any]:
    """The payload of a newOrder."""
    return {"identifiers": [{"type": "dns", "value": name} for name in names]}


async def prove(client: AcmeClient, order: dict[str, Any]) -> None:
    """Answer a challenge of each authorization."""
    for url in order["authorizations"]:
        challenge = parsed(await client.read(url))["challenges"][0]
        assert (await client.post(challenge["url"], {})).status == 200


async def ready_order(client: AcmeClient, *names: str) -> tuple[str, dict[str, Any]]:
    """An order that can be finalized: its URL and object."""
    reply = await client.post(client.urls.new_order, order_for(*names))
    await prove(client, parsed(reply))
    url = reply.headers["location"]
    return url, parsed(await client.read(url))


# ---- whole issuances ----------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA"])
async def test_a_certificate_is_ordered_proven_and_downloaded(house: House, algorithm: str) -> None:
    async with serve_house(house) as served:
        client = await served.registered(algorithm)
        url, order = await ready_order(client, "example.com", "*.example.com")
        assert order["status"] == "ready"
        csr = csr_for("example.com", "*.example.com")
        finalized = parsed(await client.post(order["finalize"], {"csr": b64(csr)}))
        assert finalized == parsed(await client.read(url))
        chain = await client.read(finalized["certificate"])

    leaf, issuing = x509.load_pem_x509_certificates(chain.body)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {"example.com", "*.example.com"}
    leaf.verify_directly_issued_by(issuing)


async def test_f065_an_issuance_ends_though_its_client_is_gone(house: House) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        leaving = [await served.connection_of(client) for _ in range(10)]
        urls = []
        for number, connection in enumerate(leaving):
            name = f"n{number}.example.com"
            url, order = await ready_order(client, name)
            header = await client.header(order["finalize"])
            jws = client.key.sign(header, {"csr": b64(csr_for(name))})
            connection.start(order["finalize"], jws)
            if number % 2:
                await asyncio.wait([asyncio.ensure_future(connection.wire.writer.drain())])
            connection.wire.reset()
            urls.append(url)
        await served.until_connections(1)

        # A reset may overtake the request, which then never was one; none is left in between.
        statuses = {parsed(await _settled(client, url))["status"] for url in urls}
        assert "valid" in statuses
        assert statuses <= {"valid", "ready"}


async def _settled(client: AcmeClient, url: str) -> Reply:
    async with asyncio.timeout(PATIENT):
        while parsed(reply := await client.read(url))["status"] == "processing":
            pass
    return reply


async def test_f001_finalizing_too_early_or_twice_is_not_ready(house: House) -> None:
    csr = {"csr": b64(csr_for("a.example"))}
    async with serve_house(house) as served:
        client = await served.registered()
        order = parsed(await client.post(client.urls.new_order, order_for("a.example")))
        early = await client.post(order["finalize"], csr)
        await prove(client, order)
        first = await client.post(order["finalize"], csr)
        second = await client.post(order["finalize"], csr)

    assert (early.status, kind_of(early)) == (403, "orderNotReady")
    assert first.status == 200
    assert (second.status, kind_of(second)) == (403, "orderNotReady")


@pytest.mark.parametrize(
    "csr",
    [b"", b"\x30\x03\x02\x01", csr_for("b.example"), csr_for("a.example", "b.example")],
    ids=["empty", "no CSR", "another name", "a name too many"],
)
async def test_f033_a_bad_csr_leaves_the_order_ready(house: House, csr: bytes) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        url, order = await ready_order(client, "a.example")
        refused = await client.post(order["finalize"], {"csr": b64(csr)})
        after = parsed(await client.read(url))
        good = await client.post(order["finalize"], {"csr": b64(csr_for("a.example"))})

    assert (refused.status, kind_of(refused)) == (400, "badCSR")
    assert after["status"] == "ready"
    assert parsed(good)["status"] == "valid"


async def test_o045_refused_names_are_told_one_by_one(house: House) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        names = ("a_b.example.com", "good.example.com", "x..example.com", "f*.example.com")
        reply = await client.post(client.urls.new_order, order_for(*names))

    subproblems = reply.problem()["subproblems"]
    assert isinstance(subproblems, list)
    assert len(subproblems) == 3
    assert reply.status == 400


# ---- whose objects ------------------------------------------------------------------------------


async def test_o061_another_accounts_objects_are_as_missing_ones(house: House) -> None:
    async with serve_house(house) as served:
        owner, stranger = await served.registered(), await served.registered()
        order_url, order = await ready_order(owner, "a.example")
        csr = {"csr": b64(csr_for("a.example"))}
        certificate = parsed(await owner.post(order["finalize"], csr))["certificate"]
        (authorization,) = order["authorizations"]
        challenge = parsed(await owner.read(authorization))["challenges"][0]["url"]
        urls, missing = served.urls, any_id()
        pairs: list[tuple[str, str, object]] = [
            (order_url, urls.order(missing), b""),
            (order["finalize"], urls.finalize(missing), csr),
            (authorization, urls.authorization(missing), b""),
            (authorization, urls.authorization(missing), {"status": "deactivated"}),
            (challenge, urls.challenge(missing, "http-01"), b""),
            (challenge, urls.challenge(missing, "http-01"), {}),
            (certificate, urls.certificate(missing), b""),
        ]
        for foreign, absent, payload in pairs:
            first = await stranger.post(foreign, payload)
            second = await stranger.post(absent, payload)

            assert (first.status, kind_of(first)) == (404, "malformed")
            assert first.body == second.body
            assert first.headers.keys() == second.headers.keys()


# ---- accounts -----------------------------------------------------------------------------------


async def test_a001_the_terms_must_be_agreed_to(house: House) -> None:
    async with serve_house(house, terms=TERMS) as served:
        client = await served.client()
        without = await client.post(client.urls.new_account, {})
        declined = await client.post(client.urls.new_account, {"termsOfServiceAgreed": False})
        agreed = await client.post(client.urls.new_account, {"termsOfServiceAgreed": True})
        again = await client.post(client.urls.new_account, {})

    assert [reply.status for reply in (without, declined, agreed, again)] == [403, 403, 201, 200]
    assert kind_of(without) == "userActionRequired"
    assert again.headers["location"] == agreed.headers["location"]


@pytest.mark.parametrize(
    ("contact", "kind"),
    [
        (["mailto:a@b.example", "tel:+1"], "unsupportedContact"),
        (["mailto:a@x.org,b@x.org"], "invalidContact"),
        (["mailto:a@x.org?subject=x"], "invalidContact"),
        (["mailto:ä@x.org"], "invalidContact"),
        (["mailto:a@bücher.example"], "invalidContact"),
        (["mailto:a@x.org#b"], "invalidContact"),
        (["mailto:"], "invalidContact"),
        (["a@x.org"], "invalidContact"),
        (["mailto:a@x.org"] * 11, "invalidContact"),
        (["mailto:" + "a" * 400 + "@x.org"], "invalidContact"),
        (["mailto:a@x.org", "tel:+1", "mailto:b"], "compound"),
    ],
)
async def test_a003_contacts_are_single_plain_addresses(
    house: House, contact: list[str], kind: str
) -> None:
    payload = {"termsOfServiceAgreed": True, "contact": contact}
    async with serve_house(house) as served:
        client = await served.client()
        refused = await client.post(client.urls.new_account, payload)
        await client.register()
        assert client.kid is not None
        update = await client.post(client.kid, {"contact": contact})
        account = parsed(await client.read(client.kid))

    assert (refused.status, kind_of(refused)) == (400, kind)
    assert (update.status, kind_of(update)) == (400, kind)
    assert "contact" not in account


async def test_a013_one_key_registered_at_once_is_one_account(house: House) -> None:
    async with serve_house(house) as served:
        first = await served.client()
        clients = [await served.connection_of(first) for _ in range(50)]
        replies = await asyncio.gather(*(client.register() for client in clients))

    assert sorted(reply.status for reply in replies) == [200] * 49 + [201]
    assert len({reply.headers["location"] for reply in replies}) == 1
    assert await house.database.fetchval("SELECT count(*) FROM accounts") == 1


async def test_only_an_existing_account_is_returned_if_asked_so(house: House) -> None:
    async with serve_house(house) as served:
        client = await served.client()
        reply = await client.post(client.urls.new_account, {"onlyReturnExisting": True})

    assert (reply.status, kind_of(reply)) == (400, "accountDoesNotExist")
    assert await house.database.fetchval("SELECT count(*) FROM accounts") == 0


async def test_a019_a_deactivated_account_can_do_nothing(house: House) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        kid = client.kid
        assert kid is not None
        order_url, order = await ready_order(client, "a.example")
        (authorization,) = order["authorizations"]
        challenge = parsed(await client.read(authorization))["challenges"][0]["url"]
        ended = await client.post(kid, {"status": "deactivated"})
        assert parsed(ended)["status"] == "deactivated"
        requests: list[tuple[str, object]] = [
            (kid, b""),
            (kid, {"contact": []}),
            (kid, {"status": "deactivated"}),
            (client.urls.new_order, order_for("b.example")),
            (order_url, b""),
            (order["finalize"], {"csr": b64(csr_for("a.example"))}),
            (authorization, b""),
            (challenge, {}),
            (client.urls.directory, b""),
            (client.urls.new_nonce, b""),
        ]
        replies = [await client.post(url, payload) for url, payload in requests]
        client.kid = None
        for payload in ({"onlyReturnExisting": True}, {"termsOfServiceAgreed": True}):
            replies.append(await client.post(client.urls.new_account, payload))

    assert {(reply.status, kind_of(reply)) for reply in replies} == {(401, "unauthorized")}


async def test_a11_what_one_worker_ended_another_does_not_carry_on(house: House) -> None:
    """The other worker still has the account in its cache; its statements don't."""
    async with serve_house(house) as one, serve_house(house) as other:
        client = await one.registered()
        elsewhere = await other.connection_of(client)
        orders = order_for("a.example")
        before = await elsewhere.post(elsewhere.urls.new_order, orders)
        assert client.kid is not None
        assert (await client.post(client.kid, {"status": "deactivated"})).status == 200
        refused = await elsewhere.post(elsewhere.urls.new_order, orders)
        count = await house.database.fetchval("SELECT count(*) FROM orders")

    assert before.status == 201
    assert (refused.status, kind_of(refused)) == (401, "unauthorized")
    assert count == 1


async def test_an_unknown_account_does_not_exist(house: House) -> None:
    async with serve_house(house) as served:
        client = await served.client()
        client.kid = served.urls.account(any_id())
        reply = await client.read(served.urls.directory)

    assert (reply.status, kind_of(reply)) == (400, "accountDoesNotExist")


# ---- nonces -------------------------------------------------------------------------------------


async def test_n003_a_request_sent_many_times_at_once_is_accepted_once(house: House) -> None:
    async with serve_house(house) as one, serve_house(house) as other:
        client = await one.registered()
        url = client.urls.new_order
        jws = client.key.sign(await client.header(url), order_for("a.example"))
        clients = [await served.connection_of(client) for served in (one, other) for _ in range(10)]
        replies = await asyncio.gather(*(each.send(url, jws) for each in clients))
        count = await house.database.fetchval("SELECT count(*) FROM orders")

    assert sorted(reply.status for reply in replies) == [201] + [400] * 19
    assert {kind_of(reply) for reply in replies if reply.status == 400} == {"badNonce"}
    assert count == 1


async def test_a_nonce_of_one_worker_is_good_at_another(house: House) -> None:
    async with serve_house(house) as one, serve_house(house) as other:
        client = await one.registered()
        header = await client.header(client.urls.new_order)
        jws = client.key.sign(header, order_for("a.example"))
        elsewhere = await other.connection_of(client)

        assert (await elsewhere.send(client.urls.new_order, jws)).status == 201


async def test_one_retry_after_bad_nonce_always_suffices(house: House, owner_url: str) -> None:
    """Even when PostgreSQL emptied the ledger, as it does after a crash."""
    owner = await Database.open(owner_url, max_size=2)
    async with serve_house(house) as served:
        client = await served.registered()
        assert client.kid is not None
        header = await client.header(client.kid)
        await owner.execute("TRUNCATE nonce_epoch, nonces_a, nonces_b")
        await owner.close()
        refused = await client.send(client.kid, client.key.sign(header, b""))
        nonce = refused.headers["replay-nonce"]
        retried = await client.send(client.kid, client.key.sign({**header, "nonce": nonce}, b""))

    assert (refused.status, kind_of(refused)) == (400, "badNonce")
    assert retried.status == 200


async def test_the_log_names_only_who_was_verified(house: House) -> None:
    async with serve_house(house) as served:
        client, impostor = await served.registered(), await served.client()
        impostor.kid = client.kid
        with capture_logs() as events:
            await impostor.read(served.urls.directory)
            await client.read(served.urls.directory)

    refused, accepted = [event for event in events if event["method"] == "POST"]
    assert "account" not in refused
    assert accepted["account"] == client.account_id
