"""A server that lets in only who has an external account key, and clients that bring one."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.lab import LabServer
from support.certbot import Certbot
from support.environments import system_command
from support.inspection import verify_chain
from support.lego import Lego


@pytest.fixture(scope="module")
def server() -> Iterator[LabServer]:
    """A server that requires external account binding."""
    with LabServer({"ACME_SERVER__ACME__EXTERNAL_ACCOUNT_REQUIRED": "true"}) as lab:
        yield lab


def operate(server: LabServer, *arguments: str) -> Any:
    """The document of a command, run beside the server."""
    result = subprocess.run(
        [*server.command[:-1], *arguments, "--json"],
        env=server.environment,
        cwd=server.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(result.stdout)


def eab(server: LabServer, *arguments: str) -> Any:
    """The document of an ``eab`` command."""
    return operate(server, "eab", *arguments)


def certbot_options(key: dict[str, str]) -> list[str]:
    """The options that ``eab create`` prints for certbot."""
    return ["--eab-kid", key["key_id"], "--eab-hmac-key", key["hmac_key"]]


def standalone(server: LabServer) -> list[str]:
    """Options for certbot's own web server where this server validates."""
    port = str(server.http_port)
    return ["--standalone", "--http-01-address", "127.0.0.1", "--http-01-port", port]


def register(certbot: Certbot, *options: str) -> subprocess.CompletedProcess[str]:
    """Register an account."""
    return certbot.run("register", "--agree-tos", "--register-unsafely-without-email", *options)


def test_certbot_with_a_key_gets_an_account_and_a_certificate(
    certbot: Certbot, server: LabServer
) -> None:
    key = eab(server, "create", "--owner", "certbot")

    lineage = certbot.certonly(
        *standalone(server), *certbot_options(key), "-d", "bound.localhost", name="bound"
    )
    renewed = certbot.run("renew", "--force-renewal", "--no-random-sleep-on-renew")

    verify_chain(lineage.certificate, lineage.chain, server.roots)
    assert renewed.returncode == 0, renewed.stdout
    (listed,) = [entry for entry in eab(server, "list")["keys"] if entry["owner"] == "certbot"]
    assert (listed["state"], listed["uses"]) == ("used up", 1)
    (account,) = listed["accounts"]
    assert operate(server, "account", "show", account)["external_account"] == key["key_id"]


def test_certbot_without_a_key_is_told_what_is_missing(certbot: Certbot, server: LabServer) -> None:
    result = register(certbot)

    assert result.returncode != 0
    assert "external account" in result.stdout.lower(), result.stdout


@pytest.mark.parametrize("state", ["used up", "revoked"])
def test_certbot_with_a_key_that_is_not_good_any_more_is_told_why(
    certbot: Certbot, server: LabServer, state: str
) -> None:
    key = eab(server, "create")
    if state == "revoked":
        eab(server, "revoke", key["key_id"])
    else:
        first = Certbot(
            certbot.command, certbot.directory_url, certbot.roots, certbot.folder / "first"
        )
        assert register(first, *certbot_options(key)).returncode == 0

    result = register(certbot, *certbot_options(key))

    assert result.returncode != 0
    assert state in result.stdout, result.stdout


def test_lego_with_a_key_gets_a_certificate(server: LabServer, tmp_path: Path) -> None:
    key = eab(server, "create")
    lego = Lego(
        system_command("lego", package="lego"), server.directory_url, server.roots, tmp_path
    )

    issued = lego.obtain(
        *("--eab", "--kid", key["key_id"], "--hmac", key["hmac_key"]),
        *("--http", "--http.port", f"127.0.0.1:{server.http_port}"),
        names=("lego.localhost",),
    )

    issued.check(server.roots, "lego.localhost")
