"""How a command ends when it can't do what was asked: one line that says why, never a traceback."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any

import click

# Also the meaning of exit codes in `acme-server --help`.
FAILED = 1
MISUSED = 2


class CommandFailed(click.ClickException):
    """The command could not do what was asked; ``message`` names the remedy where there is one."""

    exit_code = FAILED
    is_json = False

    def document(self) -> Mapping[str, object]:
        """What ``--json`` prints."""
        return {"error": self.message}

    def text(self) -> str:
        """What is printed otherwise."""
        return f"acme-server: {self.message}"

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it: as JSON on standard output, else as text on standard error."""
        if self.is_json:
            click.echo(json.dumps(self.document(), indent=2))
        else:
            click.echo(self.text(), file=file, err=file is None)


class ConfigurationRefused(CommandFailed):
    """The configuration has faults: all of them, a line each."""

    exit_code = MISUSED

    def __init__(self, problems: list[Mapping[str, object]], lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self._problems = problems

    def document(self) -> Mapping[str, object]:
        """Each fault with the place where it is."""
        return {"error": "the configuration is refused", "problems": self._problems}

    def text(self) -> str:
        """The lines as they are: each begins with a place, as compilers' messages do."""
        return self.message
