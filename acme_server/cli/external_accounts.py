"""``eab create``, ``eab list`` and ``eab revoke``: keys for external account binding."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import click

from acme_server.cli.errors import CommandFailed
from acme_server.cli.invocation import Invocation, operator_command
from acme_server.cli.output import render_facts, render_table, show
from acme_server.cli.parameters import DurationText, ObjectId, limit_option
from acme_server.cli.questions import operator_name, told

if TYPE_CHECKING:
    from acme_server.workflow.external_accounts import ExternalAccountUseCases
    from policy.model.external_accounts import ExternalAccount

T = TypeVar("T")


@click.group("eab")
def eab_group() -> None:
    """Make and revoke keys that new ACME accounts are bound with."""


@eab_group.command("create")
@click.option("--owner", default="", metavar="TEXT", help="Whom the key is for, in your words.")
@click.option(
    "--uses",
    type=click.IntRange(1, 2**31 - 1),
    metavar="N",
    help="How many accounts can be made with it; 1 without this.",
)
@click.option("--unlimited", is_flag=True, help="Any number of accounts.")
@click.option(
    "--expires-in", type=DurationText(), metavar="DURATION", help="How long it is good for: 30d."
)
@operator_command
def create_key(
    invocation: Invocation,
    owner: str,
    uses: int | None,
    unlimited: bool,
    expires_in: timedelta | None,
) -> None:
    """Make a key and print it, this once: its identifier and the HMAC key in base64url."""
    from acme_server.workflow.external_accounts import KeyRefused

    if unlimited and uses is not None:
        raise click.UsageError("--uses and --unlimited exclude each other")
    max_uses = None if unlimited else uses or 1
    try:
        made = _manage(
            invocation,
            lambda keys: keys.create(
                owner=owner, max_uses=max_uses, lifetime=expires_in, actor=_operator()
            ),
        )
    except KeyRefused as error:
        raise CommandFailed(str(error)) from None
    hmac_key = base64.urlsafe_b64encode(made.secret).rstrip(b"=").decode("ascii")
    facts = _document(made.external_account)
    document = {"key_id": facts["key_id"], "hmac_key": hmac_key} | facts
    server = invocation.settings().server.external_url + "/directory"
    invocation.answer(document, lambda: render_facts(document) + _usage(server, document))


@eab_group.command("list")
@click.option("--after", type=ObjectId(), help="Begin after this key.")
@limit_option
@operator_command
def list_keys(invocation: Invocation, after: UUID | None, limit: int) -> None:
    """List keys, oldest first, with the accounts that were made with them; never the HMAC keys."""
    from policy.model.ids import ExternalAccountId, encode_id

    start = None if after is None else ExternalAccountId(after)
    found = _manage(invocation, lambda keys: keys.list(start, limit))
    documents = [
        _document(entry.external_account) | {"accounts": list(map(encode_id, entry.accounts))}
        for entry in found
    ]
    rows = [
        (
            item["key_id"],
            item["state"],
            f"{item['uses']} of {item['max_uses'] or 'any number'}",
            show(item["expires_at"]) or "never",
            item["owner"],
            show(item["accounts"]),
        )
        for item in documents
    ]
    invocation.answer(
        {"keys": documents, "next": documents[-1]["key_id"] if len(found) == limit else None},
        lambda: render_table(("key id", "state", "uses", "expires", "owner", "accounts"), rows),
    )


@eab_group.command("revoke")
@click.argument("key", type=ObjectId(), metavar="ID")
@operator_command
def revoke_key(invocation: Invocation, key: UUID) -> None:
    """Revoke a key: no account can be made with it any more. Those made with it stay."""
    from policy.model.ids import ExternalAccountId

    revoked = _manage(
        invocation, lambda keys: keys.revoke(ExternalAccountId(key), actor=_operator())
    )
    if revoked is None:
        raise CommandFailed("there is no such key")
    document = _document(revoked)
    invocation.answer(document, lambda: render_facts(document))


def _operator() -> str:
    return f"operator:{operator_name()}"


def _manage(invocation: Invocation, work: Callable[[ExternalAccountUseCases], Awaitable[T]]) -> T:
    from acme_server.app.external_accounts import manage_external_accounts

    settings = invocation.settings()
    with told():
        return manage_external_accounts(
            settings, invocation.master_key(settings), invocation.progress, work
        )


def _document(external_account: ExternalAccount) -> dict[str, Any]:
    from policy.model.ids import encode_id

    return {
        "key_id": encode_id(external_account.id),
        "owner": external_account.owner,
        "state": external_account.state(datetime.now(UTC)),
        "uses": external_account.uses,
        "max_uses": external_account.max_uses,
        "created_at": external_account.created_at,
        "expires_at": external_account.expires_at,
        "revoked_at": external_account.revoked_at,
    }


def _usage(server: str, document: Mapping[str, Any]) -> str:
    """How clients are told of the key, each in its own words."""
    key_id, hmac_key = document["key_id"], document["hmac_key"]
    return f"""
The HMAC key is not shown again. Clients take both when they register:

certbot register --server {server} --eab-kid {key_id} --eab-hmac-key {hmac_key}
acme.sh --register-account --server {server} --eab-kid {key_id} --eab-hmac-key {hmac_key}
lego --server {server} --eab --kid {key_id} --hmac {hmac_key}
"""
