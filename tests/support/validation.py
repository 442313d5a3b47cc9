"""Validators wired as in production, with short deadlines and a record of every contact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_network
from uuid import UUID, uuid4

from policy.model.authorizations import ValidationTask, Verdict
from policy.model.errors import Problem
from policy.model.identifiers import Identifier, IdentifierType
from policy.model.ids import AccountId, AuthorizationId
from validators.addresses import Endpoint, NetworkMode, NetworkPolicy
from validators.caa import CaaChecker
from validators.dns01 import Dns01Validator
from validators.dnsaccount01 import DnsAccount01Validator
from validators.dnspersist01 import DnsPersist01Validator
from validators.http01 import Http01Validator, HttpSettings
from validators.keyauth import key_authorization
from validators.nameservers import ResolverTrust, Server
from validators.network import Dialer
from validators.registry import CaaPolicy, RetrySettings, Validators
from validators.resolver import DnsSettings, Resolver
from validators.scheduling import LoadSettings
from validators.sockets import Sockets
from validators.tlsalpn01 import TlsAlpn01Validator

TOKEN = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
THUMBPRINT = bytes(range(32))
KEY_AUTHORIZATION = key_authorization(TOKEN, THUMBPRINT).encode()
PATH = f"/.well-known/acme-challenge/{TOKEN}"
NAME = "www.example.test"
# Long enough for a loaded machine, and not waited for by tests that expect an answer.
PATIENT = timedelta(seconds=20)
SHORT = timedelta(milliseconds=150)
CAA_IDENTITY = "ca.example"
ISSUERS = ("authority.example", "ca.example")


def account_url(account_id: AccountId) -> str:
    """The URL of an account, as CAA records name it."""
    return f"https://acme.example/acme/account/{account_id}"


def make_task(
    name: str = NAME,
    challenge: str = "http-01",
    *,
    wildcard: bool = False,
    account: int = 1,
    thumbprint: bytes = THUMBPRINT,
    token: str = TOKEN,
) -> ValidationTask:
    """A claimed challenge; ``name`` is a domain name or, with ``ip:`` before it, an address."""
    kind = IdentifierType.IP if name.startswith("ip:") else IdentifierType.DNS
    return ValidationTask(
        authorization_id=AuthorizationId(uuid4()),
        account_id=AccountId(UUID(int=account)),
        identifier=Identifier(kind, name.removeprefix("ip:")),
        wildcard=wildcard,
        type=challenge,
        token=token,
        thumbprint=thumbprint,
        attempt=1,
    )


@dataclass(kw_only=True)
class Lab:
    """Settings to change before ``validate``. Only ``allowed`` addresses of loopback are open,
    so that 127.0.0.1 is as forbidden as in production."""

    dns: tuple[Server, ...] = ()
    zones: tuple[tuple[str, tuple[Server, ...]], ...] = ()
    trust: ResolverTrust | None = None
    demands_authentic: bool = False
    allowed: tuple[str, ...] = ("127.0.0.2/32", "127.0.0.3/32")
    mode: NetworkMode = NetworkMode.INTERNAL
    denied: frozenset[Endpoint] = frozenset()
    http_port: int = 80
    tls_port: int = 443
    redirect_ports: frozenset[int] = frozenset()
    connect_timeout: timedelta = PATIENT
    handshake_timeout: timedelta = PATIENT
    response_timeout: timedelta = PATIENT
    body_timeout: timedelta = PATIENT
    dns_timeout: timedelta = PATIENT
    dns_lifetime: timedelta = PATIENT
    dns_rounds: int = 1
    deadline: timedelta = PATIENT
    attempts: int = 1
    localhost_names: bool = False
    randomize_case: bool = True
    load: LoadSettings = field(default_factory=LoadSettings)
    # None: CAA is off; else whether it is enforced.
    caa: bool | None = None
    caa_lifetime: timedelta = PATIENT
    account_url: Callable[[AccountId], str] = account_url
    contacts: list[tuple[str, Endpoint]] = field(default_factory=list)

    async def validate(self, task: ValidationTask) -> Verdict:
        """The verdict of freshly made validators."""
        return await self.validators().validate(task)

    async def failure(self, task: ValidationTask) -> Problem:
        """The problem of a validation that must fail."""
        verdict = await self.validate(task)
        assert verdict.problem is not None, verdict.evidence.facts
        return verdict.problem

    def dialled(self) -> list[Endpoint]:
        """The endpoints that TCP connections went to, resolvers apart."""
        return [
            endpoint
            for transport, endpoint in self.contacts
            if transport == "tcp" and endpoint not in self.dns
        ]

    def validators(self) -> Validators:
        """The composition, as ``acme_server.app`` makes it."""
        sockets = Sockets(lambda transport, to: self.contacts.append((transport, to)))
        resolver = self.resolver(sockets)
        dialer = self.dialer(resolver, sockets)
        http = HttpSettings(
            port=self.http_port,
            redirect_ports=frozenset({80, 443, self.http_port, *self.redirect_ports}),
            response_timeout=self.response_timeout,
            body_timeout=self.body_timeout,
        )
        return Validators(
            {
                "http-01": Http01Validator(dialer, http),
                "dns-01": Dns01Validator(resolver),
                "dns-account-01": DnsAccount01Validator(resolver, self.account_url),
                "dns-persist-01": DnsPersist01Validator(
                    resolver, issuers=ISSUERS, account_url=self.account_url
                ),
                "tls-alpn-01": TlsAlpn01Validator(dialer, self.tls_port),
            },
            deadline=self.deadline,
            retries=RetrySettings(attempts=self.attempts, delay=timedelta(0)),
            load=self.load,
            caa=None
            if self.caa is None
            else CaaPolicy(checker=self.caa_checker(resolver), is_enforced=self.caa),
        )

    def caa_checker(self, resolver: Resolver | None = None) -> CaaChecker:
        """The checker of CAA records alone."""
        return CaaChecker(
            resolver or self.resolver(),
            identities=(CAA_IDENTITY,),
            account_url=self.account_url,
            lifetime=self.caa_lifetime,
        )

    def resolver(self, sockets: Sockets | None = None) -> Resolver:
        """The resolver alone."""
        settings = DnsSettings(
            servers=self.dns,
            zones=self.zones,
            trust=self.trust,
            demands_authentic=self.demands_authentic,
            timeout=self.dns_timeout,
            rounds=self.dns_rounds,
            lifetime=self.dns_lifetime,
            localhost_names=self.localhost_names,
            randomize_case=self.randomize_case,
        )
        return Resolver(settings, sockets or Sockets())

    def dialer(self, resolver: Resolver, sockets: Sockets) -> Dialer:
        """The dialler alone."""
        policy = NetworkPolicy(
            mode=self.mode,
            allowed_networks=tuple(map(ip_network, self.allowed)),
            denied_endpoints=self.denied,
        )
        return Dialer(
            resolver,
            sockets,
            policy,
            connect_timeout=self.connect_timeout,
            handshake_timeout=self.handshake_timeout,
        )
