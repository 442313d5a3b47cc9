"""Key authorizations (RFC 8555, section 8.1), and the forms in which they are published."""

from __future__ import annotations

import base64
import hashlib


def key_authorization(token: str, thumbprint: bytes) -> str:
    """The token, a dot and the account key's SHA-256 thumbprint (32 bytes) in base64url."""
    return f"{token}.{_base64url(thumbprint)}"


def expected_digest(token: str, thumbprint: bytes) -> bytes:
    """The SHA-256 digest of the key authorization, as tls-alpn-01 wants it (RFC 8737)."""
    return hashlib.sha256(key_authorization(token, thumbprint).encode("ascii")).digest()


def expected_txt(token: str, thumbprint: bytes) -> str:
    """The value of the TXT record for dns-01 (RFC 8555, section 8.4): 43 characters."""
    return _base64url(expected_digest(token, thumbprint))


def _base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")
