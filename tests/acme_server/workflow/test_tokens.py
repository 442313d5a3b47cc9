"""Tokens of challenges (RFC 8555, sections 8.3 and 8.4)."""

from __future__ import annotations

import base64
import re

from acme_server.workflow.orders import new_token


def test_tokens_are_192_random_bits_in_base64url() -> None:
    tokens = [new_token() for _ in range(1000)]

    assert all(re.fullmatch(r"[A-Za-z0-9_-]{32}", token) for token in tokens)
    octets = [base64.urlsafe_b64decode(token) for token in tokens]
    assert {len(each) for each in octets} == {24}
    # Every bit of a thousand is set in some and clear in others.
    numbers = [int.from_bytes(each) for each in octets]
    ones, zeros = 0, 2**192 - 1
    for number in numbers:
        ones |= number
        zeros &= number
    assert (ones, zeros) == (2**192 - 1, 0)
    assert len(set(tokens)) == 1000
