"""dns-01: which TXT records prove control."""

from __future__ import annotations

import pytest

from policy.model.errors import ErrorKind
from support.dns import DnsServer, Handler, failing, in_turn, records, silent
from support.validation import NAME, SHORT, THUMBPRINT, TOKEN, Lab, make_task
from validators.keyauth import expected_txt, key_authorization

RECORD = f"_acme-challenge.{NAME}"
EXPECTED = expected_txt(TOKEN, THUMBPRINT)


def dns_task(name: str = NAME, *, wildcard: bool = False):  # type: ignore[no-untyped-def]
    return make_task(name, "dns-01", wildcard=wildcard)


@pytest.mark.parametrize("wildcard", [False, True])
async def test_the_digest_in_a_txt_record_proves_control(
    lab: Lab, dns_server: DnsServer, wildcard: bool
) -> None:
    dns_server.add(RECORD, "TXT", EXPECTED)

    verdict = await lab.validate(dns_task(wildcard=wildcard))

    assert verdict.is_valid, verdict.problem
    assert dns_server.names_asked("TXT") == [RECORD]
    assert lab.dialled() == []


async def test_one_of_a_hundred_records_is_enough(lab: Lab, dns_server: DnsServer) -> None:
    dns_server.add(RECORD, "TXT", *(f"value{number}" for number in range(99)), EXPECTED)

    assert (await lab.validate(dns_task())).is_valid


async def test_a_record_of_two_strings_is_joined(lab: Lab, dns_server: DnsServer) -> None:
    dns_server.add(RECORD, "TXT", f'"{EXPECTED[:20]}" "{EXPECTED[20:]}"')

    assert (await lab.validate(dns_task())).is_valid


async def test_an_alias_is_followed(lab: Lab, dns_server: DnsServer) -> None:
    dns_server.add(RECORD, "CNAME", "challenges.example.test")
    dns_server.add("challenges.example.test", "TXT", EXPECTED)

    assert (await lab.validate(dns_task())).is_valid


async def test_a_wildcard_record_matches(lab: Lab, dns_server: DnsServer) -> None:
    dns_server.add("*.www.example.test", "TXT", EXPECTED)

    assert (await lab.validate(dns_task())).is_valid


WRONG = {
    "quotes": rf'"\"{EXPECTED}\""',
    "a trailing space": f'"{EXPECTED} "',
    "a leading space": f'" {EXPECTED}"',
    "padding": f"{EXPECTED}=",
    "other case": EXPECTED.swapcase(),
    "the key authorization": key_authorization(TOKEN, THUMBPRINT),
    "another account's": expected_txt(TOKEN, bytes(32)),
    "another token's": expected_txt("x" * 43, THUMBPRINT),
    "a part": EXPECTED[:-1],
    "more": EXPECTED + "x",
    "nothing": '""',
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
async def test_another_value_proves_nothing(lab: Lab, dns_server: DnsServer, text: str) -> None:
    dns_server.add(RECORD, "TXT", text)

    problem = await lab.failure(dns_task())

    assert (problem.kind, problem.cause) == (ErrorKind.INCORRECT_RESPONSE, "txt_differs")
    assert EXPECTED in problem.detail


@pytest.mark.parametrize("name", [NAME, "example.test", f"_acme-challenge.x.{NAME}"])
async def test_the_value_at_another_name_proves_nothing(
    lab: Lab, dns_server: DnsServer, name: str
) -> None:
    dns_server.add(name, "TXT", EXPECTED)

    problem = await lab.failure(dns_task())

    assert problem.cause == "txt_name_missing"


async def test_a_record_of_another_owner_proves_nothing(lab: Lab, dns_server: DnsServer) -> None:
    dns_server.script(RECORD, "TXT", records(f"other.test. TXT {EXPECTED}"))

    problem = await lab.failure(dns_task())

    assert (problem.kind, problem.cause) == (ErrorKind.INCORRECT_RESPONSE, "txt_missing")


async def test_foreign_text_is_quoted_briefly_and_escaped(lab: Lab, dns_server: DnsServer) -> None:
    dns_server.add(RECORD, "TXT", r'"\027[2J\013\010\255<b>' + "x" * 200 + '"')

    problem = await lab.failure(dns_task())

    assert r'"\x1b[2J\x0d\x0a\xff<b>xxx' in problem.detail
    assert problem.detail.isprintable()
    assert len(problem.detail) < 500


FAILURES: dict[str, tuple[Handler, ErrorKind, str]] = {
    "NXDOMAIN": (failing("NXDOMAIN"), ErrorKind.DNS, "txt_name_missing"),
    "no records": (records(), ErrorKind.INCORRECT_RESPONSE, "txt_missing"),
    "SERVFAIL": (failing("SERVFAIL"), ErrorKind.DNS, "dns_server_failure"),
    "REFUSED": (failing("REFUSED"), ErrorKind.DNS, "dns_refused"),
    "silence": (silent, ErrorKind.DNS, "dns_timeout"),
    "a loop": (records(f"{RECORD}. CNAME {RECORD}."), ErrorKind.DNS, "dns_chain_too_long"),
    "damage": (lambda _: [b"junk"], ErrorKind.DNS, "dns_timeout"),
}


@pytest.mark.parametrize(("handler", "kind", "cause"), FAILURES.values(), ids=FAILURES)
async def test_lookups_without_an_answer_have_their_causes(
    lab: Lab, dns_server: DnsServer, handler: Handler, kind: ErrorKind, cause: str
) -> None:
    lab.dns_timeout = SHORT
    dns_server.script(RECORD, "TXT", handler)

    problem = await lab.failure(dns_task())

    assert (problem.kind, problem.cause) == (kind, cause)


async def test_a_server_failure_is_tried_again(lab: Lab, dns_server: DnsServer) -> None:
    lab.attempts = 2
    good = records(f"{RECORD}. TXT {EXPECTED}")
    dns_server.script(RECORD, "TXT", in_turn(failing("SERVFAIL"), good))

    verdict = await lab.validate(dns_task())

    assert verdict.is_valid
    assert len(verdict.evidence.facts["attempts"]) == 2


@pytest.mark.parametrize("handler", [failing("NXDOMAIN"), records(f"{RECORD}. TXT other")])
async def test_a_definite_failure_is_told_at_once(
    lab: Lab, dns_server: DnsServer, handler: Handler
) -> None:
    lab.attempts = 3
    dns_server.script(RECORD, "TXT", handler)

    await lab.failure(dns_task())

    assert len(dns_server.asked) == 1


async def test_the_deadline_names_dns_when_dns_was_waited_for(
    lab: Lab, dns_server: DnsServer
) -> None:
    lab.deadline = SHORT
    dns_server.script(RECORD, "TXT", silent)

    problem = await lab.failure(dns_task())

    assert (problem.kind, problem.cause) == (ErrorKind.DNS, "deadline_dns")


async def test_a_name_too_long_for_the_label_is_no_defect(lab: Lab) -> None:
    name = ".".join(["x" * 60] * 4) + ".test"

    problem = await lab.failure(dns_task(name))

    assert (problem.kind, problem.cause) == (ErrorKind.DNS, "dns_name_unusable")


async def test_an_address_cannot_be_proven_by_dns(lab: Lab, dns_server: DnsServer) -> None:
    problem = await lab.failure(dns_task("ip:127.0.0.2"))

    assert problem.cause == "identifier_unsuited"
    assert dns_server.asked == []
