"""``certificate list``, ``certificate show`` and ``certificate revoke``."""

from __future__ import annotations

import base64
import textwrap
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import click

from acme_server.cli.errors import CommandFailed
from acme_server.cli.invocation import Invocation, operator_command
from acme_server.cli.output import render_facts, render_table, show
from acme_server.cli.parameters import DurationText, ObjectId, Reason, Serial, limit_option
from acme_server.cli.questions import ask, operator_name, told

if TYPE_CHECKING:
    from policy.model.certificates import Certificate, RevocationReason


@click.group("certificate")
def certificate_group() -> None:
    """Look at certificates, and revoke them."""


@certificate_group.command("list")
@click.option("--name", help="Those that cover this name or address.")
@click.option("--account", type=ObjectId(), metavar="ID", help="Those of this account.")
@click.option("--status", type=click.Choice(["reserved", "issued", "orphaned"]))
@click.option("--revoked/--not-revoked", default=None, help="Only revoked ones, or only others.")
@click.option(
    "--expires-within", type=DurationText(), metavar="DURATION", help="Those that end soon: 30d."
)
@click.option("--before", type=Serial(), help="Go on after the last one of a previous list.")
@limit_option
@operator_command
def list_certificates(
    invocation: Invocation,
    name: str | None,
    account: UUID | None,
    status: str | None,
    revoked: bool | None,
    expires_within: timedelta | None,
    before: bytes | None,
    limit: int,
) -> None:
    """List certificates, newest first."""
    from acme_server.workflow.reports import CertificateFilter, Reports, names_of
    from policy.model.certificates import CertificateStatus
    from policy.model.ids import AccountId

    wanted = CertificateFilter(
        identifiers=None if name is None else names_of(name),
        account_id=None if account is None else AccountId(account),
        status=None if status is None else CertificateStatus(status),
        is_revoked=revoked,
        expires_within=expires_within,
    )

    async def question(reports: Reports) -> Sequence[Certificate] | None:
        if before is None:
            return await reports.list_certificates(wanted, None, limit)
        last = await reports.find_certificate(before)
        if last is None:
            return None
        return await reports.list_certificates(wanted, last.id, limit)

    found = ask(invocation, question)
    if found is None:
        raise CommandFailed("there is no certificate with the serial of --before")
    _answer_list(invocation, found, is_cut=len(found) == limit)


@certificate_group.command("show")
@click.argument("serial", type=Serial())
@click.option("--pem", is_flag=True, help="Print the certificate itself.")
@operator_command
def show_certificate(invocation: Invocation, serial: bytes, pem: bool) -> None:
    """Show a certificate by its serial, in hexadecimal."""
    from acme_server.cli.documents import certificate_document
    from acme_server.workflow.reports import der_of

    certificate = ask(invocation, lambda reports: reports.find_certificate(serial))
    if certificate is None:
        raise CommandFailed(f"there is no certificate with the serial {serial.hex()}")
    signed = der_of(certificate)
    if pem and signed is None:
        raise CommandFailed(f"the certificate is {certificate.status}, it was never issued")
    document = certificate_document(certificate)
    text = None if signed is None else to_pem(signed)
    invocation.answer(
        document | {"pem": text},
        lambda: text if pem and text is not None else render_facts(document),
    )


@certificate_group.command("revoke")
@click.argument("serial", type=Serial())
@click.option(
    "--reason",
    type=Reason(),
    default="unspecified",
    show_default=True,
    help="Why, as in CRLs (RFC 5280). keyCompromise also blocks the key for good.",
)
@operator_command
def revoke_certificate(invocation: Invocation, serial: bytes, reason: RevocationReason) -> None:
    """Revoke a certificate by its serial, in hexadecimal.

    The running server publishes the CRL that lists it within seconds; without one, the next start
    does.
    """
    from acme_server.app import operations
    from acme_server.cli.documents import certificate_document

    settings = invocation.settings()
    with told():
        revoked = operations.revoke_certificate(
            settings, invocation.progress, serial, reason, operator_name()
        )
    if revoked is None:
        raise CommandFailed(f"no certificate with the serial {serial.hex()} was issued")
    document = certificate_document(revoked)
    invocation.answer(document, lambda: render_facts(document))


def to_pem(der: bytes) -> str:
    """A DER certificate as PEM (RFC 7468)."""
    body = "\n".join(textwrap.wrap(base64.b64encode(der).decode("ascii"), 64))
    return f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"


def _answer_list(
    invocation: Invocation, certificates: Sequence[Certificate], *, is_cut: bool
) -> None:
    from acme_server.cli.documents import certificate_document

    documents = [certificate_document(certificate) for certificate in certificates]
    rows = [
        (
            item["serial"],
            "revoked" if item["revoked_at"] else item["status"],
            show(item["not_before"]),
            show(item["not_after"]),
            show(item["identifiers"]),
        )
        for item in documents
    ]
    invocation.answer(
        {"certificates": documents, "next": documents[-1]["serial"] if is_cut else None},
        lambda: render_table(("serial", "status", "from", "until", "names"), rows),
    )
