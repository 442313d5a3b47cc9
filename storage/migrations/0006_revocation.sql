-- Revocation: keys that are known to be compromised, and CRLs that must be made anew at once.

-- By RFC 7638 thumbprint, as accounts have it, so that one table refuses a key to certificates and
-- to accounts. certificate_id is the certificate whose revocation told of it. Append-only for the
-- application: a compromised key never becomes good again.
CREATE TABLE blocked_keys (
    thumbprint bytea PRIMARY KEY
        CONSTRAINT blocked_keys_thumbprint_length CHECK (octet_length(thumbprint) = 32),
    certificate_id uuid NOT NULL,
    blocked_by text NOT NULL,
    blocked_at timestamptz NOT NULL DEFAULT now()
);

-- One row for each revocation that no CRL of its shard lists yet. Who makes a CRL reads the rows
-- first and the revoked certificates after that, and removes the rows that it read: a revocation
-- that is committed in between keeps its row, whatever any clock says.
CREATE TABLE crl_requests (
    id uuid PRIMARY KEY DEFAULT new_id(),
    issuer text NOT NULL,
    shard integer NOT NULL
);

-- A trigger, so that no way to revoke a certificate can forget it. It costs nothing to statements
-- that don't set these columns.
CREATE FUNCTION request_crl() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO crl_requests (issuer, shard) VALUES (NEW.issuer, NEW.shard);
    RETURN NULL;
END
$$;

CREATE TRIGGER certificates_request_crl
AFTER UPDATE OF revoked_at, revocation_reason ON certificates
FOR EACH ROW
WHEN (
    OLD.revoked_at IS DISTINCT FROM NEW.revoked_at
    OR OLD.revocation_reason IS DISTINCT FROM NEW.revocation_reason
)
EXECUTE FUNCTION request_crl();

-- Revocations that were committed before this table was there.
INSERT INTO crl_requests (issuer, shard)
SELECT DISTINCT issuer, shard FROM certificates WHERE revoked_at IS NOT NULL;
