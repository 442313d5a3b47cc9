"""``ca show`` and ``ca export``."""

from __future__ import annotations

from pathlib import Path

import click

from acme_server.cli.certificates import to_pem
from acme_server.cli.errors import CommandFailed
from acme_server.cli.invocation import Invocation, operator_command
from acme_server.cli.output import render_facts
from acme_server.cli.questions import ask


@click.group("ca")
def ca_group() -> None:
    """Look at the CA and export its certificates."""


@ca_group.command("show")
@operator_command
def show_ca(invocation: Invocation) -> None:
    """Show each CA with its fingerprint, its end and its CRLs."""
    from acme_server.cli.documents import issuer_document

    reports = ask(invocation, lambda reports: reports.list_issuers())
    documents = [issuer_document(report) for report in reports]
    invocation.answer(
        {"authorities": documents}, lambda: "\n".join(map(render_facts, documents)) or "no CA yet\n"
    )


@ca_group.command("export")
@click.option("--name", help="This CA only; without it, the roots.")
@click.option("--output", type=click.Path(path_type=Path), help="Write to this file.")
@operator_command
def export_ca(invocation: Invocation, name: str | None, output: Path | None) -> None:
    """Print CA certificates as PEM: the roots, to be trusted by clients."""
    reports = ask(invocation, lambda reports: reports.list_issuers())
    chosen = [
        report.issuer
        for report in reports
        if (report.issuer.parent is None if name is None else report.issuer.name == name)
    ]
    if not chosen:
        raise CommandFailed("there is no such CA" if name else "there is no CA yet")
    text = "".join(to_pem(issuer.certificate) for issuer in chosen)
    if output is not None:
        _write(output, text)
    document = {
        "authorities": [{"name": entry.name, "pem": to_pem(entry.certificate)} for entry in chosen]
    }
    invocation.answer(document, text if output is None else f"{output}: {len(chosen)} written\n")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="ascii")
    except OSError as error:
        raise CommandFailed(f"can't write {path}: {error.strerror}") from None
