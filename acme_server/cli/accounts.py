"""``account list``, ``account show`` and ``account unpause``."""

from __future__ import annotations

from uuid import UUID

import click

from acme_server.cli.errors import CommandFailed
from acme_server.cli.invocation import Invocation, operator_command
from acme_server.cli.output import render_facts, render_table, show
from acme_server.cli.parameters import ObjectId, limit_option
from acme_server.cli.questions import ask, operator_name, told


@click.group("account")
def account_group() -> None:
    """Look at ACME accounts, and let them order names again."""


@account_group.command("list")
@click.option("--after", type=ObjectId(), help="Begin after this account.")
@limit_option
@operator_command
def list_accounts(invocation: Invocation, after: UUID | None, limit: int) -> None:
    """List accounts, oldest first."""
    from acme_server.cli.documents import account_document
    from policy.model.ids import AccountId

    start = None if after is None else AccountId(after)
    accounts = ask(invocation, lambda reports: reports.list_accounts(start, limit))
    documents = [account_document(account) for account in accounts]
    rows = [
        (item["id"], item["status"], show(item["created_at"]), show(item["contacts"]))
        for item in documents
    ]
    invocation.answer(
        {"accounts": documents, "next": documents[-1]["id"] if len(documents) == limit else None},
        lambda: render_table(("id", "status", "created", "contacts"), rows),
    )


@account_group.command("show")
@click.argument("account", type=ObjectId(), metavar="ID")
@operator_command
def show_account(invocation: Invocation, account: UUID) -> None:
    """Show an account with its newest orders and certificates, and its paused names."""
    from acme_server.cli.documents import (
        account_document,
        certificate_document,
        order_document,
    )
    from policy.model.ids import AccountId

    report = ask(invocation, lambda reports: reports.find_account(AccountId(account)))
    if report is None:
        raise CommandFailed("there is no such account")
    paused = [identifier.value for identifier in report.paused]
    document = account_document(report.account) | {"paused": paused}
    orders = [order_document(order) for order in report.orders]
    certificates = [certificate_document(entry) for entry in report.certificates]
    order_rows = [
        (item["id"], item["status"], show(item["created_at"]), show(item["identifiers"]))
        for item in orders
    ]
    certificate_rows = [
        (item["serial"], item["status"], show(item["not_after"]), show(item["identifiers"]))
        for item in certificates
    ]
    invocation.answer(
        document | {"orders": orders, "certificates": certificates},
        lambda: "\n".join(
            (
                render_facts({name: document[name] for name in document if name != "jwk"}),
                render_table(("order", "status", "created", "names"), order_rows),
                render_table(("certificate", "status", "expires", "names"), certificate_rows),
            )
        ),
    )


@account_group.command("unpause")
@click.argument("account", type=ObjectId(), metavar="ID")
@click.option("--name", help="Only this name or address; without it, all names of the account.")
@operator_command
def unpause(invocation: Invocation, account: UUID, name: str | None) -> None:
    """Let an account order names again that failed too often (limits.pause_after_failures)."""
    from acme_server.app.pauses import unpause_names
    from policy.model.ids import AccountId, encode_id

    settings = invocation.settings()
    with told():
        ended = unpause_names(
            settings, invocation.progress, AccountId(account), name, operator_name()
        )
    if ended is None:
        raise CommandFailed("there is no such account")
    names = [identifier.value for identifier in ended]
    invocation.answer(
        {"account": encode_id(account), "unpaused": names},
        lambda: (
            "".join(f"{name} may be ordered again\n" for name in names)
            or "none of its names was paused\n"
        ),
    )
