"""What accounts, orders and authorizations must do, in memory: the reference for the server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

Proof = tuple[str, bool]


@dataclass(eq=False)
class AuthorizationModel:
    """``name`` is without the wildcard; ``answered`` are the types whose validation is running;
    ``was_proven`` stays when the proof ends."""

    url: str
    name: str
    wildcard: bool
    challenges: dict[str, str]
    status: str = "pending"
    answered: set[str] = field(default_factory=set)
    was_proven: bool = False

    def may_be_answered(self, kind: str) -> bool:
        """Whether an answer to the challenge is no mistake, be it the second one."""
        if self.status == "invalid":
            return kind in self.answered or self.challenges[kind] != "pending"
        return self.status in ("pending", "valid")


@dataclass(eq=False)
class OrderModel:
    """``status`` as it is read."""

    url: str
    finalize: str
    names: tuple[str, ...]
    authorizations: list[AuthorizationModel]
    status: str
    certificate: str | None = None
    der: bytes = b""
    is_revoked: bool = False

    @property
    def is_open(self) -> bool:
        """Whether something may still become of it."""
        return self.status in ("pending", "ready")

    @property
    def is_proven(self) -> bool:
        """Whether all proofs hold now."""
        return all(each.status == "valid" for each in self.authorizations)


@dataclass(eq=False)
class AccountModel:
    """An account with all that it made.

    ``proven`` are the proofs that a new order takes over; where several were recorded at once, one
    of them is, and ``uncertain`` tells that this one may have ended. ``waiting`` are
    authorizations without an order.
    """

    url: str
    is_valid: bool = True
    orders: list[OrderModel] = field(default_factory=list)
    authorizations: list[AuthorizationModel] = field(default_factory=list)
    proven: dict[Proof, set[AuthorizationModel]] = field(default_factory=dict)
    uncertain: set[Proof] = field(default_factory=set)
    waiting: dict[str, AuthorizationModel] = field(default_factory=dict)

    def reusable(self, name: str) -> set[AuthorizationModel]:
        """The proofs of which an order for ``name`` takes one over."""
        candidates = self.proven.get(proof_of(name), set())
        return {each for each in candidates if each.status == "valid"}

    def waiting_for(self, name: str) -> AuthorizationModel | None:
        """The authorization without an order that one for ``name`` takes along."""
        waiting = self.waiting.get(name)
        return waiting if waiting and waiting.status in ("pending", "valid") else None

    def end(self) -> None:
        """The account is deactivated."""
        self.is_valid = False
        self.proven.clear()
        for order in self.orders:
            if order.is_open:
                order.status = "invalid"
        for authorization in self.authorizations:
            if authorization.status in ("pending", "valid"):
                authorization.status = "deactivated"

    def give_up(self, authorization: AuthorizationModel) -> None:
        """An authorization is deactivated."""
        if authorization.status not in ("pending", "valid"):
            return
        self._forget(authorization)
        authorization.status = "deactivated"
        for order in self._orders_with(authorization):
            if order.is_open:
                order.status = "invalid"

    def conclude(
        self, results: Iterable[tuple[AuthorizationModel, str]], *, is_valid: bool
    ) -> None:
        """Validations of one outcome, recorded in any order."""
        proven: dict[Proof, set[AuthorizationModel]] = {}
        for authorization, kind in results:
            authorization.answered.discard(kind)
            authorization.challenges[kind] = "valid" if is_valid else "invalid"
            if authorization.status != "pending":
                continue
            authorization.status = "valid" if is_valid else "invalid"
            authorization.was_proven = is_valid
            if is_valid:
                key = (authorization.name, authorization.wildcard)
                proven.setdefault(key, set()).add(authorization)
            self._carry_over(authorization)
        self.proven.update(proven)
        self.uncertain.difference_update(proven)

    def expire(self, authorization: AuthorizationModel) -> None:
        """An authorization's time is over."""
        if authorization.status in ("pending", "valid"):
            self._forget(authorization)
            authorization.status = "expired"

    def _forget(self, authorization: AuthorizationModel) -> None:
        key = (authorization.name, authorization.wildcard)
        candidates = self.proven.get(key, set())
        if authorization in candidates and len(candidates) > 1:
            self.uncertain.add(key)
        candidates.discard(authorization)

    def _carry_over(self, authorization: AuthorizationModel) -> None:
        for order in self._orders_with(authorization):
            if order.status != "pending":
                continue
            if authorization.status == "invalid":
                order.status = "invalid"
            elif all(each.was_proven for each in order.authorizations):
                order.status = "ready"

    def _orders_with(self, authorization: AuthorizationModel) -> Iterator[OrderModel]:
        return (order for order in self.orders if authorization in order.authorizations)


def proof_of(name: str) -> Proof:
    """What must be proven for ``name``: the base name, and whether all names below it are meant."""
    return (name.removeprefix("*."), name.startswith("*."))
