"""External account keys: made by operators, proven by clients (RFC 8555, section 7.3.4)."""

from __future__ import annotations

import hmac
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from acme_server.workflow.clock import Clock, new_id
from acme_server.workflow.sealing import MasterKey
from policy.model.errors import ErrorKind, ServerError
from policy.model.external_accounts import ExternalAccount, ExternalAccountState
from policy.model.ids import ExternalAccountId, parse_id
from storage.external_accounts import ExternalAccounts, ListedExternalAccount

__all__ = [
    "BindingProof",
    "ExternalAccountUseCases",
    "KeyRefused",
    "ListedExternalAccount",
    "NewKey",
]

PURPOSE = "external-account-key"
# As long as the longest hash: no algorithm that a client may choose is short of key (RFC 7518,
# section 3.2).
KEY_BYTES = 64
# The value of "-" in base64url.
_HYPHEN = 62
_REASONS = {
    ExternalAccountState.USABLE: "can't be used",
    ExternalAccountState.USED_UP: "is used up",
    ExternalAccountState.EXPIRED: "has expired",
    ExternalAccountState.REVOKED: "was revoked",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingProof:
    """What a client proves with that it has an external account key.

    ``code`` is the HMAC with the hash ``digest`` over ``message``; that the message is about the
    account to be made was checked. ``text`` is the whole proof as it is kept with the account.
    """

    key_id: str
    digest: str
    message: bytes
    code: bytes
    text: str


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made, and the key itself, which is never to be had again."""

    external_account: ExternalAccount
    secret: bytes


class KeyRefused(Exception):
    """A key that can't be made; the text says why."""


class ExternalAccountUseCases:
    """What operators do with external account keys, and the check of what clients send."""

    def __init__(self, table: ExternalAccounts, master_key: MasterKey, clock: Clock) -> None:
        self._table = table
        self._master_key = master_key
        self._clock = clock
        # Stands in for keys that don't exist, so that they take as long as those that do.
        self._decoy_id = ExternalAccountId(new_id())
        self._decoy = self._seal(os.urandom(KEY_BYTES), self._decoy_id)

    async def create(
        self, *, owner: str, max_uses: int | None, lifetime: timedelta | None, actor: str
    ) -> NewKey:
        """Make a key for ``max_uses`` accounts (None: any number), good for ``lifetime``.

        Raises KeyRefused for an owner that is too long or not printable, for no use or no time.
        """
        now = self._clock.now()
        try:
            new = ExternalAccount(
                id=ExternalAccountId(new_id()),
                owner=owner,
                created_at=now,
                expires_at=None if lifetime is None else now + lifetime,
                max_uses=max_uses,
            )
        except ValueError as error:
            raise KeyRefused(str(error)) from error
        secret = _new_secret()
        await self._table.create(new, self._seal(secret, new.id), purpose=PURPOSE, actor=actor)
        return NewKey(new, secret)

    async def list(
        self, after: ExternalAccountId | None, limit: int
    ) -> Sequence[ListedExternalAccount]:
        """Keys, oldest first, from the first after ``after``."""
        return await self._table.list(after, limit)

    async def revoke(self, id_: ExternalAccountId, *, actor: str) -> ExternalAccount | None:
        """Let nobody use the key any more; accounts made with it stay. None if there is none.

        One that was revoked before stays as it is.
        """
        await self._table.claim_revocation(id_, actor=actor)
        found = await self._table.find(id_)
        return None if found is None else found[0]

    async def verify(self, proof: BindingProof) -> ExternalAccountId:
        """The key that ``proof`` was made with; whether it is used up is decided with its use.

        Raises ServerError(UNAUTHORIZED): in the same words for a key that doesn't exist as for a
        wrong code, and with the reason to who has a key that may not be used any more.
        """
        id_ = parse_id(proof.key_id)
        found = None if id_ is None else await self._table.find(ExternalAccountId(id_))
        if found is None:
            secret = self._open(self._decoy, self._decoy_id)
        else:
            secret = self._open(found[1], found[0].id)
        code = hmac.digest(secret, proof.message, proof.digest)
        is_right = hmac.compare_digest(code, proof.code)
        if not is_right or found is None:
            raise ServerError(
                ErrorKind.UNAUTHORIZED,
                "The external account binding is not by a key that is known here: check the key "
                "identifier and the HMAC key.",
            )
        external_account, _ = found
        state = external_account.state(self._clock.now())
        if state is not ExternalAccountState.USABLE:
            raise _refusal(state)
        return external_account.id

    async def explain_unusable(self, id_: ExternalAccountId) -> ServerError:
        """Why an account could not be made with the key, which was verified just before."""
        found = await self._table.find(id_)
        state = ExternalAccountState.USABLE if found is None else found[0].state(self._clock.now())
        return _refusal(state)

    def _seal(self, secret: bytes, id_: ExternalAccountId) -> bytes:
        return self._master_key.seal(secret, purpose=PURPOSE, row=id_)

    def _open(self, sealed: bytes, id_: ExternalAccountId) -> bytes:
        return self._master_key.open(sealed, purpose=PURPOSE, row=id_)


def _new_secret() -> bytes:
    """Random, and in base64url never like an option: clients take it from their command line."""
    while True:
        secret = os.urandom(KEY_BYTES)
        if secret[0] >> 2 != _HYPHEN:
            return secret


def _refusal(state: ExternalAccountState) -> ServerError:
    return ServerError(
        ErrorKind.UNAUTHORIZED,
        f"The external account key {_REASONS[state]}; ask whoever gave it to you for a new one.",
    )
