"""Where CAA records are looked for, and what failures on the way amount to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import dns.rrset
import pytest

from policy.model.errors import ErrorKind
from policy.model.ids import AccountId
from support.dns import (
    DnsServer,
    Handler,
    Question,
    failing,
    records,
    reply,
    silent,
    truncated,
    wire,
)
from support.validation import CAA_IDENTITY, NAME, SHORT, Lab, account_url
from validators.caa import CaaOutcome, CaaResult
from validators.trace import Trace

ACCOUNT = AccountId(UUID(int=1))
NOBODY = '0 issue ";"'
OURS = f'0 issue "{CAA_IDENTITY}"'


async def check(lab: Lab, name: str = NAME, *, is_wildcard: bool = False) -> CaaOutcome:
    return await lab.caa_checker().check(
        name, is_wildcard=is_wildcard, account_id=ACCOUNT, method="dns-01", trace=Trace()
    )


async def result(lab: Lab, name: str = NAME) -> str:
    return (await check(lab, name)).result


async def test_without_records_every_name_up_to_the_top_is_asked_for(
    lab: Lab, dns_server: DnsServer
) -> None:
    outcome = await check(lab)

    assert outcome.failure is None
    assert outcome.facts == {"name": NAME, "wildcard": False, "result": "permitted"}
    assert sorted(dns_server.names_asked("CAA")) == sorted(["test", "example.test", NAME])


async def test_the_records_of_a_parent_count(lab: Lab, dns_server: DnsServer) -> None:
    dns_server.add("example.test", "CAA", NOBODY)

    outcome = await check(lab)

    assert outcome.result is CaaResult.FORBIDDEN
    assert outcome.facts["found_at"] == "example.test"


async def test_the_records_of_a_top_level_domain_count(lab: Lab, dns_server: DnsServer) -> None:
    dns_server.add("test", "CAA", NOBODY)

    assert await result(lab) == "forbidden"


async def test_the_closest_records_count_alone(lab: Lab, dns_server: DnsServer) -> None:
    dns_server.add(NAME, "CAA", OURS)
    dns_server.add("example.test", "CAA", NOBODY, '128 unknown "x"')

    assert await result(lab) == "permitted"


async def test_records_without_issue_end_the_search_as_well(
    lab: Lab, dns_server: DnsServer
) -> None:
    dns_server.add(NAME, "CAA", '0 iodef "mailto:a@example.test"')
    dns_server.add("example.test", "CAA", NOBODY)

    assert await result(lab) == "permitted"


async def test_a_name_that_does_not_exist_goes_by_its_parent(
    lab: Lab, dns_server: DnsServer
) -> None:
    dns_server.script(NAME, "CAA", failing("NXDOMAIN"))
    dns_server.add("example.test", "CAA", OURS)

    assert await result(lab) == "permitted"


async def test_the_records_of_an_alias_target_are_those_of_the_name(
    lab: Lab, dns_server: DnsServer
) -> None:
    dns_server.add("alias.example.test", "CNAME", "target.elsewhere.test")
    dns_server.add("target.elsewhere.test", "CAA", NOBODY)

    assert await result(lab, "alias.example.test") == "forbidden"


async def test_the_parents_of_an_alias_target_are_not_looked_at(
    lab: Lab, dns_server: DnsServer
) -> None:
    """RFC 8659, section 3, where RFC 6844 climbed from the target as well."""
    dns_server.add("alias.example.test", "CNAME", "target.elsewhere.test")
    dns_server.add("target.elsewhere.test", "A", "192.0.2.1")
    dns_server.add("elsewhere.test", "CAA", NOBODY)
    dns_server.add("example.test", "CAA", OURS)

    assert await result(lab, "alias.example.test") == "permitted"
    assert "elsewhere.test" not in dns_server.names_asked("CAA")


async def test_an_alias_of_a_parent_is_followed(lab: Lab, dns_server: DnsServer) -> None:
    dns_server.script(NAME, "CAA", failing("NXDOMAIN"))
    dns_server.add("example.test", "CNAME", "target.elsewhere.test")
    dns_server.add("target.elsewhere.test", "CAA", NOBODY)

    assert await result(lab) == "forbidden"


async def test_an_alias_that_the_resolver_left_open_is_followed(
    lab: Lab, dns_server: DnsServer
) -> None:
    dns_server.script(NAME, "CAA", records(f"{NAME}. CNAME one.test."))
    dns_server.script("one.test", "CAA", records(f"one.test. CAA {NOBODY}"))

    assert await result(lab) == "forbidden"


async def test_an_alias_loop_is_a_failure(lab: Lab, dns_server: DnsServer) -> None:
    dns_server.script(NAME, "CAA", records(f"{NAME}. CNAME {NAME}."))

    outcome = await check(lab)

    assert (outcome.result, outcome.facts["error"]) == ("failed", "dns_chain_too_long")


FAILURES: dict[str, Handler] = {
    "SERVFAIL": failing("SERVFAIL"),
    "REFUSED": failing("REFUSED"),
    "NOTIMP": failing("NOTIMP"),
    "FORMERR": failing("FORMERR"),
    "silence": silent,
    "a record without a tag": truncated(lambda question: [_untagged(question)]),
    "five hundred records": truncated(
        lambda question: records(
            *[f'{question.text}. CAA 0 issue "{n}.example"' for n in range(500)]
        )(question)
    ),
}


def _untagged(question: Question) -> bytes:
    message = reply(question)
    generic = dns.rrset.from_text(question.name, 60, "IN", "TYPE65280", r"\# 2 0000")
    message.answer.append(generic)
    return wire(message).replace(b"\xff\x00\x00\x01", b"\x01\x01\x00\x01")


@pytest.mark.parametrize("where", [NAME, "example.test", "test"])
@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
async def test_a_failure_is_no_permission_at_any_height(
    lab: Lab, dns_server: DnsServer, failure: Handler, where: str
) -> None:
    if failure is silent:
        # Long enough for the answers to the other names.
        lab.dns_timeout = timedelta(seconds=1)
    dns_server.script(where, "CAA", failure)

    outcome = await check(lab)

    assert outcome.result is CaaResult.FAILED
    assert outcome.failure is not None
    assert outcome.failure.as_problem().kind is ErrorKind.DNS
    assert outcome.facts["failed_at"] == where


@pytest.mark.parametrize("texts", [OURS, NOBODY])
async def test_a_failure_above_the_records_does_not_matter(
    lab: Lab, dns_server: DnsServer, texts: str
) -> None:
    dns_server.add(NAME, "CAA", texts)
    dns_server.script("example.test", "CAA", failing("SERVFAIL"))

    assert await result(lab) == ("permitted" if texts == OURS else "forbidden")


async def test_a_failure_below_the_records_does_matter(lab: Lab, dns_server: DnsServer) -> None:
    dns_server.script(NAME, "CAA", failing("SERVFAIL"))
    dns_server.add("example.test", "CAA", OURS)

    assert await result(lab) == "failed"


async def test_a_check_has_a_lifetime(lab: Lab, dns_server: DnsServer) -> None:
    lab.caa_lifetime = SHORT
    dns_server.script("example.test", "CAA", silent)

    outcome = await check(lab)

    assert (outcome.result, outcome.facts["error"]) == ("failed", "dns_timeout")


async def test_a_name_of_many_labels_is_asked_for_group_by_group(
    lab: Lab, dns_server: DnsServer
) -> None:
    name = ".".join(["x"] * 120)
    dns_server.add(".".join(["x"] * 117), "CAA", NOBODY)

    assert await result(lab, name) == "forbidden"
    assert len(dns_server.names_asked("CAA")) == 4


async def test_the_top_of_a_name_of_many_labels_is_reached(lab: Lab, dns_server: DnsServer) -> None:
    dns_server.add("top", "CAA", NOBODY)

    assert await result(lab, ".".join([*["x"] * 119, "top"])) == "forbidden"
    assert len(dns_server.names_asked("CAA")) == 120


async def test_the_least_time_to_live_is_noted(lab: Lab, dns_server: DnsServer) -> None:
    def lasting(question: Question) -> Sequence[bytes]:
        message = reply(question)
        for ttl, text in ((86400, OURS), (7200, NOBODY)):
            message.answer.append(dns.rrset.from_text(question.name, ttl, "IN", "CAA", text))
        return [wire(message)]

    dns_server.script(NAME, "CAA", lasting)

    assert (await check(lab)).facts["ttl"] == 7200


async def test_names_of_this_machine_are_not_asked_for(lab: Lab, dns_server: DnsServer) -> None:
    lab.localhost_names = True

    assert await result(lab, "host.localhost") == "permitted"
    assert dns_server.asked == []


@pytest.mark.parametrize(
    ("texts", "is_wildcard", "cause", "says"),
    [
        (NOBODY, False, "caa_forbidden", f'. CAA 0 issue "{CAA_IDENTITY}"'),
        (NOBODY, True, "caa_forbidden", f'. CAA 0 issuewild "{CAA_IDENTITY}"'),
        ('128 tbs "x"', False, "caa_critical", "Remove the record"),
        (
            f'0 issue "{CAA_IDENTITY}; accounturi=https://x/1"',
            False,
            "caa_account",
            f'"{CAA_IDENTITY}; accounturi={account_url(ACCOUNT)}"',
        ),
        (
            f'0 issue "{CAA_IDENTITY}; validationmethods=http-01"',
            False,
            "caa_method",
            f'"{CAA_IDENTITY}; validationmethods=dns-01"',
        ),
    ],
)
async def test_a_refusal_shows_the_record_and_what_to_publish(
    lab: Lab, dns_server: DnsServer, texts: str, is_wildcard: bool, cause: str, says: str
) -> None:
    dns_server.add("example.test", "CAA", texts)

    outcome = await check(lab, is_wildcard=is_wildcard)

    assert outcome.failure is not None
    problem = outcome.failure.as_problem()
    assert (problem.kind, problem.cause) == (ErrorKind.CAA, cause)
    assert f"example.test. CAA {texts}" in problem.detail
    assert says in problem.detail


async def test_a_hostile_record_is_shown_escaped_and_cut(lab: Lab, dns_server: DnsServer) -> None:
    dns_server.add(NAME, "CAA", r'0 issue "\027[31m' + "x" * 5000 + '"')

    outcome = await check(lab)

    assert outcome.failure is not None
    detail = outcome.failure.as_problem().detail
    assert detail.isprintable()
    assert len(detail) < 700


async def test_what_is_found_by_way_of_an_alias_holds_no_longer_than_the_alias(
    lab: Lab, dns_server: DnsServer
) -> None:
    def aliased(question: Question) -> list[bytes]:
        message = reply(question)
        owner, target = question.name, "shop.provider.test."
        message.answer.append(dns.rrset.from_text(owner, 60, "IN", "CNAME", target))
        message.answer.append(dns.rrset.from_text(target, 86_400, "IN", "CAA", OURS))
        return [wire(message)]

    dns_server.script("www.example.test", "CAA", aliased)

    assert (await check(lab)).facts["ttl"] == 60
