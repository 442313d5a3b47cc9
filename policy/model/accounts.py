"""Accounts (RFC 8555, section 7.1.2), and who speaks in a request."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from policy.model.ids import AccountId, ExternalAccountId


class AccountStatus(enum.StrEnum):
    """The states of an account (RFC 8555, section 7.1.6)."""

    VALID = "valid"
    DEACTIVATED = "deactivated"
    REVOKED = "revoked"


ACCOUNT_MOVES: Mapping[AccountStatus, frozenset[AccountStatus]] = {
    AccountStatus.VALID: frozenset({AccountStatus.DEACTIVATED, AccountStatus.REVOKED}),
    AccountStatus.DEACTIVATED: frozenset(),
    AccountStatus.REVOKED: frozenset(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One account. ``jwk`` is the canonical public JWK (RFC 7638 members only, sorted, as JSON
    bytes); ``thumbprint`` its SHA-256 thumbprint, 32 bytes. ``terms_agreed`` is the URL of the
    terms of service that its owner agreed to last. ``external_account_id`` names the key that it
    was bound with, and ``external_account_binding`` is what its client proved that with; both or
    none are given."""

    id: AccountId
    status: AccountStatus
    jwk: bytes
    thumbprint: bytes
    contacts: tuple[str, ...]
    terms_agreed: str | None
    created_at: datetime
    external_account_id: ExternalAccountId | None = None
    external_account_binding: str | None = None

    def has_agreed_to(self, terms: str | None) -> bool:
        """Whether its owner agreed to the terms at the URL ``terms``; to None everybody has."""
        return terms is None or self.terms_agreed == terms


@dataclass(frozen=True, slots=True)
class Caller:
    """Who signed a request: an account, and the key that verified the signature.

    Every statement for a caller holds only while the account is valid and has this key; if that
    changed since the signature was checked, storage raises ``CallerStale`` and changes nothing.
    """

    account_id: AccountId
    thumbprint: bytes
