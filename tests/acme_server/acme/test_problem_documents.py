"""Each registered error type of RFC 8555, section 6.7: a request that gets it, and all it says."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from acme_server.acme.problems import NAMESPACE, PROBLEMS
from acme_server.workflow.orders import OrderUseCases
from policy.names import NameRules
from storage.orders import Orders
from storage.pool import Database
from support.acme import AcmeClient, AcmeServed, serve_house
from support.dns import DnsServer
from support.edge import Reply
from support.jose import ClientKey, b64
from support.targets import Target, closed_port, responding, response
from support.validation import Lab
from support.workflow import House, build_house, csr_for

ROOT = Path(__file__).parents[3]
TERMS = "https://acme.example/terms"
# RFC 8555, section 6.7; and what extensions registered (draft-ietf-acme-profiles).
REGISTERED = {
    "accountDoesNotExist", "alreadyRevoked", "badCSR", "badNonce", "badPublicKey",
    "badRevocationReason", "badSignatureAlgorithm", "caa", "compound", "connection", "dns",
    "externalAccountRequired", "incorrectResponse", "invalidContact", "malformed",
    "orderNotReady", "rateLimited", "rejectedIdentifier", "serverInternal", "tls",
    "unauthorized", "unsupportedContact", "unsupportedIdentifier", "userActionRequired",
}  # fmt: skip
OF_EXTENSIONS = {"invalidProfile", "alreadyReplaced", "onionCAARequired", "unknownDelegation"}
# Nothing that a client does is answered with them yet.
WITHOUT_A_REQUEST = {"rateLimited"}


@dataclass
class Scene:
    """A server and one account."""

    house: House
    served: AcmeServed
    client: AcmeClient

    async def order(self, *names: str) -> dict[str, Any]:
        """A new order's object."""
        identifiers = [{"type": "dns", "value": name} for name in names]
        reply = await self.client.post(self.served.urls.new_order, {"identifiers": identifiers})
        return parsed(reply)

    async def answered(
        self, name: str, kind: str, prepare: Callable[[str], None] = lambda token: None
    ) -> dict[str, Any]:
        """The challenge of a kind for a new order, after its validation. ``prepare`` is given
        its token."""
        (url,) = (await self.order(name))["authorizations"]
        challenges = parsed(await self.client.read(url))["challenges"]
        challenge = next(entry for entry in challenges if entry["type"] == kind)
        prepare(challenge["token"])
        await self.client.post(challenge["url"], {})
        await self.house.worker.stop(20.0)
        return parsed(await self.client.read(challenge["url"]))

    async def certificate(self, name: str) -> bytes:
        """A certificate in DER."""
        order = await self.order(name)
        await self.ready(order)
        csr = {"csr": b64(csr_for(name))}
        done = parsed(await self.client.post(order["finalize"], csr))
        chain = (await self.client.read(done["certificate"])).body
        return x509.load_pem_x509_certificates(chain)[0].public_bytes(Encoding.DER)

    async def ready(self, order: dict[str, Any]) -> None:
        """Prove control of the order's name."""
        (url,) = order["authorizations"]
        challenge = parsed(await self.client.read(url))["challenges"][0]
        await self.client.post(challenge["url"], {})


Ask = Callable[[Scene], Awaitable[object]]
Document = dict[str, Any]
ROWS: dict[str, Ask] = {}
# What the answers say, without what differs from run to run.
EXPECTED: dict[str, Document] = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))


def row(kind: str) -> Callable[[Ask], Ask]:
    """What asks for a problem of this type."""

    def add(ask: Ask) -> Ask:
        ROWS[kind] = ask
        return ask

    return add


def parsed(reply: Reply) -> dict[str, Any]:
    """The object in an answer."""
    document: dict[str, Any] = json.loads(reply.body)
    return document


@asynccontextmanager
async def network(scene: Scene, **settings: Any) -> Any:
    """A real network for validations, with a DNS server; a.example is 127.0.0.2."""
    async with DnsServer() as dns:
        dns.add("a.example", "A", "127.0.0.2")
        lab = Lab(dns=(dns.endpoint,), **settings)
        scene.house.worker._validators = lab.validators()
        yield dns


# ---- accounts and signatures --------------------------------------------------------------------


@row("accountDoesNotExist")
async def ask_for_no_account(scene: Scene) -> object:
    client = await scene.served.client()
    return await client.post(scene.served.urls.new_account, {"onlyReturnExisting": True})


@row("badNonce")
async def repeat_a_request(scene: Scene) -> object:
    client, url = scene.client, scene.served.urls.new_order
    jws = client.key.sign(await client.header(url), {"identifiers": []})
    await client.send(url, jws)
    return await client.send(url, jws)


@row("badPublicKey")
async def register_a_short_key(scene: Scene) -> object:
    client = await scene.served.client("RS256")
    client.key = ClientKey("RS256", rsa.generate_private_key(65_537, 1024))
    return await client.post(scene.served.urls.new_account, {})


@row("badSignatureAlgorithm")
async def sign_by_a_mac(scene: Scene) -> object:
    client, url = scene.client, scene.served.urls.new_order
    header = {**await client.header(url), "alg": "HS256"}
    return await client.send(url, client.key.sign(header, {}))


@row("externalAccountRequired")
async def register_unbound(scene: Scene) -> object:
    async with serve_house(scene.house, requires_binding=True) as served:
        client = await served.client()
        return await client.post(served.urls.new_account, {})


@row("userActionRequired")
async def register_without_terms(scene: Scene) -> object:
    async with serve_house(scene.house, terms=TERMS) as served:
        client = await served.client()
        return await client.post(served.urls.new_account, {})


@row("invalidContact")
async def register_two_addresses_in_one(scene: Scene) -> object:
    client = await scene.served.client()
    return await client.post(scene.served.urls.new_account, {"contact": ["mailto:a@b.c,d@e.f"]})


@row("unsupportedContact")
async def register_a_telephone(scene: Scene) -> object:
    client = await scene.served.client()
    return await client.post(scene.served.urls.new_account, {"contact": ["tel:+123"]})


@row("malformed")
async def send_no_json(scene: Scene) -> object:
    return await scene.client.post(scene.served.urls.new_order, b"{")


@row("unauthorized")
async def sign_for_another_url(scene: Scene) -> object:
    client, url = scene.client, scene.served.urls.new_order
    header = {**await client.header(url), "url": scene.served.urls.new_account}
    return await client.send(url, client.key.sign(header, {}))


# ---- orders and certificates --------------------------------------------------------------------


def refuse_names_below(scene: Scene, tree: str) -> None:
    rules = replace(scene.house.orders._rules, names=NameRules(denied=frozenset({tree})))
    orders = OrderUseCases(Orders(scene.house.database), scene.house.orders._clock, rules)
    scene.house.orders.create = orders.create  # type: ignore[method-assign]


async def order_mixed(scene: Scene, *identifiers: tuple[str, str]) -> Reply:
    refuse_names_below(scene, "denied.example")
    asked = [{"type": kind, "value": value} for kind, value in identifiers]
    return await scene.client.post(scene.served.urls.new_order, {"identifiers": asked})


@row("compound")
async def order_names_wrong_in_three_ways(scene: Scene) -> object:
    return await order_mixed(
        scene,
        ("dns", "good.example"),
        ("dns", "a_b.example"),
        ("email", "a@b.example"),
        ("dns", "x.denied.example"),
    )


@row("rejectedIdentifier")
async def order_denied_names(scene: Scene) -> object:
    return await order_mixed(
        scene, ("dns", "x.denied.example"), ("dns", "good.example"), ("dns", "denied.example")
    )


@row("unsupportedIdentifier")
async def order_an_address_of_mail(scene: Scene) -> object:
    return await order_mixed(scene, ("email", "a@b.example"))


@row("orderNotReady")
async def finalize_too_early(scene: Scene) -> object:
    order = await scene.order("a.example")
    return await scene.client.post(order["finalize"], {"csr": b64(csr_for("a.example"))})


@row("badCSR")
async def finalize_without_a_csr(scene: Scene) -> object:
    order = await scene.order("a.example")
    await scene.ready(order)
    return await scene.client.post(order["finalize"], {"csr": b64(b"\x30\x00")})


async def revoke(scene: Scene, certificate: bytes, **members: object) -> Reply:
    payload = {"certificate": b64(certificate), **members}
    return await scene.client.post(scene.served.urls.revoke_certificate, payload)


@row("alreadyRevoked")
async def revoke_twice(scene: Scene) -> object:
    certificate = await scene.certificate("a.example")
    await revoke(scene, certificate)
    return await revoke(scene, certificate)


@row("badRevocationReason")
async def revoke_for_an_unused_reason(scene: Scene) -> object:
    return await revoke(scene, await scene.certificate("a.example"), reason=7)


@row("serverInternal")
async def answer_while_it_is_busy(scene: Scene) -> object:
    scene.house.validators.is_full = True
    (url,) = (await scene.order("a.example"))["authorizations"]
    challenge = parsed(await scene.client.read(url))["challenges"][0]
    return await scene.client.post(challenge["url"], {})


# ---- validations --------------------------------------------------------------------------------


@row("connection")
async def prove_by_a_closed_port(scene: Scene) -> object:
    async with network(scene, http_port=closed_port().port):
        return await scene.answered("a.example", "http-01")


@row("incorrectResponse")
async def prove_by_a_wrong_page(scene: Scene) -> object:
    async with (
        Target(responding(response(b"hello"))) as target,
        network(scene, http_port=target.port),
    ):
        return await scene.answered("a.example", "http-01")


@row("dns")
async def prove_a_name_that_is_not_there(scene: Scene) -> object:
    async with network(scene):
        return await scene.answered("missing.example", "http-01")


async def speak_plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that knows nothing of TLS."""
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await writer.drain()


@row("tls")
async def prove_by_a_server_without_tls(scene: Scene) -> object:
    async with Target(speak_plainly) as target, network(scene, tls_port=target.port):
        return await scene.answered("a.example", "tls-alpn-01")


@row("caa")
async def prove_a_name_of_another_ca(scene: Scene) -> object:
    async with network(scene, caa=True) as dns:

        def publish(token: str) -> None:
            digest = hashlib.sha256(f"{token}.{scene.client.key.thumbprint}".encode()).digest()
            dns.add("_acme-challenge.a.example", "TXT", f'"{b64(digest)}"')

        dns.add("a.example", "CAA", '0 issue "other.example"')
        return await scene.answered("a.example", "dns-01", publish)


# ---- the table ----------------------------------------------------------------------------------


@pytest.fixture
async def house(database: Database) -> House:
    """The use cases on a fresh database."""
    return await build_house(database)


@pytest.mark.parametrize("kind", sorted(ROWS))
async def test_a_request_gets_this_whole_document(house: House, kind: str) -> None:
    expected = EXPECTED[kind]
    async with serve_house(house) as served:
        scene = Scene(house, served, await served.registered())
        answer = await ROWS[kind](scene)

    if isinstance(answer, Reply):
        assert answer.status == expected["status"]
        document = answer.problem()
    else:
        assert isinstance(answer, dict)
        assert answer["status"] == "invalid"
        document = answer["error"]
    assert masked(document) == expected


def masked(document: Document) -> Document:
    """Without the ports and digests of this run."""
    detail = re.sub(r"(127\.0\.0\.2|//a\.example):\d+", r"\1:PORT", document["detail"])
    detail = re.sub(r"/acme-challenge/\S+?(?=[ )])", "/acme-challenge/TOKEN", detail)
    return {**document, "detail": re.sub(r"[\w-]{32}\.[\w-]{43}", "KEY-AUTHORIZATION", detail)}


def test_each_registered_type_has_its_request() -> None:
    assert {kind: NAMESPACE + kind for kind in ROWS} == {
        kind: document["type"] for kind, document in EXPECTED.items()
    }
    assert set(ROWS) | WITHOUT_A_REQUEST == REGISTERED
    assert not set(ROWS) & WITHOUT_A_REQUEST


def test_the_namespace_holds_registered_types_only() -> None:
    assert {form.type for form in PROBLEMS.values()} <= REGISTERED | OF_EXTENSIONS
    named = {
        (path.name, kind)
        for package in ("acme_server", "policy", "storage", "validators")
        for path in (ROOT / package).rglob("*.py")
        for kind in re.findall(r"urn:ietf:params:acme:error:(\w*)", path.read_text("utf-8"))
    }
    assert named == {("problems.py", "")}
