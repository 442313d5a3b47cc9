"""Every URL that the server hands out, and the paths they are served under."""

from __future__ import annotations

from urllib.parse import urlsplit
from uuid import UUID

from policy.model.ids import encode_id

DIRECTORY = "/directory"
NEW_NONCE = "/acme/new-nonce"
NEW_ACCOUNT = "/acme/new-account"
NEW_ORDER = "/acme/new-order"
NEW_AUTHORIZATION = "/acme/new-authorization"
KEY_CHANGE = "/acme/key-change"
REVOKE_CERTIFICATE = "/acme/revoke-certificate"
ACCOUNT = "/acme/account/{id}"
ACCOUNT_ORDERS = "/acme/account/{id}/orders"
ORDER = "/acme/order/{id}"
FINALIZE = "/acme/order/{id}/finalize"
AUTHORIZATION = "/acme/authorization/{id}"
CHALLENGE = "/acme/challenge/{id}/{type}"
CERTIFICATE = "/acme/certificate/{id}"
CERTIFICATE_ALTERNATE = "/acme/certificate/{id}/{number}"
ROOTS = "/roots.pem"


class Urls:
    """URLs below the configured external URL; what a client claims in ``Host`` plays no part.

    ``external_url`` is an origin with an optional path, without a trailing slash, query or
    fragment; raises ValueError for anything else.
    """

    def __init__(self, external_url: str) -> None:
        parts = urlsplit(external_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ValueError(f"{external_url} is no http or https URL")
        if parts.query or parts.fragment or external_url.endswith(("/", "?", "#")):
            raise ValueError(f"{external_url} must end with a host or a path, without a slash")
        self.base = external_url
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self.path = parts.path
        self.directory = self.base + DIRECTORY
        self.new_nonce = self.base + NEW_NONCE
        self.new_account = self.base + NEW_ACCOUNT
        self.new_order = self.base + NEW_ORDER
        self.new_authorization = self.base + NEW_AUTHORIZATION
        self.key_change = self.base + KEY_CHANGE
        self.revoke_certificate = self.base + REVOKE_CERTIFICATE
        self.account_prefix = self.base + "/acme/account/"
        self._order_prefix = self.base + "/acme/order/"
        self._authorization_prefix = self.base + "/acme/authorization/"
        self._challenge_prefix = self.base + "/acme/challenge/"
        self._certificate_prefix = self.base + "/acme/certificate/"

    def served(self, path: str) -> str:
        """The path of the request target for ``path``, one of this module's constants."""
        return self.path + path

    def of_target(self, target: str) -> str:
        """The URL that a client means when it sends the request target ``target``."""
        return self.origin + target

    def account(self, account_id: UUID) -> str:
        """The URL of an account, its ``kid``."""
        return self.account_prefix + encode_id(account_id)

    def account_orders(self, account_id: UUID) -> str:
        """The URL of an account's list of orders."""
        return f"{self.account_prefix}{encode_id(account_id)}/orders"

    def order(self, order_id: UUID) -> str:
        """The URL of an order."""
        return self._order_prefix + encode_id(order_id)

    def finalize(self, order_id: UUID) -> str:
        """The URL that an order's CSR is posted to."""
        return f"{self._order_prefix}{encode_id(order_id)}/finalize"

    def authorization(self, authorization_id: UUID) -> str:
        """The URL of an authorization."""
        return self._authorization_prefix + encode_id(authorization_id)

    def challenge(self, authorization_id: UUID, challenge_type: str) -> str:
        """The URL of an authorization's challenge of one type."""
        return f"{self._challenge_prefix}{encode_id(authorization_id)}/{challenge_type}"

    def certificate(self, certificate_id: UUID) -> str:
        """The URL of a certificate."""
        return self._certificate_prefix + encode_id(certificate_id)

    def certificate_chain(self, certificate_id: UUID, number: int) -> str:
        """The URL of a certificate with one of its chains; number 0 is the default one."""
        url = self.certificate(certificate_id)
        return f"{url}/{number}" if number else url
