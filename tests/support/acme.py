"""The ACME front end on a socket, and a client of it.

Over use cases in memory for what the front end decides by itself (shapes, signatures, URLs,
nonces, rendering), over the database for the rest.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID, uuid4

from acme_server.acme.directory import DirectoryMeta
from acme_server.acme.server import AcmeFrontEnd
from acme_server.web.connections import Limits
from acme_server.web.edge import Edge
from acme_server.web.routes import Routes
from acme_server.web.urls import Urls
from acme_server.workflow.accounts import AccountUseCases, NewAccountRequest
from acme_server.workflow.certificates import CertificateChain
from acme_server.workflow.clock import SystemClock
from acme_server.workflow.key_changes import KeyChangeRequest, KeyChangeUseCases
from acme_server.workflow.nonces import NonceSeal, NonceUseCases
from acme_server.workflow.orders import NewOrderRequest
from policy.keys import AccountKey, check_account_key
from policy.model.accounts import Account, AccountStatus, Caller
from policy.model.authorizations import (
    Authorization,
    AuthorizationStatus,
    Challenge,
    ChallengeStatus,
)
from policy.model.errors import CallerStale, ErrorKind, ServerError
from policy.model.identifiers import Identifier, IdentifierType
from policy.model.ids import (
    AccountId,
    AuthorizationId,
    CertificateId,
    OrderId,
    encode_id,
    time_ordered_id,
)
from policy.model.orders import Order, OrderStatus
from storage.accounts import Accounts
from storage.keychanges import KeyChanges
from storage.nonces import NonceLedger, RedeemResult
from support.edge import Reply, Served, Wire, listener
from support.jose import ClientKey
from support.workflow import House

EXTERNAL_URL = "https://acme.example"
JOSE = "application/jose+json"
LATER = datetime(2026, 12, 24, 18, 0, 0, 123456, tzinfo=UTC)


def any_id() -> UUID:
    """An id of a kind that the server makes."""
    return time_ordered_id(int(time.time() * 1000), uuid4().bytes[:10])


class FakeAccounts:
    """``workflow.accounts.AccountUseCases`` in memory."""

    def __init__(self) -> None:
        self.accounts: dict[AccountId, Account] = {}
        self.requests: list[NewAccountRequest] = []
        self.updates: list[tuple[str, ...]] = []
        self.forgotten: list[AccountId] = []
        self.refusal: ServerError | None = None

    async def authenticate(self, account_id: AccountId) -> Account:
        """The account if it is valid."""
        account = self.accounts.get(account_id)
        if account is None:
            raise ServerError(ErrorKind.ACCOUNT_DOES_NOT_EXIST, "No such account.")
        if account.status is not AccountStatus.VALID:
            raise ServerError(ErrorKind.ACCOUNT_INACTIVE, "The account is not valid.")
        return account

    async def refresh(self, account_id: AccountId) -> Account:
        """The account as it is now."""
        self.forget(account_id)
        return await self.authenticate(account_id)

    def forget(self, account_id: AccountId) -> None:
        """Noted."""
        self.forgotten.append(account_id)

    async def get(self, caller: Caller) -> Account:
        """As ``authenticate``."""
        return await self.authenticate(caller.account_id)

    async def register(self, request: NewAccountRequest) -> tuple[Account, bool]:
        """One account per key."""
        if self.refusal is not None:
            raise self.refusal
        self.requests.append(request)
        for account in self.accounts.values():
            if account.thumbprint == request.thumbprint:
                return account, False
        account = Account(
            id=AccountId(any_id()),
            status=AccountStatus.VALID,
            jwk=request.jwk,
            thumbprint=request.thumbprint,
            contacts=request.contacts,
            terms_agreed="https://acme.example/terms" if request.terms_agreed else None,
            created_at=LATER,
        )
        self.accounts[account.id] = account
        return account, True

    async def check_terms(self, account: Account) -> None:
        """There are none."""

    async def update(
        self, caller: Caller, *, contacts: tuple[str, ...] | None, agrees_to_terms: bool
    ) -> Account:
        """The account with other contacts."""
        if contacts is None:
            return await self.get(caller)
        self.updates.append(contacts)
        account = replace(self.accounts[caller.account_id], contacts=contacts)
        self.accounts[account.id] = account
        return account

    async def deactivate(self, caller: Caller) -> Account:
        """The account, deactivated."""
        account = replace(self.accounts[caller.account_id], status=AccountStatus.DEACTIVATED)
        self.accounts[account.id] = account
        return account


class FakeLedger:
    """``storage.nonces.NonceLedger`` in memory: accepts each nonce once, for an hour."""

    def __init__(self) -> None:
        self.redeemed: set[bytes] = set()
        self.epoch = b"epoch--1"

    async def redeem(self, batch: list[tuple[bytes, int]]) -> RedeemResult:
        """Those of the batch that are new and not old."""
        fresh = {nonce for nonce, second in batch if second > time.time() - 3600} - self.redeemed
        self.redeemed |= fresh
        return RedeemResult(accepted=fresh, epoch=self.epoch, now=time.time())


class FakeOrders:
    """``workflow.orders.OrderUseCases`` and finalization with one order to give."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.requests: list[NewOrderRequest] = []
        self.csrs: list[bytes] = []
        self.before_create: Callable[[], None] | None = None

    async def create(self, caller: Caller, request: NewOrderRequest) -> Order:
        """The order."""
        if self.before_create is not None:
            self.before_create()
        self.requests.append(request)
        return self.order

    async def get(self, caller: Caller, order_id: OrderId) -> Order:
        """The order if it is the one."""
        if order_id != self.order.id:
            raise ServerError(ErrorKind.NOT_FOUND, "There is no such order.")
        return self.order

    async def finalize(self, caller: Caller, order_id: OrderId, csr: bytes) -> Order:
        """``workflow.issuance.IssuanceUseCases``."""
        order = await self.get(caller, order_id)
        self.csrs.append(csr)
        return order


class FakeAuthorizations:
    """``workflow.authorizations.AuthorizationUseCases`` with one authorization."""

    def __init__(self, authorization: Authorization) -> None:
        self.authorization = authorization
        self.answers: list[str] = []
        self.deactivations = 0
        self.requests: list[tuple[str, str]] = []
        self.is_new = True

    async def get(self, caller: Caller, authorization_id: AuthorizationId) -> Authorization:
        """The authorization if it is the one."""
        if authorization_id != self.authorization.id:
            raise ServerError(ErrorKind.NOT_FOUND, "There is no such authorization.")
        return self.authorization

    async def answer(
        self, caller: Caller, authorization_id: AuthorizationId, challenge_type: str
    ) -> Authorization:
        """Noted; the challenge is not changed."""
        authorization = await self.get(caller, authorization_id)
        self.answers.append(challenge_type)
        return authorization

    async def create(
        self, caller: Caller, unverified_identifier: tuple[str, str]
    ) -> tuple[Authorization, bool]:
        """``workflow.preauthorizations.PreauthorizationUseCases``: the authorization, as new."""
        self.requests.append(unverified_identifier)
        return self.authorization, self.is_new

    async def deactivate(self, caller: Caller, authorization_id: AuthorizationId) -> Authorization:
        """Noted."""
        authorization = await self.get(caller, authorization_id)
        self.deactivations += 1
        return replace(authorization, status=AuthorizationStatus.DEACTIVATED)


class FakeCertificates:
    """``workflow.certificates.CertificateUseCases`` with one certificate."""

    def __init__(self) -> None:
        self.id = CertificateId(any_id())
        self.chain = CertificateChain(
            certificate=b"leaf",
            issuers=(b"issuing", b"cross"),
            alternates=(),
            issuer_url="http://status.example/ca/ca.crt",
        )

    async def get(self, caller: Caller, certificate_id: CertificateId) -> CertificateChain:
        """The chain if it is the one."""
        if certificate_id != self.id:
            raise ServerError(ErrorKind.NOT_FOUND, "There is no such certificate.")
        return self.chain


class FakeRevocations:
    """``workflow.revocation.RevocationUseCases``, which revokes nothing."""

    def __init__(self) -> None:
        self.requests: list[tuple[Caller | bytes, bytes, int | None]] = []

    async def revoke_for(self, caller: Caller, certificate: bytes, reason: int | None) -> None:
        """Noted."""
        self.requests.append((caller, certificate, reason))

    async def revoke_with(
        self, key: object, thumbprint: bytes, certificate: bytes, reason: int | None
    ) -> None:
        """Noted."""
        self.requests.append((thumbprint, certificate, reason))


class FakeKeyChanges:
    """``workflow.key_changes.KeyChangeUseCases``, which changes no key."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []

    async def change(self, caller: Caller, request: KeyChangeRequest) -> Account:
        """Noted."""
        self.requests.append(request.thumbprint)
        raise ServerError(ErrorKind.UNAVAILABLE, "No key is changed here.")


@dataclass
class Fakes:
    """All that stands behind the front end."""

    accounts: FakeAccounts = field(default_factory=FakeAccounts)
    ledger: FakeLedger = field(default_factory=FakeLedger)
    orders: FakeOrders = field(default_factory=lambda: FakeOrders(any_order()))
    authorizations: FakeAuthorizations = field(
        default_factory=lambda: FakeAuthorizations(any_authorization())
    )
    certificates: FakeCertificates = field(default_factory=FakeCertificates)
    revocations: FakeRevocations = field(default_factory=FakeRevocations)
    key_changes: FakeKeyChanges = field(default_factory=FakeKeyChanges)

    def state(self) -> object:
        """What requests may have changed, to be compared."""
        return repr(
            (
                self.accounts.accounts,
                self.accounts.requests,
                self.accounts.updates,
                self.orders.requests,
                self.orders.csrs,
                self.authorizations.answers,
                self.authorizations.deactivations,
                self.revocations.requests,
                self.key_changes.requests,
                self.authorizations.requests,
            )
        )

    def make_stale(self, *, is_deactivated: bool) -> None:
        """Let newOrder find that the account changed since the signature was checked."""

        def find_out() -> None:
            for account in list(self.accounts.accounts.values()) if is_deactivated else ():
                self.accounts.accounts[account.id] = replace(
                    account, status=AccountStatus.DEACTIVATED
                )
            raise CallerStale

        self.orders.before_create = find_out


def any_order(**changes: Any) -> Order:
    """An order, pending unless said otherwise."""
    values: dict[str, Any] = {
        "id": OrderId(any_id()),
        "account_id": AccountId(any_id()),
        "status": OrderStatus.PENDING,
        "identifiers": (Identifier(IdentifierType.DNS, "*.a.example"),),
        "authorization_ids": (AuthorizationId(any_id()),),
        "profile": "default",
        "profile_version": "1",
        "not_before": None,
        "not_after": None,
        "created_at": LATER,
        "expires_at": LATER,
    }
    return Order(**{**values, **changes})


def any_authorization(**changes: Any) -> Authorization:
    """An authorization with two challenges, pending unless said otherwise."""
    values: dict[str, Any] = {
        "id": AuthorizationId(any_id()),
        "account_id": AccountId(any_id()),
        "order_id": OrderId(any_id()),
        "identifier": Identifier(IdentifierType.DNS, "a.example"),
        "wildcard": False,
        "status": AuthorizationStatus.PENDING,
        "expires_at": LATER,
        "challenges": tuple(
            Challenge(type=kind, status=ChallengeStatus.PENDING, token="token")
            for kind in ("http-01", "dns-01")
        ),
    }
    return Authorization(**{**values, **changes})


class AcmeServed(Served):
    """The ACME front end on a port."""

    def __init__(self, edge: Edge, port: int, urls: Urls) -> None:
        super().__init__(edge, port)
        self.urls = urls

    async def client(self, algorithm: str = "ES256") -> AcmeClient:
        """A client with a new key and no account."""
        return AcmeClient(self, await self.connect(), ClientKey.generate(algorithm))

    async def connection_of(self, client: AcmeClient) -> AcmeClient:
        """Another connection of the same client."""
        other = AcmeClient(self, await self.connect(), client.key)
        other.kid = client.kid
        return other

    async def registered(self, algorithm: str = "ES256") -> AcmeClient:
        """A client with an account."""
        client = await self.client(algorithm)
        await client.register()
        return client


class FakeServed(AcmeServed):
    """The ACME front end over use cases in memory."""

    def __init__(self, edge: Edge, port: int, urls: Urls, fakes: Fakes) -> None:
        super().__init__(edge, port, urls)
        self.fakes = fakes


class AcmeClient:
    """A client on one connection, which can do everything wrong."""

    def __init__(self, served: AcmeServed, wire: Wire, key: ClientKey) -> None:
        self.urls = served.urls
        self.key = key
        self.kid: str | None = None
        self.wire = wire

    async def request(
        self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Any request."""
        self._send(method, target, body, headers or {})
        return await self.wire.reply(to_head=method == "HEAD")

    def start(self, url: str, document: object) -> None:
        """POST a JWS and don't wait for the answer."""
        target = url.removeprefix(self.urls.origin)
        self._send("POST", target, json.dumps(document).encode(), {"Content-Type": JOSE})

    async def nonce(self) -> str:
        """A fresh nonce."""
        target = self.urls.new_nonce.removeprefix(self.urls.origin)
        return (await self.request("HEAD", target)).headers["replay-nonce"]

    async def send(self, url: str, document: object, content_type: str | None = JOSE) -> Reply:
        """POST a JWS, or bytes as they are, to the target of ``url``."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        headers = {} if content_type is None else {"Content-Type": content_type}
        return await self.request("POST", url.removeprefix(self.urls.origin), body, headers)

    async def header(self, url: str) -> dict[str, Any]:
        """A right protected header for a request to ``url``."""
        who = {"jwk": self.key.jwk} if self.kid is None else {"kid": self.kid}
        return {"alg": self.key.algorithm, **who, "nonce": await self.nonce(), "url": url}

    async def post(self, url: str, payload: object) -> Reply:
        """A right request."""
        return await self.send(url, self.key.sign(await self.header(url), payload))

    async def read(self, url: str) -> Reply:
        """A right POST-as-GET."""
        return await self.post(url, b"")

    async def register(self) -> Reply:
        """Get an account, with which the requests that follow are signed."""
        self.kid = None
        reply = await self.post(self.urls.new_account, {"termsOfServiceAgreed": True})
        assert reply.status in (200, 201)
        self.kid = reply.headers["location"]
        return reply

    def _send(self, method: str, target: str, body: bytes, headers: Mapping[str, str]) -> None:
        lines = {"Host": "acme.example", "Content-Length": str(len(body)), **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.wire.send(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)

    @property
    def account_id(self) -> str:
        """The account's id as in URLs."""
        assert self.kid is not None
        return self.kid.rpartition("/")[2]


@contextlib.asynccontextmanager
async def serve_acme(
    meta: DirectoryMeta | None = None,
    external_url: str = EXTERNAL_URL,
    check_key: Callable[[AccountKey], None] = check_account_key,
) -> AsyncIterator[FakeServed]:
    """Run the front end over fakes for the length of a test."""
    fakes = Fakes()
    nonces = NonceUseCases(cast("Any", fakes.ledger), NonceSeal(bytes(32)))
    await nonces.start()
    urls = Urls(external_url)
    front_end = AcmeFrontEnd(
        urls=urls,
        meta=meta or DirectoryMeta(),
        accounts=cast("Any", fakes.accounts),
        orders=cast("Any", fakes.orders),
        authorizations=cast("Any", fakes.authorizations),
        check_key=check_key,
        preauthorizations=cast("Any", fakes.authorizations),
        issuance=cast("Any", fakes.orders),
        certificates=cast("Any", fakes.certificates),
        revocations=cast("Any", fakes.revocations),
        key_changes=cast("Any", fakes.key_changes),
        nonces=nonces,
    )
    edge, port = await _listen(front_end)
    served = FakeServed(edge, port, urls, fakes)
    try:
        yield served
    finally:
        await served.close()


@contextlib.asynccontextmanager
async def serve_house(
    house: House,
    *,
    terms: str | None = None,
    requires_binding: bool = False,
    check_key: Callable[[AccountKey], None] = check_account_key,
    issuer_names: Sequence[str] = (),
) -> AsyncIterator[AcmeServed]:
    """Run the front end over the use cases on a database; several times makes several workers."""
    nonces = NonceUseCases(NonceLedger(house.database), NonceSeal(bytes(32)))
    await nonces.start()
    urls = Urls(EXTERNAL_URL)
    accounts = AccountUseCases(
        Accounts(house.database),
        SystemClock(),
        house.external_accounts,
        terms=terms,
        requires_binding=requires_binding,
        limits=house.limits,
    )
    front_end = AcmeFrontEnd(
        urls=urls,
        meta=DirectoryMeta(terms_of_service=terms, external_account_required=requires_binding),
        accounts=accounts,
        orders=house.orders,
        authorizations=house.authorizations,
        preauthorizations=house.preauthorizations,
        issuance=house.issuance,
        certificates=house.certificates,
        revocations=house.revocations,
        key_changes=KeyChangeUseCases(KeyChanges(house.database), accounts),
        nonces=nonces,
        check_key=check_key,
        issuer_names=issuer_names,
    )
    edge, port = await _listen(front_end)
    served = AcmeServed(edge, port, urls)
    try:
        yield served
    finally:
        await served.close()


async def _listen(front_end: AcmeFrontEnd) -> tuple[Edge, int]:
    edge = Edge(Routes(front_end, front_end.routes()), limits=Limits())
    sock = listener()
    port = sock.getsockname()[1]
    await edge.listen(sock)
    return edge, port


def encoded(id_: UUID) -> str:
    """An id as in URLs."""
    return encode_id(id_)
