-- Partitions by month, made ahead and dropped by functions that run as the owner: the application
-- needs no right to change tables.

-- ``retention`` is the least age of what drop_partitions may drop.
CREATE TABLE partitioned_tables (
    name text PRIMARY KEY,
    fillfactor integer NOT NULL,
    retention interval NOT NULL
);

-- Room for the new versions of rows that change state, so that their indexes needn't change.
INSERT INTO partitioned_tables (name, fillfactor, retention) VALUES
    ('orders', 60, '3 months'),
    ('authorizations', 70, '3 months'),
    ('validations', 90, '3 months'),
    ('certificates', 90, '3 months'),
    ('audit_events', 100, '12 months');

-- Makes the partitions of the previous month, this one, and ``months_ahead`` more; the names of
-- those that are new. ATTACH doesn't block those who read and write the parent, as
-- CREATE TABLE … PARTITION OF would.
CREATE FUNCTION ensure_partitions(months_ahead integer DEFAULT 3) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER
AS $$
DECLARE
    parent record;
    month timestamptz;
    partition text;
    this_month CONSTANT timestamptz := date_trunc('month', clock_timestamp(), 'UTC');
BEGIN
    IF months_ahead NOT BETWEEN 0 AND 24 THEN
        RAISE EXCEPTION 'months_ahead must be 0 to 24';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('acme-server partitions', 0));
    FOR parent IN SELECT name, fillfactor FROM partitioned_tables ORDER BY name LOOP
        FOR ahead IN -1 .. months_ahead LOOP
            month := (this_month AT TIME ZONE 'UTC' + make_interval(months => ahead))
                AT TIME ZONE 'UTC';
            partition := parent.name || to_char(month AT TIME ZONE 'UTC', '_YYYY_MM');
            CONTINUE WHEN EXISTS (
                SELECT FROM pg_class
                WHERE relname = partition AND relnamespace = current_schema()::regnamespace
            );
            EXECUTE format(
                'CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)'
                ' WITH (fillfactor = %s)',
                partition, parent.name, parent.fillfactor
            );
            EXECUTE format(
                'ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                parent.name, partition,
                id_bound(month),
                id_bound((month AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC')
            );
            RETURN NEXT partition;
        END LOOP;
    END LOOP;
END
$$;

-- Drops the partitions of ``parent`` that end before ``before``; the names of those dropped.
-- Certificates stay until a CRL period after the last of their partition has ended.
CREATE FUNCTION drop_partitions(parent text, before timestamptz) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER
AS $$
DECLARE
    partition record;
    is_needed boolean := false;
    kept interval;
BEGIN
    SELECT retention INTO kept FROM partitioned_tables WHERE name = parent;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'not a partitioned table: %', parent;
    END IF;
    IF before > clock_timestamp() - kept THEN
        RAISE EXCEPTION '% are kept for at least %', parent, kept;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('acme-server partitions', 0));
    FOR partition IN
        SELECT child.oid::regclass AS name,
            child.relname,
            to_timestamp(right(child.relname, 7), 'YYYY_MM') + interval '1 month' AS ends
        FROM pg_inherits
        JOIN pg_class AS child ON child.oid = inhrelid
        WHERE inhparent = (quote_ident(current_schema()) || '.' || quote_ident(parent))::regclass
        ORDER BY child.relname
    LOOP
        EXIT WHEN partition.ends > before;
        IF parent = 'certificates' THEN
            EXECUTE format(
                'SELECT EXISTS (SELECT FROM %s WHERE not_after > $1)', partition.name
            ) INTO is_needed USING before;
            CONTINUE WHEN is_needed;
        END IF;
        EXECUTE format('DROP TABLE %s', partition.name);
        RETURN NEXT partition.relname;
    END LOOP;
END
$$;

-- They run with the owner's rights: nobody else's schema may lend them a table or an operator
-- (pg_catalog is searched first where it isn't named, and is not what is created in).
DO $$
BEGIN
    EXECUTE format(
        'ALTER FUNCTION ensure_partitions(integer)'
        ' SET search_path = %1$I, pg_temp SET timezone = ''UTC''',
        current_schema()
    );
    EXECUTE format(
        'ALTER FUNCTION drop_partitions(text, timestamptz)'
        ' SET search_path = %1$I, pg_temp SET timezone = ''UTC''',
        current_schema()
    );
END
$$;

REVOKE ALL ON FUNCTION ensure_partitions(integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION drop_partitions(text, timestamptz) FROM PUBLIC;
