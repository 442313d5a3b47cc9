"""What systemd is told."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from acme_server.process.notify import READY, notify
from support.serverprocess import ServerProcess


@contextlib.contextmanager
def service_manager(address: str) -> Iterator[socket.socket]:
    """A socket in systemd's place."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(40)
        manager.bind("\0" + address[1:] if address[0] == "@" else address)
        yield manager


def listen_until(manager: socket.socket, state: str) -> list[str]:
    """All that is told until ``state`` is."""
    heard: list[str] = []
    while not heard or heard[-1] != state:
        heard.append(manager.recv(4096).decode())
    return heard


def test_life_of_the_server_is_told(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "200000"}
    with service_manager(address) as manager, ServerProcess(environment=environment) as server:
        server.set("database_away")
        server.spawn()
        starting = listen_until(manager, "STATUS=waiting for the database")
        server.unset("database_away")
        until_ready = listen_until(manager, "READY=1")
        watched = listen_until(manager, "WATCHDOG=1")
        server.signal(signal.SIGHUP)
        reloading = listen_until(manager, "READY=1")
        server.signal(signal.SIGTERM)
        stopping = listen_until(manager, "STOPPING=1")
        status = server.wait()

    assert status == 0
    assert any(line.startswith("EXTEND_TIMEOUT_USEC=") for line in starting)
    assert "READY=1" not in starting
    assert until_ready[-1] == "READY=1"
    assert watched[-1] == "WATCHDOG=1"
    begun = [line for line in reloading if line.startswith("RELOADING=1\nMONOTONIC_USEC=")]
    assert len(begun) == 1
    assert stopping[-1] == "STOPPING=1"


@pytest.mark.parametrize("is_abstract", [False, True])
def test_both_kinds_of_addresses_are_reached(
    is_abstract: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"@acme-server-test-{tmp_path.name}" if is_abstract else str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with service_manager(address) as manager:
        notify(READY)

        assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/at/all", "@nobody-listens-here"])
def test_nobody_to_tell_is_no_fault(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)

    notify(READY)
