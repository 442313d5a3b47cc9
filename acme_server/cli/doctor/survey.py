"""Looks at the installation once, for all checks."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from acme_server.cli.doctor.site import Site
from acme_server.config.masterkey import find_master_key
from acme_server.config.problems import ConfigurationError
from acme_server.config.settings import Settings


@contextlib.contextmanager
def survey(
    settings: Settings, config: Path | None, progress: Callable[[str], None]
) -> Iterator[Site]:
    """The site as it is now. An embedded database that does not run is started meanwhile."""
    from acme_server.app.operations import OperationFailed, check_embedded, operator_database

    seen: dict[str, Any] = {"embedded_fault": check_embedded(settings)}
    with contextlib.ExitStack() as stack:
        if _has_database(settings):
            try:
                urls = stack.enter_context(operator_database(settings, progress))
                seen |= _look_at_database(settings, urls.application)
            except OperationFailed as failure:
                seen["database_fault"] = str(failure)
        yield Site(settings=settings, config=config, environ=os.environ, **seen)


def _has_database(settings: Settings) -> bool:
    """An embedded one is made by the first start, not by being looked for."""
    return not settings.database.is_embedded or (settings.data_dir / "postgres").exists()


def _look_at_database(settings: Settings, url: str) -> dict[str, Any]:
    from acme_server.app.operations import (
        OperationFailed,
        find_pending_migrations,
        inspect_database,
    )
    from acme_server.workflow.inspection import key_fits

    facts = inspect_database(url)
    seen: dict[str, Any] = {"database": facts}
    with contextlib.suppress(ConfigurationError):
        text = find_master_key(settings, os.environ)
        seen["master_key_fits"] = None if text is None else key_fits(facts, text)
    try:
        seen["pending_migrations"] = tuple(find_pending_migrations(url))
    except OperationFailed as failure:
        seen["migrations_fault"] = str(failure)
    return seen
