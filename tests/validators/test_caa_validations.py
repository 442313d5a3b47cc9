"""CAA within validations: enforced it refuses, advisory it only leaves evidence."""

from __future__ import annotations

from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from policy.model.errors import ErrorKind
from support.dns import DnsServer, Handler, failing, in_turn, records, silent
from support.targets import closed_port
from support.validation import (
    CAA_IDENTITY,
    NAME,
    PATIENT,
    SHORT,
    THUMBPRINT,
    TOKEN,
    Lab,
    account_url,
    make_task,
)
from validators.keyauth import expected_txt

TASK = make_task(challenge="dns-01")
NOBODY = '0 issue ";"'
# Enough for the challenge, before a check that isn't answered.
SECOND = timedelta(seconds=1)


@pytest.fixture
def lab(lab: Lab, dns_server: DnsServer) -> Lab:
    """A lab that enforces CAA, and where dns-01 succeeds for the usual name."""
    dns_server.add(f"_acme-challenge.{NAME}", "TXT", expected_txt(TOKEN, THUMBPRINT))
    lab.caa = True
    return lab


async def test_what_caa_permits_is_valid_with_the_record_as_evidence(
    lab: Lab, dns_server: DnsServer
) -> None:
    dns_server.add(NAME, "CAA", f'0 issue "{CAA_IDENTITY}"')

    verdict = await lab.validate(TASK)

    facts = verdict.evidence.facts
    assert verdict.problem is None
    assert facts["caa"] == {
        "name": NAME,
        "wildcard": False,
        "result": "permitted",
        "found_at": NAME,
        "ttl": 60,
        "record": f'{NAME}. CAA 0 issue "{CAA_IDENTITY}"',
    }
    queries = [step for step in facts["attempts"][0] if step.get("type") == "CAA"]
    assert queries[0]["records"] == [f'{NAME}. CAA 0 issue "{CAA_IDENTITY}"']


async def test_what_caa_forbids_is_invalid(lab: Lab, dns_server: DnsServer) -> None:
    dns_server.add(NAME, "CAA", NOBODY)

    verdict = await lab.validate(TASK)

    assert verdict.problem is not None
    assert (verdict.problem.kind, verdict.problem.cause) == (ErrorKind.CAA, "caa_forbidden")
    assert verdict.evidence.facts["caa"]["result"] == "forbidden"


async def test_a_failed_challenge_is_not_followed_by_a_check(
    lab: Lab, dns_server: DnsServer
) -> None:
    dns_server.add(NAME, "CAA", NOBODY)

    problem = await lab.failure(make_task("other.example.test", "dns-01"))

    assert problem.cause == "txt_name_missing"
    assert dns_server.names_asked("CAA") == []


async def test_a_lookup_that_fails_once_is_tried_again(lab: Lab, dns_server: DnsServer) -> None:
    lab.attempts = 2
    dns_server.script(NAME, "CAA", in_turn(failing("SERVFAIL"), records()))

    verdict = await lab.validate(TASK)

    assert verdict.problem is None
    assert len(verdict.evidence.facts["attempts"]) == 2


async def test_a_lookup_that_keeps_failing_is_a_failure(lab: Lab, dns_server: DnsServer) -> None:
    lab.attempts = 2
    dns_server.script("example.test", "CAA", failing("SERVFAIL"))

    problem = await lab.failure(TASK)

    assert (problem.kind, problem.cause) == (ErrorKind.DNS, "caa_lookup_failed")


@pytest.mark.parametrize(
    ("answer", "is_ours"), [(None, True), (failing("SERVFAIL"), False), (failing("REFUSED"), False)]
)
async def test_a_resolver_that_is_away_is_no_fault_of_the_applicant(
    lab: Lab, dns_server: DnsServer, answer: Handler | None, is_ours: bool
) -> None:
    if answer is None:
        lab.zones = (
            ("example.test", (closed_port("127.0.0.1"),)),
            (f"_acme-challenge.{NAME}", lab.dns),
        )
    else:
        dns_server.script(NAME, "CAA", answer)

    verdict = await lab.validate(TASK)

    assert verdict.problem is not None
    assert verdict.problem.cause == "caa_lookup_failed"
    assert verdict.is_ours is is_ours


async def test_an_enforced_check_that_outlasts_the_deadline_is_a_failure(
    lab: Lab, dns_server: DnsServer
) -> None:
    lab.deadline = SHORT
    dns_server.script(NAME, "CAA", silent)

    problem = await lab.failure(TASK)

    assert problem.cause == "deadline_dns"


async def test_addresses_have_no_caa(lab: Lab, dns_server: DnsServer) -> None:
    problem = await lab.failure(make_task("ip:127.0.0.2", "dns-01"))

    assert problem.cause == "identifier_unsuited"
    assert dns_server.asked == []


@pytest.mark.parametrize(("is_wildcard", "is_valid"), [(True, False), (False, True)])
async def test_issuewild_is_about_wildcards_only(
    lab: Lab, dns_server: DnsServer, is_wildcard: bool, is_valid: bool
) -> None:
    dns_server.add(NAME, "CAA", f'0 issue "{CAA_IDENTITY}"', '0 issuewild ";"')

    verdict = await lab.validate(make_task(challenge="dns-01", wildcard=is_wildcard))

    assert verdict.is_valid is is_valid
    assert verdict.evidence.facts["caa"]["wildcard"] is is_wildcard


@pytest.mark.parametrize(("account", "cause"), [(1, None), (2, "caa_account")])
async def test_accounturi_names_the_account_that_may(
    lab: Lab, dns_server: DnsServer, account: int, cause: str | None
) -> None:
    url = account_url(TASK.account_id)
    dns_server.add(NAME, "CAA", f'0 issue "{CAA_IDENTITY}; accounturi={url}"')

    verdict = await lab.validate(make_task(challenge="dns-01", account=account))

    assert (verdict.problem and verdict.problem.cause) == cause


@pytest.mark.parametrize(("method", "cause"), [("dns-01", None), ("http-01", "caa_method")])
async def test_validationmethods_name_the_challenge_that_counts(
    lab: Lab, dns_server: DnsServer, method: str, cause: str | None
) -> None:
    dns_server.add(NAME, "CAA", f'0 issue "{CAA_IDENTITY}; validationmethods={method}"')

    verdict = await lab.validate(TASK)

    assert (verdict.problem and verdict.problem.cause) == cause


@pytest.mark.parametrize("answer", [records(f"{NAME}. CAA {NOBODY}"), failing("SERVFAIL")])
async def test_advisory_caa_leaves_evidence_and_a_log_line_and_refuses_nothing(
    lab: Lab, dns_server: DnsServer, answer: Handler
) -> None:
    lab.caa = False
    dns_server.script(NAME, "CAA", answer)

    with capture_logs() as logs:
        verdict = await lab.validate(TASK)

    assert verdict.problem is None
    assert verdict.evidence.facts["caa"]["result"] in ("forbidden", "failed")
    assert [(log["event"], log["is_enforced"]) for log in logs] == [("caa_objected", False)]


@pytest.mark.parametrize(("deadline", "lifetime"), [(SECOND, PATIENT), (PATIENT, SHORT)])
async def test_advisory_caa_that_is_not_answered_does_not_fail_the_validation(
    lab: Lab, dns_server: DnsServer, deadline: timedelta, lifetime: timedelta
) -> None:
    lab.caa = False
    lab.deadline = deadline
    lab.caa_lifetime = lifetime
    dns_server.script(NAME, "CAA", silent)

    verdict = await lab.validate(TASK)

    assert verdict.problem is None


async def test_caa_that_is_off_asks_for_nothing(lab: Lab, dns_server: DnsServer) -> None:
    lab.caa = None
    dns_server.add(NAME, "CAA", NOBODY)

    verdict = await lab.validate(TASK)

    assert verdict.problem is None
    assert "caa" not in verdict.evidence.facts
    assert dns_server.names_asked("CAA") == []
