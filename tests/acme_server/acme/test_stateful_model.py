"""Any sequence of requests over the whole server, against a model of what each must do.

Two front ends serve one database; each step goes to either. Steps that must fail (a stranger's
objects, wrong states, ended accounts, replays) are as frequent as those that must work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from functools import cache
from typing import Any, TypeVar

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from policy.model.ids import parse_id
from storage.pool import Database
from support.acme import AcmeServed, serve_house
from support.adversary import Chain, fault_of, order_for, outcome, parsed
from support.edge import Reply
from support.invariants import broken_invariants
from support.jose import ClientKey, b64
from support.model import AccountModel, AuthorizationModel, OrderModel, Proof, proof_of
from support.workflow import REFUSED, build_house, csr_for

T = TypeVar("T")
NAMES = ("a.example", "b.example", "*.c.example", "c.example")
TYPES = ("http-01", "dns-01", "tls-alpn-01")
INACTIVE = (401, "unauthorized")
MISSING = (404, "malformed")
MALFORMED = (400, "malformed")
NOT_READY = (403, "orderNotReady")


class World:
    """The server that all sequences talk to, on a loop of its own."""

    def __init__(self, database_url: str) -> None:
        self.database_url = database_url
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._stack = AsyncExitStack()
        self.run(self._start())

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Let the server work until ``coroutine`` has ended."""
        return self._runner.run(coroutine)

    async def _start(self) -> None:
        self.database = await Database.open(self.database_url)
        self.house = await build_house(self.database)
        self.workers: list[AcmeServed] = [
            await self._stack.enter_async_context(serve_house(self.house)) for _ in range(2)
        ]

    def stop(self) -> None:
        """Close everything."""
        self.run(self._stop())
        self._runner.close()

    async def _stop(self) -> None:
        self.house.validators.gate.set()
        await self.house.worker.stop(5)
        await self._stack.aclose()
        await self.database.close()


class Client:
    """An account's owner, with a connection to each worker."""

    def __init__(self, chains: list[Chain], model: AccountModel) -> None:
        self.chains = chains
        self.model = model


@cache
def csr(names: tuple[str, ...]) -> str:
    """A request for ``names``; the key may repeat."""
    return b64(csr_for(*names))


class Clients(RuleBasedStateMachine):
    """Clients that do anything in any order."""

    world: World

    clients = Bundle[Client]("clients")

    def __init__(self) -> None:
        super().__init__()
        self._running: list[tuple[Client, AuthorizationModel, str]] = []
        self._all: list[Client] = []
        self._is_paused = False

    # ---- how they ask -----------------------------------------------------------------------

    def post(self, client: Client, worker: int, url: str, payload: object) -> Reply:
        """A right request, whose answer is in order whatever it says."""
        reply = self.world.run(client.chains[worker].post(url, payload))
        assert fault_of(reply) is None
        return reply

    def expect(
        self, client: Client, worker: int, url: str, payload: object, expected: tuple[int, str]
    ) -> dict[str, Any]:
        """A request that ends as ``expected``, or as all of an ended account's do."""
        reply = self.post(client, worker, url, payload)
        assert outcome(reply) == (expected if client.model.is_valid else INACTIVE)
        return parsed(reply)

    # ---- accounts ---------------------------------------------------------------------------

    @initialize(target=clients)
    def first(self) -> Client:
        """There is always one."""
        return self._register()

    @rule(target=clients)
    def register(self) -> Client:
        """Another account."""
        return self._register()

    def _register(self) -> Client:
        async def chains() -> list[Chain]:
            owner = await self.world.workers[0].registered()
            other = await self.world.workers[1].connection_of(owner)
            return [await Chain.of(each) for each in (owner, other)]

        made = self.world.run(chains())
        url = made[0].client.kid
        assert url is not None
        client = Client(made, AccountModel(url))
        self._all.append(client)
        return client

    @rule(client=clients, worker=st.integers(0, 1))
    def register_again(self, client: Client, worker: int) -> None:
        """The key has its account already, or had one."""
        connection = client.chains[worker].client
        kid, connection.kid = connection.kid, None
        reply = self.post(
            client, worker, connection.urls.new_account, {"termsOfServiceAgreed": True}
        )
        connection.kid = kid
        assert outcome(reply) == ((200, "ok") if client.model.is_valid else INACTIVE)
        if client.model.is_valid:
            assert reply.headers["location"] == client.model.url

    @rule(client=clients, worker=st.integers(0, 1))
    def update_contacts(self, client: Client, worker: int) -> None:
        """New contacts are shown."""
        payload = {"contact": ["mailto:a@b.example"]}
        account = self.expect(client, worker, client.model.url, payload, (200, "ok"))
        assert not client.model.is_valid or account["contact"] == payload["contact"]

    @precondition(lambda self: len(self._all) > 1)
    @rule(client=clients, worker=st.integers(0, 1), is_sure=st.integers(0, 3))
    def deactivate_account(self, client: Client, worker: int, is_sure: int) -> None:
        """Seldom enough that some are left; the client goes on trying."""
        if is_sure == 3:
            self.expect(client, worker, client.model.url, {"status": "deactivated"}, (200, "ok"))
            client.model.end()
            for other in (0, 1):
                self.expect(client, other, client.model.url, b"", (200, "ok"))

    @rule(client=clients, worker=st.integers(0, 1))
    def replay(self, client: Client, worker: int) -> None:
        """What was sent once is refused at both workers."""

        async def twice() -> list[Reply]:
            connections = [chain.client for chain in client.chains]
            url = client.model.url
            header = await connections[worker].header(url)
            jws = connections[0].key.sign(header, b"")
            order = (worker, worker, 1 - worker)
            return [await connections[each].send(url, jws) for each in order]

        first, *replayed = self.world.run(twice())
        expected = (400, "badNonce") if client.model.is_valid else INACTIVE
        assert outcome(first) == ((200, "ok") if client.model.is_valid else INACTIVE)
        assert [outcome(reply) for reply in replayed] == [expected] * 2

    @rule(client=clients, worker=st.integers(0, 1), other=clients)
    def change_key(self, client: Client, worker: int, other: Client) -> None:
        """To a new key, which both workers know at once; a key that is in use is refused."""
        connection = client.chains[worker].client
        url, old = connection.urls.key_change, connection.key
        change = {"account": client.model.url, "oldKey": old.jwk}
        taken = other.chains[0].client.key
        inner = taken.sign({"jwk": taken.jwk, "url": url}, change)
        reply = self.post(client, worker, url, inner)
        assert outcome(reply) == ((409, "malformed") if client.model.is_valid else INACTIVE)
        if not client.model.is_valid:
            return
        assert reply.headers["location"] == other.model.url
        new = ClientKey.generate()
        self.expect(
            client, worker, url, new.sign({"jwk": new.jwk, "url": url}, change), (200, "ok")
        )
        for each in (1 - worker, worker):
            reply = self.post(client, each, client.model.url, b"")
            assert outcome(reply) in (MALFORMED, (403, "unauthorized"))
        for chain in client.chains:
            chain.client.key = new
        for each in (1 - worker, worker):
            self.expect(client, each, client.model.url, b"", (200, "ok"))

    # ---- orders -----------------------------------------------------------------------------

    @rule(
        client=clients,
        worker=st.integers(0, 1),
        names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True),
    )
    def place(self, client: Client, worker: int, names: list[str]) -> None:
        """An order takes proofs over where there are some, and waits for the others."""
        url = client.chains[worker].client.urls.new_order
        reply = self.post(client, worker, url, order_for(*names))
        model = client.model
        assert outcome(reply) == ((201, "ok") if model.is_valid else INACTIVE)
        if not model.is_valid:
            return
        document = parsed(reply)
        authorizations = [
            self._authorization_of(client, worker, name, authorization_url)
            for name, authorization_url in zip(names, document["authorizations"], strict=True)
        ]
        for name, authorization in zip(names, authorizations, strict=True):
            # What was not taken along waits for another order.
            if model.waiting.get(name) is authorization:
                del model.waiting[name]
        is_ready = all(each.status == "valid" for each in authorizations)
        assert document["status"] == ("ready" if is_ready else "pending")
        model.orders.append(
            OrderModel(
                reply.headers["location"],
                document["finalize"],
                tuple(names),
                authorizations,
                document["status"],
            )
        )

    def _authorization_of(
        self, client: Client, worker: int, name: str, url: str
    ) -> AuthorizationModel:
        """The proof that is taken over, one that waited for an order, or a new one."""
        model = client.model
        proof = proof_of(name)
        reusable = model.reusable(name)
        waiting = None if proof[1] else model.waiting_for(name)
        taken = next((each for each in reusable if each.url == url), None)
        if taken is None:
            assert not reusable or proof in model.uncertain
            taken = waiting if waiting is not None and waiting.url == url else None
            assert taken is not None or waiting is None
        return taken or self._new_authorization(client, worker, proof, url)

    def _new_authorization(
        self, client: Client, worker: int, proof: Proof, url: str
    ) -> AuthorizationModel:
        assert url not in {each.url for each in client.model.authorizations}
        document = self.expect(client, worker, url, b"", (200, "ok"))
        challenges = {each["type"]: "pending" for each in document["challenges"]}
        assert set(challenges) == ({"dns-01"} if proof[1] else set(TYPES))
        made = AuthorizationModel(url, *proof, challenges)
        client.model.authorizations.append(made)
        return made

    @rule(client=clients, worker=st.integers(0, 1), name=st.sampled_from(NAMES))
    def pre_authorize(self, client: Client, worker: int, name: str) -> None:
        """A proof that there is, an authorization that waits for an order, or a new one."""
        model = client.model
        url = client.chains[worker].client.urls.new_authorization
        payload = {"identifier": {"type": "dns", "value": name}}
        if name.startswith("*."):
            self.expect(client, worker, url, payload, MALFORMED)
            return
        reply = self.post(client, worker, url, payload)
        if not model.is_valid:
            assert outcome(reply) == INACTIVE
            return
        location = reply.headers["location"]
        existing = model.reusable(name)
        if not existing or proof_of(name) in model.uncertain:
            waiting = model.waiting_for(name)
            existing = existing | ({waiting} if waiting else set())
        if reply.status == 201:
            assert not existing or proof_of(name) in model.uncertain
            made = self._new_authorization(client, worker, proof_of(name), location)
            model.waiting[name] = made
        else:
            assert (reply.status, location in {each.url for each in existing}) == (200, True)

    @rule(
        data=st.data(), client=clients, by=clients, worker=st.integers(0, 1), kind=st.integers(0, 9)
    )
    def finalize(
        self, data: st.DataObject, client: Client, by: Client, worker: int, kind: int
    ) -> None:
        """Right and wrong CSRs, by anybody, at any time."""
        order = self._any(data, client.model.orders)
        if order is None:
            return
        names = order.names if kind > 2 else ("other.example",)
        payload = {"csr": csr(names) if kind else "AAAA"}
        expected = (200, "ok")
        if not kind:
            expected = (400, "badCSR")
        elif by is not client:
            expected = MISSING
        elif order.status != "ready":
            expected = NOT_READY
        elif kind <= 2:
            expected = (400, "badCSR")
        elif not order.is_proven:
            expected = (403, "unauthorized")
        document = self.expect(by, worker, order.finalize, payload, expected)
        if expected == (200, "ok") and by.model.is_valid:
            assert document["status"] == "valid"
            order.status, order.certificate = "valid", document["certificate"]
            pem = self.post(client, worker, document["certificate"], b"").body
            leaf = x509.load_pem_x509_certificates(pem)[0]
            order.der = leaf.public_bytes(Encoding.DER)

    @rule(data=st.data(), client=clients, by=clients, worker=st.integers(0, 1))
    def download(self, data: st.DataObject, client: Client, by: Client, worker: int) -> None:
        """Certificates are their owner's."""
        issued = [order for order in client.model.orders if order.certificate is not None]
        order = self._any(data, issued)
        if order is not None:
            assert order.certificate is not None
            reply = self.post(by, worker, order.certificate, b"")
            expected = (200, "ok") if by is client else MISSING
            assert outcome(reply) == (expected if by.model.is_valid else INACTIVE)

    @rule(data=st.data(), client=clients, by=clients, worker=st.integers(0, 1))
    def revoke(self, data: st.DataObject, client: Client, by: Client, worker: int) -> None:
        """Once, by the owner or who has proven all names too."""
        order = self._any(data, [each for each in client.model.orders if each.der])
        if order is None:
            return
        if by is not client and any(proof_of(name) in by.model.uncertain for name in order.names):
            return
        is_entitled = by is client or all(by.model.reusable(name) for name in order.names)
        expected = (200, "ok") if is_entitled else (403, "unauthorized")
        if is_entitled and order.is_revoked:
            expected = (400, "alreadyRevoked")
        url = by.chains[worker].client.urls.revoke_certificate
        reply = self.post(by, worker, url, {"certificate": b64(order.der), "reason": 4})
        assert outcome(reply) == (expected if by.model.is_valid else INACTIVE)
        order.is_revoked |= reply.status == 200

    @rule(data=st.data(), client=clients)
    def let_an_order_expire(self, data: st.DataObject, client: Client) -> None:
        """Its time is over."""
        order = self._any(data, client.model.orders)
        if order is not None:
            self._expire("orders", order.url)
            if order.is_open:
                order.status = "invalid"

    # ---- authorizations ---------------------------------------------------------------------

    @rule(
        data=st.data(),
        client=clients,
        by=clients,
        worker=st.integers(0, 1),
        kind=st.sampled_from((*TYPES, "dns-account-01")),
        is_valid=st.integers(0, 3),
    )
    def answer(
        self,
        data: st.DataObject,
        client: Client,
        by: Client,
        worker: int,
        kind: str,
        is_valid: int,
    ) -> None:
        """Starts a validation once, while the authorization is pending."""
        authorization = self._any(data, client.model.authorizations)
        if authorization is None:
            return
        validators = self.world.house.validators
        validators.problem = None if is_valid else REFUSED
        started = len(validators.tasks)
        url = authorization.url.replace("/authorization/", "/challenge/") + f"/{kind}"
        is_offered = by is client and kind in authorization.challenges
        expected = MISSING
        if is_offered:
            expected = (200, "ok") if authorization.may_be_answered(kind) else MALFORMED
        document = self.expect(by, worker, url, {}, expected)
        if expected != (200, "ok") or not client.model.is_valid:
            assert len(validators.tasks) == started
            return
        is_new = authorization.status == "pending" and (
            authorization.challenges[kind] == "pending" and kind not in authorization.answered
        )
        if is_new:
            authorization.answered.add(kind)
            self._running.append((client, authorization, kind))
            if not self._is_paused:
                self._conclude(is_valid=bool(is_valid))
        self.world.run(asyncio.sleep(0))
        assert len(validators.tasks) - started == int(is_new)
        shown = "processing" if kind in authorization.answered else authorization.challenges[kind]
        assert document["status"] == shown

    @precondition(lambda self: not self._is_paused)
    @rule()
    def pause(self) -> None:
        """From now on validations hang."""
        self.world.house.validators.gate.clear()
        self._is_paused = True

    @precondition(lambda self: self._is_paused)
    @rule(is_valid=st.booleans())
    def resume(self, is_valid: bool) -> None:
        """They all end in one way."""
        self.world.house.validators.problem = None if is_valid else REFUSED
        self._conclude(is_valid=is_valid)

    def _conclude(self, *, is_valid: bool) -> None:
        async def until_recorded() -> None:
            self.world.house.validators.gate.set()
            if running := set(self.world.house.worker._running):
                await asyncio.wait(running)

        self.world.run(until_recorded())
        self._is_paused = False
        running, self._running = self._running, []
        for client in self._all:
            results = [(each, kind) for owner, each, kind in running if owner is client]
            client.model.conclude(results, is_valid=is_valid)

    @rule(data=st.data(), client=clients, by=clients, worker=st.integers(0, 1))
    def give_up(self, data: st.DataObject, client: Client, by: Client, worker: int) -> None:
        """An authorization is deactivated, by its owner only."""
        authorization = self._any(data, client.model.authorizations)
        if authorization is None:
            return
        has_ended = authorization.status not in ("pending", "valid")
        expected = MISSING
        if by is client:
            expected = MALFORMED if has_ended else (200, "ok")
        payload = {"status": "deactivated"}
        document = self.expect(by, worker, authorization.url, payload, expected)
        if expected == (200, "ok") and client.model.is_valid:
            client.model.give_up(authorization)
            assert document["status"] == "deactivated"

    @rule(data=st.data(), client=clients)
    def let_an_authorization_expire(self, data: st.DataObject, client: Client) -> None:
        """Its time is over."""
        authorization = self._any(data, client.model.authorizations)
        if authorization is not None:
            self._expire("authorizations", authorization.url)
            client.model.expire(authorization)

    # ---- all as it must be ------------------------------------------------------------------

    @rule(data=st.data(), client=clients, by=clients, worker=st.integers(0, 1))
    def read(self, data: st.DataObject, client: Client, by: Client, worker: int) -> None:
        """Objects are as the model has them, and missing to strangers."""
        objects = [*client.model.orders, *client.model.authorizations]
        each = self._any(data, objects)
        if each is not None:
            expected = (200, "ok") if by is client else MISSING
            document = self.expect(by, worker, each.url, b"", expected)
            if by is client and client.model.is_valid:
                assert document["status"] == each.status

    def teardown(self) -> None:
        """Everything is looked at once more."""
        if self._is_paused:
            self.resume(is_valid=True)
        for client in self._all:
            if client.model.is_valid:
                for each in [*client.model.orders, *client.model.authorizations]:
                    document = self.expect(client, 0, each.url, b"", (200, "ok"))
                    assert (each.url, document["status"]) == (each.url, each.status)
        assert self.world.run(broken_invariants(self.world.database_url)) == {}

    def _any(self, data: st.DataObject, objects: list[T]) -> T | None:
        return data.draw(st.sampled_from(objects)) if objects else None

    def _expire(self, table: str, url: str) -> None:
        id_ = url.rpartition("/")[2]
        self.world.run(
            self.world.database.execute(
                f"UPDATE {table} SET expires_at = now() - interval '1 s' WHERE id = $1",
                parse_id(id_),
            )
        )


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    """A server for all sequences."""
    world = World(database_url)
    yield world
    world.stop()


def run_sequences(world: World, examples: int, steps: int, phases: tuple[Phase, ...]) -> None:
    """Run the machine over ``world``."""
    machine = type("ClientsOfWorld", (Clients,), {"world": world})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            phases=phases,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_short_sequences_end_as_the_model_says(world: World) -> None:
    run_sequences(world, examples=15, steps=30, phases=(Phase.generate,))


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_many_long_sequences_end_as_the_model_says(world: World) -> None:
    run_sequences(world, examples=500, steps=80, phases=tuple(Phase))
