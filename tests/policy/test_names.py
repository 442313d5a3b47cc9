"""Names: what is certified, what is not, and that a client is told about all of it at once."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from policy.model.errors import ErrorKind, ServerError
from policy.model.identifiers import Identifier, IdentifierType, UnverifiedIdentifier
from policy.names import MAX_TOTAL_LENGTH, NameRules, check_identifiers, parse_identifier

DNS, IP = IdentifierType.DNS, IdentifierType.IP
LABEL_63 = "a" * 63
NAME_253 = ".".join((LABEL_63, LABEL_63, LABEL_63, "a" * 57, "org"))
WELL_FORMED = (
    "example.com",
    "www.example.com",
    "*.example.com",
    "a.b",
    "1.example.com",
    "4chan.org",
    "a-b--c.example.com",
    "demo.localhost",
    "0x7f.example.com",
    "xn--bcher-kva.de",
    "xn--80ak6aa92e.com",
    f"{LABEL_63}.example.com",
    NAME_253,
    "a.b.c.d.e.f.g.h.example.com",
    "*.a.b.c.d.e.f.g.h.example.com",
)
MALFORMED = {
    "": "1 to 63",
    ".": "dot at the end",
    ".com": "1 to 63",
    "example..com": "1 to 63",
    "example.com.": "dot at the end",
    "*.example.com.": "dot at the end",
    f"{LABEL_63}a.example.com": "1 to 63",
    f"a{NAME_253}": "more than 253",
    "a.b.c.d.e.f.g.h.i.example.com": "more than 10 labels",
    "a_b.example.com": "1 to 63",
    "_acme.example.com": "1 to 63",
    "-a.example.com": "1 to 63",
    "a-.example.com": "1 to 63",
    "a b.example.com": "1 to 63",
    " example.com": "1 to 63",
    "example.com\n": "1 to 63",
    "exam\tple.com": "1 to 63",
    "example.com\x00.evil.com": "1 to 63",
    "example.com/": "1 to 63",
    "https://example.com": "1 to 63",
    "user@example.com": "1 to 63",
    "example.com:443": "1 to 63",
    "*": "whole first label",
    "**": "whole first label",
    "*.": "1 to 63",
    "*.*": "whole first label",
    "*.*.com": "whole first label",
    "f*.example.com": "whole first label",
    "*f.example.com": "whole first label",
    "a.*.example.com": "whole first label",
    "zombo*com": "whole first label",
    "*.com": "at least two labels",
    "*.localhost": "at least two labels",
    "com": "single label",
    "localhost": "single label",
    "bücher.example": "A-labels",
    "ＥＸＡＭＰＬＥ.com": "A-labels",
    "example。com": "A-labels",
    "\u212a.example.com": "A-labels",
    "\ud800.example.com": "A-labels",
    "xn--a.com": "IDNA 2008",
    "xn--0.com": "IDNA 2008",
    "xn--.com": "1 to 63",
    "xn--zzzzzzzzzz99999.com": "IDNA 2008",
    "xn--109-3veba6djs1bfxlfmx6c9g.xn--f1awi.xn--p1ai": "IDNA 2008",
    "xn--ls8h.example.com": "IDNA 2008",
    "xn--example-.com": "1 to 63",
    "ab--cd.example.com": "reserved",
    "2130706433": "read as an address",
    "0x7f000001": "read as an address",
    "127.1": "read as an address",
    "0177.0.0.1": "read as an address",
    "127.0.0.1": "read as an address",
    "127.0.0.01": "read as an address",
    "1.2.3.4.5": "read as an address",
    "*.127.0.0.1": "read as an address",
    "example.1": "read as an address",
    "example.0xa": "read as an address",
    "example.0x": "read as an address",
    "fe80::1": "read as an address",
    "fe80::1%eth0": "read as an address",
    "::ffff:127.0.0.1": "read as an address",
    "[2001:db8::1]": "read as an address",
    "[::1]:443": "1 to 63",
}
# Where every label is looked at alone: whatever is refused in one is refused everywhere.
LABELS = st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True).filter(
    lambda label: label[2:4] != "--"
)
NAMES = st.lists(LABELS, min_size=2, max_size=6).map(".".join)


def _refusal(kind: str, value: str, **options: bool) -> ServerError:
    with pytest.raises(ServerError) as refusal:
        parse_identifier(kind, value, **options)
    return refusal.value


def _outcome(kind: str, value: str) -> Identifier | ServerError:
    try:
        return parse_identifier(kind, value, ip=True, single_label=True)
    except ServerError as refusal:
        return refusal


@pytest.mark.parametrize("name", WELL_FORMED)
def test_well_formed_name_is_taken_as_it_is(name: str) -> None:
    assert parse_identifier("dns", name) == Identifier(DNS, name)


@pytest.mark.parametrize("name", WELL_FORMED)
def test_name_in_upper_case_becomes_lower_case(name: str) -> None:
    assert parse_identifier("dns", name.upper()) == Identifier(DNS, name)


@pytest.mark.parametrize(("name", "reason"), MALFORMED.items(), ids=ascii)
def test_malformed_name_is_refused_with_its_reason(name: str, reason: str) -> None:
    refusal = _refusal("dns", name)

    assert refusal.kind is ErrorKind.MALFORMED
    assert reason in refusal.detail
    assert refusal.detail.replace("…", "").isascii()
    assert refusal.detail.isprintable()


@pytest.mark.parametrize("kind", ["DNS", "Dns", "dns ", "ip", "IP", "", "email", "dns\x00", "ｄns"])
def test_other_type_is_unsupported(kind: str) -> None:
    assert _refusal(kind, "example.com").kind is ErrorKind.UNSUPPORTED_IDENTIFIER


def test_single_label_is_taken_where_it_is_allowed() -> None:
    parsed = parse_identifier("dns", "Intranet", single_label=True)

    assert parsed == Identifier(DNS, "intranet")
    for name in ("*.intranet", "127", "0x7f", "*"):
        assert _refusal("dns", name, single_label=True).kind is ErrorKind.MALFORMED


@pytest.mark.parametrize(
    "address", ["192.0.2.1", "0.0.0.0", "2001:db8::1", "::1", "::", "2001:db8::1:0:0:1"]
)
def test_canonical_address_is_taken_where_addresses_are_allowed(address: str) -> None:
    assert parse_identifier("ip", address, ip=True) == Identifier(IP, address)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "127.0.0.01",
        "127.1",
        "2130706433",
        "0x7f000001",
        "１２７.0.0.1",
        "127.0.0.1 ",
        "127.0.0.1\n",
        "127.0.0.1/32",
        "2001:DB8::1",
        "2001:0db8::1",
        "2001:db8:0:0:0:0:0:1",
        "2001:db8::1:0:0:0:1",
        "2001:db8:0:1:1:1:1:1::",
        "[::1]",
        "fe80::1%eth0",
        "::ffff:1.2.3.4:5",
        "example.com",
    ],
)
def test_address_in_another_form_is_malformed(address: str) -> None:
    assert _refusal("ip", address, ip=True).kind is ErrorKind.MALFORMED


SERVED = st.sampled_from(
    ["a.example", "*.A.example", "xn--bcher-kva.example", "192.0.2.1", "2001:db8::1"]
)


@given(kind=st.sampled_from(["dns", "ip"]) | st.text(), value=SERVED | st.text())
@example(kind="dns", value="*.A.example")
def test_any_text_is_an_identifier_or_a_refusal(kind: str, value: str) -> None:
    outcome = _outcome(kind, value)

    if isinstance(outcome, Identifier):
        assert outcome.value == value.lower()
        assert _outcome(outcome.type, outcome.value) == outcome
    else:
        assert outcome.kind in {ErrorKind.MALFORMED, ErrorKind.UNSUPPORTED_IDENTIFIER}
        assert outcome.detail.replace("…", "").isascii()
        assert len(outcome.detail) < 1000


@given(label=st.from_regex(r"xn--[a-z0-9-]{1,30}", fullmatch=True))
def test_any_a_label_is_a_name_or_a_refusal(label: str) -> None:
    outcome = _outcome("dns", f"{label}.example")

    if isinstance(outcome, Identifier):
        assert outcome.value == f"{label}.example"
    else:
        assert outcome.kind is ErrorKind.MALFORMED


def test_refused_name_is_told_as_it_was_sent() -> None:
    for kind, value in (("dns", "A_b.example.com"), ("dns", "bücher.example"), ("email", "a@b.c")):
        assert _refusal(kind, value).identifier == UnverifiedIdentifier(kind, value)
    assert _refusal("dns", "a\x1b[2J.example.com").identifier is None
    assert _refusal("dns", "a" * 300).identifier is None
    assert _refusal("e\nmail", "a@b.c").identifier is None


RULES = NameRules(
    allowed=frozenset({"corp.example", "example.org", "localhost"}),
    denied=frozenset({"secret.corp.example", "www.example.org"}),
)


@pytest.mark.parametrize(
    "name",
    [
        "corp.example",
        "a.corp.example",
        "*.a.corp.example",
        "a.b.corp.example",
        "xsecret.corp.example",
        "secret.corp.example.org",
        "demo.localhost",
        "mail.example.org",
    ],
)
def test_name_below_an_allowed_tree_is_served(name: str) -> None:
    assert check_identifiers([("dns", name)], RULES, 10) == (Identifier(DNS, name),)


@pytest.mark.parametrize(
    "name",
    [
        "evilcorp.example",
        "xcorp.example",
        "corp.example.evil.com",
        "other.example",
        "*.evilcorp.example",
        "secret.corp.example",
        "a.secret.corp.example",
        "*.secret.corp.example",
        "*.corp.example",
        "*.example.org",
        "www.example.org",
        "SECRET.corp.example",
    ],
)
def test_name_that_is_denied_or_not_allowed_is_rejected(name: str) -> None:
    with pytest.raises(ServerError) as refusal:
        check_identifiers([("dns", name)], RULES, 10)

    assert refusal.value.kind is ErrorKind.REJECTED_IDENTIFIER
    assert refusal.value.identifier == Identifier(DNS, name.lower())


def test_without_rules_every_well_formed_name_is_served() -> None:
    rules = NameRules()

    for name in WELL_FORMED:
        assert rules.refusal_of(Identifier(DNS, name)) is None


@given(name=NAMES, other=NAMES)
def test_rules_match_on_label_boundaries_only(name: str, other: str) -> None:
    is_below = name == other or name.endswith(f".{other}")

    assert (NameRules(denied=frozenset({other})).refusal_of(Identifier(DNS, name)) is None) != (
        is_below
    )
    assert (NameRules(allowed=frozenset({other})).refusal_of(Identifier(DNS, name)) is None) == (
        is_below
    )


@pytest.mark.parametrize("tree", ["Example.com", "*.example.com", ".example.com", "", "a b", "é"])
@pytest.mark.parametrize("field", ["allowed", "denied"])
def test_tree_that_would_match_nothing_is_no_rule(tree: str, field: str) -> None:
    with pytest.raises(ValueError, match="no name tree"):
        NameRules(**{field: frozenset({tree})})


def test_single_labels_and_addresses_are_served_only_by_rules_that_say_so() -> None:
    asked = [("dns", "intranet"), ("ip", "192.0.2.1")]

    with pytest.raises(ServerError) as refusal:
        check_identifiers(asked, NameRules(), 10)

    assert refusal.value.kind is ErrorKind.COMPOUND
    served = check_identifiers(asked, NameRules(ip=True, single_labels=True), 10)
    assert served == (Identifier(DNS, "intranet"), Identifier(IP, "192.0.2.1"))


def test_trees_of_names_say_nothing_about_addresses() -> None:
    rules = NameRules(allowed=frozenset({"corp.example"}), denied=frozenset({"1"}), ip=True)

    assert check_identifiers([("ip", "192.0.2.1")], rules, 10) == (Identifier(IP, "192.0.2.1"),)


def test_all_refused_names_are_told_at_once_and_the_good_ones_are_not() -> None:
    asked = [
        ("dns", "good.corp.example"),
        ("dns", "evil.example"),
        ("dns", "secret.corp.example"),
        ("dns", "also.corp.example"),
        ("dns", "www.example.org"),
    ]

    with pytest.raises(ServerError) as refusal:
        check_identifiers(asked, RULES, 10)

    assert refusal.value.kind is ErrorKind.REJECTED_IDENTIFIER
    assert refusal.value.identifier is None
    told = [(problem.kind, problem.identifier) for problem in refusal.value.subproblems]
    assert told == [
        (ErrorKind.REJECTED_IDENTIFIER, Identifier(DNS, name))
        for name in ("evil.example", "secret.corp.example", "www.example.org")
    ]


def test_refusals_of_different_kinds_are_compound() -> None:
    asked = [("dns", "a_b.example.com"), ("email", "a@example.com"), ("dns", "x.example")]

    with pytest.raises(ServerError) as refusal:
        check_identifiers(asked, RULES, 10)

    assert refusal.value.kind is ErrorKind.COMPOUND
    assert [problem.kind for problem in refusal.value.subproblems] == [
        ErrorKind.MALFORMED,
        ErrorKind.UNSUPPORTED_IDENTIFIER,
        ErrorKind.REJECTED_IDENTIFIER,
    ]
    assert [problem.identifier for problem in refusal.value.subproblems] == [
        UnverifiedIdentifier("dns", "a_b.example.com"),
        UnverifiedIdentifier("email", "a@example.com"),
        Identifier(DNS, "x.example"),
    ]


def test_one_refusal_stands_alone() -> None:
    with pytest.raises(ServerError) as refusal:
        check_identifiers([("dns", "a.corp.example"), ("dns", "bad_.example")], RULES, 10)

    assert refusal.value.kind is ErrorKind.MALFORMED
    assert refusal.value.subproblems == ()
    assert refusal.value.identifier == UnverifiedIdentifier("dns", "bad_.example")


def test_repeated_names_are_taken_once_in_the_order_of_the_client() -> None:
    asked = [("dns", name) for name in ("b.example.com", "A.example.com", "B.example.com", "c.de")]

    served = check_identifiers(asked, NameRules(), 10)

    assert [identifier.value for identifier in served] == ["b.example.com", "a.example.com", "c.de"]


@pytest.mark.parametrize(
    "names",
    [
        ("*.example.com", "www.example.com"),
        ("www.example.com", "*.example.com"),
        ("a.b", "x.example.com", "*.example.com"),
    ],
)
def test_name_that_a_wildcard_covers_is_redundant(names: tuple[str, ...]) -> None:
    with pytest.raises(ServerError) as refusal:
        check_identifiers([("dns", name) for name in names], NameRules(), 10)

    assert refusal.value.kind is ErrorKind.MALFORMED
    assert "covered by *.example.com" in refusal.value.detail


def test_all_redundant_names_are_told_with_the_other_refusals() -> None:
    names = ("a.example.com", "*.example.com", "x_y.de", "b.example.com", "*.com")

    with pytest.raises(ServerError) as refusal:
        check_identifiers([("dns", name) for name in names], NameRules(), 10)

    told = {problem.identifier.value for problem in refusal.value.subproblems if problem.identifier}
    assert told == {"a.example.com", "x_y.de", "b.example.com", "*.com"}


def test_caller_may_have_reasons_of_its_own() -> None:
    asked = [("dns", "a.example.com"), ("dns", "*.b.example.com"), ("dns", "*.c.example.com")]

    with pytest.raises(ServerError) as refusal:
        check_identifiers(asked, NameRules(), 10, lambda i: "No" if i.is_wildcard else None)

    assert refusal.value.kind is ErrorKind.REJECTED_IDENTIFIER
    assert [problem.detail for problem in refusal.value.subproblems] == ["No.", "No."]


@pytest.mark.parametrize(
    "names",
    [
        ("*.example.com", "example.com"),
        ("*.example.com", "a.b.example.com"),
        ("*.example.com", "*.a.example.com"),
        ("*.example.com", "www.xexample.com"),
    ],
)
def test_name_that_a_wildcard_does_not_cover_is_not_redundant(names: tuple[str, ...]) -> None:
    served = check_identifiers([("dns", name) for name in names], NameRules(), 10)

    assert [identifier.value for identifier in served] == list(names)


def test_number_of_identifiers_is_limited() -> None:
    asked = [("dns", f"a{number}.example.com") for number in range(101)]

    assert len(check_identifiers(asked[:100], NameRules(), 100)) == 100
    for refused in (asked, []):
        with pytest.raises(ServerError) as refusal:
            check_identifiers(refused, NameRules(), 100)
        assert refusal.value.kind is ErrorKind.MALFORMED


def test_total_length_is_limited() -> None:
    names = [f"{number:02}{NAME_253[2:]}" for number in range(40)]
    rest = MAX_TOTAL_LENGTH - 39 * 253

    asked = [("dns", name) for name in names[:39]] + [("dns", names[39][253 - rest :])]
    assert len(check_identifiers(asked, NameRules(), 100)) == 40
    with pytest.raises(ServerError) as refusal:
        check_identifiers([*asked[:39], ("dns", names[39][252 - rest :])], NameRules(), 100)

    assert refusal.value.kind is ErrorKind.MALFORMED
    assert "together" in refusal.value.detail
