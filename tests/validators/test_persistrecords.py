"""Which TXT records of dns-persist-01 let which account prove what, as a table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validators.persistrecords import PersistRequest, judge

ACCOUNT = "https://acme.example/acme/account/1"
URI = f"accounturi={ACCOUNT}"
# The moment of the draft's example.
UNTIL = datetime(2024, 7, 26, tzinfo=UTC)
NOW = UNTIL - timedelta(days=1)


def request(*, needs_wildcard: bool = False, now: datetime = NOW) -> PersistRequest:
    return PersistRequest(
        issuers=("authority.example", "ca.example.net"),
        account=ACCOUNT,
        needs_wildcard=needs_wildcard,
        now=now,
    )


def code(value: str, *, needs_wildcard: bool = False, now: datetime = NOW) -> str | None:
    """The code of the objection to a record, None if it will do."""
    cause = judge(value.encode("latin-1"), request(needs_wildcard=needs_wildcard, now=now))
    return None if cause is None else cause.code


GOOD = {
    "the draft's": f"authority.example; {URI}",
    "another name of ours": f"ca.example.net; {URI}",
    "other case of the issuer": f"AUTHORITY.Example; {URI}",
    "spaces and tabs": f"  authority.example \t;\t {URI}  ",
    "no space at all": f"authority.example;{URI}",
    "other case of the tag": f"authority.example; AccountURI={ACCOUNT}",
    "spaces around the sign": f"authority.example; accounturi = {ACCOUNT}",
    "an unknown parameter": f"authority.example; {URI}; future=1",
    "an unknown parameter twice": f"authority.example; a=1; {URI}; a=2",
    "an unknown policy": f"authority.example; {URI}; policy=strict",
    "an empty policy": f"authority.example; {URI}; policy=",
    "a wider policy than needed": f"authority.example; {URI}; policy=wildcard",
    "another order": f"authority.example; persistUntil=1721952000; {URI}",
}


@pytest.mark.parametrize("value", GOOD.values(), ids=GOOD)
def test_a_record_for_this_ca_and_account_proves_its_name(value: str) -> None:
    assert code(value) is None


BAD = {
    "nothing": ("", "persist_issuer"),
    "only a semicolon": (";", "persist_issuer"),
    "no issuer": (f"; {URI}", "persist_issuer"),
    "another issuer": (f"other.example; {URI}", "persist_issuer"),
    "a name below ours": (f"www.authority.example; {URI}", "persist_issuer"),
    "a name above ours": (f"example; {URI}", "persist_issuer"),
    "the start of ours": (f"authority.exampl; {URI}", "persist_issuer"),
    "our name as a parameter": (f"issuer=authority.example; {URI}", "persist_issuer"),
    "quotes": (f'"authority.example; {URI}"', "persist_issuer"),
    "bytes": (f"authority.ex\xe4mple; {URI}", "persist_issuer"),
    "a digest of dns-01": ("LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0", "persist_issuer"),
    "a dot at the end of the issuer": (f"authority.example.; {URI}", "persist_malformed"),
    "the issuer alone": ("authority.example", "persist_malformed"),
    "no account": ("authority.example; policy=wildcard", "persist_malformed"),
    "the account twice": (f"authority.example; {URI}; {URI}", "persist_malformed"),
    "two accounts": (f"authority.example; {URI}; accounturi=https://x/", "persist_malformed"),
    "a tag twice in two cases": (f"authority.example; {URI}; ACCOUNTURI=x", "persist_malformed"),
    "the policy twice": (
        f"authority.example; {URI}; policy=a; policy=wildcard",
        "persist_malformed",
    ),
    "a semicolon at the end": (f"authority.example; {URI};", "persist_malformed"),
    "no value": (f"authority.example; {URI}; policy", "persist_malformed"),
    "commas": (f"authority.example, {URI}", "persist_issuer"),
    "a space in a value": (f"authority.example; {URI} x", "persist_malformed"),
    "a control character": (f"authority.example; {URI}\x00", "persist_malformed"),
    "another account": ("authority.example; accounturi=https://x/2", "persist_account"),
    "an empty account": ("authority.example; accounturi=", "persist_account"),
    "other case of the account": (f"authority.example; {URI.upper()}", "persist_account"),
    "a slash more": (f"authority.example; {URI}/", "persist_account"),
    "a longer account": (f"authority.example; {URI}2", "persist_account"),
    "a date": (f"authority.example; {URI}; persistUntil=2024-07-26", "persist_malformed"),
    "no time": (f"authority.example; {URI}; persistUntil=", "persist_malformed"),
    "a sign": (f"authority.example; {URI}; persistUntil=+1721952000", "persist_malformed"),
    "a negative time": (f"authority.example; {URI}; persistUntil=-1", "persist_malformed"),
    "a fraction": (f"authority.example; {URI}; persistUntil=1721952000.5", "persist_malformed"),
    "hexadecimal": (f"authority.example; {URI}; persistUntil=0x66A2E580", "persist_malformed"),
    "underscores": (f"authority.example; {URI}; persistUntil=1_721_952_000", "persist_malformed"),
    "5000 digits": (f"authority.example; {URI}; persistUntil={'9' * 5000}", "persist_malformed"),
    "two times": (
        f"authority.example; {URI}; persistUntil=1; persistUntil=1721952000",
        "persist_malformed",
    ),
    "a time long ago": (f"authority.example; {URI}; persistUntil=0", "persist_expired"),
    "a time long ago in other case": (
        f"authority.example; {URI}; PERSISTUNTIL=0",
        "persist_expired",
    ),
}


@pytest.mark.parametrize(("value", "expected"), BAD.values(), ids=BAD)
def test_other_records_have_their_objection(value: str, expected: str) -> None:
    assert code(value) == expected


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (UNTIL - timedelta(seconds=1), None),
        (UNTIL, None),
        (UNTIL + timedelta(microseconds=1), "persist_expired"),
        (UNTIL + timedelta(days=365), "persist_expired"),
    ],
)
def test_a_record_counts_up_to_the_second_that_it_names(
    now: datetime, expected: str | None
) -> None:
    value = f"authority.example; {URI}; persistUntil=1721952000"

    assert code(value, now=now) == expected


def test_a_time_in_the_far_future_is_one() -> None:
    assert code(f"authority.example; {URI}; persistUntil={2**63 - 1}") is None


@pytest.mark.parametrize("policy", ["policy=wildcard", "POLICY=WildCard", "policy = wildcard"])
def test_the_policy_wildcard_covers_more_than_the_name(policy: str) -> None:
    assert code(f"authority.example; {URI}; {policy}", needs_wildcard=True) is None


@pytest.mark.parametrize(
    "rest", ["", "; policy=", "; policy=wildcards", "; policy=wildcard,x", "; wildcard=policy"]
)
def test_nothing_else_covers_more_than_the_name(rest: str) -> None:
    assert code(f"authority.example; {URI}{rest}", needs_wildcard=True) == "persist_policy"


def test_the_record_that_is_told_to_the_applicant_will_do() -> None:
    for needs_wildcard in (False, True):
        wanted = request(needs_wildcard=needs_wildcard).wanted

        assert code(wanted, needs_wildcard=needs_wildcard) is None


@given(st.binary(max_size=200))
def test_no_octets_break_the_reading_or_prove_anything(value: bytes) -> None:
    cause = judge(value, request())

    assert cause is not None


@given(st.text("aA;= \tw", max_size=30), st.sampled_from(["", "authority.example; "]))
def test_what_lacks_the_account_proves_nothing(rest: str, start: str) -> None:
    assert code(start + rest) is not None
