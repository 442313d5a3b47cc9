"""The catalogue of causes is complete, and its details are fit for problem documents."""

from __future__ import annotations

import re
import string
from ipaddress import ip_address

import pytest

from policy.model.errors import ErrorKind
from validators import causes
from validators.addresses import Endpoint
from validators.causes import CAUSES, Cause, ValidationFailure

VALUES: dict[str, object] = {
    "endpoint": Endpoint(ip_address("2001:db8::1"), 443),
    "host": "h" * 255,
    "name": "n" * 255,
    "type": "AAAA",
    "url": "u" * 200,
    "reason": "r" * 100,
    "expected": "e" * 87,
    "account": "https://acme.example.org/acme/account/" + "a" * 22,
    "first": "f" * 100,
    "seconds": 10.0,
    "status": 404,
    "count": 3,
    "limit": 10,
    "record": "r" * 400,
    "publish": "p" * 300,
    "method": "tls-alpn-01",
}
_SENTENCE = re.compile(r"[A-Z{].*\.", re.DOTALL)


@pytest.mark.parametrize("cause", CAUSES.values(), ids=CAUSES)
def test_every_cause_reads_as_sentences(cause: Cause) -> None:
    problem = ValidationFailure(cause, **VALUES).as_problem()

    assert problem.kind is cause.kind
    assert problem.cause == cause.code
    assert not set("{}") & set(problem.detail)
    assert len(problem.detail) < causes.MAX_DETAIL, "nothing is cut"
    assert all(_SENTENCE.fullmatch(part) for part in (cause.seen, cause.next_step))
    assert not cause.likely or _SENTENCE.fullmatch(cause.likely)


@pytest.mark.parametrize("cause", CAUSES.values(), ids=CAUSES)
def test_codes_are_stable_words(cause: Cause) -> None:
    assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", cause.code)
    assert getattr(causes, cause.code.upper()) is cause


def test_no_code_is_used_twice() -> None:
    named = [value for value in vars(causes).values() if isinstance(value, Cause)]

    assert len(named) == len(CAUSES)


def test_the_problem_of_a_refused_address_has_no_variable_part() -> None:
    cause = causes.ADDRESS_REFUSED
    sentences = cause.seen + cause.likely + cause.next_step

    assert not [field for _, field, *_ in string.Formatter().parse(sentences) if field]


def test_only_failures_that_may_pass_are_transient() -> None:
    transient = {code for code, cause in CAUSES.items() if cause.is_transient}

    assert transient == {
        "connection_timeout",
        "connection_reset",
        "tls_timeout",
        "dns_server_failure",
        "dns_timeout",
        "dns_unreachable",
        "dns_malformed",
        "caa_lookup_failed",
        "http_timeout",
        "http_closed",
    }


def test_the_operator_is_told_of_what_is_ours_and_the_applicant_of_the_rest() -> None:
    ours = {code for code, cause in CAUSES.items() if cause.is_ours}
    told = {
        code for code, cause in CAUSES.items() if cause.next_step.startswith("Tell the operator")
    }

    assert ours == told == {"internal", "dns_unreachable", "dns_untrusted"}


def test_a_defect_of_ours_is_told_as_such() -> None:
    assert causes.INTERNAL.kind is ErrorKind.SERVER_INTERNAL


@pytest.mark.parametrize(
    ("failure", "is_ours"),
    [
        (ValidationFailure(causes.DNS_UNREACHABLE), True),
        (ValidationFailure(causes.DNS_UNTRUSTED), True),
        (ValidationFailure(causes.INTERNAL), True),
        (ValidationFailure(causes.DNS_TIMEOUT), False),
        (ValidationFailure(causes.CONNECTION_REFUSED), False),
        (ValidationFailure(causes.CAA_LOOKUP_FAILED, reason="dns_unreachable"), True),
        (ValidationFailure(causes.CAA_LOOKUP_FAILED, reason="dns_servfail"), False),
    ],
)
def test_what_only_the_operator_can_mend_is_told_apart(
    failure: ValidationFailure, is_ours: bool
) -> None:
    assert failure.is_ours is is_ours
