"""The ``acme-server`` command: nouns and verbs, ``--json`` everywhere.

Commands import what they need when they run; here is only what ``--help`` needs.
"""

from __future__ import annotations

import click

from acme_server.cli.about import COMMAND, completion, version
from acme_server.cli.accounts import account_group
from acme_server.cli.authority import ca_group
from acme_server.cli.certificates import certificate_group
from acme_server.cli.configuration import config_group
from acme_server.cli.database import db_group
from acme_server.cli.doctor import doctor_command
from acme_server.cli.external_accounts import eab_group
from acme_server.cli.orders import order_group
from acme_server.cli.profiles import profile_group
from acme_server.cli.running import run
from acme_server.cli.secrets import secrets_group

_COMMANDS = (
    run,
    doctor_command,
    config_group,
    secrets_group,
    db_group,
    ca_group,
    account_group,
    eab_group,
    order_group,
    certificate_group,
    profile_group,
    version,
    completion,
)


@click.group(
    COMMAND,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed or not found, 2 wrong usage or configuration.",
)
def root() -> None:
    """A certificate issuance server: ACME (RFC 8555) in front, PostgreSQL underneath.

    "acme-server run" without any configuration starts lab mode, on loopback.
    """


for _command in _COMMANDS:
    root.add_command(_command)


def main() -> None:
    """The entry point; never returns."""
    root(prog_name=COMMAND)
