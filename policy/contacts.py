"""Contact URLs of accounts (RFC 8555, section 7.3; RFC 6068)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from policy.model.errors import ErrorKind, Problem, ServerError

MAX_CONTACTS = 10
_MAX_LENGTH = 320
_ATOM = r"[A-Za-z0-9!$&'*+/=^_`{|}~.-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
# One addr-spec in ASCII: no "?" (hfields), no "," (a second address), no "#", no "%".
_ADDRESS = re.compile(rf"{_ATOM}@{_LABEL}(?:\.{_LABEL})*", re.ASCII)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.ASCII | re.DOTALL)


def check_contacts(contacts: Sequence[str]) -> tuple[str, ...]:
    """The contacts as they are kept.

    Raises ServerError: UNSUPPORTED_CONTACT for schemes other than mailto, INVALID_CONTACT for
    what is no single plain address; all refused ones as subproblems when there are several.
    """
    if len(contacts) > MAX_CONTACTS:
        raise ServerError(
            ErrorKind.INVALID_CONTACT, f"An account has at most {MAX_CONTACTS} contacts."
        )
    problems = [problem for contact in contacts if (problem := _problem_of(contact)) is not None]
    if len(problems) == 1:
        raise ServerError(problems[0].kind, problems[0].detail)
    if problems:
        kinds = {problem.kind for problem in problems}
        raise ServerError(
            kinds.pop() if len(kinds) == 1 else ErrorKind.COMPOUND,
            "Several contacts are refused, see the subproblems.",
            subproblems=problems,
        )
    return tuple(contacts)


def _problem_of(contact: str) -> Problem | None:
    shape = _SCHEME.fullmatch(contact)
    if shape is None:
        return _refusal("A contact is a URL such as mailto:admin@example.org.")
    if shape[1].lower() != "mailto":
        return Problem(
            kind=ErrorKind.UNSUPPORTED_CONTACT,
            detail="Only mailto: contacts are supported.",
        )
    if len(contact) > _MAX_LENGTH or not _ADDRESS.fullmatch(shape[2]):
        return _refusal("A mailto: contact holds exactly one plain e-mail address.")
    local = shape[2].partition("@")[0]
    if local.startswith(".") or local.endswith(".") or ".." in local or len(local) > 64:
        return _refusal("A mailto: contact holds exactly one plain e-mail address.")
    return None


def _refusal(detail: str) -> Problem:
    return Problem(kind=ErrorKind.INVALID_CONTACT, detail=detail)
