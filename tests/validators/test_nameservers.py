"""The system's resolvers."""

from __future__ import annotations

from pathlib import Path

import pytest

from validators.nameservers import DEFAULT_SERVERS, SystemServers, parse_resolv_conf


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nameserver 192.0.2.1\n", ["192.0.2.1:53"]),
        ("# x\nsearch a b\nnameserver\t2001:db8::1  # y\n", ["[2001:db8::1]:53"]),
        ("nameserver fe80::1%eth0", ["[fe80::1%eth0]:53"]),
        ("nameserver 10.0.0.1\n" * 5, ["10.0.0.1:53"] * 3),
        ("nameserver\nnameserver example.test\nnameservers 10.0.0.1\n;nameserver 10.0.0.1", None),
        ("", None),
    ],
)
def test_resolv_conf_is_read_for_its_servers_only(text: str, expected: list[str] | None) -> None:
    assert [str(server) for server in parse_resolv_conf(text)] == (
        expected or [str(server) for server in DEFAULT_SERVERS]
    )


def test_resolv_conf_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    servers = SystemServers(path)
    assert servers.current() == DEFAULT_SERVERS

    path.write_text("nameserver 192.0.2.1")
    assert [str(server) for server in servers.current()] == ["192.0.2.1:53"]

    replacement = tmp_path / "new"
    replacement.write_text("nameserver 192.0.2.2")
    replacement.rename(path)
    assert [str(server) for server in servers.current()] == ["192.0.2.2:53"]

    path.unlink()
    assert servers.current() == DEFAULT_SERVERS
