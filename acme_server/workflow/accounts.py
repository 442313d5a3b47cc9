"""Accounts: registration, authentication of requests, update, deactivation (RFC 8555, 7.3)."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass

from acme_server.workflow.clock import Clock, new_id
from acme_server.workflow.faults import fault
from policy.contacts import check_contacts
from policy.model.accounts import Account, AccountStatus, Caller
from policy.model.errors import ErrorKind, ServerError
from policy.model.ids import AccountId
from storage.accounts import Accounts


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAccountRequest:
    """What a newAccount request asks for; the signature by ``jwk`` was verified.

    ``jwk`` is the canonical JWK (RFC 7638), ``thumbprint`` its SHA-256. ``address`` is the
    client's.
    """

    jwk: bytes
    thumbprint: bytes
    contacts: tuple[str, ...]
    terms_agreed: bool
    only_return_existing: bool
    address: str


class AccountUseCases:
    """What can be done with accounts. ``terms`` is the URL of the terms to agree to, if any."""

    def __init__(
        self,
        accounts: Accounts,
        clock: Clock,
        *,
        terms: str | None,
        cache_seconds: float = 5.0,
        cache_size: int = 10_000,
    ) -> None:
        self._accounts = accounts
        self._clock = clock
        self._terms = terms
        self._cache_seconds = cache_seconds
        self._cache_size = cache_size
        # Only saves a statement: each statement for a caller checks the account's state and key
        # again, so a stale entry can delay a refusal but never let a change through.
        self._cache: OrderedDict[AccountId, tuple[float, Account]] = OrderedDict()

    async def authenticate(self, account_id: AccountId) -> Account:
        """The valid account whose key must verify a request.

        Raises ServerError: ACCOUNT_DOES_NOT_EXIST, or ACCOUNT_INACTIVE for one that was
        deactivated or revoked (RFC 8555, section 7.3.6).
        """
        entry = self._cache.get(account_id)
        if entry is not None and entry[0] > time.monotonic():
            return entry[1]
        account = await self._accounts.find(account_id)
        if account is None:
            raise ServerError(
                ErrorKind.ACCOUNT_DOES_NOT_EXIST,
                "There is no account with this URL; register with newAccount first.",
            )
        _refuse_inactive(account)
        self._remember(account)
        return account

    def forget(self, account_id: AccountId) -> None:
        """Read the account from the database again at its next request."""
        self._cache.pop(account_id, None)

    async def register(self, request: NewAccountRequest) -> tuple[Account, bool]:
        """The account of the key, and whether it is new (RFC 8555, sections 7.3 and 7.3.1).

        Raises ServerError: ACCOUNT_DOES_NOT_EXIST where only an existing one was asked for,
        ACCOUNT_INACTIVE, USER_ACTION_REQUIRED without consent to the terms, INVALID_CONTACT,
        UNSUPPORTED_CONTACT.
        """
        account = self._new_account(request)
        if isinstance(account, ServerError):
            existing = await self._accounts.find_by_thumbprint(request.thumbprint)
            if existing is None:
                raise account
            stored, is_new = existing, False
        else:
            stored, is_new = await self._accounts.create(account, address=request.address)
            fault("account_created")
        _refuse_inactive(stored)
        self._remember(stored)
        return stored, is_new

    def _new_account(self, request: NewAccountRequest) -> Account | ServerError:
        """The account to create, or why none may be: an existing one is returned even then."""
        if request.only_return_existing:
            return ServerError(
                ErrorKind.ACCOUNT_DOES_NOT_EXIST, "There is no account with this key."
            )
        if self._terms is not None and not request.terms_agreed:
            return ServerError(
                ErrorKind.USER_ACTION_REQUIRED,
                f"Agree to the terms of service at {self._terms} and send "
                '"termsOfServiceAgreed": true.',
            )
        try:
            contacts = check_contacts(request.contacts)
        except ServerError as refusal:
            return refusal
        return Account(
            id=AccountId(new_id()),
            status=AccountStatus.VALID,
            jwk=request.jwk,
            thumbprint=request.thumbprint,
            contacts=contacts,
            terms_agreed=self._terms if request.terms_agreed else None,
            created_at=self._clock.now(),
        )

    async def get(self, caller: Caller) -> Account:
        """The caller's own account, read anew. Raises ServerError as ``authenticate``."""
        self.forget(caller.account_id)
        return await self.authenticate(caller.account_id)

    async def update(self, caller: Caller, contacts: tuple[str, ...]) -> Account:
        """Replace the contacts (RFC 8555, section 7.3.2).

        Raises ServerError INVALID_CONTACT or UNSUPPORTED_CONTACT, CallerStale.
        """
        account = await self._accounts.set_contacts(caller, check_contacts(contacts))
        self._remember(account)
        return account

    async def deactivate(self, caller: Caller) -> Account:
        """Deactivate for good; open orders and validations end (RFC 8555, section 7.3.6)."""
        account = await self._accounts.deactivate(caller)
        self.forget(caller.account_id)
        return account

    def _remember(self, account: Account) -> None:
        self._cache[account.id] = (time.monotonic() + self._cache_seconds, account)
        self._cache.move_to_end(account.id)
        if len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)


def _refuse_inactive(account: Account) -> None:
    if account.status is not AccountStatus.VALID:
        raise ServerError(
            ErrorKind.ACCOUNT_INACTIVE, f"The account is {account.status}; register with a new key."
        )
