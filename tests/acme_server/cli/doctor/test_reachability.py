"""Findings about what others see of us, provoked with real servers."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography.x509 import load_pem_x509_certificate

from acme_server.cli.certificates import to_pem
from acme_server.cli.doctor import reachability
from acme_server.cli.doctor.http import Unreachable, fetch
from acme_server.cli.doctor.site import Site
from acme_server.config.addresses import EndpointText
from acme_server.config.values import EncryptedResolver, TlsMode
from acme_server.workflow.inspection import DatabaseFacts, inspect
from policy.model.certificates import Issuer
from storage.pool import Database
from support.doctor import found, only, own_database, with_facts
from support.postgres import PostgresCluster, run_apart
from support.records import closed_port
from support.workflow import build_house

MakeSite = Callable[..., Site]
Serve = Callable[..., int]
_endpoint = EndpointText().parse
_HEALTHY = {"/healthz": (200, b"ok")}


@pytest.fixture
def running(serve: Serve) -> dict[str, object]:
    """Settings of a server that runs here."""
    return {"server.ops_listen": _endpoint(f"127.0.0.1:{serve(_HEALTHY)}")}


def directory(base: str) -> bytes:
    return json.dumps({"newNonce": f"{base}/acme/new-nonce"}).encode()


def context(leaf: trustme.LeafCert) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(made)
    return made


def test_our_directory_is_known(make_site: MakeSite, serve: Serve) -> None:
    answers: dict[str, tuple[int, bytes]] = {}
    url = f"http://127.0.0.1:{serve(answers)}"
    answers["/directory"] = (200, directory(url))
    site = make_site({"server.external_url": url, "server.tls": TlsMode.OFF})

    assert only(reachability.check_external_url, site) == ("ok", f"{url}/directory is ours")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((404, b""), "answers 404, and no ACME directory"),
        ((200, b"<html>"), "answers 200, and no ACME directory"),
        ((200, b"[]"), "answers 200, and no ACME directory"),
        ((200, b'{"newNonce": 1}'), "answers 200, and no ACME directory"),
        ((503, directory("http://x")), "answers 503, and no ACME directory"),
        ((200, directory("https://other.example")), "is answered by another server"),
    ],
)
def test_directory_of_another_server_is_an_error(
    make_site: MakeSite, serve: Serve, answer: tuple[int, bytes], message: str
) -> None:
    url = f"http://127.0.0.1:{serve({'/directory': answer})}"

    severity, text = only(reachability.check_external_url, make_site({"server.external_url": url}))

    assert severity == "error"
    assert message in text


@pytest.mark.parametrize(
    ("url", "listen", "is_lab", "is_told"),
    [
        ("https://localhost:1", "0.0.0.0:14000", False, True),
        ("https://127.0.0.1:1", "[::]:14000", False, True),
        ("https://localhost:1", "127.0.0.1:14000", False, False),
        ("https://localhost:1", "0.0.0.0:14000", True, False),
        ("https://nowhere.invalid", "0.0.0.0:14000", False, False),
    ],
)
def test_local_url_of_an_open_listener_is_a_warning(
    make_site: MakeSite, url: str, listen: str, is_lab: bool, is_told: bool
) -> None:
    values = {"server.external_url": url, "server.listen": _endpoint(listen)}

    findings = found(reachability.check_external_url, make_site(values, lab=is_lab))

    assert ("warning" in [severity for severity, _ in findings]) is is_told


@pytest.mark.parametrize("check", ["check_external_url", "check_status_url"])
def test_unreachable_url_is_an_error_only_while_the_server_runs(
    make_site: MakeSite, running: dict[str, object], check: str
) -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    urls = {"server.external_url": url, "server.status_url": url}
    examine = getattr(reachability, check)

    stopped = only(examine, make_site(urls))
    working = only(examine, make_site(urls | running))

    assert stopped[0] == "info"
    assert "the server does not run here" in stopped[1]
    assert working[0] == "error"
    assert "Connection refused" in working[1]


@pytest.mark.parametrize(
    ("names", "days", "severity", "message"),
    [
        (("localhost",), 30, "ok", "is valid until"),
        (("localhost",), 1, "warning", "expires on"),
        (("localhost",), -1, "error", "expired on"),
        (("other.example",), 30, "error", "does not name localhost"),
    ],
)
def test_certificate_at_the_external_url_is_judged(
    make_site: MakeSite,
    serve: Serve,
    names: tuple[str, ...],
    days: int,
    severity: str,
    message: str,
) -> None:
    leaf = trustme.CA().issue_cert(*names, not_after=datetime.now(UTC) + timedelta(days=days))
    answers: dict[str, tuple[int, bytes]] = {}
    url = f"https://localhost:{serve(answers, tls=context(leaf))}"
    answers["/directory"] = (200, directory(url))

    findings = found(reachability.check_external_url, make_site({"server.external_url": url}))

    assert findings[0] == ("ok", f"{url}/directory is ours")
    assert findings[1][0] == severity
    assert message in findings[1][1]


def test_server_without_tls_behind_an_https_url_is_told(
    make_site: MakeSite, serve: Serve, running: dict[str, object]
) -> None:
    url = f"https://127.0.0.1:{serve({})}"

    severity, message = only(
        reachability.check_external_url, make_site(running | {"server.external_url": url})
    )

    assert severity == "error"
    assert "TLS failed" in message


@pytest.mark.parametrize(
    ("answer", "severity", "message"),
    [
        ("ours", "ok", "serves our roots"),
        ("both", "ok", "serves our roots"),
        ("other", "error", "serves the roots of another CA"),
        ("none", "error", "answers 200, and no certificates"),
        ("missing", "error", "answers 404, and no certificates"),
    ],
)
def test_roots_at_the_status_url_are_compared_with_the_databases(
    make_site: MakeSite,
    serve: Serve,
    facts: DatabaseFacts,
    answer: str,
    severity: str,
    message: str,
) -> None:
    ours, other = trustme.CA().cert_pem.bytes(), trustme.CA().cert_pem.bytes()
    bodies = {"ours": ours, "both": other + ours, "other": other, "none": b"", "missing": b""}
    answers = {} if answer == "missing" else {"/roots.pem": (200, bodies[answer])}
    url = f"http://127.0.0.1:{serve(answers)}"
    site = with_facts(make_site({"server.status_url": url}), facts, issuers=(root_of(ours),))

    finding = only(reachability.check_status_url, site)

    assert finding[0] == severity
    assert message in finding[1]


def root_of(pem: bytes) -> Issuer:
    from cryptography.hazmat.primitives.serialization import Encoding

    der = load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    assert to_pem(der).encode() == pem
    return Issuer(name="r", certificate=der, parent=None, key="k", shards=1, is_active=False)


@pytest.fixture(scope="module")
def published(
    postgres_cluster: PostgresCluster, migrated_template: str
) -> tuple[DatabaseFacts, dict[str, tuple[int, bytes]]]:
    """A database with CRLs, and the answers of a status listener that serves them."""

    async def publish(url: str) -> tuple[DatabaseFacts, dict[str, tuple[int, bytes]]]:
        database = await Database.open(url)
        house = await build_house(database)
        await house.publication.publish_due()
        facts = await inspect(url)
        answers = {}
        for entry in facts.crls:
            crl = await house.publication.find_crl(entry.issuer, entry.shard)
            assert crl is not None
            answers[f"/crl/{entry.issuer}/{entry.shard}.crl"] = (200, crl.der)
        await database.close()
        return facts, answers

    with own_database(postgres_cluster, migrated_template) as url:
        return run_apart(publish(url))


def test_published_crls_are_looked_at_where_others_get_them(
    make_site: MakeSite,
    serve: Serve,
    published: tuple[DatabaseFacts, dict[str, tuple[int, bytes]]],
) -> None:
    facts, answers = published[0], dict(published[1])
    url = f"http://127.0.0.1:{serve(answers)}"
    site = with_facts(make_site({"server.status_url": url}), facts)
    later = replace(site, now=lambda: datetime.now(UTC) + timedelta(days=8))

    fresh = found(reachability.check_published_crls, site)
    stale = found(reachability.check_published_crls, later)
    answers["/crl/ca/0.crl"] = (200, b"<html>")
    broken = found(reachability.check_published_crls, site)

    assert [severity for severity, _ in fresh] == ["ok"]
    assert [severity for severity, _ in stale] == ["error"] * len(facts.crls)
    assert broken == [("error", f"{url}/crl/ca/0.crl answers 200, and no CRL")]


def test_unreachable_crls_are_left_to_the_check_of_the_url(
    make_site: MakeSite, published: tuple[DatabaseFacts, dict[str, tuple[int, bytes]]]
) -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    site = with_facts(make_site({"server.status_url": url}), published[0])

    assert found(reachability.check_published_crls, site) == []


@pytest.fixture
def resolver() -> Iterator[str]:
    """A DNS server that answers everything with REFUSED, which is an answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def answer() -> None:
            while True:
                query, client = server.recvfrom(4096)
                if not query:
                    return
                server.sendto(query[:2] + b"\x81\x05" + query[4:], client)

        thread = threading.Thread(target=answer)
        thread.start()
        port = server.getsockname()[1]
        yield f"127.0.0.1:{port}"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"", ("127.0.0.1", port))
        thread.join()


def test_resolvers_that_answer_are_fine(make_site: MakeSite, resolver: str) -> None:
    site = make_site({"validation.resolvers": (_endpoint(resolver),)})

    assert only(reachability.check_resolvers, site) == ("ok", f"{resolver} answer")


def test_silent_resolver_is_an_error_if_there_is_no_other(
    make_site: MakeSite, resolver: str
) -> None:
    silent = f"127.0.0.1:{closed_port()}"
    both = make_site({"validation.resolvers": (_endpoint(resolver), _endpoint(silent))})
    alone = make_site({"validation.resolvers": (_endpoint(silent),)})

    assert only(reachability.check_resolvers, both)[0] == "warning"
    assert only(reachability.check_resolvers, alone) == (
        "error",
        f"the DNS server {silent} (validation.resolvers) does not answer",
    )


@pytest.mark.parametrize(("name", "severity"), [("dns.example", "ok"), ("other.example", "error")])
def test_resolver_over_tls_must_prove_its_name(
    make_site: MakeSite, serve: Serve, tmp_path: Path, name: str, severity: str
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    port = serve({}, tls=context(authority.issue_cert("dns.example")))
    server = EncryptedResolver(_endpoint(f"127.0.0.1:{port}"), name, "/dns-query")
    site = make_site(
        {"validation.resolvers": (server,), "validation.resolver_ca": tmp_path / "ca.pem"}
    )

    assert only(reachability.check_resolvers, site)[0] == severity


def test_silent_resolver_of_a_zone_is_named_with_it(make_site: MakeSite, resolver: str) -> None:
    silent = _endpoint(f"127.0.0.1:{closed_port()}")
    site = make_site(
        {
            "validation.resolvers": (_endpoint(resolver),),
            "validation.zone_resolvers": (("corp.example", (silent,)),),
        }
    )

    assert found(reachability.check_resolvers, site) == [
        ("ok", f"{resolver} answer"),
        (
            "error",
            f"the DNS server {silent} (validation.zone_resolvers, corp.example) does not answer",
        ),
    ]


def test_systems_resolvers_are_asked_where_none_are_named(
    make_site: MakeSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = tmp_path / "resolv.conf"
    conf.write_text("search example\nnameserver 127.0.0.1\nnameserver x\nnameserver ::1%lo\n")
    monkeypatch.setattr(reachability, "_RESOLV_CONF", conf)
    monkeypatch.setattr(reachability, "_DNS_PORT", closed_port())

    findings = found(reachability.check_resolvers, make_site())

    assert [severity for severity, _ in findings] == ["error", "error"]
    assert str(conf) in findings[0][1]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:{closed}/", "Connection refused"),
        ("http://nowhere.invalid/", "the name has no address"),
        ("http://127.0.0.1:{silent}/", "no answer in time"),
        ("https://127.0.0.1:{silent}/", "no answer in time"),
    ],
)
def test_reason_of_a_missing_answer_is_told(listener: socket.socket, url: str, reason: str) -> None:
    silent = listener.getsockname()[1]

    with pytest.raises(Unreachable, match=reason):
        fetch(url.format(closed=closed_port(), silent=silent), 0.2)


def test_answer_that_is_no_http_is_told(listener: socket.socket) -> None:
    def answer() -> None:
        client, _ = listener.accept()
        with client:
            client.recv(4096)
            client.sendall(b"SSH-2.0-x\r\n")

    thread = threading.Thread(target=answer)
    thread.start()

    with pytest.raises(Unreachable, match="no HTTP answer: BadStatusLine"):
        fetch(f"http://127.0.0.1:{listener.getsockname()[1]}/", 5)
    thread.join()


def test_certificate_that_is_not_trusted_is_told(serve: Serve) -> None:
    url = f"https://localhost:{serve({}, tls=context(trustme.CA().issue_cert('localhost')))}/"

    with pytest.raises(Unreachable, match="the certificate is refused: unable to get local"):
        fetch(url, 5, tls=ssl.create_default_context())
