-- Audit events are sealed in the order of their transactions, and a new PostgreSQL counts those
-- from the start: after a logical restore new events would stand in front of what is sealed. An
-- era begins then: from there on the numbers are those of this server plus an offset.

-- Rewritten by start_audit_era. IMMUTABLE, so that it costs nothing where it stands.
CREATE FUNCTION audit_offset() RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS 'SELECT 0::bigint';

-- No event before this position can be added any more.
CREATE FUNCTION audit_horizon() RETURNS xid8
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT (pg_snapshot_xmin(pg_current_snapshot())::text::bigint + audit_offset())::text::xid8
$$;

-- Begin an era if this server's numbers are behind those that are on record; the offset in force.
-- Every recorded number of the present server is below the end of a snapshot that sees it, so
-- nothing happens in normal operation. To be called by the owner.
CREATE FUNCTION start_audit_era() RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    present bigint;
    highest bigint;
BEGIN
    SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint,
        greatest(
            (SELECT max(transaction_id) FROM audit_events),
            (SELECT max(last_transaction) FROM audit_batches)
        )::text::bigint
    INTO present, highest;
    IF highest IS NULL OR highest < present + audit_offset() THEN
        RETURN audit_offset();
    END IF;
    EXECUTE format(
        'CREATE OR REPLACE FUNCTION audit_offset() RETURNS bigint '
        'LANGUAGE sql IMMUTABLE PARALLEL SAFE AS ''SELECT %s::bigint''',
        highest - present + 1
    );
    ALTER TABLE audit_events ALTER COLUMN transaction_id SET DEFAULT
        (pg_current_xact_id()::text::bigint + audit_offset())::text::xid8;
    RETURN highest - present + 1;
END
$$;
