-- External account keys (RFC 8555, section 7.3.4), and which accounts were made with one.

-- The id is the key identifier that clients send. The HMAC key itself is the sealed secret of the
-- same id. max_uses NULL: any number. A key that was revoked, has expired or is used up stays:
-- it tells whom the accounts made with it belong to.
CREATE TABLE external_accounts (
    id uuid PRIMARY KEY,
    owner text NOT NULL CONSTRAINT external_accounts_owner CHECK (length(owner) <= 200),
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    max_uses integer CONSTRAINT external_accounts_max_uses CHECK (max_uses > 0),
    uses integer NOT NULL DEFAULT 0,
    revoked_at timestamptz,
    CONSTRAINT external_accounts_uses CHECK (uses >= 0 AND (max_uses IS NULL OR uses <= max_uses))
);

-- external_account_binding is what the client proved the binding with, to be shown with the
-- account.
ALTER TABLE accounts
    ADD COLUMN external_account_id uuid REFERENCES external_accounts,
    ADD COLUMN external_account_binding text,
    ADD CONSTRAINT accounts_external_account
        CHECK ((external_account_id IS NULL) = (external_account_binding IS NULL));

CREATE INDEX accounts_external_account_id ON accounts (external_account_id)
    WHERE external_account_id IS NOT NULL;
