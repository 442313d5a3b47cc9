"""What all commands share: ``--config``, ``--json``, and how their answers are printed.

Nothing heavy is imported before a command runs, so that ``--help`` and completion are quick.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from acme_server.cli.errors import CommandFailed, ConfigurationRefused
from acme_server.cli.installation import find_intruders
from acme_server.cli.output import render_json

if TYPE_CHECKING:
    from acme_server.config.loader import Configuration
    from acme_server.config.problems import Problem
    from acme_server.config.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])

config_option = click.option(
    "--config",
    "config",
    type=click.Path(path_type=Path),
    envvar="ACME_SERVER_CONFIG",
    metavar="FILE",
    help="The configuration file. Without it the environment counts, and lab mode.",
)
json_option = click.option("--json", "is_json", is_flag=True, help="Print JSON.")


@dataclass(frozen=True, slots=True)
class Invocation:
    """One run of a command: where its configuration is, and how it answers."""

    config: Path | None
    is_json: bool

    def configuration(self) -> Configuration:
        """The settings and where they come from. Raises ConfigurationRefused."""
        from acme_server.config.loader import load_configuration
        from acme_server.config.problems import ConfigurationError

        try:
            return load_configuration(self.config, os.environ)
        except ConfigurationError as error:
            raise refusal_of(error.problems) from None

    def settings(self) -> Settings:
        """The settings. Raises ConfigurationRefused."""
        return self.configuration().settings

    def master_key(self, settings: Settings) -> str | None:
        """The text of the master key; None before it was made. Raises ConfigurationRefused."""
        from acme_server.config.masterkey import find_master_key
        from acme_server.config.problems import ConfigurationError

        try:
            return find_master_key(settings, os.environ)
        except ConfigurationError as error:
            raise refusal_of(error.problems) from None

    def answer(self, document: object, text: Callable[[], str] | str) -> None:
        """Print ``document`` as JSON if that was asked for, else ``text``."""
        if self.is_json:
            click.echo(render_json(document))
        else:
            click.echo(text if isinstance(text, str) else text(), nl=False)

    def progress(self, text: str) -> None:
        """Tell what takes longer, on standard error."""
        click.echo(f"acme-server: {text}", err=True)


def operator_command(function: F) -> F:
    """Give a command ``--config`` and ``--json``; it is called with an ``Invocation``."""

    @config_option
    @json_option
    @functools.wraps(function)
    def call(config: Path | None, is_json: bool, **arguments: Any) -> Any:
        try:
            refuse_intruders()
            return function(Invocation(config, is_json), **arguments)
        except CommandFailed as failure:
            failure.is_json = is_json
            raise

    return call  # type: ignore[return-value] # click's options keep the function's type


def refuse_intruders() -> None:
    """Refuse to run with packages that only share a name with ours. Raises CommandFailed."""
    for name, path in find_intruders():
        raise CommandFailed(
            f'the package "{name}" is not ours, it is {path}. Install acme-server into a private '
            f"environment: python3 -m venv, and nothing else in it that installs {name}."
        )


def refusal_of(problems: tuple[Problem, ...]) -> ConfigurationRefused:
    """The end of a command whose configuration has faults."""
    return ConfigurationRefused(
        [_document(problem) for problem in problems], list(map(str, problems))
    )


def _document(problem: Problem) -> Mapping[str, object]:
    place = problem.place
    return {
        "source": None if place is None else place.source,
        "line": place.line if place is not None and place.line else None,
        "column": place.column if place is not None and place.line else None,
        "key": problem.key,
        "message": problem.message,
    }
