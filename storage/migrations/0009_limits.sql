-- Rate limits, name sets that were issued before, and names whose validations keep failing.

-- The state of a limit (kind) for one who is limited (key) by the generic cell rate algorithm: when
-- all that was taken would have been given back. A time that has passed is as good as no row, and
-- housekeeping removes it. No index on the time, so that taking changes the row alone.
CREATE TABLE rate_limits (
    kind text NOT NULL,
    key text NOT NULL CONSTRAINT rate_limits_key CHECK (length(key) <= 512),
    given_back_at timestamptz NOT NULL,
    PRIMARY KEY (kind, key)
) WITH (fillfactor = 70);

-- SHA-256 of the names of a certificate, kept only while a limit spares renewals.
CREATE TABLE issued_name_sets (
    name_set bytea PRIMARY KEY
        CONSTRAINT issued_name_sets_length CHECK (octet_length(name_set) = 32),
    issued_at timestamptz NOT NULL DEFAULT now()
);

-- How often in a row an account failed to prove a name; from paused_at on it may not try.
CREATE TABLE failing_names (
    account_id uuid NOT NULL,
    identifier text NOT NULL,
    failures integer NOT NULL CONSTRAINT failing_names_failures CHECK (failures > 0),
    failed_at timestamptz NOT NULL,
    paused_at timestamptz,
    PRIMARY KEY (account_id, identifier)
);

-- Takes one of each demand or, if any is exhausted, none. One row per demand that counts, by its
-- place from 1: how long until it could be taken, zero if it could be. A demand that doesn't spend
-- only looks; one that spares renewals doesn't count when the names were issued before.
--
-- steps: the time after which one is given back. moment_given NULL: the clock of the database, read
-- after the waiting for others is over.
CREATE FUNCTION take_limits(
    kinds text[], keys text[], steps interval[], bursts integer[], spends boolean[],
    spares_renewals boolean[], names bytea, moment_given timestamptz
) RETURNS TABLE (place bigint, wait interval)
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    moment timestamptz;
    is_renewal CONSTANT boolean := EXISTS (
        SELECT FROM issued_name_sets WHERE name_set = names
    );
BEGIN
    -- All rows are made or locked in one pass and one order, so that two never wait for each other.
    -- A condition that never holds: the row is locked all the same.
    INSERT INTO rate_limits AS l (kind, key, given_back_at)
    SELECT d.kind, d.key, 'epoch'
    FROM unnest(kinds, keys, spends, spares_renewals) AS d (kind, key, spends, spares)
    WHERE d.spends AND NOT (d.spares AND is_renewal)
    ORDER BY d.kind, d.key
    ON CONFLICT (kind, key) DO UPDATE SET given_back_at = l.given_back_at WHERE false;

    moment := coalesce(moment_given, clock_timestamp());
    -- A statement of its own: it sees what those who were waited for have committed.
    RETURN QUERY
        SELECT d.place,
            greatest(
                coalesce(l.given_back_at, 'epoch') + d.step - d.step * d.burst - moment,
                interval '0'
            )
        FROM unnest(kinds, keys, steps, bursts, spares_renewals)
            WITH ORDINALITY AS d (kind, key, step, burst, spares, place)
        LEFT JOIN rate_limits AS l ON l.kind = d.kind AND l.key = d.key
        WHERE NOT (d.spares AND is_renewal);

    UPDATE rate_limits AS l SET given_back_at = greatest(l.given_back_at, moment) + d.step
    FROM unnest(kinds, keys, steps, spends, spares_renewals) AS d (kind, key, step, spends, spares)
    WHERE l.kind = d.kind AND l.key = d.key AND d.spends AND NOT (d.spares AND is_renewal)
        AND NOT EXISTS (
            SELECT FROM unnest(kinds, keys, steps, bursts, spares_renewals)
                AS e (kind, key, step, burst, spares)
            JOIN rate_limits AS other ON other.kind = e.kind AND other.key = e.key
            WHERE NOT (e.spares AND is_renewal)
                AND other.given_back_at + e.step - e.step * e.burst > moment
        );
END
$$;
