"""Downloading certificates (RFC 8555, section 7.4.2)."""

from __future__ import annotations

import ssl
from http import HTTPStatus

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import serialize_certificates

from acme_server.acme.gate import Gate
from acme_server.acme.negotiation import choose_media_type
from acme_server.web.requests import Request
from acme_server.web.responses import Response
from acme_server.web.urls import Urls
from acme_server.workflow.certificates import CertificateChain, CertificateUseCases
from policy.model.errors import ErrorKind, ServerError
from policy.model.ids import CertificateId, parse_id

PEM_CHAIN_TYPE = "application/pem-certificate-chain"
SINGLE_TYPE = "application/pkix-cert"
PKCS7_TYPE = "application/pkcs7-mime"
# RFC 8551, section 3.2.2.
_CERTIFICATES_ONLY = PKCS7_TYPE + "; smime-type=certs-only"
_OFFERED = (PEM_CHAIN_TYPE, SINGLE_TYPE, PKCS7_TYPE)


class CertificateResources:
    """Each certificate with its chains: the default one at its URL, alternates one level below.
    By ``Accept`` a client gets PEM, which is the default, the certificate alone in DER, or both
    certificate and chain as PKCS #7."""

    def __init__(self, gate: Gate, certificates: CertificateUseCases, urls: Urls) -> None:
        self._gate = gate
        self._certificates = certificates
        self._urls = urls

    async def certificate(self, request: Request) -> Response:
        """POST-as-GET."""
        certificate_id, chain = await self._get(request)
        return self._respond(request, certificate_id, chain, 0)

    async def alternate(self, request: Request) -> Response:
        """POST-as-GET of another chain from the same certificate."""
        certificate_id, chain = await self._get(request)
        for number in range(1, len(chain.alternates) + 1):
            if request.parameters[1] == str(number):
                return self._respond(request, certificate_id, chain, number)
        raise _not_found()

    async def _get(self, request: Request) -> tuple[CertificateId, CertificateChain]:
        signed = await self._gate.read_only(request)
        parsed = parse_id(request.parameters[0])
        if parsed is None:
            raise _not_found()
        certificate_id = CertificateId(parsed)
        return certificate_id, await self._certificates.get(signed.caller, certificate_id)

    def _respond(
        self, request: Request, certificate_id: CertificateId, chain: CertificateChain, number: int
    ) -> Response:
        """Chain ``number`` in the form that the client likes best."""
        media_type = choose_media_type(request.headers.get("Accept"), _OFFERED)
        if media_type == SINGLE_TYPE:
            up = ("Link", f'<{chain.issuer_url}>;rel="up"')
            return Response(HTTPStatus.OK, chain.certificate, SINGLE_TYPE, [up])
        issuers = (chain.issuers, *chain.alternates)
        certificates = (chain.certificate, *issuers[number])
        links = [
            ("Link", f'<{self._urls.certificate_chain(certificate_id, other)}>;rel="alternate"')
            for other in range(len(issuers))
            if other != number
        ]
        if media_type == PKCS7_TYPE:
            return Response(HTTPStatus.OK, _pkcs7(certificates), _CERTIFICATES_ONLY, links)
        body = "".join(map(ssl.DER_cert_to_PEM_cert, certificates))
        return Response(HTTPStatus.OK, body.encode(), PEM_CHAIN_TYPE, links)


def _pkcs7(certificates: tuple[bytes, ...]) -> bytes:
    """A degenerate SignedData in DER: certificates, and nothing signed (RFC 5652, section 5)."""
    return serialize_certificates(
        list(map(x509.load_der_x509_certificate, certificates)), Encoding.DER
    )


def _not_found() -> ServerError:
    return ServerError(ErrorKind.NOT_FOUND, "There is no such certificate.")
