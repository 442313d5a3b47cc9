"""What must hold in the database after anything that can happen to the server."""

from __future__ import annotations

import asyncpg

# Each finds rows that break a rule; the name says which.
_BROKEN = {
    "an order ended without its certificate": """
        SELECT o.id FROM orders o LEFT JOIN certificates c ON c.id = o.certificate_id
        WHERE o.status = 'valid'
            AND (c.status IS DISTINCT FROM 'issued' OR c.identifiers <> o.identifiers
                OR c.account_id <> o.account_id)
    """,
    "a certificate without its order": """
        SELECT c.id FROM certificates c LEFT JOIN orders o ON o.certificate_id = c.id
        WHERE c.order_id IS NOT NULL AND c.status = 'issued' AND o.status IS DISTINCT FROM 'valid'
    """,
    "a certificate whose serial is not on record": """
        SELECT c.id FROM certificates c LEFT JOIN serials s ON s.serial = c.serial
        WHERE s.certificate_id IS DISTINCT FROM c.id
    """,
    "an order that hangs": "SELECT id FROM orders WHERE status = 'processing'",
    "a reservation that hangs": "SELECT id FROM certificates WHERE status = 'reserved'",
    "a validation that hangs": "SELECT type FROM validations WHERE status = 'processing'",
    "an orphan that is not revoked": """
        SELECT id FROM certificates WHERE status = 'orphaned' AND revoked_at IS NULL
    """,
    "a valid authorization without its validation": """
        SELECT a.id FROM authorizations a WHERE a.status = 'valid' AND NOT EXISTS (
            SELECT FROM validations v WHERE v.authorization_id = a.id AND v.status = 'valid')
    """,
    "a ready order with a proof that is not valid": """
        SELECT o.id FROM orders o WHERE o.status IN ('ready', 'processing', 'valid') AND EXISTS (
            SELECT FROM unnest(o.authorization_ids) AS part (id)
            LEFT JOIN authorizations a ON a.id = part.id
            WHERE a.status IS DISTINCT FROM 'valid')
    """,
    "a mutation that was not audited": """
        SELECT id FROM accounts x WHERE NOT EXISTS (SELECT FROM audit_events
            WHERE subject = 'account:' || x.id AND action = 'account_created')
        UNION ALL SELECT id FROM orders x WHERE NOT EXISTS (SELECT FROM audit_events
            WHERE subject = 'order:' || x.id AND action = 'order_created')
        UNION ALL SELECT id FROM certificates x WHERE status = 'issued' AND NOT EXISTS (
            SELECT FROM audit_events
            WHERE subject = 'certificate:' || x.id AND action = 'certificate_issued')
        UNION ALL SELECT authorization_id FROM validations x WHERE NOT EXISTS (
            SELECT FROM audit_events WHERE subject = 'authorization:' || x.authorization_id
                AND action = 'challenge_answered')
    """,
}


async def broken_invariants(url: str) -> dict[str, int]:
    """The rules that are broken in the database at ``url``, with the number of rows."""
    connection = await asyncpg.connect(url)
    try:
        counts = {rule: len(await connection.fetch(sql)) for rule, sql in _BROKEN.items()}
    finally:
        await connection.close()
    return {rule: count for rule, count in counts.items() if count}


async def known_serials(url: str) -> set[int]:
    """The serials of all certificates that are issued and of valid orders."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("SELECT serial FROM certificates WHERE status = 'issued'")
    finally:
        await connection.close()
    return {int.from_bytes(row["serial"]) for row in rows}
