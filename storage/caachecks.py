"""What validations found out about CAA records, as their evidence has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson

from policy.model.ids import AuthorizationId
from storage.pool import Database, Record

_PERMITTED = """
    SELECT (v.evidence ->> 'started_at')::timestamptz AS started_at,
        v.evidence #> '{facts,caa}' AS caa
    FROM validations AS v
    WHERE v.authorization_id = ANY ($1) AND v.status = 'valid'
        AND v.evidence #>> '{facts,caa,result}' = 'permitted'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaaCheck:
    """A check that permitted issuing for ``name`` (for ``*.name`` if ``is_wildcard``).

    ``checked_at`` is not after the lookup; ``ttl`` is that of the records, zero without any.
    """

    name: str
    is_wildcard: bool
    checked_at: datetime
    ttl: timedelta


class CaaChecks:
    """Reads the checks that were part of validations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, authorization_ids: Sequence[AuthorizationId]) -> list[CaaCheck]:
        """The checks that permitted, of the validations of these authorizations."""
        rows = await self._database.fetch(_PERMITTED, list(authorization_ids))
        return [_check(row) for row in rows]


def _check(row: Record) -> CaaCheck:
    facts = orjson.loads(row["caa"])
    return CaaCheck(
        name=facts["name"],
        is_wildcard=facts["wildcard"],
        checked_at=row["started_at"],
        ttl=timedelta(seconds=facts.get("ttl", 0)),
    )
