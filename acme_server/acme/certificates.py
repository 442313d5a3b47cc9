"""Downloading certificates (RFC 8555, section 7.4.2)."""

from __future__ import annotations

import base64
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
        body = b"".join(to_pem(der) for der in (chain.certificate, *chain.issuers))
        return Response(HTTPStatus.OK, body, PEM_CHAIN_TYPE)


def to_pem(certificate: bytes) -> bytes:
    """The strict textual encoding of a DER certificate (RFC 7468, section 5.1)."""
    text = base64.b64encode(certificate)
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return b"\n".join((b"-----BEGIN CERTIFICATE-----", *lines, b"-----END CERTIFICATE-----", b""))
