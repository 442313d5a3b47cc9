"""What sets of CAA records permit: RFC 8659, RFC 8657, and the cases that CAs got wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from validators import causes
from validators.caa import CaaDecision, CaaRequest, ancestors, evaluate
from validators.caarecords import CaaRecord
from validators.causes import Cause

ACCOUNT = "https://acme.example/acme/account/1"
REQUEST = CaaRequest(
    identities=("ca.example", "second.example"),
    is_wildcard=False,
    account=ACCOUNT,
    method="http-01",
)
WILDCARD = replace(REQUEST, is_wildcard=True, method="dns-01")
OURS = 'issue "ca.example"'
OTHERS = 'issue "other.example"'


def record(text: str) -> CaaRecord:
    """As in a zone, ``128 issue "ca.example"``; the flags may be left out."""
    head, _, value = text.partition(' "')
    flags, _, tag = head.rpartition(" ")
    return CaaRecord(int(flags or 0), tag.lower(), value.removesuffix('"').encode("latin-1"))


def cause_of(*texts: str, request: CaaRequest = REQUEST) -> Cause | None:
    return evaluate([record(text) for text in texts], request).cause


PERMITTED: dict[str, tuple[str, ...]] = {
    "no records": (),
    "our name": (OURS,),
    "our second name": ('issue "second.example"',),
    "our name in capitals": ('issue "CA.EXAMPLE"',),
    "a tag in capitals": ('ISSUE "ca.example"',),
    "our name with blanks": ('issue "  ca.example  "',),
    "a critical issue that names us": ('128 issue "ca.example"',),
    "one of several": (OTHERS, OURS, 'issue ";"'),
    "nobody and us": ('issue ";"', OURS),
    "iodef only": ('iodef "mailto:a@example.test"',),
    "a critical iodef": ('128 iodef "mailto:a@example.test"',),
    "an iodef that is no URL": ('iodef "%%%"',),
    "contacts only": ('contactemail "a@example.test"', 'contactphone "+1"'),
    "an unknown property": ('tbs "unknown"',),
    "an unknown property with reserved flags": ('64 tbs "unknown"', '2 tbs "unknown"'),
    "an unknown property beside us": ('tbs "unknown"', OURS),
    "critical properties of other kinds": ('128 issuemail ";"', '128 issuevmc ";"'),
    "issuewild alone": ('issuewild ";"',),
    "issuewild of another": ('issuewild "other.example"',),
    "an unknown parameter": ('issue "ca.example; policy=ev"',),
    "our account": (f'issue "ca.example; accounturi={ACCOUNT}"',),
    "a parameter in capitals": (f'issue "ca.example; AccountURI={ACCOUNT}"',),
    "our method": ('issue "ca.example; validationmethods=http-01"',),
    "our method among others": ('issue "ca.example; validationmethods=dns-01,http-01,ca-x"',),
    "both parameters": (f'issue "ca.example; validationmethods=http-01; accounturi={ACCOUNT}"',),
    "another account, and any": ('issue "ca.example; accounturi=https://x/1"', OURS),
    "another method, and ours": (
        'issue "ca.example; validationmethods=dns-01"',
        'issue "ca.example; validationmethods=http-01"',
    ),
}


@pytest.mark.parametrize("texts", PERMITTED.values(), ids=PERMITTED)
def test_these_sets_permit(texts: tuple[str, ...]) -> None:
    assert cause_of(*texts) is None


FORBIDDEN: dict[str, tuple[Cause, tuple[str, ...]]] = {
    "nobody": (causes.CAA_FORBIDDEN, ('issue ";"',)),
    "an empty value": (causes.CAA_FORBIDDEN, ('issue ""',)),
    "nobody, with a parameter": (causes.CAA_FORBIDDEN, ('issue "; a=b"',)),
    "another CA": (causes.CAA_FORBIDDEN, (OTHERS,)),
    "a name below ours": (causes.CAA_FORBIDDEN, ('issue "sub.ca.example"',)),
    "a name above ours": (causes.CAA_FORBIDDEN, ('issue "example"',)),
    "a name that begins like ours": (causes.CAA_FORBIDDEN, ('issue "ca.example.org"',)),
    "our name with a dot": (causes.CAA_FORBIDDEN, ('issue "ca.example."',)),
    "a malformed value": (causes.CAA_FORBIDDEN, ('issue "%%%%%"',)),
    "our name in malformed surroundings": (causes.CAA_FORBIDDEN, ('issue "ca.example %"',)),
    "a malformed parameter": (causes.CAA_FORBIDDEN, ('issue "ca.example; x"',)),
    "a colon for a semicolon": (
        causes.CAA_FORBIDDEN,
        (f'issue "ca.example: accounturi={ACCOUNT}"',),
    ),
    "an unknown critical property": (causes.CAA_CRITICAL, ('128 tbs "unknown"',)),
    "an unknown critical property, flag at the other end": (
        causes.CAA_CRITICAL,
        ('1 tbs "unknown"',),
    ),
    "an unknown critical property with more flags": (causes.CAA_CRITICAL, ('130 tbs "x"',)),
    "an unknown critical property beside us": (causes.CAA_CRITICAL, (OURS, '128 tbs "x"')),
    "a critical property with a misspelled tag": (
        causes.CAA_CRITICAL,
        (OURS, '128 issue1 "ca.example"'),
    ),
    "another account": (causes.CAA_ACCOUNT, ('issue "ca.example; accounturi=https://x/1"',)),
    "our account in other letters": (
        causes.CAA_ACCOUNT,
        (f'issue "ca.example; accounturi={ACCOUNT.upper()}"',),
    ),
    "our account and more": (
        causes.CAA_ACCOUNT,
        (f'issue "ca.example; accounturi={ACCOUNT}0"',),
    ),
    "an empty account": (causes.CAA_ACCOUNT, ('issue "ca.example; accounturi="',)),
    "our account twice": (
        causes.CAA_ACCOUNT,
        (f'issue "ca.example; accounturi={ACCOUNT}; accounturi={ACCOUNT}"',),
    ),
    "our account at another CA": (
        causes.CAA_FORBIDDEN,
        (f'issue "other.example; accounturi={ACCOUNT}"',),
    ),
    "another method": (causes.CAA_METHOD, ('issue "ca.example; validationmethods=dns-01"',)),
    "no method": (causes.CAA_METHOD, ('issue "ca.example; validationmethods="',)),
    "a comma": (causes.CAA_METHOD, ('issue "ca.example; validationmethods=,"',)),
    "our method and a comma": (
        causes.CAA_METHOD,
        ('issue "ca.example; validationmethods=http-01,"',),
    ),
    "our method and a malformed one": (
        causes.CAA_METHOD,
        ('issue "ca.example; validationmethods=http-01,dns_01"',),
    ),
    "methods twice": (
        causes.CAA_METHOD,
        ('issue "ca.example; validationmethods=http-01; validationmethods=http-01"',),
    ),
    "a blank in a method": (
        causes.CAA_FORBIDDEN,
        ('issue "ca.example; validationmethods=http 01"',),
    ),
    "our account and another method": (
        causes.CAA_METHOD,
        (f'issue "ca.example; accounturi={ACCOUNT}; validationmethods=dns-01"',),
    ),
    "our method and another account": (
        causes.CAA_ACCOUNT,
        ('issue "ca.example; accounturi=https://x/1; validationmethods=http-01"',),
    ),
}


@pytest.mark.parametrize(("cause", "texts"), FORBIDDEN.values(), ids=FORBIDDEN)
def test_these_sets_forbid(cause: Cause, texts: tuple[str, ...]) -> None:
    assert cause_of(*texts) is cause


WILD: dict[str, tuple[Cause | None, tuple[str, ...]]] = {
    "no records": (None, ()),
    "issue names us": (None, (OURS,)),
    "issue names nobody": (causes.CAA_FORBIDDEN, ('issue ";"',)),
    "issue names another": (causes.CAA_FORBIDDEN, (OTHERS,)),
    "issuewild names us": (None, ('issuewild "ca.example"',)),
    "issuewild names us, issue another": (None, (OTHERS, 'issuewild "ca.example"')),
    "issuewild names us, issue nobody": (None, ('issue ";"', 'issuewild "ca.example"')),
    "issuewild names nobody": (causes.CAA_FORBIDDEN, ('issuewild ";"',)),
    "issuewild names nobody, issue us": (causes.CAA_FORBIDDEN, (OURS, 'issuewild ";"')),
    "issuewild names another, issue us": (
        causes.CAA_FORBIDDEN,
        (OURS, 'issuewild "other.example"'),
    ),
    "a malformed issuewild, issue us": (causes.CAA_FORBIDDEN, (OURS, 'issuewild "%%%"')),
    "two issuewild": (None, ('issuewild "other.example"', 'issuewild "ca.example"')),
    "iodef only": (None, ('iodef "mailto:a@example.test"',)),
    "issuewild for another method": (
        causes.CAA_METHOD,
        ('issuewild "ca.example; validationmethods=http-01"',),
    ),
    "issuewild for another account": (
        causes.CAA_ACCOUNT,
        (OURS, 'issuewild "ca.example; accounturi=https://x/1"'),
    ),
}


@pytest.mark.parametrize(("cause", "texts"), WILD.values(), ids=WILD)
def test_wildcards_go_by_issuewild_if_there_is_any(
    cause: Cause | None, texts: tuple[str, ...]
) -> None:
    assert cause_of(*texts, request=WILDCARD) is cause


def test_a_plain_name_never_goes_by_issuewild() -> None:
    assert cause_of('issue ";"', 'issuewild "ca.example"') is causes.CAA_FORBIDDEN
    assert cause_of(OURS, 'issuewild ";"') is None


def test_a_ca_without_a_name_is_forbidden_by_every_issue_record() -> None:
    nameless = replace(REQUEST, identities=())

    assert cause_of(request=nameless) is None
    assert cause_of('issue ";"', request=nameless) is causes.CAA_FORBIDDEN
    assert cause_of(OURS, request=nameless) is causes.CAA_FORBIDDEN


def test_the_decision_names_the_record_that_comes_closest() -> None:
    near = record('issue "ca.example; validationmethods=dns-01"')

    decision = evaluate([record(OTHERS), near, record('issue ";"')], REQUEST)

    assert decision == CaaDecision(causes.CAA_METHOD, near)


def test_the_way_up_ends_below_the_root() -> None:
    assert list(ancestors("a.b.example")) == ["a.b.example", "b.example", "example"]
    assert list(ancestors("localhost")) == ["localhost"]
