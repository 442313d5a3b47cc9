"""``certificate revoke``: durable, once, and left to the server to sign."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from storage.pool import Database
from support.postgres import PostgresCluster, run_apart
from support.records import Records, record

Run = Callable[..., Result]


@pytest.fixture
def made(
    postgres_cluster: PostgresCluster, migrated_database: str, environment: dict[str, str]
) -> Records:
    """What has happened in a database of this test's own."""
    records = run_apart(record(postgres_cluster.app_url(migrated_database)))
    environment["MASTER_KEY"] = records.master_key
    return records


@pytest.fixture
def look(environment: dict[str, str]) -> Callable[[str], Any]:
    """The first value that a query finds in that database."""

    def ask(sql: str) -> Any:
        async def fetch() -> Any:
            database = await Database.open(environment["ACME_SERVER__DATABASE__URL"])
            try:
                return await database.fetchval(sql)
            finally:
                await database.close()

        return run_apart(fetch())

    return ask


def revoke(run: Run, environment: dict[str, str], *arguments: str) -> Result:
    """Run the command with ``--json``."""
    return run("certificate", "revoke", *arguments, "--json", environ=environment)


@pytest.mark.parametrize("word", ["keyCompromise", "keycompromise", "key_compromise"])
def test_certificate_is_revoked_its_key_blocked_and_its_crl_requested(
    run: Run,
    environment: dict[str, str],
    made: Records,
    look: Callable[[str], Any],
    word: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SUDO_USER", "alice")
    serial = made.certificate.serial.hex()

    result = revoke(run, environment, serial, "--reason", word)

    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["serial"] == serial
    assert document["revocation_reason"] == "keyCompromise"
    assert document["revoked_at"] is not None
    shown = run("certificate", "list", "--revoked", "--json", environ=environment)
    assert json.loads(shown.stdout)["certificates"] == [document]
    assert look("SELECT actor FROM audit_events WHERE action = 'certificate_revoked'") == (
        "operator:alice"
    )
    assert look("SELECT count(*) FROM blocked_keys") == 1
    # The CRL is the server's to sign: the one that is published does not list it yet.
    assert look("SELECT shard FROM crl_requests") == document["shard"]
    assert look("SELECT max(number) FROM crls") == 1


def test_certificate_is_revoked_once_and_without_a_reason_unspecified(
    run: Run, environment: dict[str, str], made: Records, look: Callable[[str], Any]
) -> None:
    serial = made.certificate.serial.hex()

    first = revoke(run, environment, serial)
    second = revoke(run, environment, serial, "--reason", "superseded")

    assert json.loads(first.stdout)["revocation_reason"] == "unspecified"
    assert second.exit_code == 1
    assert "revoked already" in json.loads(second.stdout)["error"]
    assert look("SELECT count(*) FROM blocked_keys") == 0
    assert look("SELECT count(*) FROM crl_requests") == 1


def test_unknown_serial_is_told(run: Run, environment: dict[str, str], made: Records) -> None:
    result = revoke(run, environment, "0badcafe00000000")

    assert result.exit_code == 1
    assert "0badcafe" in json.loads(result.stdout)["error"]


@pytest.mark.parametrize("word", ["caCompromise", "aaCompromise", "certificateHold", "1", ""])
def test_reason_that_is_not_for_such_certificates_is_wrong_usage(
    run: Run, environment: dict[str, str], word: str
) -> None:
    result = revoke(run, environment, "0badcafe00000000", "--reason", word)

    assert result.exit_code == 2
    assert re.search(r"keyCompromise.*privilegeWithdrawn", result.output)


def test_text_tells_what_was_revoked(
    run: Run, environment: dict[str, str], made: Records, tmp_path: Path
) -> None:
    serial = made.certificate.serial.hex()

    result = run("certificate", "revoke", serial, "--reason", "superseded", environ=environment)

    assert result.exit_code == 0
    assert serial in result.output
    assert "superseded" in result.output
