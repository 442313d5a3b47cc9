"""Orders (RFC 8555, section 7.1.3) and their moves (section 7.1.6)."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from policy.model.errors import Problem
from policy.model.identifiers import Identifier
from policy.model.ids import AccountId, AuthorizationId, CertificateId, OrderId


class OrderStatus(enum.StrEnum):
    """The states of an order."""

    PENDING = "pending"
    READY = "ready"
    PROCESSING = "processing"
    VALID = "valid"
    INVALID = "invalid"


# The CHECK in the schema, the diagram in docs/architecture.md and a test are made from this table.
ORDER_MOVES: Mapping[OrderStatus, frozenset[OrderStatus]] = {
    OrderStatus.PENDING: frozenset({OrderStatus.READY, OrderStatus.INVALID}),
    OrderStatus.READY: frozenset({OrderStatus.PROCESSING, OrderStatus.INVALID}),
    OrderStatus.PROCESSING: frozenset({OrderStatus.VALID, OrderStatus.INVALID}),
    OrderStatus.VALID: frozenset(),
    OrderStatus.INVALID: frozenset(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order. ``identifiers`` are in the client's order, without repetition;
    ``authorization_ids`` are distinct, one per base name and wildcard flag.

    An order that has expired while pending or ready is read as INVALID.
    """

    id: OrderId
    account_id: AccountId
    status: OrderStatus
    identifiers: tuple[Identifier, ...]
    authorization_ids: tuple[AuthorizationId, ...]
    profile: str
    profile_version: str
    not_before: datetime | None
    not_after: datetime | None
    created_at: datetime
    expires_at: datetime
    certificate_id: CertificateId | None = None
    error: Problem | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOrder:
    """What a checked newOrder request asks for."""

    id: OrderId
    identifiers: tuple[Identifier, ...]
    profile: str
    profile_version: str
    challenge_types: tuple[str, ...]
    not_before: datetime | None = None
    not_after: datetime | None = None
