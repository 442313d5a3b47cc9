"""What relying parties fetch."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from acme_server.status.server import StatusFrontEnd
from acme_server.web.connections import Limits
from acme_server.web.edge import Edge
from acme_server.web.routes import Routes
from policy.model.certificates import Crl, Issuer
from support.edge import Served, listener

NOW = datetime(2026, 11, 25, 12, 0, 30, tzinfo=UTC)
CRL = Crl(
    issuer="issuing-1",
    shard=3,
    number=26,
    this_update=NOW - timedelta(seconds=90, microseconds=5),
    next_update=NOW + timedelta(days=7),
    der=b"DER of the CRL",
)
ROOT = Issuer(
    name="root-1", certificate=b"root DER", parent=None, key="sealed:x", shards=1, is_active=False
)
ISSUING = replace(ROOT, name="issuing-1", certificate=b"issuing DER", parent="root-1")


class FakePublication:
    """Has one CRL."""

    crl = CRL

    async def find_crl(self, issuer: str, shard: int) -> Crl | None:
        """As ``workflow.publication``."""
        return self.crl if (issuer, shard) == (self.crl.issuer, self.crl.shard) else None


class FakeAuthority:
    """Has one root and one issuing CA."""

    def issuers(self) -> Sequence[Issuer]:
        """As ``workflow.authority``."""
        return (ROOT, ISSUING)


class FixedClock:
    """Always now."""

    def now(self) -> datetime:
        """The same moment."""
        return NOW


@pytest.fixture
def publication() -> FakePublication:
    """Where the CRLs come from."""
    return FakePublication()


@pytest.fixture
async def served(publication: FakePublication) -> AsyncIterator[Served]:
    """The status listener on a port."""
    front_end = StatusFrontEnd(publication, FakeAuthority(), FixedClock())
    edge = Edge(Routes(front_end, front_end.routes()), limits=Limits())
    sock = listener()
    port = sock.getsockname()[1]
    await edge.listen(sock)
    served = Served(edge, port)
    yield served
    await served.close()


def get(path: str, *headers: str, method: str = "GET") -> bytes:
    """A request."""
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: a", *headers, "", "")).encode()


async def test_a_crl_is_served_with_what_caches_need(served: Served) -> None:
    wire = await served.connect()
    reply = await wire.ask(get("/crl/issuing-1/3.crl"))

    assert (reply.status, reply.body) == (200, b"DER of the CRL")
    headers = {name: value for name, value in reply.headers.items() if name != "date"}
    assert headers == {
        "content-length": "14",
        "content-type": "application/pkix-crl",
        "etag": '"1a"',
        "last-modified": "Wed, 25 Nov 2026 11:58:59 GMT",
        "cache-control": "public, max-age=300",
        "x-content-type-options": "nosniff",
    }


@pytest.mark.parametrize(
    "header",
    [
        'If-None-Match: "1a"',
        'If-None-Match: W/"1a"',
        'If-None-Match: "19", "1a"',
        "If-None-Match: *",
        "If-Modified-Since: Wed, 25 Nov 2026 11:58:59 GMT",
        "If-Modified-Since: Wed, 25 Nov 2026 12:00:00 GMT",
    ],
)
async def test_a_known_crl_is_not_sent_again(served: Served, header: str) -> None:
    wire = await served.connect()
    reply = await wire.ask(get("/crl/issuing-1/3.crl", header))

    assert (reply.status, reply.body) == (304, b"")
    assert reply.headers["etag"] == '"1a"'


@pytest.mark.parametrize(
    "headers",
    [
        ('If-None-Match: "19"',),
        ("If-None-Match: 1a",),
        ('If-None-Match: "19"', "If-Modified-Since: Wed, 25 Nov 2026 12:00:00 GMT"),
        ("If-Modified-Since: Wed, 25 Nov 2026 11:58:58 GMT",),
        ("If-Modified-Since: yesterday",),
        ("If-Modified-Since: Wed, 25 Nov 99999999 11:58:58 GMT",),
    ],
)
async def test_another_version_is_replaced(served: Served, headers: tuple[str, ...]) -> None:
    wire = await served.connect()

    assert (await wire.ask(get("/crl/issuing-1/3.crl", *headers))).status == 200


async def test_an_old_crl_is_not_kept_beyond_its_end(
    served: Served, publication: FakePublication
) -> None:
    publication.crl = replace(CRL, next_update=NOW - timedelta(hours=1))
    wire = await served.connect()
    reply = await wire.ask(get("/crl/issuing-1/3.crl"))

    assert (reply.status, reply.headers["cache-control"]) == (200, "public, max-age=0")


@pytest.mark.parametrize(
    "path",
    [
        "/crl/issuing-1/4.crl",
        "/crl/other/3.crl",
        "/crl/issuing-1/03.crl",
        "/crl/issuing-1/-3.crl",
        "/crl/issuing-1/+3.crl",
        "/crl/issuing-1/3_0.crl",
        "/crl/issuing-1/99999999999999999999.crl",
        "/crl/issuing-1/%33.crl",
        "/crl/issuing-1/3.crl/",
        "/crl/../3.crl",
        "/ca/other.crt",
        "/ca/issuing-1",
        "/",
        "/roots.pem/",
    ],
)
async def test_what_does_not_exist_is_a_problem_document(served: Served, path: str) -> None:
    wire = await served.connect()
    reply = await wire.ask(get(path))

    assert reply.problem() == {
        "title": "Not Found",
        "status": 404,
        "detail": "There is nothing at this URL.",
    }


async def test_ca_certificates_are_der(served: Served) -> None:
    wire = await served.connect()
    reply = await wire.ask(get("/ca/issuing-1.crt"))
    again = await wire.ask(get("/ca/issuing-1.crt", f"If-None-Match: {reply.headers['etag']}"))

    assert (reply.status, reply.body) == (200, b"issuing DER")
    assert reply.headers["content-type"] == "application/pkix-cert"
    assert again.status == 304


async def test_the_roots_are_one_pem_file(served: Served) -> None:
    wire = await served.connect()
    reply = await wire.ask(get("/roots.pem"))

    assert reply.body == b"-----BEGIN CERTIFICATE-----\ncm9vdCBERVI=\n-----END CERTIFICATE-----\n"


async def test_health_is_only_that_the_process_answers(served: Served) -> None:
    wire = await served.connect()
    reply = await wire.ask(get("/healthz"))

    assert (reply.status, reply.body) == (200, b"ok\n")
    assert reply.headers["cache-control"] == "no-store"


async def test_head_is_get_without_the_body(served: Served) -> None:
    wire = await served.connect()
    wire.send(get("/crl/issuing-1/3.crl", method="HEAD"))
    head = await wire.reply(to_head=True)
    body = await wire.ask(get("/crl/issuing-1/3.crl"))

    assert {**head.headers, "date": ""} == {**body.headers, "date": ""}


async def test_nothing_can_be_sent_here(served: Served) -> None:
    wire = await served.connect()
    reply = await wire.ask(get("/crl/issuing-1/3.crl", method="POST"))

    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")
