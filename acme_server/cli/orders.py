"""``order explain``: an order on one screen, with the reason of a failed validation."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import click

from acme_server.cli.errors import CommandFailed
from acme_server.cli.invocation import Invocation, operator_command
from acme_server.cli.parameters import ObjectId
from acme_server.cli.questions import ask

if TYPE_CHECKING:
    from acme_server.workflow.reports import OrderReport


@click.group("order")
def order_group() -> None:
    """Look at orders."""


@order_group.command("explain")
@click.argument("order", type=ObjectId(), metavar="ID")
@operator_command
def explain(invocation: Invocation, order: UUID) -> None:
    """Tell all about an order: names, validations and why they failed, certificate, events.

    ID is the order's, or its URL as the client logged it.
    """
    from acme_server.cli.explanation import explanation_document, render_explanation
    from policy.model.ids import OrderId

    ports = invocation.settings().validation
    report: OrderReport | None = ask(invocation, lambda reports: reports.find_order(OrderId(order)))
    if report is None:
        raise CommandFailed("there is no such order")
    document = explanation_document(report, ports.http_port, ports.tls_port)
    invocation.answer(document, lambda: render_explanation(document))
