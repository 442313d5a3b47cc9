"""Contacts of accounts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.contacts import MAX_CONTACTS, check_contacts
from policy.model.errors import ErrorKind, ServerError

GOOD = "mailto:admin@example.org"
INVALID = [
    "",
    "admin@example.org",
    "mailto:",
    "mailto:admin",
    "mailto:@example.org",
    "mailto:admin@",
    "mailto:a@x.org,b@x.org",
    "mailto:a@x.org?subject=x",
    "mailto:a@x.org#f",
    "mailto:a%40x.org",
    "mailto:a\x00@x.org",
    "mailto:a@x.org\n",
    "mailto:a@x.org\r\nBcc: b@x.org",
    "mailto:a b@x.org",
    'mailto:"a b"@x.org',
    "mailto:a@[192.0.2.1]",
    "mailto:Admin <a@x.org>",
    "mailto:ä@x.org",
    "mailto:a@bücher.example",
    "mailto:a@-x.org",
    "mailto:a@x..org",
    "mailto:.a@x.org",
    "mailto:a.@x.org",
    "mailto:a..b@x.org",
    f"mailto:{'a' * 65}@x.org",
    f"mailto:a@{'x' * 64}.org",
    f"mailto:a@{'x.' * 160}org",
    "mailto:\ud800@x.org",
]


@pytest.mark.parametrize(
    "contact",
    [GOOD, "MAILTO:admin@example.org", "mailto:a+b.c@sub.example.org", "mailto:a@localhost"],
)
def test_plain_address_is_kept_as_it_is(contact: str) -> None:
    assert check_contacts([contact]) == (contact,)


def test_no_contacts_are_fine_and_too_many_are_not() -> None:
    assert check_contacts([]) == ()
    assert check_contacts([GOOD] * MAX_CONTACTS) == (GOOD,) * MAX_CONTACTS
    with pytest.raises(ServerError) as refusal:
        check_contacts([GOOD] * (MAX_CONTACTS + 1))

    assert refusal.value.kind is ErrorKind.INVALID_CONTACT


@pytest.mark.parametrize("contact", INVALID, ids=ascii)
def test_what_is_no_single_plain_address_is_invalid(contact: str) -> None:
    with pytest.raises(ServerError) as refusal:
        check_contacts([contact])

    assert refusal.value.kind is ErrorKind.INVALID_CONTACT


@pytest.mark.parametrize("contact", ["tel:+1", "https://example.org", "x:", "javascript:alert(1)"])
def test_other_scheme_is_unsupported(contact: str) -> None:
    with pytest.raises(ServerError) as refusal:
        check_contacts([contact])

    assert refusal.value.kind is ErrorKind.UNSUPPORTED_CONTACT


def test_all_refused_contacts_are_told_at_once() -> None:
    with pytest.raises(ServerError) as several:
        check_contacts(["mailto:a", GOOD, "mailto:b"])
    with pytest.raises(ServerError) as different:
        check_contacts([GOOD, "tel:+1", "mailto:a"])

    assert several.value.kind is ErrorKind.INVALID_CONTACT
    assert len(several.value.subproblems) == 2
    assert different.value.kind is ErrorKind.COMPOUND
    assert [problem.kind for problem in different.value.subproblems] == [
        ErrorKind.UNSUPPORTED_CONTACT,
        ErrorKind.INVALID_CONTACT,
    ]


@given(contact=st.text() | st.text().map(lambda rest: f"mailto:{rest}"))
def test_any_text_is_a_contact_or_a_refusal(contact: str) -> None:
    try:
        kept = check_contacts([contact])
    except ServerError:
        return

    assert kept == (contact,)
    assert contact.isascii()
    assert contact.isprintable()
