"""``run``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from acme_server.cli.invocation import Invocation, config_option, refuse_intruders


@click.command("run")
@config_option
def run(config: Path | None) -> None:
    """Run the server until it is stopped by SIGINT or SIGTERM.

    Without any configuration it starts in lab mode: everything on loopback, with a database and a
    CA of its own.
    """
    refuse_intruders()
    settings = Invocation(config, is_json=False).settings()
    from acme_server.config.loader import load_settings
    from acme_server.process.parent import run as run_parent

    # At a SIGHUP the file is read again, and so are the variables of this process.
    sys.exit(run_parent(settings, reread=lambda: load_settings(config, os.environ)))
