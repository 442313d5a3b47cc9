-- What the server keeps for itself: nonces, secrets, issuers, CRLs, leases.

-- Used in turn by the time sealed in a nonce, and emptied in turn; see storage/nonces.py.
CREATE UNLOGGED TABLE nonces_a (id bytea PRIMARY KEY);
CREATE UNLOGGED TABLE nonces_b (id bytea PRIMARY KEY);

-- One row, or none after PostgreSQL emptied the unlogged tables: then older nonces are refused.
-- Nonces sealed before the second ``horizon`` are refused too: their table was emptied.
CREATE UNLOGGED TABLE nonce_epoch (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    epoch bytea NOT NULL CHECK (octet_length(epoch) = 8),
    horizon bigint NOT NULL
);

-- Ciphertext only, bound to purpose and id by associated data.
CREATE TABLE sealed_secrets (
    id uuid PRIMARY KEY,
    purpose text NOT NULL,
    sealed bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX sealed_secrets_purpose ON sealed_secrets (purpose);

CREATE TABLE issuers (
    name text PRIMARY KEY,
    certificate bytea NOT NULL,
    parent text REFERENCES issuers,
    key text NOT NULL,
    shards integer NOT NULL CHECK (shards > 0),
    is_active boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE crls (
    issuer text NOT NULL REFERENCES issuers,
    shard integer NOT NULL CHECK (shard >= 0),
    number bigint NOT NULL CHECK (number > 0),
    fencing_token bigint NOT NULL,
    this_update timestamptz NOT NULL,
    next_update timestamptz NOT NULL,
    der bytea NOT NULL,
    PRIMARY KEY (issuer, shard)
);

-- Rows stay when a lease is released, so that fencing tokens never repeat.
CREATE TABLE leases (
    name text PRIMARY KEY,
    owner text NOT NULL,
    token bigint NOT NULL,
    expires_at timestamptz NOT NULL
);

-- How far a scan by id has come.
CREATE TABLE watermarks (
    name text PRIMARY KEY,
    id uuid NOT NULL
);
