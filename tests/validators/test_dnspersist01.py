"""dns-persist-01: which records at which names prove control, and for how long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import dns.rrset
import pytest

from policy.model.authorizations import ValidationTask
from policy.model.errors import ErrorKind
from policy.model.ids import AccountId
from support.dns import DnsServer, Handler, Question, failing, records, reply, silent, wire
from support.validation import NAME, SHORT, Lab, account_url, make_task
from validators.dnspersist01 import DnsPersist01Validator

OURS = account_url(AccountId(UUID(int=1)))
THEIRS = account_url(AccountId(UUID(int=2)))
RECORD = f"_validation-persist.{NAME}"
ABOVE = "_validation-persist.example.test"
GOOD = f'"authority.example; accounturi={OURS}"'
WIDE = f'"authority.example; accounturi={OURS}; policy=wildcard"'
MALFORMED = f'"authority.example; accounturi={OURS}; accounturi={OURS}"'
WRONG_CA = f'"other.example; accounturi={OURS}; policy=wildcard"'
OF_OTHER = f'"authority.example; accounturi={THEIRS}; policy=wildcard"'
EXPIRED = f'"authority.example; accounturi={OURS}; policy=wildcard; persistUntil=1700000000"'
SOON = int((datetime.now(UTC) + timedelta(days=1)).timestamp())
LASTING = f'"authority.example; accounturi={OURS}; persistUntil={SOON}"'


def persist_task(name: str = NAME, *, wildcard: bool = False) -> ValidationTask:
    return make_task(name, "dns-persist-01", wildcard=wildcard)


def with_ttl(seconds: int, *texts: str) -> Handler:
    """Answers with these records of RECORD, which live so long; the first one a day longer."""

    def handle(question: Question) -> list[bytes]:
        message = reply(question)
        for number, text in enumerate(texts):
            ttl = seconds + (86400 if number else 0)
            message.answer.append(dns.rrset.from_text(f"{RECORD}.", ttl, "IN", "TXT", text))
        return [wire(message)]

    return handle


@pytest.mark.parametrize("text", [GOOD, WIDE, LASTING])
async def test_a_record_for_this_ca_and_account_proves_control(
    lab: Lab, dns_server: DnsServer, text: str
) -> None:
    dns_server.add(RECORD, "TXT", text)

    verdict = await lab.validate(persist_task())

    assert verdict.is_valid, verdict.problem
    assert dns_server.names_asked("TXT") == [RECORD]
    assert lab.dialled() == []


async def test_the_evidence_has_record_account_and_ttl(lab: Lab, dns_server: DnsServer) -> None:
    dns_server.add(RECORD, "TXT", GOOD)

    verdict = await lab.validate(persist_task())

    judged = verdict.evidence.facts["attempts"][0][-1]
    assert {name: judged[name] for name in ("step", "account", "ttl", "outcome")} == {
        "step": "judge",
        "account": OURS,
        "ttl": 60,
        "outcome": "accepted",
    }
    assert judged["record"] == GOOD.strip('"')


async def test_the_record_is_used_again_by_each_validation(lab: Lab, dns_server: DnsServer) -> None:
    dns_server.add(RECORD, "TXT", GOOD)

    verdicts = [await lab.validate(persist_task()) for _ in range(2)]

    assert all(verdict.is_valid for verdict in verdicts)


async def test_a_long_record_of_two_strings_is_joined(lab: Lab, dns_server: DnsServer) -> None:
    dns_server.add(RECORD, "TXT", f'"authority.example;" " accounturi={OURS}"')

    assert (await lab.validate(persist_task())).is_valid


async def test_an_alias_is_followed(lab: Lab, dns_server: DnsServer) -> None:
    dns_server.add(RECORD, "CNAME", "records.example.test")
    dns_server.add("records.example.test", "TXT", GOOD)

    assert (await lab.validate(persist_task())).is_valid


@pytest.mark.parametrize("others", [[WRONG_CA], [OF_OTHER], [MALFORMED], [EXPIRED, "x", '""']])
async def test_records_stand_beside_each_other(
    lab: Lab, dns_server: DnsServer, others: list[str]
) -> None:
    dns_server.add(RECORD, "TXT", *others, GOOD)

    assert (await lab.validate(persist_task())).is_valid


REFUSED = {
    "another CA's": ([WRONG_CA], ErrorKind.UNAUTHORIZED, "persist_issuer"),
    "another account's": ([OF_OTHER], ErrorKind.UNAUTHORIZED, "persist_account"),
    "malformed": ([MALFORMED], ErrorKind.MALFORMED, "persist_malformed"),
    "expired": ([EXPIRED], ErrorKind.UNAUTHORIZED, "persist_expired"),
    "two of other CAs": ([WRONG_CA, '"x.example"'], ErrorKind.UNAUTHORIZED, "persist_issuer"),
    "two, each half right": ([WRONG_CA, OF_OTHER], ErrorKind.UNAUTHORIZED, "persist_account"),
    "two, one malformed": ([MALFORMED, WRONG_CA], ErrorKind.MALFORMED, "persist_malformed"),
    "two, one expired": ([OF_OTHER, EXPIRED], ErrorKind.UNAUTHORIZED, "persist_expired"),
    "two that would do as one": (
        ['"authority.example"', f'"; accounturi={OURS}"'],
        ErrorKind.MALFORMED,
        "persist_malformed",
    ),
}


@pytest.mark.parametrize(("texts", "kind", "cause"), REFUSED.values(), ids=REFUSED)
async def test_other_records_prove_nothing_and_the_closest_is_told(
    lab: Lab, dns_server: DnsServer, texts: list[str], kind: ErrorKind, cause: str
) -> None:
    dns_server.add(RECORD, "TXT", *texts)

    problem = await lab.failure(persist_task())

    assert (problem.kind, problem.cause) == (kind, cause)
    assert RECORD in problem.detail
    assert GOOD in problem.detail, "the record that would do"


async def test_a_wildcard_is_proven_with_the_policy(lab: Lab, dns_server: DnsServer) -> None:
    dns_server.add(RECORD, "TXT", WIDE)

    assert (await lab.validate(persist_task(wildcard=True))).is_valid


@pytest.mark.parametrize("text", [GOOD, GOOD[:-1] + '; policy=wild"', LASTING])
async def test_a_wildcard_is_not_proven_without_the_policy(
    lab: Lab, dns_server: DnsServer, text: str
) -> None:
    dns_server.add(RECORD, "TXT", text)

    problem = await lab.failure(persist_task(wildcard=True))

    assert (problem.kind, problem.cause) == (ErrorKind.UNAUTHORIZED, "persist_policy")
    assert WIDE in problem.detail


async def test_an_account_without_the_policy_has_nothing_of_anothers(
    lab: Lab, dns_server: DnsServer
) -> None:
    dns_server.add(RECORD, "TXT", GOOD, OF_OTHER)

    problem = await lab.failure(persist_task(wildcard=True))

    assert problem.cause == "persist_policy"


@pytest.mark.parametrize("name", [NAME, f"a.b.{NAME}"])
async def test_a_name_below_a_record_with_the_policy_is_proven(
    lab: Lab, dns_server: DnsServer, name: str
) -> None:
    dns_server.add(ABOVE, "TXT", WIDE)

    verdict = await lab.validate(persist_task(name))

    assert verdict.is_valid, verdict.problem
    asked = dns_server.names_asked("TXT")
    assert (asked[0], asked[-1]) == (f"_validation-persist.{name}", ABOVE)


async def test_a_name_below_a_record_without_the_policy_is_not_proven(
    lab: Lab, dns_server: DnsServer
) -> None:
    dns_server.add(ABOVE, "TXT", GOOD)

    problem = await lab.failure(persist_task())

    assert problem.cause == "persist_policy"
    assert ABOVE in problem.detail


@pytest.mark.parametrize("text", [WRONG_CA, OF_OTHER])
async def test_of_strangers_records_above_the_name_nothing_is_told(
    lab: Lab, dns_server: DnsServer, text: str
) -> None:
    dns_server.add(ABOVE, "TXT", text)

    problem = await lab.failure(persist_task())

    assert (problem.kind, problem.cause) == (ErrorKind.DNS, "txt_name_missing")
    assert RECORD in problem.detail
    assert GOOD in problem.detail


async def test_a_record_below_the_name_proves_nothing(lab: Lab, dns_server: DnsServer) -> None:
    dns_server.add(RECORD, "TXT", WIDE)

    problem = await lab.failure(persist_task("example.test"))

    assert problem.cause == "txt_name_missing"


async def test_a_name_that_only_ends_alike_is_not_below(lab: Lab, dns_server: DnsServer) -> None:
    dns_server.add(ABOVE, "TXT", WIDE)

    problem = await lab.failure(persist_task("otherexample.test"))

    assert problem.cause == "txt_name_missing"
    assert dns_server.names_asked("TXT") == ["_validation-persist.otherexample.test"]


async def test_a_wildcard_needs_the_record_of_its_own_base(lab: Lab, dns_server: DnsServer) -> None:
    dns_server.add(ABOVE, "TXT", WIDE)

    problem = await lab.failure(persist_task(wildcard=True))

    assert problem.cause == "txt_name_missing"
    assert dns_server.names_asked("TXT") == [RECORD]


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("a.b.example.co.uk", "example.co.uk"),
        ("co.uk", "co.uk"),
        ("a.printer.corp", "printer.corp"),
    ],
)
async def test_nothing_above_a_registered_domain_is_asked(
    lab: Lab, dns_server: DnsServer, name: str, last: str
) -> None:
    dns_server.add("_validation-persist.uk", "TXT", WIDE)

    await lab.failure(persist_task(name))

    assert dns_server.names_asked("TXT")[-1] == f"_validation-persist.{last}"


@pytest.mark.parametrize(
    ("ttl", "expected"),
    [
        (0, timedelta(0)),
        (300, timedelta(minutes=5)),
        (864_000, timedelta(days=10)),
        (2_000_000, timedelta(days=10)),
    ],
)
async def test_a_proof_is_relied_on_for_the_ttl_and_ten_days_at_most(
    lab: Lab, dns_server: DnsServer, ttl: int, expected: timedelta
) -> None:
    dns_server.script(RECORD, "TXT", with_ttl(ttl, GOOD))

    verdict = await lab.validate(persist_task())

    assert verdict.reliance == expected


async def test_the_shortest_ttl_of_the_records_counts(lab: Lab, dns_server: DnsServer) -> None:
    dns_server.script(RECORD, "TXT", with_ttl(300, WRONG_CA, GOOD))

    verdict = await lab.validate(persist_task())

    assert verdict.reliance == timedelta(minutes=5)


FAILURES: dict[str, tuple[Handler, ErrorKind, str]] = {
    "no records": (records(), ErrorKind.INCORRECT_RESPONSE, "txt_missing"),
    "SERVFAIL": (failing("SERVFAIL"), ErrorKind.DNS, "dns_server_failure"),
    "silence": (silent, ErrorKind.DNS, "dns_timeout"),
}


@pytest.mark.parametrize(("handler", "kind", "cause"), FAILURES.values(), ids=FAILURES)
async def test_lookups_without_an_answer_have_their_causes(
    lab: Lab, dns_server: DnsServer, handler: Handler, kind: ErrorKind, cause: str
) -> None:
    lab.dns_timeout = SHORT
    dns_server.script(RECORD, "TXT", handler)

    problem = await lab.failure(persist_task())

    assert (problem.kind, problem.cause) == (kind, cause)


async def test_foreign_text_is_quoted_briefly_and_escaped(lab: Lab, dns_server: DnsServer) -> None:
    dns_server.add(RECORD, "TXT", r'"\027[2J\013\010\255<b>' + "x" * 240 + '"')

    problem = await lab.failure(persist_task())

    assert r'"\x1b[2J\x0d\x0a\xff<b>xxx' in problem.detail
    assert problem.detail.isprintable()
    assert len(problem.detail) < 700


async def test_an_address_cannot_be_proven(lab: Lab, dns_server: DnsServer) -> None:
    problem = await lab.failure(persist_task("ip:127.0.0.2"))

    assert problem.cause == "identifier_unsuited"
    assert dns_server.asked == []


def test_a_validator_needs_a_name_of_this_ca(lab: Lab) -> None:
    with pytest.raises(ValueError, match="a name of this CA"):
        DnsPersist01Validator(lab.resolver(), issuers=(), account_url=account_url)
