"""``eab``: keys for external account binding, made, listed and revoked."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

import asyncpg
import pytest
from click.testing import Result

from acme_server.workflow.sealing import MasterKey, generate_master_key
from policy.model.ids import parse_id
from support.postgres import run_apart

Run = Callable[..., Result]
Eab = Callable[..., Any]


@pytest.fixture
def installation(environment: dict[str, str]) -> dict[str, str]:
    """A database of this test's own, with a master key."""
    return environment | {
        "MASTER_KEY": generate_master_key(),
        "ACME_SERVER__SERVER__EXTERNAL_URL": "https://acme.example.org",
        "ACME_SERVER__SERVER__STATUS_URL": "http://status.example.org",
        "SUDO_USER": "ada",
    }


@pytest.fixture
def eab(run: Run, installation: dict[str, str]) -> Eab:
    """Run a command of ``eab`` with ``--json``; its document."""

    def command(*arguments: str) -> Any:
        result = run("eab", *arguments, "--json", environ=installation)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return command


def fetch(environ: Mapping[str, str], sql: str) -> list[dict[str, Any]]:
    """Rows of the installation's database."""

    async def rows() -> list[dict[str, Any]]:
        connection = await asyncpg.connect(environ["ACME_SERVER__DATABASE__URL"])
        try:
            return [dict(row) for row in await connection.fetch(sql)]
        finally:
            await connection.close()

    return run_apart(rows())


def test_key_is_made_sealed_and_shown_once(eab: Eab, installation: dict[str, str]) -> None:
    made = eab("create", "--owner", "web team")
    listed = eab("list")

    secret = base64.urlsafe_b64decode(made["hmac_key"] + "==")
    assert len(secret) == 64
    assert not made["hmac_key"].startswith("-")
    assert listed["next"] is None
    assert listed["keys"] == [
        {name: value for name, value in made.items() if name != "hmac_key"} | {"accounts": []}
    ]
    assert (made["owner"], made["state"], made["uses"], made["max_uses"]) == (
        "web team",
        "usable",
        0,
        1,
    )
    (row,) = fetch(installation, "SELECT id, purpose, sealed FROM sealed_secrets")
    assert row["id"] == parse_id(made["key_id"])
    master_key = MasterKey.from_text(installation["MASTER_KEY"])
    assert master_key.open(row["sealed"], purpose=row["purpose"], row=row["id"]) == secret


def test_text_tells_each_client_how_to_use_the_key(run: Run, installation: dict[str, str]) -> None:
    result = run("eab", "create", environ=installation)
    (row,) = fetch(installation, "SELECT id FROM sealed_secrets")
    facts = dict(line.split("  ", 1) for line in result.stdout.splitlines() if "  " in line.strip())
    key_id, hmac_key = facts["key_id"].strip(), facts["hmac_key"].strip()

    assert parse_id(key_id) == row["id"]
    server = "--server https://acme.example.org/directory"
    eab = f"--eab-kid {key_id} --eab-hmac-key {hmac_key}"
    assert f"certbot register {server} {eab}\n" in result.stdout
    assert f"acme.sh --register-account {server} {eab}\n" in result.stdout
    assert f"lego {server} --eab --kid {key_id} --hmac {hmac_key}\n" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "max_uses", "expires"),
    [
        ((), 1, False),
        (("--uses", "5"), 5, False),
        (("--unlimited",), None, False),
        (("--expires-in", "30d"), 1, True),
    ],
)
def test_key_is_limited_as_it_was_asked_for(
    eab: Eab, arguments: tuple[str, ...], max_uses: int | None, expires: bool
) -> None:
    made = eab("create", *arguments)

    assert made["max_uses"] == max_uses
    assert (made["expires_at"] is not None) == expires


@pytest.mark.parametrize(
    ("arguments", "status", "word"),
    [
        (("--uses", "0"), 2, "--uses"),
        (("--uses", "2", "--unlimited"), 2, "exclude each other"),
        (("--expires-in", "soon"), 2, "duration"),
        (("--expires-in", "0s"), 1, "expires"),
        (("--owner", "x" * 201), 1, "200"),
        (("--owner", "a\x1b[2J"), 1, "printable"),
    ],
)
def test_key_that_makes_no_sense_is_refused(
    run: Run, installation: dict[str, str], arguments: tuple[str, ...], status: int, word: str
) -> None:
    result = run("eab", "create", *arguments, environ=installation)

    assert (result.exit_code, fetch(installation, "SELECT id FROM external_accounts")) == (
        status,
        [],
    )
    assert word in result.output


def test_keys_are_listed_page_by_page(eab: Eab) -> None:
    ids = [eab("create")["key_id"] for _ in range(3)]

    page = eab("list", "--limit", "2")
    rest = eab("list", "--limit", "2", "--after", page["next"])

    assert [key["key_id"] for key in page["keys"]] == ids[:2]
    assert [key["key_id"] for key in rest["keys"]] == ids[2:]
    assert rest["next"] is None


def test_list_is_a_table_for_eyes(run: Run, eab: Eab, installation: dict[str, str]) -> None:
    made = eab("create", "--owner", "web team", "--unlimited")

    result = run("eab", "list", environ=installation)

    heading, row = result.stdout.splitlines()
    assert heading.split() == ["key", "id", "state", "uses", "expires", "owner", "accounts"]
    assert row.split("  ")[:2] == [made["key_id"], "usable"]
    assert "0 of any number  never" in row
    assert made["hmac_key"] not in result.stdout


def test_key_is_revoked_once_and_the_trail_tells_by_whom(
    eab: Eab, installation: dict[str, str]
) -> None:
    made = eab("create")

    first = eab("revoke", made["key_id"])
    second = eab("revoke", made["key_id"])

    assert first == second
    assert (first["key_id"], first["state"]) == (made["key_id"], "revoked")
    events = fetch(installation, "SELECT actor, action, subject FROM audit_events ORDER BY id")
    subject = f"external_account:{parse_id(made['key_id'])}"
    assert events == [
        {"actor": "operator:ada", "action": action, "subject": subject}
        for action in ("external_account_created", "external_account_revoked")
    ]


def test_unknown_key_is_not_revoked(run: Run, installation: dict[str, str]) -> None:
    result = run("eab", "revoke", "AAAAAAAAAAAAAAAAAAAAAA", "--json", environ=installation)

    assert result.exit_code == 1
    assert json.loads(result.stdout) == {"error": "there is no such key"}


def test_key_is_not_sealed_under_a_foreign_master_key(run: Run, recorded: dict[str, str]) -> None:
    result = run("eab", "create", environ=recorded | {"MASTER_KEY": generate_master_key()})

    assert result.exit_code == 1
    assert "secrets.master_key is not the master key of this database" in result.output
    assert fetch(recorded, "SELECT id FROM external_accounts") == []
