"""When it is lab mode, and what that changes."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network

import pytest

from acme_server.config.settings import Settings

Load = Callable[..., Settings]


def test_no_configuration_is_lab_mode_on_loopback(load: Load) -> None:
    settings = load(None)

    assert settings.lab
    assert settings.database.is_embedded
    for endpoint in (
        settings.server.listen,
        settings.server.status_listen,
        settings.server.ops_listen,
    ):
        assert endpoint.is_loopback
    assert settings.server.external_url == "https://localhost:14000"
    assert settings.server.status_url == "http://localhost:14080"
    assert settings.validation.http_port == 5002
    assert settings.validation.tls_port == 5001
    assert settings.validation.allowed_networks == (
        ip_network("127.0.0.0/8"),
        ip_network("::1/128"),
    )


def test_file_ends_lab_mode(load: Load) -> None:
    settings = load("logging: {level: info}\n")

    assert not settings.lab
    assert settings.validation.http_port == 80
    assert settings.validation.tls_port == 443
    assert settings.validation.allowed_networks == ()


def test_external_url_in_the_environment_ends_lab_mode(load: Load) -> None:
    settings = load(None, {"ACME_SERVER__SERVER__EXTERNAL_URL": "https://acme.example.org"})

    assert not settings.lab
    assert settings.validation.http_port == 80
    assert settings.validation.allowed_networks == ()
    assert settings.server.status_url == "http://acme.example.org:14080"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("SERVER__LISTEN", "0.0.0.0:443"),
        ("SERVER__STATUS_URL", "http://localhost:1"),
        ("VALIDATION__HTTP_PORT", "80"),
        ("VALIDATION__ALLOWED_NETWORKS", "[]"),
        ("DATA_DIR", "/srv/lab"),
        ("SERVER__WORKERS", "2"),
    ],
)
def test_other_variables_override_singly(load: Load, key: str, value: str) -> None:
    settings = load(None, {f"ACME_SERVER__{key}": value})

    assert settings.lab
    assert settings.validation.tls_port == 5001


@pytest.mark.parametrize(
    ("variables", "external_url", "status_url"),
    [
        ({"LISTEN": "127.0.0.1:9000"}, "https://localhost:9000", "http://localhost:14080"),
        ({"LISTEN": "127.0.0.1:443"}, "https://localhost", "http://localhost:14080"),
        ({"STATUS_LISTEN": "[::1]:80"}, "https://localhost:14000", "http://localhost"),
        ({"TLS": "off"}, "http://localhost:14000", "http://localhost:14080"),
        ({"TLS": "off", "LISTEN": "127.0.0.1:80"}, "http://localhost", "http://localhost:14080"),
        ({"EXTERNAL_URL": "https://[fd00::1]:8"}, "https://[fd00::1]:8", "http://[fd00::1]:14080"),
    ],
)
def test_urls_follow_the_listeners(
    load: Load, variables: dict[str, str], external_url: str, status_url: str
) -> None:
    server = load(None, {f"ACME_SERVER__SERVER__{k}": v for k, v in variables.items()}).server

    assert (server.external_url, server.status_url) == (external_url, status_url)
