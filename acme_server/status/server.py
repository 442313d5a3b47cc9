"""What relying parties fetch: CRLs and CA certificates (RFC 5280; RFC 2585).

Plain HTTP on purpose: everything here is signed or public, and who checks a certificate must not
need another one for that (RFC 5280, section 8).
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Protocol

from acme_server.web.requests import Request
from acme_server.web.responses import Response, http_date, problem_response
from acme_server.web.routes import Handler, Route
from acme_server.workflow.clock import Clock
from policy.model.certificates import Crl, Issuer
from policy.model.errors import ErrorKind, ServerError

CRL_TYPE = "application/pkix-crl"
CERTIFICATE_TYPE = "application/pkix-cert"
PEM_TYPE = "application/x-pem-file"
# A revocation becomes visible behind caches after this many seconds at the latest.
_CRL_CACHE_SECONDS = 300
_CERTIFICATE_CACHE_SECONDS = 86_400

_STATUSES: Mapping[ErrorKind, HTTPStatus] = {
    ErrorKind.NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorKind.METHOD_NOT_ALLOWED: HTTPStatus.METHOD_NOT_ALLOWED,
    ErrorKind.MALFORMED: HTTPStatus.BAD_REQUEST,
    ErrorKind.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ErrorKind.UNSUPPORTED_MEDIA_TYPE: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    ErrorKind.RATE_LIMITED: HTTPStatus.TOO_MANY_REQUESTS,
    ErrorKind.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
}


class CrlSource(Protocol):
    """Where published CRLs come from (``workflow.publication``)."""

    async def find_crl(self, issuer: str, shard: int) -> Crl | None:
        """The newest published CRL of the shard; None if there is no such issuer or shard."""
        ...


class IssuerSource(Protocol):
    """The certification authorities of this installation (``workflow.authority``)."""

    def issuers(self) -> Sequence[Issuer]:
        """All of them, roots and retired ones included."""
        ...


class StatusFrontEnd:
    """Serves the status listener."""

    def __init__(self, crls: CrlSource, authority: IssuerSource, clock: Clock) -> None:
        self._crls = crls
        self._authority = authority
        self._clock = clock

    def routes(self) -> list[Route]:
        """All resources of the listener."""
        table: Mapping[str, Handler] = {
            "/crl/{issuer}/{shard}.crl": self.crl,
            "/ca/{issuer}.crt": self.ca_certificate,
            "/healthz": self.health,
        }
        return [
            *(Route(path, self, {"GET": handler}) for path, handler in table.items()),
            self.roots_route("/roots.pem"),
        ]

    def roots_route(self, path: str) -> Route:
        """The root certificates under ``path``, for other listeners too."""
        return Route(path, self, {"GET": self.roots})

    async def crl(self, request: Request) -> Response:
        """One shard's CRL (RFC 5280, section 4.2.1.13)."""
        issuer, shard = request.parameters
        crl = await self._crls.find_crl(issuer, int(shard)) if _is_shard(shard) else None
        if crl is None:
            raise _not_found()
        now = self._clock.now()
        age = max(0, min(_CRL_CACHE_SECONDS, int((crl.next_update - now).total_seconds())))
        headers = [
            ("ETag", f'"{crl.number:x}"'),
            ("Last-Modified", http_date(crl.this_update.timestamp())),
            ("Cache-Control", f"public, max-age={age}"),
        ]
        if _is_known(request, headers[0][1], crl.this_update.timestamp()):
            return Response(HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(HTTPStatus.OK, crl.der, CRL_TYPE, headers)

    async def ca_certificate(self, request: Request) -> Response:
        """A CA certificate in DER, where the certificates it signed say it is."""
        for issuer in self._authority.issuers():
            if issuer.name == request.parameters[0]:
                return _immutable(request, issuer.certificate, CERTIFICATE_TYPE)
        raise _not_found()

    async def roots(self, request: Request) -> Response:
        """The roots in PEM, for trust stores."""
        roots = [issuer for issuer in self._authority.issuers() if issuer.parent is None]
        body = "".join(ssl.DER_cert_to_PEM_cert(issuer.certificate) for issuer in roots)
        return _immutable(request, body.encode(), PEM_TYPE)

    async def health(self, request: Request) -> Response:
        """The process answers; nothing is said about the database."""
        return Response(HTTPStatus.OK, b"ok\n", "text/plain", [("Cache-Control", "no-store")])

    def refuse(self, request: Request | None, error: ServerError) -> Response:
        """A problem document without a type of its own (RFC 9457, section 4.2.1)."""
        status = _STATUSES.get(error.kind, HTTPStatus.INTERNAL_SERVER_ERROR)
        document = {"title": status.phrase, "status": status.value, "detail": error.detail}
        response = problem_response(status, document, error.kind)
        if error.retry_after is not None:
            response.headers.append(("Retry-After", str(error.retry_after)))
        if error.kind is ErrorKind.METHOD_NOT_ALLOWED:
            response.headers.append(("Allow", ", ".join(error.allowed)))
        return response

    def complete(self, request: Request | None, response: Response) -> None:
        """Nothing is common to these answers."""


def _immutable(request: Request, body: bytes, content_type: str) -> Response:
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = [
        ("ETag", tag),
        ("Cache-Control", f"public, max-age={_CERTIFICATE_CACHE_SECONDS}"),
    ]
    if _is_known(request, tag, None):
        return Response(HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(HTTPStatus.OK, body, content_type, headers)


def _is_known(request: Request, tag: str, modified: float | None) -> bool:
    """Whether the client has this version (RFC 9110, section 13.2.2: the tag decides if given)."""
    tags = request.headers.get("If-None-Match")
    if tags is not None:
        return any(entry.strip().removeprefix("W/") in (tag, "*") for entry in tags.split(","))
    since = request.headers.get("If-Modified-Since")
    if since is None or modified is None:
        return False
    try:
        return parsedate_to_datetime(since).timestamp() >= int(modified)
    except (ValueError, OverflowError):
        return False


def _is_shard(text: str) -> bool:
    """Canonical, so that each CRL has one URL, and within the database's integers."""
    return text.isascii() and text.isdigit() and len(text) <= 6 and (text == "0" or text[0] != "0")


def _not_found() -> ServerError:
    return ServerError(ErrorKind.NOT_FOUND, "There is nothing at this URL.")
