"""The TXT records of dns-persist-01, and whether one lets an account prove a name
(draft-ietf-acme-dns-persist, "Challenge Response and Verification").

``judge`` decides about one record, without I/O and without a clock of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from validators import causes
from validators.caarecords import IssueValue, parse_issue_value
from validators.causes import Cause

LABEL = "_validation-persist"
# The parameters that mean something here: given twice, a record is malformed. Tags are compared
# in lower case: what is spelled otherwise must not pass as unknown and lose its restriction.
_KNOWN_TAGS = ("accounturi", "policy", "persistuntil")
# Every moment that fits into 64 bits; a longer number is no date.
_TIMESTAMP = re.compile(r"[0-9]{1,19}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PersistRequest:
    """Who wants to prove a name, and for what. ``issuers`` are our names in lower case,
    ``account`` is the account's URL, ``needs_wildcard`` says whether more than the record's own
    name is to be proven: its wildcard, or a name below it."""

    issuers: tuple[str, ...]
    account: str
    needs_wildcard: bool
    now: datetime

    @property
    def wanted(self) -> str:
        """The value of a record that would do."""
        policy = "; policy=wildcard" if self.needs_wildcard else ""
        return f"{self.issuers[0]}; accounturi={self.account}{policy}"


def judge(value: bytes, request: PersistRequest) -> Cause | None:
    """What keeps the record from proving what is asked for, None if nothing does."""
    if _issuer_of(value) not in request.issuers:
        return causes.PERSIST_ISSUER
    record = parse_issue_value(value)
    if record is None or not _is_well_formed(record):
        return causes.PERSIST_MALFORMED
    if record.find_parameters("accounturi") != [request.account]:
        return causes.PERSIST_ACCOUNT
    if any(_is_over(until, request.now) for until in record.find_parameters("persistuntil")):
        return causes.PERSIST_EXPIRED
    if request.needs_wildcard and not _covers_more(record):
        return causes.PERSIST_POLICY
    return None


def _issuer_of(value: bytes) -> str:
    """Whom a record names, even if the rest of it is malformed."""
    return value.partition(b";")[0].strip(b" \t").lower().removesuffix(b".").decode("latin-1")


def _is_well_formed(record: IssueValue) -> bool:
    given = {tag: record.find_parameters(tag) for tag in _KNOWN_TAGS}
    return (
        len(given["accounturi"]) == 1
        and all(len(values) <= 1 for values in given.values())
        and all(_TIMESTAMP.fullmatch(until) for until in given["persistuntil"])
    )


def _is_over(until: str, now: datetime) -> bool:
    return now.timestamp() > int(until)


def _covers_more(record: IssueValue) -> bool:
    """Any other policy is as none."""
    return [policy.lower() for policy in record.find_parameters("policy")] == ["wildcard"]
