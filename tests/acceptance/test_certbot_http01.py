"""certbot proves control by http-01, with its own web server."""

from __future__ import annotations

import re

from benchmarks.lab import LabServer
from support.certbot import Certbot
from support.inspection import (
    names_in,
    public_key_of_certificate,
    public_key_of_private_key,
    serial_of,
    verify_chain,
)


def standalone(server: LabServer) -> list[str]:
    """Options for certbot's own web server where this server validates."""
    return [
        "--standalone",
        "--http-01-address",
        "127.0.0.1",
        "--http-01-port",
        str(server.http_port),
    ]


def test_certificate_is_what_was_asked_for(certbot: Certbot, server: LabServer) -> None:
    names = ["www.shop.localhost", "shop.localhost"]

    lineage = certbot.certonly(
        *standalone(server), *(word for name in names for word in ("-d", name)), name="shop"
    )

    verify_chain(lineage.certificate, lineage.chain, server.roots)
    assert names_in(lineage.certificate) == sorted(names)
    assert public_key_of_certificate(lineage.certificate) == public_key_of_private_key(lineage.key)


def test_rsa_key_is_certified(certbot: Certbot, server: LabServer) -> None:
    lineage = certbot.certonly(
        *standalone(server), "--key-type", "rsa", "-d", "rsa.localhost", name="rsa"
    )

    verify_chain(lineage.certificate, lineage.chain, server.roots)
    assert public_key_of_certificate(lineage.certificate) == public_key_of_private_key(lineage.key)


def test_renewal_gives_another_certificate_for_the_same_names(
    certbot: Certbot, server: LabServer
) -> None:
    lineage = certbot.certonly(*standalone(server), "-d", "renewed.localhost", name="renewed")
    first = serial_of(lineage.certificate)

    result = certbot.run("renew", "--force-renewal", "--no-random-sleep-on-renew")

    assert result.returncode == 0, result.stdout
    assert serial_of(lineage.certificate) != first
    assert names_in(lineage.certificate) == ["renewed.localhost"]
    verify_chain(lineage.certificate, lineage.chain, server.roots)


def test_failed_validation_tells_the_applicant_why(certbot: Certbot, server: LabServer) -> None:
    result = certbot.run(
        "certonly",
        "--agree-tos",
        "--register-unsafely-without-email",
        *("--manual", "--preferred-challenges", "http", "--manual-auth-hook", "true"),
        *("-d", "nobody.localhost"),
    )

    assert result.returncode != 0
    assert re.search(rf"(?i)nobody\.localhost.*\b{server.http_port}\b", result.stdout, re.DOTALL)
    assert re.search(r"(?i)refused|nothing listens|no server", result.stdout), result.stdout


def test_name_that_is_not_allowed_is_refused(certbot: Certbot, server: LabServer) -> None:
    result = certbot.run(
        "certonly",
        "--agree-tos",
        "--register-unsafely-without-email",
        *standalone(server),
        *("-d", "bad_name.localhost"),
    )

    assert result.returncode != 0
    assert "bad_name.localhost" in result.stdout


def test_account_can_be_updated_and_deactivated(certbot: Certbot) -> None:
    registered = certbot.run("register", "--agree-tos", "--register-unsafely-without-email")
    updated = certbot.run("update_account", "--email", "operator@example.org")
    ended = certbot.run("unregister")

    assert registered.returncode == 0, registered.stdout
    assert updated.returncode == 0, updated.stdout
    assert ended.returncode == 0, ended.stdout
