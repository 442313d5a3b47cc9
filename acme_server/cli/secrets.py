"""``secrets generate``."""

from __future__ import annotations

import click

from acme_server.cli.invocation import json_option
from acme_server.cli.output import render_json


@click.group("secrets")
def secrets_group() -> None:
    """Make the master key."""


@secrets_group.command("generate")
@json_option
def generate(is_json: bool) -> None:
    """Print a new master key: 32 random bytes in base64url.

    Keep it where secrets.master_key says, with a copy off-line: without it the database can't be
    opened.
    """
    from acme_server.workflow.sealing import generate_master_key

    key = generate_master_key()
    click.echo(render_json({"master_key": key}) if is_json else key)
