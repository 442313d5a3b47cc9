"""The client's side of JWS, written apart from the server's: signs right, and wrong in any way."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

_CURVES: Mapping[str, tuple[str, ec.EllipticCurve, int, hashes.HashAlgorithm]] = {
    "ES256": ("P-256", ec.SECP256R1(), 32, hashes.SHA256()),
    "ES384": ("P-384", ec.SECP384R1(), 48, hashes.SHA384()),
    "ES512": ("P-521", ec.SECP521R1(), 66, hashes.SHA512()),
}
ALGORITHMS = (*_CURVES, "EdDSA", "RS256")


def b64(octets: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def b64_json(document: object) -> str:
    """The base64url of a JSON document."""
    return b64(json.dumps(document).encode())


def b64_int(number: int) -> str:
    """The base64url of a number's big-endian bytes (RFC 7518, section 2)."""
    return b64(number.to_bytes((number.bit_length() + 7) // 8 or 1))


@dataclass(frozen=True)
class ClientKey:
    """A client's private key."""

    algorithm: str
    private: PrivateKey

    @classmethod
    def generate(cls, algorithm: str = "ES256") -> ClientKey:
        """A new key for ``algorithm``."""
        if algorithm == "RS256":
            return cls(algorithm, rsa.generate_private_key(65_537, 2048))
        if algorithm == "EdDSA":
            return cls(algorithm, ed25519.Ed25519PrivateKey.generate())
        return cls(algorithm, ec.generate_private_key(_CURVES[algorithm][1]))

    @property
    def jwk(self) -> dict[str, str]:
        """The public key."""
        if isinstance(self.private, rsa.RSAPrivateKey):
            public = self.private.public_key().public_numbers()
            return {"kty": "RSA", "n": b64_int(public.n), "e": b64_int(public.e)}
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            raw = self.private.public_key().public_bytes_raw()
            return {"kty": "OKP", "crv": "Ed25519", "x": b64(raw)}
        name, _, size, _ = _CURVES[self.algorithm]
        point = self.private.public_key().public_numbers()
        x, y = b64(point.x.to_bytes(size)), b64(point.y.to_bytes(size))
        return {"kty": "EC", "crv": name, "x": x, "y": y}

    @property
    def thumbprint(self) -> str:
        """RFC 7638, in base64url."""
        canonical = json.dumps(self.jwk, sort_keys=True, separators=(",", ":"))
        return b64(hashlib.sha256(canonical.encode()).digest())

    def signature(self, signed: bytes) -> bytes:
        """In the form of JWS."""
        if isinstance(self.private, rsa.RSAPrivateKey):
            return self.private.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            return self.private.sign(signed)
        _, _, size, digest = _CURVES[self.algorithm]
        r, s = decode_dss_signature(self.private.sign(signed, ec.ECDSA(digest)))
        return r.to_bytes(size) + s.to_bytes(size)

    def sign(self, header: Mapping[str, Any] | bytes, payload: object) -> dict[str, Any]:
        """A flattened JWS.

        ``header`` as a mapping gets this key's ``alg`` unless it has one; as bytes it is taken
        as it is. ``payload`` is a JSON document, or bytes taken as they are.
        """
        if not isinstance(header, bytes):
            header = json.dumps({"alg": self.algorithm, **header}).encode()
        octets = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        return self.sign_encoded(b64(header), b64(octets))

    def sign_encoded(self, protected: str, payload: str) -> dict[str, Any]:
        """A flattened JWS over texts that may be no base64url at all."""
        signature = self.signature(f"{protected}.{payload}".encode())
        return {"protected": protected, "payload": payload, "signature": b64(signature)}


def mac(key: bytes, header: Mapping[str, Any], payload: object) -> dict[str, Any]:
    """A flattened JWS with HS256, for external account binding and for confusion."""
    protected, encoded = b64_json({"alg": "HS256", **header}), b64_json(payload)
    code = hmac.digest(key, f"{protected}.{encoded}".encode(), "sha256")
    return {"protected": protected, "payload": encoded, "signature": b64(code)}
