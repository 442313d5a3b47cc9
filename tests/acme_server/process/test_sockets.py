"""Ports are ours or the reason why not is told."""

from __future__ import annotations

import dataclasses
import socket
from ipaddress import ip_address

import pytest

from acme_server.config.settings import Settings
from acme_server.config.values import Endpoint
from acme_server.process.sockets import ListenFailed, bound_listeners, open_listeners


def settings_on(host: str = "127.0.0.1", **ports: int) -> Settings:
    """Settings whose listeners have ports that the system chooses, but for these."""
    keys = ("listen", "status_listen", "ops_listen")
    endpoints = {key: Endpoint(ip_address(host), ports.get(key, 0)) for key in keys}
    return dataclasses.replace(
        Settings(), server=dataclasses.replace(Settings().server, **endpoints)
    )


def port_of(sock: socket.socket) -> int:
    """Its port."""
    port: int = sock.getsockname()[1]
    return port


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_connections_are_let_in_only_when_all_is_ready(host: str) -> None:
    with bound_listeners(settings_on(host)) as listeners:
        assert set(listeners) == {"acme", "status", "ops"}
        for listener in listeners.values():
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((host, port_of(listener)), 10)

        open_listeners(listeners)

        for listener in listeners.values():
            socket.create_connection((host, port_of(listener)), 10).close()


@pytest.mark.parametrize("key", ["listen", "status_listen", "ops_listen"])
@pytest.mark.parametrize("listens", [False, True])
def test_port_of_another_server_is_refused_with_its_setting(key: str, listens: bool) -> None:
    with bound_listeners(settings_on()) as taken:
        if listens:
            open_listeners(taken)
        wanted = settings_on(**{key: port_of(taken["acme"])})

        with pytest.raises(ListenFailed) as refusal, bound_listeners(wanted):
            pass

    message = str(refusal.value)
    assert message.startswith(f"server.{key}: can't listen on 127.0.0.1:")
    assert "Address already in use" in message
    assert message.endswith(f"stop what uses it, or set server.{key} to another address")


def test_address_of_another_machine_is_refused() -> None:
    with (
        pytest.raises(ListenFailed, match=r"server\.listen: .*192\.0\.2\.1"),
        bound_listeners(settings_on("192.0.2.1")),
    ):
        pass


def test_ports_are_free_again_after_a_failure() -> None:
    with bound_listeners(settings_on()) as taken, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = port_of(probe)
        probe.close()
        wanted = settings_on(listen=free, ops_listen=port_of(taken["ops"]))
        with pytest.raises(ListenFailed), bound_listeners(wanted):
            pass

        with bound_listeners(settings_on(listen=free)) as again:
            assert port_of(again["acme"]) == free


def test_restarted_server_gets_its_port_while_old_connections_linger() -> None:
    with bound_listeners(settings_on()) as listeners:
        open_listeners(listeners)
        port = port_of(listeners["acme"])
        client = socket.create_connection(("127.0.0.1", port), 10)
        accepted, _ = listeners["acme"].accept()
        # Who closes first keeps the remains.
        accepted.close()
        assert client.recv(1) == b""
        client.close()

    with bound_listeners(settings_on(listen=port)) as again:
        open_listeners(again)
        socket.create_connection(("127.0.0.1", port), 10).close()


def test_small_answers_are_not_held_back_and_descriptors_not_passed_on() -> None:
    with bound_listeners(settings_on()) as listeners:
        for listener in listeners.values():
            assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
            assert not listener.get_inheritable()
            assert not listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
