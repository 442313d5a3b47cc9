"""Looking at the database's health, and whether the master key is its own."""

from __future__ import annotations

from acme_server.workflow.sealing import CHECK_PURPOSE, MasterKey
from storage.inspection import DatabaseFacts, PublishedCrl, inspect_database

__all__ = ["DatabaseFacts", "PublishedCrl", "inspect", "key_fits"]


async def inspect(url: str, *, seconds: float = 10.0) -> DatabaseFacts:
    """Facts about the database at ``url``. Raises DatabaseUnavailable."""
    return await inspect_database(url, check_purpose=CHECK_PURPOSE, seconds=seconds)


def key_fits(facts: DatabaseFacts, text: str) -> bool | None:
    """Whether the master key with this text opens the check value of the database.

    None where there is no check value yet, or the text is no key.
    """
    if facts.check_value is None:
        return None
    try:
        key = MasterKey.from_text(text)
    except ValueError:
        return None
    return key.opens_check_value(facts.check_value)
