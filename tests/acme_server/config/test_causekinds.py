"""Which failures of validations are tried again is a setting."""

from __future__ import annotations

import pytest

from acme_server.config.causekinds import CauseCode
from acme_server.config.settings import Settings
from validators.causes import CAUSES
from validators.registry import PASSING

# What a second look can't change, or what an applicant is to be told at once.
DEFINITE = (
    "connection_refused",
    "dns_name_missing",
    "txt_name_missing",
    "txt_missing",
    "txt_differs",
    "http_status",
    "http_differs",
    "http_token_only",
    "alpn_certificate",
    "alpn_digest",
    "caa_forbidden",
)


def test_by_default_what_may_pass_is_tried_again() -> None:
    assert Settings().validation.retried_causes == ()
    assert {"connection_timeout", "dns_server_failure", "dns_timeout"} <= PASSING


@pytest.mark.parametrize("code", DEFINITE)
def test_by_default_definite_failures_are_told_at_once(code: str) -> None:
    assert code in CAUSES
    assert code not in PASSING


def test_an_operator_may_have_others_tried_again() -> None:
    assert CauseCode().parse("txt_missing") == "txt_missing"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dns_timeoutt", 'did you mean "dns_timeout"?'),
        ("nothing", "is no cause of a failed validation"),
        ("internal", "does not pass"),
        ("type_unsupported", "does not pass"),
    ],
)
def test_what_is_no_cause_that_passes_is_refused(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=r"cause|pass") as refusal:
        CauseCode().parse(text)

    assert expected in str(refusal.value)
