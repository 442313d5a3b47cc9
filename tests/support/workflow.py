"""The use cases on a real database, with everything but the network as it runs."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from acme_server.workers.validation import ValidationWorker
from acme_server.workflow.accounts import AccountUseCases, NewAccountRequest
from acme_server.workflow.authority import Authority, Installation, NewAuthority
from acme_server.workflow.authorizations import AuthorizationUseCases
from acme_server.workflow.blockedkeys import BlockedKeys
from acme_server.workflow.certificates import CertificateUseCases
from acme_server.workflow.chains import Chains
from acme_server.workflow.clock import SystemClock
from acme_server.workflow.external_accounts import ExternalAccountUseCases
from acme_server.workflow.issuance import IssuanceUseCases
from acme_server.workflow.limits import LimitUseCases
from acme_server.workflow.orders import NewOrderRequest, OrderRules, OrderUseCases
from acme_server.workflow.preauthorizations import PreauthorizationUseCases
from acme_server.workflow.publication import PublicationUseCases
from acme_server.workflow.revocation import RevocationUseCases
from acme_server.workflow.sealing import MasterKey
from policy.limits import LimitRules
from policy.model.accounts import Caller
from policy.model.authorizations import Evidence, ValidationTask, Verdict
from policy.model.errors import ErrorKind, Problem
from policy.model.ids import AccountId
from policy.model.orders import Order
from policy.names import NameRules
from policy.profiles import TLS_SERVER, Profile
from storage.accounts import Accounts
from storage.authorizations import Authorizations
from storage.certificates import Certificates
from storage.crls import Crls
from storage.external_accounts import ExternalAccounts
from storage.failingnames import FailingNames
from storage.issuances import Issuances
from storage.issuers import Issuers
from storage.leases import Leases
from storage.limits import Limits
from storage.orders import Orders
from storage.pool import Database
from storage.preauthorizations import Preauthorizations
from storage.revocations import Revocations
from storage.secrets import SealedSecrets
from validators.causes import CAUSES

STATUS_URL = "http://status.example"
CHALLENGES = ("http-01", "dns-01", "tls-alpn-01")
NEW_AUTHORITY = NewAuthority(
    name="ca",
    common_name="Test",
    organization="Example",
    key_type="ec-p256",
    root_lifetime=timedelta(days=3650),
    issuing_lifetime=timedelta(days=1825),
    shards=4,
)


class ScriptedValidators:
    """A fake for the network: every validation ends as ``problem`` says, once ``gate`` is open."""

    def __init__(self) -> None:
        self.problem: Problem | None = None
        self.tasks: list[ValidationTask] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.is_full = False

    def has_room(self, account_id: AccountId) -> bool:
        """Whether it isn't full."""
        return not self.is_full

    async def validate(self, task: ValidationTask) -> Verdict:
        """The scripted verdict."""
        self.tasks.append(task)
        await self.gate.wait()
        return verdict_of(task, self.problem)


def verdict_of(task: ValidationTask, problem: Problem | None = None) -> Verdict:
    """A verdict as a validator gives it."""
    now = datetime.now(UTC)
    evidence = Evidence(
        method=task.type, perspective="primary", started_at=now, finished_at=now, facts={"seen": 1}
    )
    cause = None if problem is None else CAUSES.get(problem.cause or "")
    is_ours = cause is not None and cause.is_ours
    return Verdict(problem=problem, evidence=evidence, is_ours=is_ours)


REFUSED = Problem(kind=ErrorKind.CONNECTION, detail="refused", cause="connection_refused")


@dataclass
class House:
    """All use cases over one database."""

    database: Database
    accounts: AccountUseCases
    external_accounts: ExternalAccountUseCases
    orders: OrderUseCases
    authorizations: AuthorizationUseCases
    preauthorizations: PreauthorizationUseCases
    issuance: IssuanceUseCases
    certificates: CertificateUseCases
    publication: PublicationUseCases
    revocations: RevocationUseCases
    authority: Authority
    validators: ScriptedValidators
    worker: ValidationWorker
    master_key: MasterKey
    limits: LimitUseCases

    async def caller(self) -> Caller:
        """A new account, as the caller of its requests."""
        key = os.urandom(32)
        account, is_new = await self.accounts.register(
            NewAccountRequest(
                jwk=key,
                thumbprint=hashlib.sha256(key).digest(),
                spki_sha256=hashlib.sha256(b"spki" + key).digest(),
                contacts=(),
                terms_agreed=True,
                only_return_existing=False,
                address="192.0.2.1",
            )
        )
        assert is_new
        return Caller(account.id, account.thumbprint)

    async def order(self, caller: Caller, *names: str, profile: str | None = None) -> Order:
        """A new order for DNS names."""
        return await self.orders.create(
            caller,
            NewOrderRequest(
                unverified_identifiers=[("dns", name) for name in names],
                not_before=None,
                not_after=None,
                profile=profile,
            ),
        )

    async def ready_order(self, caller: Caller, *names: str, profile: str | None = None) -> Order:
        """An order whose authorizations are valid."""
        order = await self.order(caller, *names, profile=profile)
        for authorization_id in order.authorization_ids:
            authorization = await self.authorizations.get(caller, authorization_id)
            kind = authorization.challenges[0].type
            await self.authorizations.answer(caller, authorization_id, kind)
        return await self.orders.get(caller, order.id)


async def build_house(
    database: Database,
    master_key: MasterKey | None = None,
    *,
    with_root: bool = False,
    profiles: Sequence[Profile] = (TLS_SERVER,),
    blocked_keys: BlockedKeys | None = None,
    limits: LimitRules | None = None,
) -> House:
    """The use cases over ``database``, its CA made if there is none; ``with_root`` offers the
    chain with its root too. The first of ``profiles`` is the default."""
    clock = SystemClock()
    master_key = master_key or MasterKey(os.urandom(32))
    secrets = SealedSecrets(database)
    installation = Installation(Issuers(database), secrets, master_key, clock)
    await installation.establish(NEW_AUTHORITY, STATUS_URL)
    authority = await installation.load(STATUS_URL)
    rules = OrderRules(
        names=NameRules(ip=True),
        max_identifiers=100,
        profiles={profile.name: profile for profile in profiles},
        default_profile=profiles[0].name,
        issuer_not_after=authority.active.facts.not_after,
        challenge_types=CHALLENGES,
        order_lifetime=timedelta(days=7),
        pending_lifetime=timedelta(days=7),
        reuses_authorizations=True,
    )
    validators = ScriptedValidators()
    table = Authorizations(database)
    external_accounts = ExternalAccountUseCases(ExternalAccounts(database), master_key, clock)
    limiting = LimitUseCases(Limits(database), FailingNames(database), limits, clock)
    worker = ValidationWorker(
        table, validators, owner="test", deadline=timedelta(seconds=5), limits=limiting
    )
    return House(
        database=database,
        accounts=AccountUseCases(
            Accounts(database), clock, external_accounts, terms=None, limits=limiting
        ),
        external_accounts=external_accounts,
        orders=OrderUseCases(Orders(database), clock, rules, limiting),
        authorizations=AuthorizationUseCases(table, worker),
        preauthorizations=PreauthorizationUseCases(Preauthorizations(database), rules, limiting),
        issuance=IssuanceUseCases(
            Issuances(database),
            authority,
            clock,
            rules.profiles,
            names=rules.names,
            owner="test",
            blocked_keys=blocked_keys,
            limits=limiting,
        ),
        certificates=CertificateUseCases(
            Certificates(database), authority, Chains(authority, with_root=with_root)
        ),
        publication=PublicationUseCases(
            Crls(database),
            Certificates(database),
            Leases(database),
            authority,
            clock,
            owner="test",
            lifetime=timedelta(days=7),
            interval=timedelta(days=1),
        ),
        revocations=RevocationUseCases(Revocations(database)),
        authority=authority,
        validators=validators,
        worker=worker,
        master_key=master_key,
        limits=limiting,
    )


def csr_for(*names: str, key: ec.EllipticCurvePrivateKey | None = None) -> bytes:
    """A CSR in DER for DNS names."""
    builder = x509.CertificateSigningRequestBuilder(x509.Name([]))
    names_extension = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    request = builder.add_extension(names_extension, critical=False).sign(
        key or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()
    )
    return request.public_bytes(Encoding.DER)
