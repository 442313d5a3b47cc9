"""Key authorizations and the forms in which they are published."""

from __future__ import annotations

import hashlib

from validators.keyauth import expected_digest, expected_txt, key_authorization

TOKEN = "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0"
THUMBPRINT = bytes(range(32))


def test_a_key_authorization_is_token_dot_thumbprint() -> None:
    assert key_authorization("token", bytes(32)) == "token." + "A" * 43


def test_the_digest_and_the_txt_value_are_sha256_of_it() -> None:
    authorization = key_authorization(TOKEN, THUMBPRINT)

    assert expected_digest(TOKEN, THUMBPRINT) == hashlib.sha256(authorization.encode()).digest()
    assert len(expected_txt(TOKEN, THUMBPRINT)) == 43


def test_the_txt_value_is_the_one_that_openssl_computes() -> None:
    # printf 'abc.AAA...' | openssl dgst -sha256 -binary | basenc --base64url
    assert expected_txt("abc", bytes(32)) == "hYr6UnFCop1LguDNq9oHRDOnILUoCemc5R-vyGrpFKI"
