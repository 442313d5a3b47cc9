"""The one path to a certificate.

Every front end comes here with an ``IssuanceRequest``, and so does the server for its own TLS
certificate. The steps, in the order that keeps a CA honest:

1. find every fault of the client, changing nothing (an order stays ready);
2. build the exact bytes to be signed from the profile, lint them, let policy decide on them;
3. claim: commit serial and bytes together with the order's move to processing;
4. sign, verify the signature, and commit it together with the order's move to valid.

Whatever dies after step 3 leaves a reservation behind, which ``recover`` finishes: signing the
same bytes again where that is deterministic, else declaring the serial orphaned and revoked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType

import structlog

from acme_server.workflow.authority import Authority, SigningIssuer
from acme_server.workflow.blockedkeys import BlockedKeys
from acme_server.workflow.caa import CaaUseCases
from acme_server.workflow.clock import Clock, new_id
from acme_server.workflow.faults import fault
from acme_server.workflow.limits import LimitUseCases
from policy.csr import CertificateRequest, check_csr, jwk_thumbprint, parse_csr
from policy.decision import Denied, decide
from policy.model.accounts import Caller
from policy.model.authorizations import Authorization, AuthorizationStatus
from policy.model.certificates import Certificate, Reservation
from policy.model.errors import ErrorKind, Problem, ServerError
from policy.model.identifiers import Identifier
from policy.model.ids import CertificateId, OrderId
from policy.model.orders import Order, OrderStatus
from policy.names import NameRules
from policy.profiles import Profile
from storage.issuances import Issuances, KeyTaken, KeyUse, SerialTaken

_log = structlog.get_logger()

# A random serial that exists already is a broken generator; three in a row are beyond doubt.
_SERIAL_TRIES = 3
# From the claim to the signature; then another process takes the issuance for abandoned.
_LEASE = timedelta(seconds=30)
# What a denial by each rule is to the client; control of a name and all else: unauthorized.
_DENIALS: Mapping[str, ErrorKind] = MappingProxyType(
    {
        "count": ErrorKind.MALFORMED,
        "names": ErrorKind.REJECTED_IDENTIFIER,
        "key": ErrorKind.BAD_CSR,
        "validity": ErrorKind.MALFORMED,
        "must-staple": ErrorKind.BAD_CSR,
    }
)

_KEY_REFUSALS = {
    KeyUse.ACCOUNT: "The CSR's key is an account key; make a key of its own for the certificate.",
    KeyUse.BLOCKED: "The CSR's key was reported as compromised; make a new one.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """How control of one name was proven: by which method, and when."""

    identifier: Identifier
    method: str
    validated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuanceRequest:
    """What every front end asks of the issuance core.

    ``requester`` is who asks (``account:…``, ``system:…``), ``authentication`` how they showed
    it; ``proofs`` cover the identifiers that must be proven; ``names`` are the rules for names
    that hold for this way of asking.
    """

    requester: str
    authentication: str
    identifiers: tuple[Identifier, ...]
    proofs: tuple[Proof, ...]
    csr: CertificateRequest
    profile: Profile
    names: NameRules
    not_before: datetime | None = None
    not_after: datetime | None = None


class IssuanceUseCases:
    """Finalizing orders, issuing for the server itself, and finishing what others left."""

    def __init__(
        self,
        issuances: Issuances,
        authority: Authority,
        clock: Clock,
        profiles: Mapping[str, Profile],
        *,
        names: NameRules,
        owner: str,
        blocked_keys: BlockedKeys | None = None,
        caa: CaaUseCases | None = None,
        limits: LimitUseCases | None = None,
    ) -> None:
        self._issuances = issuances
        self._authority = authority
        self._clock = clock
        self._profiles = profiles
        self._names = names
        self._owner = owner
        self._blocked_keys = blocked_keys or BlockedKeys()
        self._caa = caa
        self._limits = limits or LimitUseCases()
        self._running: set[asyncio.Task[Order]] = set()

    async def finalize(self, caller: Caller, order_id: OrderId, csr_der: bytes) -> Order:
        """The order with its certificate (RFC 8555, section 7.4).

        Raises ServerError: BAD_CSR (the order stays ready), ORDER_NOT_READY, NOT_FOUND, CAA,
        DNS, or what policy refuses. Once claimed, the issuance ends even if the caller goes away.
        """
        csr = parse_csr(csr_der)
        found = await self._issuances.read(caller, order_id, jwk_thumbprint(csr.key))
        if found is None:
            raise ServerError(ErrorKind.NOT_FOUND, "There is no such order.")
        order, authorizations, key_use = found
        if order.status is not OrderStatus.READY:
            raise _not_ready(order)
        if key_use is not None:
            raise ServerError(ErrorKind.BAD_CSR, _KEY_REFUSALS[key_use])
        profile = self._pinned_profile(order)
        check_csr(
            csr,
            order.identifiers,
            purposes=profile.extended_key_usages,
            allows_must_staple=profile.allows_must_staple,
        )
        if self._caa is not None:
            await self._caa.check(caller, order.identifiers, authorizations)
        request = IssuanceRequest(
            requester=f"account:{caller.account_id}",
            authentication="acme",
            identifiers=order.identifiers,
            proofs=_proofs(authorizations),
            csr=csr,
            profile=profile,
            names=self._names,
            not_before=order.not_before,
            not_after=order.not_after,
        )
        running = asyncio.get_running_loop().create_task(self._issue(caller, order, request))
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return await asyncio.shield(running)

    async def issue_internal(self, request: IssuanceRequest) -> tuple[CertificateId, bytes]:
        """A certificate for this server itself, without an order: its id and DER."""
        issuer = self._authority.for_profile(request.profile)
        reservation = self._reserve(request, issuer)
        await self._issuances.reserve_internal(
            reservation, requester=request.requester, owner=self._owner, lease=_LEASE
        )
        signature = await issuer.sign(reservation.tbs)
        await self._issuances.complete(reservation.id, signature)
        return reservation.id, issuer.assemble(reservation.tbs, signature)

    async def recover(self, limit: int = 20) -> int:
        """Finish issuances whose process died after the claim; the number finished."""
        abandoned = await self._issuances.take_abandoned(self._owner, _LEASE, limit)
        for certificate in abandoned:
            await self._finish(certificate)
        return len(abandoned)

    async def drain(self, grace: float) -> None:
        """Wait up to ``grace`` seconds for issuances and advisory checks under way."""
        if self._running:
            await asyncio.wait(self._running, timeout=grace)
        if self._caa is not None:
            await self._caa.drain(grace)

    async def _issue(self, caller: Caller, order: Order, request: IssuanceRequest) -> Order:
        issuer = self._authority.for_profile(request.profile)
        fault("before_claim")
        async with self._limits.certificate(request.identifiers):
            reservation = await self._claim(caller, order, request, issuer)
        fault("claimed")
        signature = await issuer.sign(reservation.tbs)
        fault("signed")
        if not await self._issuances.complete(reservation.id, signature):
            # Recovery of another process was faster: it signed the same bytes.
            _log.warning("issuance_completed_elsewhere", order=str(order.id))
        fault("completed")
        await self._limits.issued(request.identifiers)
        return replace(order, status=OrderStatus.VALID, certificate_id=reservation.id)

    async def _claim(
        self, caller: Caller, order: Order, request: IssuanceRequest, issuer: SigningIssuer
    ) -> Reservation:
        for _ in range(_SERIAL_TRIES):
            reservation = self._reserve(request, issuer)
            try:
                if await self._issuances.claim(
                    caller,
                    order.id,
                    reservation,
                    jwk_thumbprint(request.csr.key),
                    owner=self._owner,
                    lease=_LEASE,
                ):
                    return reservation
            except KeyTaken as taken:
                raise ServerError(ErrorKind.BAD_CSR, _KEY_REFUSALS[taken.use]) from taken
            except SerialTaken:
                _log.error("serial_taken", order=str(order.id))
                continue
            raise ServerError(
                ErrorKind.ORDER_NOT_READY,
                "The order is no longer ready: another request finalized it, or one of its "
                "authorizations ended.",
            )
        raise RuntimeError("the random generator repeats serial numbers")

    def _reserve(self, request: IssuanceRequest, issuer: SigningIssuer) -> Reservation:
        """What will be signed: built from the profile, decided on by policy, and linted.

        Raises ServerError for what policy refuses, LintFailed.
        """
        now = self._clock.now()
        template = issuer.template(
            profile=request.profile,
            csr=request.csr,
            identifiers=request.identifiers,
            now=now,
            not_before=request.not_before,
            not_after=request.not_after,
        )
        decision = decide(
            template,
            request.proofs,
            request.names,
            now=now,
            blocklist=self._blocked_keys.current,
        )
        if isinstance(decision, Denied):
            _log.warning("issuance_denied", requester=request.requester, rule=decision.rule)
            raise ServerError(
                _DENIALS.get(decision.rule, ErrorKind.UNAUTHORIZED),
                f"The certificate is refused: {decision.reason}.",
            )
        return issuer.reserve(CertificateId(new_id()), template)

    async def _finish(self, certificate: Certificate) -> None:
        issuer = self._authority.get(certificate.issuer)
        if issuer.is_deterministic:
            signature = await issuer.sign(certificate.tbs)
            recovered = await self._issuances.complete(certificate.id, signature)
        else:
            recovered = await self._issuances.orphan(
                certificate.id,
                Problem(
                    kind=ErrorKind.SERVER_INTERNAL,
                    detail="The outcome of signing was lost; place a new order.",
                ),
            )
        _log.warning(
            "issuance_recovered" if recovered else "issuance_recovered_elsewhere",
            certificate=str(certificate.id),
            order=str(certificate.order_id),
        )

    def _pinned_profile(self, order: Order) -> Profile:
        profile = self._profiles.get(order.profile)
        if profile is None or profile.version != order.profile_version:
            happened = "is no longer offered" if profile is None else "changed"
            raise ServerError(
                ErrorKind.INVALID_PROFILE,
                f"The profile {order.profile} {happened} since the order was placed; "
                "place a new order.",
            )
        return profile


def _proofs(authorizations: tuple[Authorization, ...]) -> tuple[Proof, ...]:
    """The proofs that valid authorizations are; storage claims only if they all still hold."""
    return tuple(
        Proof(
            identifier=authorization.identifier,
            method=challenge.type,
            validated_at=challenge.validated_at,
        )
        for authorization in authorizations
        if authorization.status is AuthorizationStatus.VALID
        for challenge in authorization.challenges
        if challenge.validated_at is not None
    )


def _not_ready(order: Order) -> ServerError:
    return ServerError(
        ErrorKind.ORDER_NOT_READY,
        f"The order is {order.status}; it can be finalized once, and only when it is ready.",
    )
