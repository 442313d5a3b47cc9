-- Authorizations that were asked for before any order (RFC 8555, section 7.4.1).

-- The one that its account has open for a name: no order has taken it yet. A row says only where
-- to look; the authorization itself has the last word. expires_at is when the row may go.
CREATE TABLE preauthorizations (
    account_id uuid NOT NULL,
    identifier text NOT NULL,
    authorization_id uuid NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, identifier)
);

-- For a statement that finds, after it waited for a lock, a row that refers to one its snapshot
-- can't have: it is undone, and asked again it sees both.
CREATE FUNCTION snapshot_too_old() RETURNS bigint
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    RAISE EXCEPTION 'a row was linked to a newer one meanwhile'
        USING ERRCODE = 'serialization_failure';
END
$$;

-- How a name was proven, so that only orders that accept this take the proof over. Proofs from
-- before have none, and serve nobody but the orders that they were for.
ALTER TABLE proven_names ADD COLUMN method text;
