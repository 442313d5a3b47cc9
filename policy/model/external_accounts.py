"""Keys that bind ACME accounts to accounts elsewhere (RFC 8555, section 7.3.4)."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

from policy.model.ids import ExternalAccountId

MAX_OWNER_LENGTH = 200


class ExternalAccountState(enum.StrEnum):
    """Whether a new account can be made with a key, and why not."""

    USABLE = "usable"
    USED_UP = "used up"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalAccount:
    """A key on record, without the key: ``id`` is the key identifier, ``owner`` whom it was given
    to, in the operator's words. ``max_uses`` is None for any number of accounts."""

    id: ExternalAccountId
    owner: str
    created_at: datetime
    expires_at: datetime | None = None
    max_uses: int | None = 1
    uses: int = 0
    revoked_at: datetime | None = None

    def __post_init__(self) -> None:
        if len(self.owner) > MAX_OWNER_LENGTH or not self.owner.isprintable():
            raise ValueError(f"an owner has at most {MAX_OWNER_LENGTH} printable characters")
        if self.max_uses is not None and self.max_uses < 1:
            raise ValueError("a key is good for at least one account")
        if self.expires_at is not None and self.expires_at <= self.created_at:
            raise ValueError("a key expires after it was made")

    def state(self, now: datetime) -> ExternalAccountState:
        """What the key is good for at ``now``."""
        if self.revoked_at is not None:
            return ExternalAccountState.REVOKED
        if self.expires_at is not None and self.expires_at <= now:
            return ExternalAccountState.EXPIRED
        if self.max_uses is not None and self.uses >= self.max_uses:
            return ExternalAccountState.USED_UP
        return ExternalAccountState.USABLE
