"""Media types are chosen as RFC 9110 says, and nothing that a client sends is refused for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acme_server.acme.negotiation import choose_media_type

PEM = "application/pem-certificate-chain"
SINGLE = "application/pkix-cert"
PKCS7 = "application/pkcs7-mime"
OFFERED = (PEM, SINGLE, PKCS7)


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, PEM),
        ("", PEM),
        ("*/*", PEM),
        ("application/*", PEM),
        (PEM, PEM),
        (SINGLE, SINGLE),
        (PKCS7, PKCS7),
        ("Application/PKIX-Cert", SINGLE),
        (f"{PKCS7}; smime-type=certs-only", PKCS7),
        (f"{PEM};q=0.5, {SINGLE};q=0.8", SINGLE),
        (f"{PEM};q=0.5,{SINGLE} ; q=0.5", PEM),
        (f"{SINGLE}, {PKCS7}", SINGLE),
        (f"{SINGLE};q=0.9, */*;q=0.1", SINGLE),
        (f"{SINGLE};q=0.1, */*;q=0.9", PEM),
        (f"{PEM};q=0, */*", SINGLE),
        (f"{PEM};q=0, application/*;q=0.5, {SINGLE};q=0.4", PKCS7),
        (f"text/html, {PKCS7};q=0.001", PKCS7),
        # Nothing fits, or nothing can be read: the default.
        ("text/html", PEM),
        (f"{PEM};q=0", PEM),
        (f"{SINGLE};q=2", PEM),
        (f"{SINGLE};q=0.1234", PEM),
        (f"{SINGLE};q=", PEM),
        (f"{SINGLE};q=1;q=x", PEM),
        ("application", PEM),
        ("*/pkix-cert", PEM),
        (",;,=;q=1,/", PEM),
        (f"text/a,{'text/b,' * 60}{SINGLE}", PEM),
    ],
)
def test_best_type_is_chosen_and_the_default_without_one(accept: str | None, chosen: str) -> None:
    assert choose_media_type(accept, OFFERED) == chosen


@given(st.text(alphabet="application/pkix-cert*;q=01. ,", max_size=200))
def test_any_header_leads_to_an_offered_type(accept: str) -> None:
    assert choose_media_type(accept, OFFERED) in OFFERED
