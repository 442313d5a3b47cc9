"""Lab mode from the outside: what it serves, and that it keeps what it acknowledged."""

from __future__ import annotations

import json
import re
import signal
import ssl
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from cryptography import x509

from benchmarks.lab import LabServer, ServerFailed
from support.certbot import Certbot, install_certbot
from support.inspection import verify_chain


def get(url: str, context: ssl.SSLContext | None = None) -> bytes:
    """The body of a 200 answer; raises HTTPError for others."""
    with urllib.request.urlopen(url, timeout=10, context=context) as answer:
        body: bytes = answer.read()
        return body


def test_banner_says_lab_mode_and_how_to_begin(server: LabServer) -> None:
    assert "lab mode" in server.output
    assert "certbot" in server.output
    assert server.directory_url in server.output


def test_directory_lists_resources_below_the_external_url(server: LabServer) -> None:
    directory = json.loads(get(server.directory_url, server.tls_context()))

    base = server.directory_url.removesuffix("directory")
    resources = {"newNonce", "newAccount", "newOrder", "newAuthz", "revokeCert", "keyChange"}
    assert resources <= directory.keys()
    for name in resources:
        assert directory[name].startswith(base)


def test_roots_are_served_by_both_listeners_and_kept_as_a_file(server: LabServer) -> None:
    over_tls = get(f"https://localhost:{server.port}/roots.pem", server.tls_context())
    plain = get(f"http://localhost:{server.status_port}/roots.pem")

    assert over_tls == plain == server.roots.read_bytes()
    assert len(x509.load_pem_x509_certificates(plain)) == 1


def test_crl_named_in_a_certificate_is_served_and_signed_by_its_issuer(
    certbot: Certbot, server: LabServer
) -> None:
    lineage = certbot.certonly(
        *("--standalone", "--http-01-address", "127.0.0.1"),
        *("--http-01-port", str(server.http_port)),
        *("-d", "crl.localhost"),
        name="crl",
    )
    certificate = x509.load_pem_x509_certificate(lineage.certificate.read_bytes())
    issuer = x509.load_pem_x509_certificate(lineage.chain.read_bytes())
    points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    (name,) = points[0].full_name or []

    crl = x509.load_der_x509_crl(get(name.value))

    assert crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
    assert crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is None


def test_operations_listener_tells_health_and_metrics(server: LabServer) -> None:
    base = f"http://127.0.0.1:{server.ops_port}"

    assert get(f"{base}/healthz")
    assert get(f"{base}/readyz")
    assert b"# HELP" in get(f"{base}/metrics")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_restarted_server_is_the_same_authority(tmp_path: Path, how: signal.Signals) -> None:
    with LabServer() as server:
        certbot = Certbot(
            install_certbot(), server.directory_url, server.roots, tmp_path / "certbot"
        )
        options = [
            *("--standalone", "--http-01-address", "127.0.0.1"),
            *("--http-01-port", str(server.http_port)),
        ]
        before = certbot.certonly(*options, "-d", "before.localhost", name="before")
        roots = server.roots.read_bytes()

        server.end(how)
        server.start()

        assert server.roots.read_bytes() == roots
        verify_chain(before.certificate, before.chain, server.roots)
        after = certbot.certonly(*options, "-d", "after.localhost", name="after")
        assert after.chain.read_bytes() == before.chain.read_bytes()


def test_orderly_stop_ends_with_status_zero_and_leaves_nothing_running() -> None:
    with LabServer() as server:
        status = server.stop()

        assert status == 0
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            get(f"http://localhost:{server.status_port}/roots.pem")
        assert not list(server.data_dir.rglob("postmaster.pid"))


def test_second_server_on_the_same_data_is_refused_by_name() -> None:
    with LabServer() as first:
        second = LabServer({"ACME_SERVER__DATA_DIR": str(first.data_dir)})

        with pytest.raises(ServerFailed, match=re.escape(str(first.data_dir))), second:
            pass
