"""Right requests, damaged at random: never a 5xx, every error a problem document, no defect in
the log, no broken rule in the database, and the server issues afterwards.

``ACME_SERVER_TEST_SEED`` repeats a run; its seed stands in what a failure prints.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from structlog.testing import capture_logs

from storage.pool import Database
from support.acme import EXTERNAL_URL, AcmeClient, AcmeServed, serve_house
from support.adversary import fault_of, fault_of_problem, order_for, parsed
from support.edge import Reply
from support.invariants import broken_invariants
from support.jose import ClientKey, b64
from support.mutation import Damaged, Inner, Mutator, Right
from support.workflow import build_house, csr_for

CLIENTS = 4
# A scene wears off: its account is deactivated, its order finalized.
_PER_SCENE = 60


@dataclass
class Findings:
    """What the clients saw."""

    faults: list[str] = field(default_factory=list)
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    orders_made: int = 0


class Attacker:
    """One client that sends damaged requests, one after the other."""

    def __init__(self, served: AcmeServed, seed: str, findings: Findings) -> None:
        self._served = served
        self._rng = random.Random(seed)
        self._mutator = Mutator(self._rng, served.urls.origin)
        self._findings = findings
        self._scene: list[Right] = []
        self._nonce: str | None = None
        self._is_worn = False

    async def send(self, count: int) -> None:
        """Send ``count`` damaged requests."""
        for number in range(count):
            if number % _PER_SCENE == 0 or self._is_worn:
                await self._set_scene(number)
            right = self._rng.choice(self._scene)
            damaged = self._mutator.damage(self._client.key, right, await self._header(right))
            reply = await self._exchange(damaged)
            self._judge(damaged, reply)

    async def _set_scene(self, number: int) -> None:
        """A new account with an order of each kind, and right requests about all of them."""
        self._client = client = await self._served.registered()
        urls = self._served.urls
        name = f"n{number}-{self._rng.randrange(10**9)}.example.com"
        orders = []
        for prefix, proven in (("a.", False), ("b.", True), ("c.", True)):
            made = await client.post(urls.new_order, order_for(prefix + name))
            order = {**parsed(made), "url": made.headers["location"]}
            order["challenge"] = await self._challenge(order)
            if proven:
                await client.post(order["challenge"], {})
            orders.append(order)
        pending, ready, done = orders
        csr = csr_for("c." + name)
        certificate = parsed(await client.post(done["finalize"], {"csr": b64(csr)}))["certificate"]
        leaf = x509.load_pem_x509_certificates((await client.read(certificate)).body)[0]
        der = b64(leaf.public_bytes(Encoding.DER))
        assert client.kid is not None
        reads = [urls.directory, urls.new_nonce, client.kid, pending["url"], certificate]
        reads += [pending["authorizations"][0], pending["challenge"], ready["url"]]
        reads += [client.kid + "/orders", client.kid + "/orders?cursor=" + client.account_id]
        contact = {"contact": ["mailto:a@b.example"]}
        end = datetime.now(UTC) + timedelta(days=30)
        timed = {**order_for(name, "*.x." + name), "notAfter": end.isoformat()}
        self._scene = [
            *(Right(url, b"") for url in reads),
            Right(urls.new_account, {"termsOfServiceAgreed": True, **contact}),
            Right(client.kid, contact),
            *[Right(urls.new_order, timed)] * 2,
            Right(urls.new_authorization, {"identifier": {"type": "dns", "value": name}}),
            Right(pending["authorizations"][0], {"status": "deactivated"}),
            Right(pending["challenge"], {}),
            *[Right(ready["finalize"], {"der": csr_for("b." + name)})] * 4,
            *[Right(urls.revoke_certificate, {"certificate": der, "reason": 4})] * 2,
            *[self._key_change()] * 2,
            *[self._bound_account()] * 2,
        ]
        self._nonce = None
        self._is_worn = False

    def _key_change(self) -> Right:
        client, url = self._client, self._served.urls.key_change
        new = ClientKey.generate()
        change = {"account": client.kid, "oldKey": client.key.jwk}
        return Right.around(url, Inner(new, {"jwk": new.jwk, "url": url}, change))

    def _bound_account(self) -> Right:
        url = self._served.urls.new_account
        header = {"kid": "nobody", "url": url}
        inner = Inner(bytes(32), header, self._client.key.jwk, "externalAccountBinding")
        return Right.around(url, inner)

    async def _challenge(self, order: dict[str, object]) -> str:
        authorizations = order["authorizations"]
        assert isinstance(authorizations, list)
        challenges = parsed(await self._client.read(authorizations[0]))["challenges"]
        return str(challenges[0]["url"])

    async def _header(self, right: Right) -> dict[str, object]:
        """What a right request would have; mostly with the nonce of the last answer."""
        client = self._client
        is_new = right.url == self._served.urls.new_account
        who = {"jwk": client.key.jwk} if is_new else {"kid": client.kid}
        nonce = self._nonce or await client.nonce()
        self._nonce = None
        return {**who, "nonce": nonce, "url": right.url}

    async def _exchange(self, damaged: Damaged) -> Reply | None:
        """The answer; None where the server closed, which only broken HTTP may bring about."""
        if damaged.raw is not None:
            wire = await self._served.connect()
            wire.send(damaged.raw)
            wire.writer.write_eof()
            to_head = damaged.raw.startswith(b"HEAD ")
            try:
                reply = await wire.reply(to_head=to_head)
                if reply.status == 100:
                    reply = await wire.reply(to_head=to_head)
            except (asyncio.IncompleteReadError, ConnectionError):
                return None
            finally:
                await wire.close()
            return reply
        headers = {"Content-Type": damaged.content_type}
        reply = await self._client.request("POST", damaged.target, damaged.body, headers)
        if damaged.target == self._served.urls.key_change.removeprefix(EXTERNAL_URL):
            self._take_over(reply)
        if reply.headers.get("connection") == "close":
            self._client = await self._served.connection_of(self._client)
        return reply

    def _take_over(self, reply: Reply) -> None:
        """A key change that was right after all: the scene is worn, its account's key unknown."""
        if reply.status == 200:
            self._is_worn = True

    def _judge(self, damaged: Damaged, reply: Reply | None) -> None:
        if reply is None:
            fault = None if damaged.raw is not None else "no answer"
        elif damaged.raw is not None and damaged.raw.startswith(b"HEAD ") and reply.status < 500:
            fault = None  # without a body
        elif damaged.raw is not None or damaged.target.startswith("/directory"):
            fault = fault_of_problem(reply)  # no signed request, or one whose answer has no index
        else:
            fault = fault_of(reply)
        self._nonce = None if reply is None else reply.headers.get("replay-nonce")
        self._findings.answers[damaged.how, 0 if reply is None else reply.status] += 1
        if reply is not None and "/acme/order/" in reply.headers.get("location", ""):
            self._findings.orders_made += 1
        if fault is not None:
            sent = damaged.raw or damaged.body
            self._findings.faults.append(f"{damaged.how} {damaged.target}: {fault} for {sent!r}")


async def attack(database_url: str, count: int, caplog: pytest.LogCaptureFixture) -> Findings:
    """Send ``count`` damaged requests and check everything that must hold besides the answers."""
    seed = os.environ.get("ACME_SERVER_TEST_SEED") or secrets.token_hex(8)
    print(f"ACME_SERVER_TEST_SEED={seed}")
    findings = Findings()
    defects: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: defects.append(context))
    database = await Database.open(database_url)
    house = await build_house(database)
    async with serve_house(house) as served:
        attackers = [Attacker(served, f"{seed}-{n}", findings) for n in range(CLIENTS)]
        for _ in range(max(1, count // 4000)):
            with capture_logs() as events:
                share = min(count, 4000) // CLIENTS
                await asyncio.gather(*(attacker.send(share) for attacker in attackers))
            defects += [event for event in events if event["log_level"] in ("error", "critical")]
            defects += [event for event in events if "exc_info" in event]
        await served.disconnect()
        await served.until_connections(0)
        await issue(await served.registered())
    await house.worker.stop(5)
    await database.close()
    assert findings.faults == []
    assert defects == []
    assert caplog.records == []
    assert await broken_invariants(database_url) == {}
    return findings


async def issue(client: AcmeClient) -> None:
    """A whole issuance."""
    made = await client.post(client.urls.new_order, order_for("afterwards.example.com"))
    order = parsed(made)
    challenges = parsed(await client.read(order["authorizations"][0]))["challenges"]
    await client.post(challenges[0]["url"], {})
    csr = {"csr": b64(csr_for("afterwards.example.com"))}
    assert parsed(await client.post(order["finalize"], csr))["status"] == "valid"


async def test_three_thousand_damaged_requests(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    findings = await attack(database_url, 3000, caplog)

    # Deep enough: some were right after all, and most were refused where they should be.
    statuses = Counter[int]()
    for (_, status), number in findings.answers.items():
        statuses[status] += number
    assert statuses[200] > 50
    assert statuses[201] > 5
    assert findings.orders_made > 0
    assert {400, 403, 404, 405, 415} <= statuses.keys()


@pytest.mark.full
@pytest.mark.timeout(3600)
async def test_a_hundred_thousand_damaged_requests(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    findings = await attack(database_url, 100_000, caplog)

    assert sum(findings.answers.values()) == 100_000
