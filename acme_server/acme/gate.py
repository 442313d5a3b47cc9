"""Who sent a request, established in the order that costs an attacker most and us least.

Media type, size (the edge's), shape, key, algorithm, signature, URL, nonce; only then does
anybody look at the payload. A nonce is used up as soon as it is looked at.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from acme_server.acme.jwk import Jwk, parse_jwk
from acme_server.acme.jws import UnverifiedJws, parse_jws
from acme_server.web.requests import Request
from acme_server.web.strictjson import parse_object
from acme_server.web.urls import Urls
from acme_server.workflow.accounts import AccountUseCases
from acme_server.workflow.nonces import NonceUseCases
from policy.keys import AccountKey
from policy.model.accounts import Account, Caller
from policy.model.errors import ErrorKind, ServerError
from policy.model.ids import AccountId, parse_id

MEDIA_TYPE = "application/jose+json"
# Some HTTP libraries add this to whatever text they send.
_ACCEPTED_TYPES = frozenset({MEDIA_TYPE, MEDIA_TYPE + "; charset=utf-8"})
_CACHED_KEYS = 10_000


@dataclass(frozen=True, slots=True)
class Signed:
    """A request of an account. ``payload`` is not parsed, and empty for POST-as-GET."""

    caller: Caller
    account: Account
    payload: bytes
    url: str


@dataclass(frozen=True, slots=True)
class SignedByKey:
    """A request by whoever has the private key of ``jwk``."""

    jwk: Jwk
    payload: bytes
    url: str


class Gate:
    """Verifies the JWS of requests. ``check_key`` is policy's judgement of account keys; it
    raises ServerError(BAD_PUBLIC_KEY)."""

    def __init__(
        self,
        accounts: AccountUseCases,
        nonces: NonceUseCases,
        urls: Urls,
        check_key: Callable[[AccountKey], None],
    ) -> None:
        self._accounts = accounts
        self._nonces = nonces
        self._urls = urls
        self._check_key = check_key
        # Loaded keys by thumbprint, which names the key for good: nothing here gets stale.
        self._keys: OrderedDict[bytes, Jwk] = OrderedDict()

    async def by_account(self, request: Request, *, regardless_of_terms: bool = False) -> Signed:
        """The account that signed the request, which has agreed to the terms of service.

        Raises ServerError: UNSUPPORTED_MEDIA_TYPE, MALFORMED, BAD_SIGNATURE_ALGORITHM,
        ACCOUNT_DOES_NOT_EXIST, ACCOUNT_INACTIVE, UNAUTHORIZED for another URL, BAD_NONCE,
        USER_ACTION_REQUIRED unless it is ``regardless_of_terms``.
        """
        return await self._by_account(request, _read(request), regardless_of_terms)

    async def _by_account(
        self, request: Request, jws: UnverifiedJws, regardless_of_terms: bool
    ) -> Signed:
        if jws.kid is None:
            raise _malformed('The JWS must be signed by an account, named in "kid".')
        account_id = self._account_id(jws.kid)
        account = await self._accounts.authenticate(account_id)
        account = await self._verify(jws, account)
        request.account = jws.kid[len(self._urls.account_prefix) :]
        await self._accept(request, jws)
        if not regardless_of_terms:
            await self._accounts.check_terms(account)
        return Signed(Caller(account.id, account.thumbprint), account, jws.payload, jws.url)

    async def by_key(self, request: Request, *, is_for_account: bool = True) -> SignedByKey:
        """The embedded key that signed the request, acceptable as an account key where it is to
        be one.

        Raises ServerError as ``by_account``, and BAD_PUBLIC_KEY.
        """
        return await self._by_key(request, _read(request), is_for_account)

    async def _by_key(
        self, request: Request, jws: UnverifiedJws, is_for_account: bool
    ) -> SignedByKey:
        if jws.jwk is None:
            raise _malformed('The JWS must be signed by the key in "jwk".')
        jwk = parse_jwk(jws.jwk, algorithm=jws.algorithm)
        jws.verify(jwk)
        await self._accept(request, jws)
        if is_for_account:
            self._check_key(jwk.key)
        return SignedByKey(jwk, jws.payload, jws.url)

    async def by_anyone(self, request: Request) -> Signed | SignedByKey:
        """The account that signed the request, or the embedded key, be it good enough for an
        account or not (RFC 8555, section 7.6). Raises ServerError as both."""
        jws = _read(request)
        if jws.jwk is None:
            return await self._by_account(request, jws, regardless_of_terms=True)
        return await self._by_key(request, jws, is_for_account=False)

    def check_new_key(self, jwk: Jwk) -> None:
        """Raises ServerError(BAD_PUBLIC_KEY) for a key that no account may have."""
        self._check_key(jwk.key)

    async def read_only(self, request: Request) -> Signed:
        """The account behind a POST-as-GET (RFC 8555, section 6.3).

        Raises ServerError as ``by_account``, MALFORMED for a payload.
        """
        signed = await self.by_account(request)
        if signed.payload:
            raise _malformed("This resource is only read: the payload must be empty.")
        return signed

    async def explain_stale(self, request: Request) -> ServerError:
        """Why the account that just signed ``request`` may not act any more."""
        account_id = None if request.account is None else parse_id(request.account)
        if account_id is not None:
            self._accounts.forget(AccountId(account_id))
            try:
                await self._accounts.authenticate(AccountId(account_id))
            except ServerError as error:
                return error
        return ServerError(
            ErrorKind.UNAUTHORIZED, "The account's key was changed; sign with the new one."
        )

    def _account_id(self, kid: str) -> AccountId:
        prefix = self._urls.account_prefix
        account_id = parse_id(kid[len(prefix) :]) if kid.startswith(prefix) else None
        if account_id is None:
            raise _malformed('The "kid" is not the URL of an account here.')
        return AccountId(account_id)

    def _key_of(self, account: Account) -> Jwk:
        jwk = self._keys.get(account.thumbprint)
        if jwk is None:
            jwk = parse_jwk(parse_object(account.jwk, "The account's key"))
            self._keys[account.thumbprint] = jwk
            if len(self._keys) > _CACHED_KEYS:
                self._keys.popitem(last=False)
        else:
            self._keys.move_to_end(account.thumbprint)
        return jwk

    async def _verify(self, jws: UnverifiedJws, account: Account) -> Account:
        """The account, read anew if only its present key verifies the signature: a key that was
        changed at another replica is good at once. Raises ServerError as ``by_account``."""
        try:
            jws.verify(self._key_of(account))
        except ServerError:
            current = await self._accounts.refresh(account.id)
            if current.thumbprint == account.thumbprint:
                raise
            jws.verify(self._key_of(current))
            return current
        return account

    async def _accept(self, request: Request, jws: UnverifiedJws) -> None:
        """The signature holds: is it meant for this request, and sent for the first time?"""
        if jws.url != self._urls.of_target(request.target):
            raise ServerError(
                ErrorKind.UNAUTHORIZED,
                'The header parameter "url" is not the URL that the request was sent to.',
            )
        if jws.nonce is None:
            if "Replay-Nonce" in request.headers:
                raise _malformed("The nonce belongs into the JWS, not into an HTTP header.")
            raise ServerError(
                ErrorKind.BAD_NONCE, "The JWS has no nonce; send it again with this answer's."
            )
        await self._nonces.redeem(jws.nonce)


def _read(request: Request) -> UnverifiedJws:
    content_type = request.headers.get("Content-Type", "")
    if content_type not in _ACCEPTED_TYPES and content_type.lower() not in _ACCEPTED_TYPES:
        raise ServerError(
            ErrorKind.UNSUPPORTED_MEDIA_TYPE, f"The Content-Type must be {MEDIA_TYPE}."
        )
    return parse_jws(request.body)


def _malformed(detail: str) -> ServerError:
    return ServerError(ErrorKind.MALFORMED, detail)
