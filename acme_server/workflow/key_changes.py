"""Account key rollover (RFC 8555, section 7.3.5)."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from acme_server.workflow.accounts import AccountUseCases
from policy.blocklists import spki_hash
from policy.keys import AccountKey
from policy.model.accounts import Account, Caller
from policy.model.errors import ErrorKind, ServerError
from policy.model.ids import encode_id
from storage.keychanges import KeyChanges, KeyRefusal, NewKey


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChangeRequest:
    """What a keyChange request asks for; the signature by ``key`` was verified, and the key is
    one that an account may have. ``jwk`` and ``thumbprint`` are of RFC 7638."""

    key: AccountKey
    jwk: bytes
    thumbprint: bytes


class KeyChangeUseCases:
    """Gives accounts other keys."""

    def __init__(self, key_changes: KeyChanges, accounts: AccountUseCases) -> None:
        self._key_changes = key_changes
        self._accounts = accounts

    async def change(self, caller: Caller, request: KeyChangeRequest) -> Account:
        """The account with its new key; the old one is good for nothing from now on. Orders,
        authorizations and validations go on.

        Raises ServerError: CONFLICT with the account that has the key, be it this one;
        BAD_PUBLIC_KEY for one of a certificate, or known to be compromised. Raises CallerStale.
        """
        new = NewKey(
            jwk=request.jwk,
            thumbprint=request.thumbprint,
            spki_sha256=spki_hash(request.key),
        )
        outcome = await self._key_changes.change(caller, new)
        if isinstance(outcome, KeyRefusal):
            raise _refused(outcome)
        structlog.get_logger().info("account_key_changed", account=str(caller.account_id))
        self._accounts.remember(outcome)
        return outcome


def _refused(refusal: KeyRefusal) -> ServerError:
    if refusal.holder_id is not None:
        return ServerError(
            ErrorKind.CONFLICT,
            "An account has the new key already; make a new one.",
            location=encode_id(refusal.holder_id),
        )
    reason = "known to be compromised" if refusal.is_blocked else "the key of a certificate"
    return ServerError(
        ErrorKind.BAD_PUBLIC_KEY, f"The new key is {reason}; make one for the account alone."
    )
