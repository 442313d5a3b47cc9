"""Audit events keep their order when the database moves to a PostgreSQL that counts anew."""

from __future__ import annotations

import asyncpg

from storage.audit import AuditEvents
from storage.migrations import migrate
from storage.pool import Database

_INSERT = "INSERT INTO audit_events (actor, action, subject) VALUES ('system:test', $1, 'test:1')"
# As a server that has seen four thousand million transactions would have left it.
_FROM_BEFORE = """
    INSERT INTO audit_events (actor, action, subject, transaction_id)
    VALUES ('system:test', 'done_before', 'test:1', '4000000000')
"""


async def _actions(database: Database) -> list[str]:
    return [event.action for event in await AuditEvents(database).unsealed(100)]


async def test_events_after_a_move_are_sealed_after_those_before_it(
    database: Database, owner_url: str
) -> None:
    await database.execute(_FROM_BEFORE)
    await database.execute(_INSERT, "stuck_without_an_era")
    assert await _actions(database) == ["stuck_without_an_era"]

    await migrate(owner_url, None)
    await database.execute(_INSERT, "done_after")

    assert await _actions(database) == ["stuck_without_an_era", "done_before", "done_after"]


async def test_events_after_a_move_follow_the_last_batch(
    database: Database, owner_url: str
) -> None:
    await database.execute(_FROM_BEFORE)
    await migrate(owner_url, None)
    events = AuditEvents(database)
    before = await events.unsealed(100)
    assert await events.seal(1, before[-1], 1, bytes(32), b"checkpoint")
    await database.execute(_INSERT, "done_after")

    assert await _actions(database) == ["done_after"]


async def test_an_era_begins_only_where_numbers_fell_behind(
    database: Database, owner_url: str
) -> None:
    await database.execute(_INSERT, "first")

    await migrate(owner_url, None)

    assert await database.fetchval("SELECT audit_offset()") == 0
    await database.execute(_FROM_BEFORE)
    await migrate(owner_url, None)
    offset = await database.fetchval("SELECT audit_offset()")
    assert offset > 0
    await database.execute(_INSERT, "second")
    await migrate(owner_url, None)
    assert await database.fetchval("SELECT audit_offset()") == offset


async def test_an_event_of_a_transaction_under_way_is_not_passed_over_in_a_later_era(
    database: Database, owner_url: str
) -> None:
    await database.execute(_FROM_BEFORE)
    await migrate(owner_url, None)
    connection = await asyncpg.connect(owner_url)
    try:
        async with connection.transaction():
            await connection.execute(_INSERT, "slow")
            await database.execute(_INSERT, "quick")

            assert await _actions(database) == ["done_before"]

        assert await _actions(database) == ["done_before", "slow", "quick"]
    finally:
        await connection.close()


async def test_transactions_are_sealed_by_number_not_by_digits(database: Database) -> None:
    insert = """
        INSERT INTO audit_events (actor, action, subject, transaction_id)
        VALUES ('system:test', $1, 'test:1', $2::text::xid8)
    """
    await database.execute(insert, "second", "100")
    await database.execute(insert, "first", "99")

    assert await _actions(database) == ["first", "second"]
