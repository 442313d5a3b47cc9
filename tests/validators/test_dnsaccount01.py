"""dns-account-01: where an account's own TXT record is, and which one proves control."""

from __future__ import annotations

from uuid import UUID

import pytest

from policy.model.authorizations import ValidationTask
from policy.model.errors import ErrorKind
from policy.model.ids import AccountId
from support.dns import DnsServer, Handler, failing, records, silent
from support.validation import NAME, SHORT, THUMBPRINT, TOKEN, Lab, account_url, make_task
from validators.dnsaccount01 import account_label, record_name
from validators.keyauth import expected_txt

OURS = account_url(AccountId(UUID(int=1)))
THEIRS = account_url(AccountId(UUID(int=2)))
RECORD = record_name(NAME, OURS)
EXPECTED = expected_txt(TOKEN, THUMBPRINT)


def account_task(name: str = NAME, *, wildcard: bool = False) -> ValidationTask:
    return make_task(name, "dns-account-01", wildcard=wildcard)


def test_the_label_is_the_one_of_the_drafts_example() -> None:
    label = account_label("https://example.com/acme/acct/ExampleAccount")

    assert label == "_ujmmovf2vn55tgye"


def test_the_labels_stand_before_the_name() -> None:
    name = record_name("example.org", "https://example.com/acme/acct/ExampleAccount")

    assert name == "_ujmmovf2vn55tgye._acme-challenge.example.org"


@pytest.mark.parametrize(
    "other",
    [
        "https://example.com/acme/acct/exampleaccount",
        "https://example.com/acme/acct/ExampleAccount/",
        "https://example.com:443/acme/acct/ExampleAccount",
        "http://example.com/acme/acct/ExampleAccount",
    ],
)
def test_urls_are_not_normalized(other: str) -> None:
    assert account_label(other) != "_ujmmovf2vn55tgye"


@pytest.mark.parametrize("wildcard", [False, True])
async def test_the_digest_at_the_accounts_own_name_proves_control(
    lab: Lab, dns_server: DnsServer, wildcard: bool
) -> None:
    dns_server.add(RECORD, "TXT", EXPECTED)

    verdict = await lab.validate(account_task(wildcard=wildcard))

    assert verdict.is_valid, verdict.problem
    assert verdict.reliance is None
    assert dns_server.names_asked("TXT") == [RECORD]
    assert lab.dialled() == []


async def test_the_evidence_has_account_and_name(lab: Lab, dns_server: DnsServer) -> None:
    dns_server.add(RECORD, "TXT", EXPECTED)

    verdict = await lab.validate(account_task())

    first = verdict.evidence.facts["attempts"][0][0]
    assert (first["step"], first["account"], first["name"]) == ("label", OURS, RECORD)


async def test_one_of_several_records_is_enough(lab: Lab, dns_server: DnsServer) -> None:
    dns_server.add(RECORD, "TXT", "other", EXPECTED, '"ca.example; accounturi=x"')

    assert (await lab.validate(account_task())).is_valid


async def test_an_alias_of_the_account_is_followed(lab: Lab, dns_server: DnsServer) -> None:
    dns_server.add(RECORD, "CNAME", "region-1.example.test")
    dns_server.add("region-1.example.test", "TXT", EXPECTED)

    assert (await lab.validate(account_task())).is_valid


ELSEWHERE = {
    "at dns-01's name": f"_acme-challenge.{NAME}",
    "under another account's label": record_name(NAME, THEIRS),
    "at the name itself": NAME,
    "for the name above": record_name("example.test", OURS),
    "with the labels swapped": f"_acme-challenge.{account_label(OURS)}.{NAME}",
}


@pytest.mark.parametrize("name", ELSEWHERE.values(), ids=ELSEWHERE)
async def test_the_digest_elsewhere_proves_nothing(
    lab: Lab, dns_server: DnsServer, name: str
) -> None:
    dns_server.add(name, "TXT", EXPECTED)

    problem = await lab.failure(account_task())

    assert (problem.kind, problem.cause) == (ErrorKind.DNS, "account_txt_name_missing")
    assert OURS in problem.detail, "the account URL that the name was made of"
    assert RECORD in problem.detail
    assert EXPECTED in problem.detail


async def test_a_name_without_txt_records_tells_the_account_too(
    lab: Lab, dns_server: DnsServer
) -> None:
    dns_server.script(RECORD, "TXT", records())

    problem = await lab.failure(account_task())

    assert (problem.kind, problem.cause) == (ErrorKind.INCORRECT_RESPONSE, "account_txt_missing")
    assert OURS in problem.detail


@pytest.mark.parametrize(
    "text",
    [expected_txt(TOKEN, bytes(32)), expected_txt("x" * 43, THUMBPRINT), EXPECTED.swapcase(), '""'],
)
async def test_another_value_proves_nothing(lab: Lab, dns_server: DnsServer, text: str) -> None:
    dns_server.add(RECORD, "TXT", text)

    problem = await lab.failure(account_task())

    assert (problem.kind, problem.cause) == (ErrorKind.INCORRECT_RESPONSE, "txt_differs")


FAILURES: dict[str, tuple[Handler, str]] = {
    "SERVFAIL": (failing("SERVFAIL"), "dns_server_failure"),
    "REFUSED": (failing("REFUSED"), "dns_refused"),
    "silence": (silent, "dns_timeout"),
}


@pytest.mark.parametrize(("handler", "cause"), FAILURES.values(), ids=FAILURES)
async def test_lookups_without_an_answer_have_their_causes(
    lab: Lab, dns_server: DnsServer, handler: Handler, cause: str
) -> None:
    lab.dns_timeout = SHORT
    dns_server.script(RECORD, "TXT", handler)

    problem = await lab.failure(account_task())

    assert (problem.kind, problem.cause) == (ErrorKind.DNS, cause)


async def test_a_name_too_long_for_the_labels_is_no_defect(lab: Lab) -> None:
    name = ".".join(["x" * 60] * 3) + f".{'y' * 40}.test"

    problem = await lab.failure(account_task(name))

    assert (problem.kind, problem.cause) == (ErrorKind.DNS, "dns_name_unusable")


async def test_an_address_cannot_be_proven(lab: Lab, dns_server: DnsServer) -> None:
    problem = await lab.failure(account_task("ip:127.0.0.2"))

    assert problem.cause == "identifier_unsuited"
    assert dns_server.asked == []
