"""Authorizations and challenges (RFC 8555, section 7.5)."""

from __future__ import annotations

from http import HTTPStatus

from acme_server.acme.gate import Gate
from acme_server.acme.wire import (
    parse_authorization_update,
    parse_challenge_answer,
    render_authorization,
    render_challenge,
)
from acme_server.web.requests import Request
from acme_server.web.responses import Response, json_response
from acme_server.web.urls import Urls
from acme_server.workflow.authorizations import AuthorizationUseCases
from policy.model.authorizations import Authorization, Challenge, ChallengeStatus
from policy.model.errors import ErrorKind, ServerError
from policy.model.ids import AuthorizationId, parse_id

_RETRY_AFTER = ("Retry-After", "1")


class AuthorizationResources:
    """Each authorization, and its challenges."""

    def __init__(self, gate: Gate, authorizations: AuthorizationUseCases, urls: Urls) -> None:
        self._gate = gate
        self._authorizations = authorizations
        self._urls = urls

    async def authorization(self, request: Request) -> Response:
        """Read, or deactivate (RFC 8555, section 7.5.2)."""
        signed = await self._gate.by_account(request)
        authorization_id = _authorization_id(request)
        if signed.payload:
            parse_authorization_update(signed.payload)
            found = await self._authorizations.deactivate(signed.caller, authorization_id)
        else:
            found = await self._authorizations.get(signed.caller, authorization_id)
        response = json_response(HTTPStatus.OK, render_authorization(found, self._urls))
        if any(challenge.status is ChallengeStatus.PROCESSING for challenge in found.challenges):
            response.headers.append(_RETRY_AFTER)
        return response

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
        return self._respond(found, _challenge_of(found, challenge_type))

    def _respond(self, authorization: Authorization, challenge: Challenge) -> Response:
        up = f'<{self._urls.authorization(authorization.id)}>;rel="up"'
        document = render_challenge(authorization, challenge, self._urls)
        response = json_response(HTTPStatus.OK, document, ("Link", up))
        if challenge.status is ChallengeStatus.PROCESSING:
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
