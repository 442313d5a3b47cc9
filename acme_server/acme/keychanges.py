"""keyChange (RFC 8555, section 7.3.5)."""

from __future__ import annotations

from http import HTTPStatus

from acme_server.acme.gate import Gate, Signed
from acme_server.acme.jwk import Jwk, parse_jwk
from acme_server.acme.jws import read_inner_jws
from acme_server.acme.wire import render_account
from acme_server.web.requests import Request
from acme_server.web.responses import Response, json_response
from acme_server.web.strictjson import parse_object
from acme_server.web.urls import Urls
from acme_server.workflow.key_changes import KeyChangeRequest, KeyChangeUseCases
from policy.model.errors import ErrorKind, ServerError


class KeyChangeResources:
    """Replaces an account's key by another one, with the signatures of both."""

    def __init__(
        self, gate: Gate, key_changes: KeyChangeUseCases, urls: Urls, terms: str | None
    ) -> None:
        self._gate = gate
        self._key_changes = key_changes
        self._urls = urls
        self._terms = terms

    async def change(self, request: Request) -> Response:
        """The account with its new key."""
        signed = await self._gate.by_account(request, regardless_of_terms=True)
        jwk = self._new_key(signed)
        account = await self._key_changes.change(
            signed.caller,
            KeyChangeRequest(key=jwk.key, jwk=jwk.canonical, thumbprint=jwk.thumbprint),
        )
        return json_response(HTTPStatus.OK, render_account(account, self._urls, self._terms))

    def _new_key(self, signed: Signed) -> Jwk:
        """The key whose holder wants to take over the account, by the steps of the RFC.

        Raises ServerError: MALFORMED, BAD_SIGNATURE_ALGORITHM, BAD_PUBLIC_KEY.
        """
        inner = read_inner_jws(parse_object(signed.payload, "The payload"))
        if inner.jwk is None:
            raise _malformed('The inner JWS must be signed by the new key, given in "jwk".')
        jwk = parse_jwk(inner.jwk, algorithm=inner.algorithm)
        inner.verify(jwk)
        change = parse_object(inner.payload, "The payload of the inner JWS")
        if inner.url != signed.url:
            raise _malformed('The inner JWS must have the same "url" as the outer one.')
        if change.get("account") != self._urls.account(signed.account.id):
            raise _malformed('"account" must be the URL of the account that signed the request.')
        if parse_jwk(change.get("oldKey")).thumbprint != signed.account.thumbprint:
            raise _malformed('"oldKey" must be the key of the account as it is now.')
        self._gate.check_new_key(jwk)
        return jwk


def _malformed(detail: str) -> ServerError:
    return ServerError(ErrorKind.MALFORMED, detail)
