"""The table of problem documents."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from acme_server.acme.problems import NAMESPACE, PROBLEMS, render_error, render_problem
from policy.model.errors import ErrorKind, Problem, ServerError
from policy.model.identifiers import Identifier, IdentifierType
from support.adversary import REGISTERED_TYPES

NAME = Identifier(IdentifierType.DNS, "a.example")
# Of the renewal information of RFC 9773, which is not served.
UNUSED = {"alreadyReplaced"}


def test_each_kind_has_a_form() -> None:
    assert set(PROBLEMS) == set(ErrorKind)


def test_only_registered_types_are_in_the_namespace() -> None:
    served = {NAMESPACE + form.type for form in PROBLEMS.values()}

    assert served == REGISTERED_TYPES - {NAMESPACE + kind for kind in UNUSED}


def test_no_kind_hides_behind_a_success() -> None:
    assert all(400 <= form.status < 600 for form in PROBLEMS.values())


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (ErrorKind.ORDER_NOT_READY, 403),
        (ErrorKind.ACCOUNT_INACTIVE, 401),
        (ErrorKind.ACCOUNT_DOES_NOT_EXIST, 400),
        (ErrorKind.BAD_NONCE, 400),
        (ErrorKind.BAD_SIGNATURE_ALGORITHM, 400),
        (ErrorKind.USER_ACTION_REQUIRED, 403),
        (ErrorKind.CONFLICT, 409),
        (ErrorKind.RATE_LIMITED, 429),
        (ErrorKind.UNSUPPORTED_MEDIA_TYPE, 415),
        (ErrorKind.METHOD_NOT_ALLOWED, 405),
        (ErrorKind.UNAVAILABLE, 503),
    ],
)
def test_the_statuses_that_the_rfc_fixes(kind: ErrorKind, status: int) -> None:
    assert PROBLEMS[kind].status == status


def test_an_error_is_a_whole_document() -> None:
    error = ServerError(ErrorKind.BAD_CSR, "The CSR is empty.")

    assert render_error(error) == {
        "type": "urn:ietf:params:acme:error:badCSR",
        "detail": "The CSR is empty.",
        "status": 400,
    }


def test_a_refused_algorithm_lists_ours() -> None:
    error = ServerError(ErrorKind.BAD_SIGNATURE_ALGORITHM, "No.", allowed=("ES256", "RS256"))

    assert render_error(error)["algorithms"] == ["ES256", "RS256"]


def test_an_error_about_one_name_names_it_in_a_subproblem_only() -> None:
    error = ServerError(ErrorKind.REJECTED_IDENTIFIER, "Not here.", identifier=NAME)
    document = render_error(error)

    assert "identifier" not in document
    assert document["subproblems"] == [
        {
            "type": "urn:ietf:params:acme:error:rejectedIdentifier",
            "detail": "Not here.",
            "identifier": {"type": "dns", "value": "a.example"},
        }
    ]


def test_subproblems_keep_their_own_types() -> None:
    parts = (
        Problem(kind=ErrorKind.MALFORMED, detail="Bad.", identifier=NAME),
        Problem(kind=ErrorKind.CAA, detail="Forbidden."),
    )
    error = ServerError(ErrorKind.COMPOUND, "Two.", subproblems=parts)
    kept = Problem(kind=ErrorKind.COMPOUND, detail="Two.", subproblems=parts)

    types = [part["type"] for part in render_error(error)["subproblems"]]
    assert types == [NAMESPACE + "malformed", NAMESPACE + "caa"]
    assert render_problem(kept)["subproblems"] == render_error(error)["subproblems"]


@pytest.mark.parametrize(
    "detail", ["a\r\nb\x1b[2J\x00", "x" * 5000, "é" * 5000, "\x9b" * 5000, "\ud800"]
)
def test_a_detail_is_printable_and_short(detail: str) -> None:
    rendered = render_error(ServerError(ErrorKind.DNS, detail))["detail"]

    assert rendered.isprintable()
    assert 0 < len(rendered.encode()) <= 1000


def test_no_front_end_code_names_a_type_outside_the_table() -> None:
    package = Path(__file__).parents[3] / "acme_server"
    strays = [
        path.name
        for path in package.rglob("*.py")
        if path.name != "problems.py" and re.search(r"urn:ietf:params:acme:error", path.read_text())
    ]

    assert strays == []
