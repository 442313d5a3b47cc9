"""A small HTTP client for the doctor: one request, a deadline, no proxies, no redirects."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

_MOST_BYTES = 4 * 1024 * 1024


class Unreachable(Exception):
    """There was no answer; the text says why, in words that follow "http://…: "."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer; ``certificate`` is the server's own as DER, None without TLS."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    certificate: bytes | None


def fetch(url: str, seconds: float, *, tls: ssl.SSLContext | None = None) -> Answer:
    """GET ``url``. Raises Unreachable; also for a certificate that ``tls`` doesn't accept."""
    parts = urlsplit(url)
    host, path = parts.hostname or "", parts.path or "/"
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(
            host, parts.port or 443, timeout=seconds, context=tls or unverified()
        )
    else:
        connection = http.client.HTTPConnection(host, parts.port or 80, timeout=seconds)
    try:
        connection.connect()
        certificate = None
        if isinstance(connection.sock, ssl.SSLSocket):
            certificate = connection.sock.getpeercert(binary_form=True)
        connection.request("GET", path, headers={"User-Agent": "acme-server doctor"})
        response = connection.getresponse()
        body = response.read(_MOST_BYTES)
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(status=response.status, headers=headers, body=body, certificate=certificate)
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(_reason(error)) from error
    finally:
        connection.close()


def unverified() -> ssl.SSLContext:
    """A context that accepts any certificate, for looking at it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {(error.reason or 'unknown').replace('_', ' ').lower()}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return f"the name has no address: {error.strerror}"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return f"no HTTP answer: {type(error).__name__}"
