"""``version`` and ``completion``."""

from __future__ import annotations

import platform

import click

from acme_server.cli.errors import CommandFailed
from acme_server.cli.invocation import json_option
from acme_server.cli.output import render_json

COMMAND = "acme-server"


@click.command("version")
@json_option
def version(is_json: bool) -> None:
    """Print the version."""
    number, python = installed_version(), platform.python_version()
    if is_json:
        click.echo(render_json({"version": number, "python": python}))
    else:
        click.echo(f"{COMMAND} {number} (Python {python})")


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script that completes commands and options.

    For bash: acme-server completion bash > ~/.local/share/bash-completion/completions/acme-server
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise CommandFailed(f"there is no completion for {shell}")
    root = context.find_root().command
    # The script calls the command by its name, with this variable set.
    click.echo(kind(root, {}, COMMAND, "_ACME_SERVER_COMPLETE").source())


def installed_version() -> str:
    """The version of the installed distribution; "unknown" in a bare tree."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as version_of

    try:
        return version_of(COMMAND)
    except PackageNotFoundError:
        return "unknown"
