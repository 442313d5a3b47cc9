"""SIGHUP: what changed is taken up, and no connection is lost by it."""

from __future__ import annotations

import dataclasses
import signal
import ssl
from contextlib import closing
from datetime import timedelta
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path

import pytest
import trustme
from cryptography import x509

from acme_server.config.settings import Settings
from acme_server.config.values import TlsFiles
from acme_server.process.reloading import plan_reload
from acme_server.process.tlsfiles import TlsCopies, TlsFilesRefused, TlsPem, read_tls_files
from support.keepalive import asking_clients
from support.serverprocess import ServerProcess, running_server, until


class TlsFolder:
    """A certificate with its key as files, and a client that trusts its CA."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.certificate = folder / "certificate.pem"
        self.key = folder / "key.pem"
        self.issue()

    def issue(self) -> int:
        """Put another certificate and key in place; its serial number."""
        issued = self.ca.issue_cert("localhost", "127.0.0.1")
        self.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        self.key.write_bytes(issued.private_key_pem.bytes())
        self.key.chmod(0o600)
        return serial_in(ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode()))

    def settings(self, server: ServerProcess) -> dict[str, object]:
        """The settings of a server that uses the files."""
        return {
            "tls": {"certificate": str(self.certificate), "key": str(self.key)},
            "external_url": f"https://localhost:{server.port}",
        }

    def connect(self, port: int) -> HTTPSConnection:
        """A connection that checks the certificate."""
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        wire = HTTPSConnection("127.0.0.1", port, timeout=40, context=context)
        wire.connect()
        return wire

    def served_serial(self, port: int) -> int:
        """The serial number of the certificate that a new connection gets."""
        with closing(self.connect(port)) as wire:
            return serial_of_peer(wire)


def serial_of_peer(wire: HTTPSConnection) -> int:
    """The serial number of the certificate of an open connection."""
    der = wire.sock.getpeercert(binary_form=True)
    assert der is not None
    return serial_in(der)


def serial_in(der: bytes) -> int:
    """The serial number of a certificate."""
    return x509.load_der_x509_certificate(der).serial_number


def ask(wire: HTTPConnection) -> tuple[int, str | None]:
    """The pid of who answers on a connection, and the answer's Connection header."""
    wire.request("GET", "/who")
    answer = wire.getresponse()
    pid = int(answer.read().partition(b'"pid":')[2].partition(b",")[0])
    assert answer.status == 200
    return pid, answer.headers["Connection"]


def test_renewed_tls_files_are_served_without_a_new_process(tmp_path: Path) -> None:
    tls = TlsFolder(tmp_path)
    with ServerProcess() as server:
        server.configure(server=tls.settings(server))
        server.start()
        with closing(tls.connect(server.port)) as wire:
            pid, _ = ask(wire)
            before = serial_of_peer(wire)
            renewed = tls.issue()

            server.signal(signal.SIGHUP)
            server.wait_for_event("configuration_reloaded")

            assert renewed != before
            assert tls.served_serial(server.port) == renewed
            assert ask(wire) == (pid, None)
            assert server.events_named("process_ended") == []


def test_tls_files_that_do_not_belong_together_change_nothing(tmp_path: Path) -> None:
    tls = TlsFolder(tmp_path)
    with ServerProcess() as server:
        server.configure(server=tls.settings(server))
        server.start()
        before = tls.served_serial(server.port)
        key = tls.key.read_bytes()
        tls.issue()
        tls.key.write_bytes(key)

        server.signal(signal.SIGHUP)
        refused = server.wait_for_event("configuration_refused")

        assert "server.tls" in refused["reason"]
        assert str(tls.certificate) in refused["reason"]
        assert tls.served_serial(server.port) == before
        assert server.events_named("configuration_reloaded") == []


def test_start_with_unusable_tls_files_is_refused(tmp_path: Path) -> None:
    tls = TlsFolder(tmp_path)
    tls.key.unlink()
    with ServerProcess() as server:
        server.configure(server=tls.settings(server))

        server.spawn()

        assert server.wait() == 1
        expected = f"acme-server: server.tls.key: can't read {tls.key}: No such file or directory\n"
        assert server.output == expected


async def test_live_settings_are_taken_up_by_new_workers_without_losing_a_request() -> None:
    with running_server(server={"workers": 2, "drain": "10s"}) as server:
        before = server.pids("http")
        background = server.pids("background")
        async with asking_clients(server.port, 8) as tally:
            await tally.until_answered_by(before)
            server.configure(server={"drain": "7s"})
            server.signal(signal.SIGHUP)
            await tally.until_event(server, "configuration_reloaded")
            after = server.pids("http") - before
            await tally.until_answered_by(after)

        assert tally.failures == []
        assert len(after) == 2
        assert server.get("/who")["drain"] == 7
        assert server.events_named("settings_changed")[0]["settings"] == ["server.drain"]
        server.wait_for_pids("http", 2, other_than=before)
        server.wait_for_pids("background", 1, other_than=background)
        assert server.events_named("process_died") == []


def test_number_of_workers_follows_the_configuration() -> None:
    with running_server() as server:
        server.configure(server={"workers": 3})
        server.signal(signal.SIGHUP)
        server.wait_for_event("configuration_reloaded")
        assert len(server.wait_for_pids("http", 3)) == 3

        server.configure(server={"workers": 1})
        server.signal(signal.SIGHUP)
        server.wait_for_event("configuration_reloaded", 2)

        server.wait_for_pids("http", 1)
        assert server.get("/who")["pid"] in server.pids("http")
        assert server.events_named("process_died") == []


def test_setting_that_needs_a_restart_is_named_and_not_taken_up() -> None:
    with running_server() as server:
        workers = server.pids("http")
        server.configure(acme={"nonce_lifetime": "2h"})

        server.signal(signal.SIGHUP)
        server.wait_for_event("configuration_reloaded")

        assert server.events_named("setting_needs_restart")[0]["setting"] == "acme.nonce_lifetime"
        assert server.pids("http") == workers


def test_faulty_configuration_changes_nothing() -> None:
    with running_server() as server:
        workers = server.pids("http")
        (server.data_dir / "config.yaml").write_text("server:\n  workerz: 2\n")

        server.signal(signal.SIGHUP)
        refused = server.wait_for_event("configuration_refused")

        assert "workerz" in refused["reason"]
        assert server.get("/who")["pid"] in workers
        assert server.pids("http") == workers


def test_settings_that_children_could_not_start_with_change_nothing() -> None:
    with running_server() as server:
        workers = server.pids("http")
        server.set("settings_refused")
        server.configure(server={"drain": "8s"})

        server.signal(signal.SIGHUP)
        refused = server.wait_for_event("configuration_refused")

        assert "validation.resolver_ca" in refused["reason"]
        assert server.get("/who")["drain"] == 10
        assert server.pids("http") == workers


def test_reload_that_workers_cannot_follow_is_overtaken_by_the_next() -> None:
    with running_server() as server:
        veterans = server.pids("http")
        server.set("http_fails")
        server.configure(server={"drain": "8s"})
        server.signal(signal.SIGHUP)
        server.wait_for_event("restart_postponed")
        assert server.get("/who")["drain"] == 10

        server.unset("http_fails")
        server.configure(server={"drain": "9s"})
        server.signal(signal.SIGHUP)

        server.wait_for_event("configuration_reloaded")
        server.wait_for_pids("http", 1, other_than=veterans)
        until(lambda: server.get("/who")["drain"] == 9, "the newest settings")


def test_level_of_the_log_is_live() -> None:
    with running_server(logging={"level": "warning"}) as server:
        assert server.events_named("process_started") == []
        server.configure(logging={"level": "info"})

        server.signal(signal.SIGHUP)

        server.wait_for_event("configuration_reloaded")
        server.get("/who")
        until(lambda: bool(server.events_named("request_ended")), "a worker's event")


def test_plan_takes_live_settings_only() -> None:
    running = Settings()
    server = dataclasses.replace(running.server, drain=timedelta(seconds=1), workers=4)
    acme = dataclasses.replace(running.acme, nonce_lifetime=timedelta(minutes=5))

    plan = plan_reload(running, dataclasses.replace(running, server=server, acme=acme))

    assert plan.settings == dataclasses.replace(running, server=server)
    assert plan.taken_up == ("server.workers", "server.drain")
    assert plan.postponed == ("acme.nonce_lifetime",)


def test_plan_without_changes_is_empty() -> None:
    plan = plan_reload(Settings(), Settings())

    assert (plan.settings, plan.taken_up, plan.postponed) == (Settings(), (), ())


def with_files(certificate: Path, key: Path) -> Settings:
    """Settings that name TLS files."""
    files = TlsFiles(certificate=certificate, key=key)
    return dataclasses.replace(Settings(), server=dataclasses.replace(Settings().server, tls=files))


def test_files_are_read_and_their_copies_can_be_replaced(tmp_path: Path) -> None:
    tls = TlsFolder(tmp_path)
    settings = with_files(tls.certificate, tls.key)
    first = read_tls_files(settings)
    assert first is not None
    copies = TlsCopies(first)
    files = copies.settings(settings).server.tls
    assert isinstance(files, TlsFiles)

    assert files.certificate.read_bytes() == tls.certificate.read_bytes()
    assert files.key.read_bytes() == tls.key.read_bytes()
    copies.replace(TlsPem(certificate=b"shorter", key=b"too"))
    assert files.certificate.read_bytes() == b"shorter"
    assert files.key.read_bytes() == b"too"


def test_no_files_are_read_where_none_are_named() -> None:
    assert read_tls_files(Settings()) is None


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (b"", "can't be used together"),
        (b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n", "is encrypted"),
        (b"x" * 2_000_000, "is larger than"),
    ],
)
def test_unusable_keys_are_refused_by_name(tmp_path: Path, key: bytes, reason: str) -> None:
    tls = TlsFolder(tmp_path)
    tls.key.write_bytes(key)

    with pytest.raises(TlsFilesRefused, match=reason) as refusal:
        read_tls_files(with_files(tls.certificate, tls.key))

    assert "server.tls" in str(refusal.value)
    assert str(tls.key) in str(refusal.value)
