"""revokeCert (RFC 8555, section 7.6)."""

from __future__ import annotations

from http import HTTPStatus

from acme_server.acme.gate import Gate, Signed
from acme_server.acme.wire import parse_revocation
from acme_server.web.requests import Request
from acme_server.web.responses import Response
from acme_server.workflow.revocation import RevocationUseCases


class RevocationResources:
    """Revokes certificates for accounts, and for who holds a certificate's own key."""

    def __init__(self, gate: Gate, revocations: RevocationUseCases) -> None:
        self._gate = gate
        self._revocations = revocations

    async def revoke(self, request: Request) -> Response:
        """200 without a body once the certificate is revoked."""
        signed = await self._gate.by_anyone(request)
        revocation = parse_revocation(signed.payload)
        certificate, reason = revocation.unverified_certificate, revocation.reason
        if isinstance(signed, Signed):
            await self._revocations.revoke_for(signed.caller, certificate, reason)
        else:
            jwk = signed.jwk
            await self._revocations.revoke_with(jwk.key, jwk.thumbprint, certificate, reason)
        return Response(HTTPStatus.OK)
