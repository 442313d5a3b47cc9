"""What must hold in the database after anything that can happen to the server."""

from __future__ import annotations

from collections.abc import Iterable

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
        SELECT o.id FROM orders o WHERE o.status = 'ready' AND EXISTS (
            SELECT FROM unnest(o.authorization_ids) AS part (id)
            LEFT JOIN authorizations a ON a.id = part.id
            WHERE a.status IS DISTINCT FROM 'valid')
    """,
    # A proof may be given up after it served; that it was given is on record for good.
    "an order that was claimed without its proofs": """
        SELECT o.id FROM orders o, unnest(o.authorization_ids) AS part (id)
        LEFT JOIN authorizations a ON a.id = part.id
        WHERE o.status IN ('processing', 'valid') AND (
            a.status IS NULL OR a.status NOT IN ('valid', 'deactivated')
            OR a.account_id <> o.account_id
            OR NOT EXISTS (SELECT FROM audit_events
                WHERE subject = 'authorization:' || a.id AND action = 'authorization_validated'))
    """,
    "an order whose names and proofs differ": """
        SELECT o.id FROM orders o WHERE (
            SELECT array_agg(name ORDER BY name) FROM unnest(o.identifiers) AS name
        ) IS DISTINCT FROM (
            SELECT array_agg(name ORDER BY name) FROM (
                SELECT CASE WHEN a.wildcard THEN replace(a.identifier, 'dns:', 'dns:*.')
                    ELSE a.identifier END AS name
                FROM unnest(o.authorization_ids) AS part (id)
                LEFT JOIN authorizations a ON a.id = part.id
            ) AS proven
        )
    """,
    "a pending order that waits for nothing": """
        SELECT o.id FROM orders o WHERE o.status = 'pending' AND o.pending_authorizations <> (
            SELECT count(*) FROM authorizations a
            WHERE a.id = ANY (o.authorization_ids) AND a.status = 'pending')
    """,
    "a name on record as proven that is not": """
        SELECT p.identifier FROM proven_names p JOIN authorizations a ON a.id = p.authorization_id
        JOIN accounts x ON x.id = p.account_id
        WHERE a.status <> 'valid' OR x.status <> 'valid' OR a.account_id <> p.account_id
            OR a.identifier <> p.identifier OR a.wildcard <> p.wildcard
    """,
    "two certificates with one serial": """
        SELECT serial FROM certificates GROUP BY serial HAVING count(*) > 1
    """,
    "a serial without its certificate": """
        SELECT s.serial FROM serials s LEFT JOIN certificates c ON c.id = s.certificate_id
        WHERE c.serial IS DISTINCT FROM s.serial
    """,
    "two certificates of one order": """
        SELECT order_id FROM certificates WHERE order_id IS NOT NULL
        GROUP BY order_id HAVING count(*) > 1
    """,
    "a use of an external account key without its account": """
        SELECT e.id FROM external_accounts e
        WHERE e.uses <> (SELECT count(*) FROM accounts a WHERE a.external_account_id = e.id)
    """,
    "a mutation that was not audited": """
        WITH expected (subject, action) AS (
            SELECT 'account:' || id, 'account_created' FROM accounts
            UNION ALL SELECT 'account:' || id, 'account_deactivated' FROM accounts
                WHERE status = 'deactivated'
            UNION ALL SELECT 'external_account:' || id, 'external_account_created'
                FROM external_accounts
            UNION ALL SELECT 'external_account:' || id, 'external_account_revoked'
                FROM external_accounts WHERE revoked_at IS NOT NULL
            UNION ALL SELECT 'external_account:' || external_account_id, 'external_account_bound'
                FROM accounts WHERE external_account_id IS NOT NULL
            UNION ALL SELECT 'order:' || id, 'order_created' FROM orders
            UNION ALL SELECT 'order:' || order_id, 'order_claimed' FROM certificates
                WHERE order_id IS NOT NULL
            UNION ALL SELECT 'certificate:' || id, 'certificate_reserved' FROM certificates
                WHERE order_id IS NULL
            UNION ALL SELECT 'certificate:' || id, 'certificate_issued' FROM certificates
                WHERE status = 'issued'
            UNION ALL SELECT 'certificate:' || id, 'certificate_revoked' FROM certificates
                WHERE status = 'issued' AND revoked_at IS NOT NULL
            UNION ALL SELECT 'certificate:' || id, 'certificate_orphaned' FROM certificates
                WHERE status = 'orphaned'
            UNION ALL SELECT 'authorization:' || authorization_id, 'challenge_answered'
                FROM validations
            UNION ALL SELECT 'authorization:' || id, 'authorization_validated'
                FROM authorizations WHERE status = 'valid'
            UNION ALL SELECT 'authorization:' || id, 'authorization_failed'
                FROM authorizations WHERE status = 'invalid'
        )
        SELECT * FROM expected EXCEPT SELECT subject, action FROM audit_events
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


async def unrecorded_serials(url: str, signed: Iterable[int]) -> set[int]:
    """Those of the serials handed to a signer that the database at ``url`` doesn't know."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("SELECT serial FROM serials")
    finally:
        await connection.close()
    return set(signed) - {int.from_bytes(row["serial"]) for row in rows}
