"""A small ACME client on raw asyncio streams: one account, one keep-alive connection, no waiting
that the server doesn't ask for."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

_AGENT = "acme-server-benchmark"
_POLL_SECONDS = 0.02
_POLL_LIMIT = 200
_MAX_NONCE_RETRIES = 5


class Refused(Exception):
    """The server answered with a problem, or an object ended ``invalid``."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: its status, headers in lower case, and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as an object."""
        document: dict[str, Any] = json.loads(self.body)
        return document


class Connection:
    """One keep-alive connection to the host of ``url``; opened when first used, and anew when the
    server closed it between requests."""

    def __init__(self, url: str, tls: ssl.SSLContext | None) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._authority = parts.netloc
        self._tls = tls if parts.scheme == "https" else None
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, method: str, url: str, body: bytes = b"") -> Answer:
        """One request; raises OSError or EOFError if the connection breaks in the middle."""
        path = urlsplit(url).path
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._authority}\r\nUser-Agent: {_AGENT}\r\n"
        if body:
            head += f"Content-Type: application/jose+json\r\nContent-Length: {len(body)}\r\n"
        request = head.encode() + b"\r\n" + body
        if self._streams is not None:
            try:
                return await self._exchange(method, request)
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                await self.close()
                if isinstance(error, asyncio.IncompleteReadError) and error.partial:
                    raise
        self._streams = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
        return await self._exchange(method, request)

    async def close(self) -> None:
        """Close the connection, if it is open."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _exchange(self, method: str, request: bytes) -> Answer:
        assert self._streams is not None
        reader, writer = self._streams
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head[:-4].split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        length = 0 if method == "HEAD" else int(headers.get("content-length", "0"))
        answer = Answer(int(status_line.split()[1]), headers, await reader.readexactly(length))
        if headers.get("connection", "").lower() == "close":
            await self.close()
        return answer


def base64url(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


class AccountKey:
    """A P-256 key that signs requests (ES256)."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        point = self._key.public_key().public_numbers()
        self.jwk = {
            "crv": "P-256",
            "kty": "EC",
            "x": base64url(point.x.to_bytes(32, "big")),
            "y": base64url(point.y.to_bytes(32, "big")),
        }
        canonical = json.dumps(self.jwk, separators=(",", ":"), sort_keys=True)
        self.thumbprint = base64url(hashlib.sha256(canonical.encode()).digest())

    def sign(self, header: dict[str, Any], payload: bytes) -> bytes:
        """A flattened JWS (RFC 7515, section 7.2.2)."""
        protected = base64url(json.dumps(header | {"alg": "ES256"}).encode())
        text = base64url(payload)
        r, s = decode_dss_signature(
            self._key.sign(f"{protected}.{text}".encode(), ec.ECDSA(hashes.SHA256()))
        )
        signature = base64url(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
        return json.dumps(
            {"protected": protected, "payload": text, "signature": signature}
        ).encode()


@dataclass(slots=True)
class Tally:
    """What clients did: the seconds of each issuance and of each request, and what was repeated."""

    issuances: list[float] = field(default_factory=list)
    requests: dict[str, list[float]] = field(default_factory=dict)
    polls: int = 0
    nonce_retries: int = 0
    errors: dict[str, int] = field(default_factory=dict)


class Client:
    """One account that orders certificates. ``publish`` puts a token's key authorization where
    the server's validation looks for it; ``withdraw`` takes it away."""

    def __init__(
        self,
        connection: Connection,
        tally: Tally,
        publish: Callable[[str, str], None],
        withdraw: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self.tally = tally
        self._publish = publish
        self._withdraw = withdraw
        self._key = AccountKey()
        self._urls: dict[str, str] = {}
        self._kid: str | None = None
        self._nonce: str | None = None

    async def register(self, directory_url: str) -> None:
        """Read the directory and make an account; raises Refused."""
        directory = await self._connection.send("GET", directory_url)
        if directory.status != 200:
            raise Refused(f"directory: {directory.status}")
        self._urls = {name: url for name, url in directory.json().items() if isinstance(url, str)}
        account = await self._post(
            "newAccount", self._urls["newAccount"], {"termsOfServiceAgreed": True}
        )
        self._kid = account.headers["location"]

    async def close(self) -> None:
        """Close the client's connection."""
        await self._connection.close()

    async def issue(self, name: str) -> bytes:
        """One whole issuance for ``name``: the certificate chain as PEM. Raises Refused."""
        started = time.perf_counter()
        identifiers = [{"type": "dns", "value": name}]
        order = await self._post("newOrder", self._urls["newOrder"], {"identifiers": identifiers})
        order_url = order.headers["location"]
        for authorization in order.json()["authorizations"]:
            await self._authorize(authorization)
        document = await self._post(
            "finalize", order.json()["finalize"], {"csr": base64url(make_csr(name))}
        )
        final = await self._settled("pollOrder", order_url, document.json())
        chain = await self._post("certificate", final["certificate"], None)
        self.tally.issuances.append(time.perf_counter() - started)
        _check_leaf(chain.body, name)
        return chain.body

    async def _authorize(self, url: str) -> None:
        authorization = (await self._post("authorization", url, None)).json()
        if authorization["status"] == "valid":
            return
        challenge = next(item for item in authorization["challenges"] if item["type"] == "http-01")
        token = challenge["token"]
        self._publish(token, f"{token}.{self._key.thumbprint}")
        try:
            answer = (await self._post("challenge", challenge["url"], {})).json()
            if answer["status"] != "valid":
                await self._settled("pollAuthorization", url, authorization)
        finally:
            self._withdraw(token)

    async def _settled(self, step: str, url: str, document: dict[str, Any]) -> dict[str, Any]:
        """The object once it is ``valid``, asked for again and again."""
        for _ in range(_POLL_LIMIT):
            if document["status"] == "valid":
                return document
            if document["status"] not in ("pending", "processing"):
                raise Refused(f"{step}: {document['status']}")
            self.tally.polls += 1
            await asyncio.sleep(_POLL_SECONDS)
            document = (await self._post(step, url, None)).json()
        raise Refused(f"{step}: not ended")

    async def _post(self, step: str, url: str, payload: dict[str, Any] | None) -> Answer:
        """A signed request; ``payload`` None is a POST-as-GET. Raises Refused."""
        body = b"" if payload is None else json.dumps(payload).encode()
        started = time.perf_counter()
        for _ in range(_MAX_NONCE_RETRIES):
            if self._nonce is None:
                fresh = await self._connection.send("HEAD", self._urls["newNonce"])
                self._nonce = fresh.headers["replay-nonce"]
            header: dict[str, Any] = {"nonce": self._nonce, "url": url}
            header |= {"jwk": self._key.jwk} if self._kid is None else {"kid": self._kid}
            self._nonce = None
            answer = await self._connection.send("POST", url, self._key.sign(header, body))
            self._nonce = answer.headers.get("replay-nonce")
            if answer.status < 400:
                self.tally.requests.setdefault(step, []).append(time.perf_counter() - started)
                return answer
            kind = str(answer.json().get("type", "")).rpartition(":")[2]
            if kind != "badNonce":
                raise Refused(f"{step}: {answer.status} {kind}")
            self.tally.nonce_retries += 1
        raise Refused(f"{step}: badNonce without end")


def _check_leaf(pem: bytes, name: str) -> None:
    """Raises Refused unless the first certificate is for ``name`` alone."""
    leaf = x509.load_pem_x509_certificate(pem)
    found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if found.get_values_for_type(x509.DNSName) != [name]:
        raise Refused(f"certificate: for {found} in place of {name}")


def make_csr(name: str) -> bytes:
    """A CSR in DER for ``name`` with a fresh P-256 key."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder(x509.Name([]))
    names = x509.SubjectAlternativeName([x509.DNSName(name)])
    request = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.DER)
