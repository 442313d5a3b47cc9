"""What acme.sh sends (docs/clients/acme.sh.md), in its order and its shapes, but written by us."""

from __future__ import annotations

import base64
import json
import re
import ssl
import urllib.request
from collections.abc import Mapping
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from support.checkout import ROOT
from support.clientlab import ClientLab, web_server
from support.issued import Issued
from support.jose import ClientKey

_NAME = "replayed.localhost"


class Replay:
    """Sends requests as acme.sh makes them, each on a connection of its own, and notes them."""

    def __init__(self, directory_url: str, roots: Path) -> None:
        self._tls = ssl.create_default_context(cafile=str(roots))
        self._directory_url = directory_url
        self._nonce = ""
        self._account = ""
        self.key = ClientKey.generate()
        self.sent: list[str] = []

    def begin(self) -> dict[str, Any]:
        """Read the directory, and fetch the first nonce."""
        _, body = self._send("GET", self._directory_url)
        directory: dict[str, Any] = json.loads(body)
        headers, _ = self._send("HEAD", directory["newNonce"])
        self._nonce = headers["Replay-Nonce"]
        return directory

    def register(self, url: str) -> None:
        """newAccount, with the terms alone."""
        headers, _ = self.post(url, '{"termsOfServiceAgreed": true}')
        self._account = headers["Location"]

    def post(self, url: str, payload: str) -> tuple[Message, bytes]:
        """POST ``payload`` as it is; the empty string reads. Raises HTTPError."""
        document = self.key.sign_encoded(
            encoded(json.dumps(self._header(url)).encode()), encoded(payload.encode())
        )
        headers, body = self._send("POST", url, json.dumps(document).encode())
        self._nonce = headers["Replay-Nonce"]
        return headers, body

    def _header(self, url: str) -> Mapping[str, object]:
        common = {"nonce": self._nonce, "url": url, "alg": "ES256"}
        if self._account:
            return {**common, "kid": self._account}
        return {**common, "jwk": dict(sorted(self.key.jwk.items()))}

    def _send(self, method: str, url: str, body: bytes | None = None) -> tuple[Message, bytes]:
        path = re.sub(r"/[\w-]{22}", "/ID", urlsplit(url).path)
        self.sent.append(f"{method} {path}")
        headers = {"Content-Type": "application/jose+json"} if body else {}
        request = urllib.request.Request(url, body, headers, method=method)
        with urllib.request.urlopen(request, timeout=30, context=self._tls) as answer:
            return answer.headers, answer.read()


def encoded(octets: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def acme_sh_csr(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A CSR with the name as common name too, and two extended key usages."""
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _NAME)]))
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(_NAME)]), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )


def pages_requests() -> list[str]:
    """The requests that the page lists."""
    page = (ROOT / "docs/clients/acme.sh.md").read_text("utf-8")
    return re.findall(r"^(?:GET|HEAD|POST) /.*$", page, re.MULTILINE)


def issue(replay: Replay, http_port: int, key: ec.EllipticCurvePrivateKey) -> bytes:
    """The chain, by the requests in acme.sh's order."""
    directory = replay.begin()
    replay.register(directory["newAccount"])
    identifiers = f'{{"identifiers": [{{"type":"dns","value":"{_NAME}"}}]}}'
    order = json.loads(replay.post(directory["newOrder"], identifiers)[1])
    authorization = json.loads(replay.post(order["authorizations"][0], "")[1])
    offered = {challenge["type"]: challenge for challenge in authorization["challenges"]}
    challenge = offered["http-01"]
    with web_server(http_port, lambda token: f"{token}.{replay.key.thumbprint}"):
        while challenge["status"] in ("pending", "processing"):
            challenge = json.loads(replay.post(challenge["url"], "{}")[1])
    csr = json.dumps({"csr": encoded(acme_sh_csr(key))})
    order = json.loads(replay.post(order["finalize"], csr)[1])
    return replay.post(order["certificate"], "")[1]


@pytest.fixture
def replay(lab: ClientLab) -> Replay:
    return Replay(lab.directory_url, lab.roots)


def test_certificate_comes_of_the_requests_that_the_page_lists(
    replay: Replay, lab: ClientLab, tmp_path: Path
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())

    chain = issue(replay, lab.server.http_port, key)

    seen = [text for number, text in enumerate(replay.sent) if text not in replay.sent[:number]]
    assert seen == pages_requests()
    files = Issued(tmp_path / "chain.pem", tmp_path / "key.pem")
    files.chain.write_bytes(chain)
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    files.check(lab.roots, _NAME)
