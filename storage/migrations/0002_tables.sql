-- Accounts, orders, authorizations, certificates, audit.
--
-- Large tables are partitioned by the time in their ids, so that a lookup by primary key touches
-- one partition and retention drops whole ones (0003_partitions.sql makes them). No foreign keys
-- cross partition roots. The states in CHECKs are those of policy.model; a test compares them.

CREATE TABLE accounts (
    id uuid PRIMARY KEY,
    status text NOT NULL
        CONSTRAINT accounts_status CHECK (status IN ('valid', 'deactivated', 'revoked')),
    thumbprint bytea NOT NULL UNIQUE
        CONSTRAINT accounts_thumbprint_length CHECK (octet_length(thumbprint) = 32),
    jwk bytea NOT NULL,
    contacts text[] NOT NULL,
    terms_agreed text,
    created_at timestamptz NOT NULL,
    created_from text NOT NULL
);

-- identifiers are "type:value". pending_authorizations counts those that still keep the order
-- from being ready. certificate_id is set by the claim, and shown once the order is valid.
CREATE TABLE orders (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL,
    status text NOT NULL
        CONSTRAINT orders_status
        CHECK (status IN ('pending', 'ready', 'processing', 'valid', 'invalid')),
    pending_authorizations smallint NOT NULL
        CONSTRAINT orders_pending_authorizations CHECK (pending_authorizations >= 0),
    identifiers text[] NOT NULL,
    authorization_ids uuid[] NOT NULL,
    profile text NOT NULL,
    profile_version text NOT NULL,
    not_before timestamptz,
    not_after timestamptz,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    certificate_id uuid,
    error jsonb
) PARTITION BY RANGE (id);

-- The orders list of an account, and what its deactivation ends.
CREATE INDEX orders_account ON orders (account_id, id);

CREATE TABLE authorizations (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL,
    order_id uuid,
    identifier text NOT NULL,
    wildcard boolean NOT NULL,
    status text NOT NULL
        CONSTRAINT authorizations_status
        CHECK (status IN ('pending', 'valid', 'invalid', 'deactivated', 'expired', 'revoked')),
    token text NOT NULL,
    challenge_types text[] NOT NULL,
    expires_at timestamptz NOT NULL
) PARTITION BY RANGE (id);

-- Which authorization proved a name last: an index across the partitions of authorizations, made
-- by hand so that newOrder probes one table. The authorization itself has the last word.
CREATE TABLE proven_names (
    account_id uuid NOT NULL,
    identifier text NOT NULL,
    wildcard boolean NOT NULL,
    authorization_id uuid NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, identifier, wildcard)
);

-- A challenge that its client answered. ``attempt`` counts the claims of its validation.
CREATE TABLE validations (
    authorization_id uuid NOT NULL,
    type text NOT NULL,
    status text NOT NULL
        CONSTRAINT validations_status CHECK (status IN ('processing', 'valid', 'invalid')),
    attempt integer NOT NULL,
    owner text NOT NULL,
    lease_until timestamptz NOT NULL,
    thumbprint bytea NOT NULL,
    answered_at timestamptz NOT NULL,
    ended_at timestamptz,
    error jsonb,
    evidence jsonb,
    PRIMARY KEY (authorization_id, type)
) PARTITION BY RANGE (authorization_id);

CREATE INDEX validations_lease ON validations (lease_until) WHERE status = 'processing';

-- Every serial that was ever handed to a signer. Not partitioned: unique for good.
CREATE TABLE serials (
    serial bytea PRIMARY KEY
        CONSTRAINT serials_length CHECK (octet_length(serial) BETWEEN 8 AND 20),
    certificate_id uuid NOT NULL
);

-- A row is written before its certificate is signed; tbs is never changed after that.
CREATE TABLE certificates (
    id uuid PRIMARY KEY,
    serial bytea NOT NULL,
    issuer text NOT NULL,
    shard integer NOT NULL CONSTRAINT certificates_shard CHECK (shard >= 0),
    status text NOT NULL
        CONSTRAINT certificates_status CHECK (status IN ('reserved', 'issued', 'orphaned')),
    account_id uuid,
    order_id uuid,
    profile text NOT NULL,
    profile_version text NOT NULL,
    identifiers text[] NOT NULL,
    not_before timestamptz NOT NULL,
    not_after timestamptz NOT NULL,
    spki_sha256 bytea NOT NULL
        CONSTRAINT certificates_spki_length CHECK (octet_length(spki_sha256) = 32),
    owner text,
    lease_until timestamptz NOT NULL,
    revoked_at timestamptz,
    revocation_reason smallint,
    tbs bytea NOT NULL,
    signature bytea,
    CONSTRAINT certificates_signed CHECK ((status = 'issued') = (signature IS NOT NULL)),
    CONSTRAINT certificates_revoked CHECK ((revoked_at IS NULL) = (revocation_reason IS NULL))
) PARTITION BY RANGE (id);

CREATE INDEX certificates_spki ON certificates (spki_sha256);
CREATE INDEX certificates_revoked ON certificates (issuer, shard) WHERE revoked_at IS NOT NULL;
CREATE INDEX certificates_reserved ON certificates (lease_until) WHERE status = 'reserved';

-- Append-only for the application. The sealer orders events by transaction once no running
-- transaction can add an older one.
CREATE TABLE audit_events (
    id uuid PRIMARY KEY DEFAULT new_id(),
    at timestamptz NOT NULL DEFAULT now(),
    transaction_id xid8 NOT NULL DEFAULT pg_current_xact_id(),
    actor text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    detail jsonb
) PARTITION BY RANGE (id);

CREATE INDEX audit_events_transaction ON audit_events (transaction_id);

-- Sealed Merkle batches; a batch covers the events after its predecessor's last one, in the order
-- of (transaction_id, id).
CREATE TABLE audit_batches (
    number bigint PRIMARY KEY,
    sealed_at timestamptz NOT NULL DEFAULT now(),
    last_transaction xid8 NOT NULL,
    last_event uuid NOT NULL,
    events integer NOT NULL,
    root bytea NOT NULL,
    checkpoint bytea NOT NULL
);
