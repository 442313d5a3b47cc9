"""What each request costs the database at most: an answer's speed, and what a flood can do.

The redemption of the nonce is a statement too; requests that arrive together share it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from storage.pool import Database
from support.acme import AcmeClient, AcmeServed, any_id, serve_house
from support.adversary import order_for, outcome, parsed
from support.edge import Reply
from support.jose import ClientKey, b64
from support.workflow import House, build_house, csr_for

NONCE = 1
AT_MOST = {
    "newNonce": 0,
    "directory": 0,
    "directory, signed": NONCE,
    "newAccount": NONCE + 1,
    "newAccount, existing": NONCE + 1,
    "account": NONCE + 1,
    "account, updated": NONCE + 1,
    "orders": NONCE + 1,
    "newAuthz": NONCE + 1,
    "newOrder": NONCE + 1,
    "order": NONCE + 1,
    "authorization": NONCE + 1,
    "challenge": NONCE + 1,
    "challenge, answered": NONCE + 1 + 1,  # and the result, in the background
    "finalize": NONCE + 3,
    "certificate": NONCE + 1,
    "revokeCert": NONCE + 1,
    "keyChange": NONCE + 2,
    "authorization, deactivated": NONCE + 1,
    "account, deactivated": NONCE + 1,
}
MALFORMED = (400, "malformed")
# With an account that the worker has in its cache; a stranger's id is looked up once.
REFUSED_AT_MOST = {
    "no JWS": (MALFORMED, 0),
    "wrong media type": ((415, "malformed"), 0),
    "wrong signature": (MALFORMED, 1),  # the key may have been changed at another worker
    "wrong algorithm": ((400, "badSignatureAlgorithm"), 0),
    "another URL": ((403, "unauthorized"), 0),
    "nonce of nobody": ((400, "badNonce"), 0),
    "unknown account": ((400, "accountDoesNotExist"), 1),
    "key that is none": ((400, "badPublicKey"), 0),
    "unknown path": ((404, "malformed"), 0),
    "weak key": ((400, "badPublicKey"), NONCE),
    "used nonce": ((400, "badNonce"), NONCE),
    "malformed payload": (MALFORMED, NONCE),
    "hostile name": (MALFORMED, NONCE),
    # An existing account would be returned.
    "hostile contact": ((400, "unsupportedContact"), NONCE + 1),
    "bad CSR": ((400, "badCSR"), NONCE),
    "foreign order": ((404, "malformed"), NONCE + 1),
}


@pytest.fixture
async def house(database: Database) -> House:
    """The use cases on a fresh database."""
    return await build_house(database)


class Meter:
    """Counts the statements of requests."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.costs: dict[str, int] = {}
        self.outcomes: dict[str, tuple[int, str]] = {}

    async def read(self, name: str, request: Awaitable[Reply]) -> Reply:
        """The answer to ``request``, whose background work is waited for."""
        before = self._house.database.statements
        reply = await request
        if running := set(self._house.worker._running):
            await asyncio.wait(running)
        self.costs[name] = self._house.database.statements - before
        self.outcomes[name] = outcome(reply)
        return reply

    async def ok(self, name: str, request: Awaitable[Reply]) -> Reply:
        """As ``read``, for what must work."""
        reply = await self.read(name, request)
        assert (name, reply.status < 300) == (name, True)
        return reply

    def excess(self, at_most: dict[str, int]) -> dict[str, int]:
        """The costs that are above ``at_most``; all that is in it must have been measured."""
        assert self.costs.keys() == at_most.keys()
        return {name: cost for name, cost in self.costs.items() if cost > at_most[name]}


def key_change(client: AcmeClient) -> dict[str, Any]:
    """The payload of a right key change, to a key that nobody keeps."""
    new, url = ClientKey.generate(), client.urls.key_change
    change = {"account": client.kid, "oldKey": client.key.jwk}
    return new.sign({"jwk": new.jwk, "url": url}, change)


async def measure_all(meter: Meter, served: AcmeServed) -> None:
    """Each resource once, as a client uses it."""
    client, urls = await served.client(), served.urls
    await meter.ok("newNonce", client.request("HEAD", "/acme/new-nonce"))
    await meter.ok("directory", client.request("GET", "/directory"))
    await meter.ok("newAccount", client.register())
    assert client.kid is not None
    await meter.ok("directory, signed", client.read(urls.directory))
    await meter.ok("account", client.read(client.kid))
    await meter.ok("account, updated", client.post(client.kid, {"contact": ["mailto:a@b.example"]}))
    identifier = {"identifier": {"type": "dns", "value": "b.example"}}
    await meter.ok("newAuthz", client.post(urls.new_authorization, identifier))
    made = await meter.ok("newOrder", client.post(urls.new_order, order_for("a.example")))
    order = parsed(made)
    read = await meter.ok("authorization", client.read(order["authorizations"][0]))
    challenge = parsed(read)["challenges"][0]["url"]
    await meter.ok("challenge", client.read(challenge))
    await meter.ok("challenge, answered", client.post(challenge, {}))
    await meter.ok("order", client.read(made.headers["location"]))
    await meter.ok("orders", client.read(client.kid + "/orders"))
    csr = {"csr": b64(csr_for("a.example"))}
    finalized = await meter.ok("finalize", client.post(order["finalize"], csr))
    chain = await meter.ok("certificate", client.read(parsed(finalized)["certificate"]))
    der = x509.load_pem_x509_certificates(chain.body)[0].public_bytes(Encoding.DER)
    await meter.ok("revokeCert", client.post(urls.revoke_certificate, {"certificate": b64(der)}))
    end = {"status": "deactivated"}
    url = order["authorizations"][0]
    await meter.ok("authorization, deactivated", client.post(url, end))
    await meter.ok("newAccount, existing", client.register())
    await meter.ok("account, deactivated", client.post(client.kid, end))
    changing = await served.registered()
    await meter.ok("keyChange", changing.post(urls.key_change, key_change(changing)))


async def test_each_route_costs_at_most_its_statements(house: House) -> None:
    meter = Meter(house)
    async with serve_house(house) as served:
        await measure_all(meter, served)

    assert meter.excess(AT_MOST) == {}


async def measure_refusals(meter: Meter, served: AcmeServed) -> None:
    """What is refused, from the cheapest on."""
    client, stranger, urls = await served.registered(), await served.registered(), served.urls
    url, payload = urls.new_order, order_for("a.example")
    order = parsed(await client.post(url, payload))
    header = await client.header(url)
    right = client.key.sign(header, payload)
    await meter.read("no JWS", client.send(url, b"garbage"))
    await meter.read("wrong media type", client.send(url, right, "text/plain"))
    forged = ClientKey.generate().sign(header, payload)
    await meter.read("wrong signature", client.send(url, forged))
    none = client.key.sign({**header, "alg": "none"}, payload)
    await meter.read("wrong algorithm", client.send(url, none))
    elsewhere = client.key.sign({**header, "url": urls.new_account}, payload)
    await meter.read("another URL", client.send(url, elsewhere))
    invented = client.key.sign({**header, "nonce": b64(bytes(41))}, payload)
    await meter.read("nonce of nobody", client.send(url, invented))
    unknown = client.key.sign({**header, "kid": urls.account(any_id())}, payload)
    await meter.read("unknown account", client.send(url, unknown))
    jwk = {"kty": "RSA", "n": b64(b"\xff" * 64), "e": b64(b"\x01")}
    keyless = {"alg": "RS256", "jwk": jwk, "nonce": header["nonce"], "url": urls.new_account}
    registration = client.key.sign(keyless, {"termsOfServiceAgreed": True})
    await meter.read("key that is none", client.send(urls.new_account, registration))
    weak = await served.client()
    weak.key = ClientKey("RS256", rsa.generate_private_key(65_537, 1024))
    await meter.read("weak key", weak.post(urls.new_account, {"termsOfServiceAgreed": True}))
    await meter.read("unknown path", client.send(urls.base + "/acme/nowhere", right))
    await client.send(url, right)
    await meter.read("used nonce", client.send(url, right))
    await meter.read("malformed payload", client.post(url, {"identifiers": 5}))
    await meter.read("hostile name", client.post(url, order_for("a_b.example")))
    contact = {"termsOfServiceAgreed": True, "contact": ["tel:+1"]}
    await meter.read("hostile contact", (await served.client()).post(urls.new_account, contact))
    await meter.read("bad CSR", client.post(order["finalize"], {"csr": "AAAA"}))
    csr = {"csr": b64(csr_for("a.example"))}
    await meter.read("foreign order", stranger.post(order["finalize"], csr))


async def test_what_is_refused_costs_less_than_what_works(house: House) -> None:
    meter = Meter(house)
    async with serve_house(house) as served:
        await measure_refusals(meter, served)

    assert meter.outcomes == {name: outcome for name, (outcome, _) in REFUSED_AT_MOST.items()}
    assert meter.excess({name: cost for name, (_, cost) in REFUSED_AT_MOST.items()}) == {}


async def test_requests_that_arrive_together_share_the_redemption_of_nonces(house: House) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        connections = [await served.connection_of(client) for _ in range(50)]
        url = served.urls.directory
        signed = [client.key.sign(await client.header(url), b"") for _ in connections]
        before = house.database.statements
        replies = await asyncio.gather(
            *(each.send(url, jws) for each, jws in zip(connections, signed, strict=True))
        )
        cost = house.database.statements - before

    assert {reply.status for reply in replies} == {200}
    assert cost < 50
