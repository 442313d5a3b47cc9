"""Accounts: registration, authentication of requests, update, deactivation (RFC 8555, 7.3)."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass

from acme_server.workflow.clock import Clock, new_id
from acme_server.workflow.external_accounts import BindingProof, ExternalAccountUseCases
from acme_server.workflow.faults import fault
from acme_server.workflow.limits import LimitUseCases
from policy.contacts import check_contacts
from policy.model.accounts import Account, AccountStatus, Caller
from policy.model.errors import CallerStale, ErrorKind, ServerError
from policy.model.ids import AccountId
from storage.accounts import Accounts

# A key that changes its account between two looks this often is moved about on purpose.
_INSERT_TRIES = 3
# For each account, how often a signature that its known key does not verify costs a statement.
_REFRESH_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAccountRequest:
    """What a newAccount request asks for; the signature by ``jwk`` was verified.

    ``jwk`` is the canonical JWK (RFC 7638), ``thumbprint`` its SHA-256; ``spki_sha256`` is that
    of the key's SubjectPublicKeyInfo. ``address`` is the client's. ``binding`` is about this key;
    who made it is not verified.
    """

    jwk: bytes
    thumbprint: bytes
    spki_sha256: bytes
    contacts: tuple[str, ...]
    terms_agreed: bool
    only_return_existing: bool
    address: str
    binding: BindingProof | None = None


class AccountUseCases:
    """What can be done with accounts.

    ``terms`` is the URL of the terms to agree to, if any; ``requires_binding`` lets nobody in
    who has no external account key.
    """

    def __init__(
        self,
        accounts: Accounts,
        clock: Clock,
        external_accounts: ExternalAccountUseCases,
        *,
        terms: str | None,
        requires_binding: bool = False,
        cache_seconds: float = 5.0,
        cache_size: int = 10_000,
        limits: LimitUseCases | None = None,
    ) -> None:
        self._accounts = accounts
        self._clock = clock
        self._external_accounts = external_accounts
        self._terms = terms
        self._requires_binding = requires_binding
        self._limits = limits or LimitUseCases()
        self._cache_seconds = cache_seconds
        self._cache_size = cache_size
        # Only saves a statement: each statement for a caller checks the account's state and key
        # again, so a stale entry can delay a refusal but never let a change through.
        self._cache: OrderedDict[AccountId, tuple[float, Account]] = OrderedDict()
        self._refreshed: OrderedDict[AccountId, float] = OrderedDict()

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
        self.remember(account)
        return account

    async def check_terms(self, account: Account) -> None:
        """Refuse an account that has not agreed to the terms as they are (RFC 8555, 7.3.3).

        ``account`` may be as old as the cache; it may have agreed at another replica since.
        Raises ServerError(USER_ACTION_REQUIRED), and as ``authenticate``.
        """
        if account.has_agreed_to(self._terms):
            return
        self.forget(account.id)
        current = await self.authenticate(account.id)
        if not current.has_agreed_to(self._terms):
            raise ServerError(
                ErrorKind.USER_ACTION_REQUIRED,
                f"The terms of service have changed. Agree to those at {self._terms}: send "
                '"termsOfServiceAgreed": true to the URL of your account.',
            )

    async def refresh(self, account_id: AccountId) -> Account:
        """As ``authenticate``, but read anew: for a signature that the known key does not verify.

        Once a second for each account, since anybody can send such signatures.
        """
        now = time.monotonic()
        if self._refreshed.get(account_id, 0.0) + _REFRESH_SECONDS > now:
            return await self.authenticate(account_id)
        self._refreshed[account_id] = now
        if len(self._refreshed) > self._cache_size:
            self._refreshed.popitem(last=False)
        self.forget(account_id)
        return await self.authenticate(account_id)

    def forget(self, account_id: AccountId) -> None:
        """Read the account from the database again at its next request."""
        self._cache.pop(account_id, None)

    async def register(self, request: NewAccountRequest) -> tuple[Account, bool]:
        """The account of the key, and whether it is new (RFC 8555, sections 7.3 and 7.3.1).

        Raises ServerError: ACCOUNT_DOES_NOT_EXIST where only an existing one was asked for,
        ACCOUNT_INACTIVE, USER_ACTION_REQUIRED without consent to the terms, INVALID_CONTACT,
        UNSUPPORTED_CONTACT, EXTERNAL_ACCOUNT_REQUIRED, UNAUTHORIZED for a binding that does not
        hold, BAD_PUBLIC_KEY for the key of a certificate or one known to be compromised,
        RATE_LIMITED. An existing account is returned whatever else is wrong; its binding stays as
        it is, and a key sent along is not used up.
        """
        try:
            stored, is_new = await self._create(request)
        except ServerError:
            existing = await self._accounts.find_by_thumbprint(request.thumbprint)
            if existing is None:
                raise
            stored, is_new = existing, False
        _refuse_inactive(stored)
        if request.terms_agreed and not request.only_return_existing and not is_new:
            stored = await self._agree(stored)
        self.remember(stored)
        return stored, is_new

    async def _create(self, request: NewAccountRequest) -> tuple[Account, bool]:
        account = await self._new_account(request)
        if self._limits.limits_accounts_from(request.address):
            # Who has an account takes nothing from others, not even for a moment.
            existing = await self._accounts.find_by_thumbprint(request.thumbprint)
            if existing is not None:
                return existing, False
        async with self._limits.new_account(request.address) as taken:
            created = await self._insert(account, request)
            if not created[1]:
                await taken.give_back()
            return created

    async def _insert(self, account: Account, request: NewAccountRequest) -> tuple[Account, bool]:
        for _ in range(_INSERT_TRIES):
            created = await self._accounts.create(
                account, spki_sha256=request.spki_sha256, address=request.address
            )
            fault("account_created")
            if created is not None:
                return created
            if await self._accounts.refuses(request.thumbprint, request.spki_sha256):
                raise ServerError(
                    ErrorKind.BAD_PUBLIC_KEY,
                    "The key is that of a certificate, or known to be compromised; make one for "
                    "the account alone.",
                )
            # Else the account that had the key a moment ago has another one now, or the external
            # account key can't be used.
        if account.external_account_id is not None:
            raise await self._external_accounts.explain_unusable(account.external_account_id)
        raise ServerError(
            ErrorKind.UNAVAILABLE,
            "The key is being changed by its account; send the request again.",
            retry_after=1,
        )

    async def _new_account(self, request: NewAccountRequest) -> Account:
        """The account to create. Raises ServerError if none may be."""
        if request.only_return_existing:
            raise ServerError(
                ErrorKind.ACCOUNT_DOES_NOT_EXIST, "There is no account with this key."
            )
        if self._terms is not None and not request.terms_agreed:
            raise ServerError(
                ErrorKind.USER_ACTION_REQUIRED,
                f"Agree to the terms of service at {self._terms} and send "
                '"termsOfServiceAgreed": true.',
            )
        contacts = check_contacts(request.contacts)
        binding = request.binding
        if binding is None and self._requires_binding:
            raise ServerError(
                ErrorKind.EXTERNAL_ACCOUNT_REQUIRED,
                "A new account needs an external account binding: ask the operator of this server "
                "for a key identifier and an HMAC key.",
            )
        bound_to = None if binding is None else await self._external_accounts.verify(binding)
        return Account(
            id=AccountId(new_id()),
            status=AccountStatus.VALID,
            jwk=request.jwk,
            thumbprint=request.thumbprint,
            contacts=contacts,
            terms_agreed=self._terms if request.terms_agreed else None,
            created_at=self._clock.now(),
            external_account_id=bound_to,
            external_account_binding=None if binding is None else binding.text,
        )

    async def get(self, caller: Caller) -> Account:
        """The caller's own account, read anew. Raises ServerError as ``authenticate``,
        CallerStale."""
        self.forget(caller.account_id)
        account = await self.authenticate(caller.account_id)
        if account.thumbprint != caller.thumbprint:
            raise CallerStale
        return account

    async def update(
        self, caller: Caller, *, contacts: tuple[str, ...] | None, agrees_to_terms: bool
    ) -> Account:
        """Replace the contacts unless they are None, agree to the terms as they are, or both
        (RFC 8555, sections 7.3.2 and 7.3.3).

        Raises ServerError INVALID_CONTACT or UNSUPPORTED_CONTACT, CallerStale.
        """
        terms = self._terms if agrees_to_terms else None
        if contacts is None and terms is None:
            return await self.get(caller)
        account = await self._accounts.update(
            caller,
            contacts=None if contacts is None else check_contacts(contacts),
            terms_agreed=terms,
        )
        self.remember(account)
        return account

    async def deactivate(self, caller: Caller) -> Account:
        """Deactivate for good; open orders and validations end (RFC 8555, section 7.3.6)."""
        account = await self._accounts.deactivate(caller)
        self.forget(caller.account_id)
        return account

    async def _agree(self, account: Account) -> Account:
        if account.has_agreed_to(self._terms):
            return account
        caller = Caller(account.id, account.thumbprint)
        return await self._accounts.update(caller, contacts=None, terms_agreed=self._terms)

    def remember(self, account: Account) -> None:
        """Take note of what a statement just returned."""
        self._cache[account.id] = (time.monotonic() + self._cache_seconds, account)
        self._cache.move_to_end(account.id)
        if len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)


def _refuse_inactive(account: Account) -> None:
    if account.status is not AccountStatus.VALID:
        raise ServerError(
            ErrorKind.ACCOUNT_INACTIVE, f"The account is {account.status}; register with a new key."
        )
