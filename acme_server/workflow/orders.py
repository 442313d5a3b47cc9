"""Orders: from the names a client asks for to an order with authorizations (RFC 8555, 7.4)."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from acme_server.workflow.clock import Clock, new_id
from acme_server.workflow.faults import fault
from acme_server.workflow.limits import LimitUseCases
from policy.model.accounts import Caller
from policy.model.authorizations import NewAuthorization
from policy.model.errors import ErrorKind, ServerError
from policy.model.identifiers import Identifier, IdentifierType
from policy.model.ids import AuthorizationId, OrderId
from policy.model.orders import NewOrder, Order, OrderStatus
from policy.names import NameRules, check_identifiers
from policy.profiles import Profile
from storage.orders import Orders

# RFC 8555, section 8.1 asks for at least 128 bits of entropy in a token.
_TOKEN_BYTES = 24
ORDERS_PER_PAGE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOrderRequest:
    """What a newOrder request asks for, its names as (type, value) not yet checked."""

    unverified_identifiers: Sequence[tuple[str, str]]
    not_before: datetime | None
    not_after: datetime | None
    profile: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRules:
    """What this installation lets orders be."""

    names: NameRules
    max_identifiers: int
    profiles: Mapping[str, Profile]
    default_profile: str
    issuer_not_after: datetime
    challenge_types: tuple[str, ...]
    order_lifetime: timedelta
    pending_lifetime: timedelta
    reuses_authorizations: bool
    # How long after its proof an authorization is valid.
    authorization_lifetime: timedelta = timedelta.max

    def reuses_for(self, profile: Profile, now: datetime) -> bool:
        """Whether an order takes authorizations that are valid already: not where some may be
        older than the profile allows."""
        oldest = profile.oldest_proof(now)
        is_recent = oldest is None or self.authorization_lifetime <= oldest
        return self.reuses_authorizations and is_recent

    def adopts_for(self, profile: Profile, now: datetime) -> bool:
        """Whether an order takes a proof that was made ahead for no order: it is at most as old
        as clients have time to prove control."""
        oldest = profile.oldest_proof(now)
        return oldest is None or self.pending_lifetime <= oldest

    def offered(self, profile: Profile) -> tuple[str, ...]:
        """The challenge types that both this installation and the profile accept."""
        return tuple(kind for kind in self.challenge_types if kind in profile.challenge_types)

    def new_authorization(self, identifier: Identifier, profile: Profile) -> NewAuthorization:
        """What proves control of an identifier that ``refusal_of`` has nothing against."""
        return NewAuthorization(
            id=AuthorizationId(new_id()),
            identifier=identifier.base,
            wildcard=identifier.is_wildcard,
            token=new_token(),
            challenge_types=_suited(identifier, self.offered(profile)),
        )

    def refusal_of(self, identifier: Identifier, profile: Profile) -> str | None:
        """Why no certificate of the profile can name the identifier; None if one can."""
        if identifier.type not in profile.identifier_types:
            return (
                f"Certificates of the profile {profile.name} name no identifiers of type "
                f"{identifier.type}"
            )
        if not _suited(identifier, self.offered(profile)):
            return (
                f"Control of {identifier.value} can't be proven here: no challenge type that "
                "would do is offered"
            )
        return None


@dataclass(frozen=True, slots=True)
class OrderPage:
    """A part of an account's orders, newest first; ``before`` is where the next part begins, None
    if this is the last."""

    orders: Sequence[Order]
    before: OrderId | None


class OrderUseCases:
    """What an account can do with its orders."""

    def __init__(
        self,
        orders: Orders,
        clock: Clock,
        rules: OrderRules,
        limits: LimitUseCases | None = None,
    ) -> None:
        self._orders = orders
        self._limits = limits or LimitUseCases()
        self._clock = clock
        self._rules = rules

    async def create(self, caller: Caller, request: NewOrderRequest) -> Order:
        """An order with one authorization per base name; valid ones of the caller are reused.

        Raises ServerError: MALFORMED, UNSUPPORTED_IDENTIFIER, REJECTED_IDENTIFIER (all refused
        names at once as subproblems), MALFORMED for a validity that the profile doesn't allow,
        INVALID_PROFILE for one that is not offered, or that such names don't fit, RATE_LIMITED.
        """
        profile = self._profile(request.profile)
        if request.profile is not None:
            _check_profile_fits(profile, request)
        identifiers = check_identifiers(
            request.unverified_identifiers,
            self._rules.names,
            min(self._rules.max_identifiers, profile.maximum_identifiers),
            lambda identifier: self._rules.refusal_of(identifier, profile),
        )
        now = self._clock.now()
        profile.check_requested_validity(
            request.not_before,
            request.not_after,
            now,
            self._rules.issuer_not_after if profile.issuer is None else None,
        )
        order = NewOrder(
            id=OrderId(new_id()),
            identifiers=identifiers,
            profile=profile.name,
            profile_version=profile.version,
            challenge_types=self._rules.offered(profile),
            not_before=request.not_before,
            not_after=request.not_after,
        )
        async with await self._limits.new_order(caller.account_id, identifiers):
            created = await self._orders.create(
                caller,
                order,
                [self._rules.new_authorization(identifier, profile) for identifier in identifiers],
                order_lifetime=self._rules.order_lifetime,
                authorization_lifetime=self._rules.pending_lifetime,
                reuses=self._rules.reuses_for(profile, now),
                adopts_proofs=self._rules.adopts_for(profile, now),
            )
        fault("order_created")
        return created

    async def get(self, caller: Caller, order_id: OrderId) -> Order:
        """Raises ServerError(NOT_FOUND), for another account's as for a missing one."""
        order = await self._orders.find(caller, order_id)
        if order is None:
            raise ServerError(ErrorKind.NOT_FOUND, "There is no such order.")
        return order

    async def list_page(
        self, caller: Caller, before: OrderId | None, limit: int = ORDERS_PER_PAGE
    ) -> OrderPage:
        """The caller's orders before ``before`` without invalid ones (RFC 8555, 7.1.2.1).

        ``limit`` bounds those that are looked at, and with them what a request costs: a page may
        have fewer, even none, and be followed by others.
        """
        found = await self._orders.list_for(caller, before, limit + 1)
        seen = found[:limit]
        shown = [order for order in seen if order.status is not OrderStatus.INVALID]
        return OrderPage(shown, seen[-1].id if len(found) > limit else None)

    def _profile(self, name: str | None) -> Profile:
        profile = self._rules.profiles.get(self._rules.default_profile if name is None else name)
        if profile is None:
            offered = ", ".join(self._rules.profiles)
            raise ServerError(
                ErrorKind.INVALID_PROFILE, f"There is no such profile; there are: {offered}."
            )
        if profile.needs_approval:
            raise ServerError(
                ErrorKind.UNAUTHORIZED,
                f"Certificates of the profile {profile.name} need an approval, and approvals are "
                "not available in this version.",
            )
        return profile


def _check_profile_fits(profile: Profile, request: NewOrderRequest) -> None:
    """The profile that was asked for must go with the names (draft-ietf-acme-profiles, 5)."""
    asked = {kind for kind, _ in request.unverified_identifiers}
    allowed = {kind.value for kind in profile.identifier_types}
    if not asked <= allowed:
        raise ServerError(
            ErrorKind.INVALID_PROFILE,
            f"Certificates of the profile {profile.name} name identifiers of other types: "
            f"{', '.join(sorted(allowed))}.",
        )
    if len(request.unverified_identifiers) > profile.maximum_identifiers:
        raise ServerError(
            ErrorKind.INVALID_PROFILE,
            f"Certificates of the profile {profile.name} have at most "
            f"{profile.maximum_identifiers} names.",
        )


def _suited(identifier: Identifier, types: tuple[str, ...]) -> tuple[str, ...]:
    """Only the DNS proves control of all names below one (RFC 8555, section 7.1.3; BR 3.2.2.4),
    and it proves nothing about addresses (RFC 8738, section 7)."""
    by_dns = tuple(kind for kind in types if kind.startswith("dns-"))
    if identifier.is_wildcard:
        return by_dns
    if identifier.type is IdentifierType.IP:
        return tuple(kind for kind in types if kind not in by_dns)
    return types


def new_token() -> str:
    """A challenge token: 192 random bits in base64url (RFC 8555, section 8.1)."""
    return base64.urlsafe_b64encode(os.urandom(_TOKEN_BYTES)).decode("ascii")
