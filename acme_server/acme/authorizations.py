"""Authorizations and challenges (RFC 8555, section 7.5)."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from acme_server.acme.gate import Gate
from acme_server.acme.wire import (
    parse_authorization_update,
    parse_challenge_answer,
    parse_new_authorization,
    render_authorization,
    render_challenge,
)
from acme_server.web.requests import Request
from acme_server.web.responses import Response, json_response
from acme_server.web.urls import Urls
from acme_server.workflow.authorizations import AuthorizationUseCases
from acme_server.workflow.preauthorizations import PreauthorizationUseCases
from policy.model.authorizations import (
    Authorization,
    AuthorizationStatus,
    Challenge,
    ChallengeStatus,
)
from policy.model.errors import ErrorKind, ServerError
from policy.model.ids import AuthorizationId, parse_id

# How long a client is asked to wait before it looks at what may change.
_RETRY_AFTER = ("Retry-After", "1")
_MAY_CHANGE = frozenset({ChallengeStatus.PENDING, ChallengeStatus.PROCESSING})


class AuthorizationResources:
    """newAuthz, each authorization, and its challenges."""

    def __init__(
        self,
        gate: Gate,
        authorizations: AuthorizationUseCases,
        preauthorizations: PreauthorizationUseCases,
        urls: Urls,
        issuer_names: Sequence[str],
    ) -> None:
        self._gate = gate
        self._authorizations = authorizations
        self._preauthorizations = preauthorizations
        self._urls = urls
        self._issuer_names = issuer_names

    async def new_authorization(self, request: Request) -> Response:
        """RFC 8555, section 7.4.1: 201 for a new authorization, 200 for one that there was."""
        signed = await self._gate.by_account(request)
        identifier = parse_new_authorization(signed.payload)
        found, is_new = await self._preauthorizations.create(signed.caller, identifier)
        location = ("Location", self._urls.authorization(found.id))
        return self._show(found, HTTPStatus.CREATED if is_new else HTTPStatus.OK, location)

    async def authorization(self, request: Request) -> Response:
        """Read, or deactivate (RFC 8555, section 7.5.2)."""
        signed = await self._gate.by_account(request)
        authorization_id = _authorization_id(request)
        if signed.payload:
            parse_authorization_update(signed.payload)
            found = await self._authorizations.deactivate(signed.caller, authorization_id)
        else:
            found = await self._authorizations.get(signed.caller, authorization_id)
        return self._show(found, HTTPStatus.OK)

    async def challenge(self, request: Request) -> Response:
        """Read (empty payload), or answer: the client is ready to be validated (section 7.5.1)."""
        signed = await self._gate.by_account(request)
        authorization_id, challenge_type = _authorization_id(request), request.parameters[1]
        if signed.payload:
            parse_challenge_answer(signed.payload)
            found = await self._authorizations.answer(
                signed.caller, authorization_id, challenge_type
            )
        else:
            found = await self._authorizations.get(signed.caller, authorization_id)
        return self._show_challenge(found, _challenge_of(found, challenge_type))

    def _show(
        self, authorization: Authorization, status: HTTPStatus, *headers: tuple[str, str]
    ) -> Response:
        document = render_authorization(authorization, self._urls, self._issuer_names)
        response = json_response(status, document, *headers)
        if authorization.status is AuthorizationStatus.PENDING:
            response.headers.append(_RETRY_AFTER)
        return response

    def _show_challenge(self, authorization: Authorization, challenge: Challenge) -> Response:
        up = f'<{self._urls.authorization(authorization.id)}>;rel="up"'
        document = render_challenge(authorization, challenge, self._urls, self._issuer_names)
        response = json_response(HTTPStatus.OK, document, ("Link", up))
        if authorization.status is AuthorizationStatus.PENDING and challenge.status in _MAY_CHANGE:
            response.headers.append(_RETRY_AFTER)
        return response


def _authorization_id(request: Request) -> AuthorizationId:
    authorization_id = parse_id(request.parameters[0])
    if authorization_id is None:
        raise _not_found()
    return AuthorizationId(authorization_id)


def _challenge_of(authorization: Authorization, challenge_type: str) -> Challenge:
    for challenge in authorization.challenges:
        if challenge.type == challenge_type:
            return challenge
    raise _not_found()


def _not_found() -> ServerError:
    return ServerError(ErrorKind.NOT_FOUND, "There is no such authorization or challenge.")
