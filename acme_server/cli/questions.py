"""Asking the database, with the failures that operators meet told in a line."""

from __future__ import annotations

import getpass
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from acme_server.cli.errors import CommandFailed
from acme_server.cli.invocation import Invocation

if TYPE_CHECKING:
    from acme_server.workflow.reports import Reports

T = TypeVar("T")


def ask(invocation: Invocation, question: Callable[[Reports], Awaitable[T]]) -> T:
    """The answer to ``question``. Raises CommandFailed where the database can't be asked."""
    from acme_server.app import operations

    settings = invocation.settings()
    with told():
        return operations.ask(settings, invocation.progress, question)


def operator_name() -> str:
    """Who runs the command, for the audit trail: the account before sudo, else the process's."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"


@contextmanager
def told() -> Iterator[None]:
    """Turns what an operation can't do into the end of the command."""
    from acme_server.app.operations import OperationFailed

    try:
        yield
    except OperationFailed as failure:
        raise CommandFailed(str(failure)) from None
