"""Leases: who does a job that only one may do at a time."""

from __future__ import annotations

from datetime import timedelta

from storage.pool import Database

# Decides who gets a lease that is over; its token grows with each new holder, so that what a
# former one writes late can be told.
_TAKE = """
    INSERT INTO leases AS l (name, owner, token, expires_at) VALUES ($1, $2, 1, now() + $3)
    ON CONFLICT (name) DO UPDATE
    SET owner = $2, expires_at = now() + $3,
        token = CASE WHEN l.owner = $2 AND l.expires_at > now() THEN l.token
            ELSE l.token + 1 END
    WHERE l.owner = $2 OR l.expires_at <= now()
    RETURNING token
"""
_RELEASE = "UPDATE leases SET expires_at = now() WHERE name = $1 AND owner = $2"


class Leases:
    """The table of leases."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, name: str, owner: str, lease: timedelta) -> int | None:
        """Take or prolong a lease: its fencing token, or None while another holds it."""
        token: int | None = await self._database.fetchval(_TAKE, name, owner, lease)
        return token

    async def release(self, name: str, owner: str) -> None:
        """Let others have it at once."""
        await self._database.execute(_RELEASE, name, owner)
