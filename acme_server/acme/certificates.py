"""Downloading certificates (RFC 8555, section 7.4.2)."""

from __future__ import annotations

import ssl
from http import HTTPStatus

from acme_server.acme.gate import Gate
from acme_server.web.requests import Request
from acme_server.web.responses import Response
from acme_server.workflow.certificates import CertificateUseCases
from policy.model.errors import ErrorKind, ServerError
from policy.model.ids import CertificateId, parse_id

PEM_CHAIN_TYPE = "application/pem-certificate-chain"


class CertificateResources:
    """Each certificate with its chain. The default format is served to every client, whatever it
    says it accepts: RFC 8555 leaves other formats to the server."""

    def __init__(self, gate: Gate, certificates: CertificateUseCases) -> None:
        self._gate = gate
        self._certificates = certificates

    async def certificate(self, request: Request) -> Response:
        """POST-as-GET; PEM with the end-entity certificate first (RFC 8555, section 9.1)."""
        signed = await self._gate.read_only(request)
        certificate_id = parse_id(request.parameters[0])
        if certificate_id is None:
            raise ServerError(ErrorKind.NOT_FOUND, "There is no such certificate.")
        chain = await self._certificates.get(signed.caller, CertificateId(certificate_id))
        body = "".join(map(ssl.DER_cert_to_PEM_cert, (chain.certificate, *chain.issuers)))
        return Response(HTTPStatus.OK, body.encode(), PEM_CHAIN_TYPE)
