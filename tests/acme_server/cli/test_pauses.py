"""``account unpause``: names that failed too often may be ordered again, and the trail tells."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from click.testing import Result

from acme_server.workflow.sealing import generate_master_key
from policy.model.identifiers import Identifier, IdentifierType
from policy.model.ids import AccountId, encode_id
from storage.failingnames import FailingNames
from storage.pool import Database
from support.postgres import run_apart
from support.workflow import build_house

T = TypeVar("T")
Run = Callable[..., Result]
Unpause = Callable[..., Any]
NAMES = (
    Identifier(IdentifierType.DNS, "a.example.com"),
    Identifier(IdentifierType.DNS, "b.example.com"),
    Identifier(IdentifierType.IP, "2001:db8::1"),
)


@pytest.fixture
def installation(environment: dict[str, str]) -> dict[str, str]:
    """A database of this test's own."""
    return environment | {
        "MASTER_KEY": generate_master_key(),
        "ACME_SERVER__SERVER__EXTERNAL_URL": "https://acme.example.org",
        "ACME_SERVER__SERVER__STATUS_URL": "http://status.example.org",
        "SUDO_USER": "ada",
    }


@pytest.fixture
def account(installation: dict[str, str]) -> AccountId:
    """An account with three paused names, and one that failed once."""

    async def prepare(database: Database) -> AccountId:
        account = (await (await build_house(database)).caller()).account_id
        for name in NAMES:
            await FailingNames(database).add_failure(account, name, 1)
        once = Identifier(IdentifierType.DNS, "once.example.com")
        await FailingNames(database).add_failure(account, once, 5)
        # The key of a test's account is no JWK, which commands show.
        await database.execute("UPDATE accounts SET jwk = '{}' WHERE id = $1", account)
        return account

    return within(installation, prepare)


@pytest.fixture
def unpause(run: Run, installation: dict[str, str], account: AccountId) -> Unpause:
    """Run ``account unpause`` for the account; its document."""

    def command(*arguments: str) -> Any:
        result = run(
            "account", "unpause", encode_id(account), *arguments, "--json", environ=installation
        )
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return command


def within(installation: dict[str, str], work: Callable[[Database], Awaitable[T]]) -> T:
    """What ``work`` does with the installation's database."""

    async def do() -> T:
        database = await Database.open(installation["ACME_SERVER__DATABASE__URL"])
        try:
            return await work(database)
        finally:
            await database.close()

    return run_apart(do())


def test_all_names_of_an_account_are_unpaused_once(unpause: Unpause, account: AccountId) -> None:
    first, second = unpause(), unpause()

    assert first == {
        "account": encode_id(account),
        "unpaused": ["a.example.com", "b.example.com", "2001:db8::1"],
    }
    assert second["unpaused"] == []


@pytest.mark.parametrize(
    ("name", "unpaused"),
    [
        ("A.example.com", ["a.example.com"]),
        ("*.a.example.com", ["a.example.com"]),
        ("2001:DB8::0:1", ["2001:db8::1"]),
        ("once.example.com", []),
        ("example.com", []),
    ],
)
def test_one_name_is_unpaused_and_the_others_stay(
    unpause: Unpause, name: str, unpaused: list[str]
) -> None:
    one, others = unpause("--name", name), unpause()

    assert one["unpaused"] == unpaused
    assert len(others["unpaused"]) == len(NAMES) - len(unpaused)


def test_paused_names_are_shown_with_the_account(
    run: Run, unpause: Unpause, installation: dict[str, str], account: AccountId
) -> None:
    unpause("--name", "b.example.com")

    shown = run("account", "show", encode_id(account), "--json", environ=installation)

    assert json.loads(shown.stdout)["paused"] == ["a.example.com", "2001:db8::1"]


def test_the_trail_tells_who_unpaused_what(
    unpause: Unpause, installation: dict[str, str], account: AccountId
) -> None:
    unpause("--name", "a.example.com")
    unpause("--name", "a.example.com")

    events = within(
        installation,
        lambda database: database.fetch(
            "SELECT actor, subject, detail->>'identifier' AS identifier FROM audit_events "
            "WHERE action = 'name_unpaused'"
        ),
    )
    assert [tuple(event) for event in events] == [
        ("operator:ada", f"account:{account}", "dns:a.example.com")
    ]


def test_text_is_for_people(run: Run, installation: dict[str, str], account: AccountId) -> None:
    first = run("account", "unpause", str(account), "--name", NAMES[0].value, environ=installation)
    second = run("account", "unpause", str(account), "--name", NAMES[0].value, environ=installation)

    assert first.stdout == "a.example.com may be ordered again\n"
    assert second.stdout == "none of its names was paused\n"


@pytest.mark.parametrize(
    ("other", "name", "message"),
    [
        (True, None, "there is no such account"),
        (True, "a.example.com", "there is no such account"),
        (False, "-.example.com", "is no DNS name"),
        (False, "", "is no DNS name"),
    ],
)
def test_what_is_not_there_or_no_name_is_refused(
    run: Run,
    installation: dict[str, str],
    account: AccountId,
    other: bool,
    name: str | None,
    message: str,
) -> None:
    named = () if name is None else ("--name", name)
    asked = "A" * 22 if other else encode_id(account)

    result = run("account", "unpause", asked, *named, "--json", environ=installation)

    assert result.exit_code == 1
    assert message in result.output
