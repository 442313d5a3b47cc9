"""From rows to the values of policy.model, where several modules need the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from policy.model.authorizations import (
    Authorization,
    AuthorizationStatus,
    Challenge,
    ChallengeStatus,
)
from policy.model.certificates import Certificate, CertificateStatus, RevocationReason
from policy.model.errors import ErrorKind, Problem
from policy.model.identifiers import Identifier, IdentifierType
from policy.model.ids import AccountId, AuthorizationId, CertificateId, OrderId
from policy.model.orders import Order, OrderStatus
from storage.pool import Record

# An order that expires unfinished, and an authorization that expires, are read as what they are
# before a job has written it.
ORDER_COLUMNS = """
    o.id AS order_id, o.account_id AS order_account_id,
    CASE WHEN o.status IN ('pending', 'ready') AND o.expires_at <= now() THEN 'invalid'
        ELSE o.status END AS order_status,
    o.identifiers AS order_identifiers, o.authorization_ids, o.profile, o.profile_version,
    o.not_before, o.not_after, o.created_at AS order_created_at,
    o.expires_at AS order_expires_at, o.certificate_id, o.error AS order_error
"""
AUTHORIZATION_COLUMNS = """
    a.id AS authorization_id, a.account_id AS authorization_account_id,
    a.order_id AS authorization_order_id, a.identifier, a.wildcard,
    CASE WHEN a.status IN ('pending', 'valid') AND a.expires_at <= now() THEN 'expired'
        ELSE a.status END AS authorization_status,
    a.token, a.challenge_types, a.expires_at AS authorization_expires_at,
    v.type AS validation_type, v.status AS validation_status, v.ended_at AS validation_ended_at,
    v.error AS validation_error
"""
CERTIFICATE_COLUMNS = """
    c.id AS certificate_id, c.serial, c.issuer, c.shard, c.status AS certificate_status,
    c.account_id AS certificate_account_id, c.order_id AS certificate_order_id,
    c.profile AS certificate_profile, c.identifiers AS certificate_identifiers,
    c.not_before AS certificate_not_before, c.not_after AS certificate_not_after,
    c.tbs, c.signature, c.revoked_at, c.revocation_reason
"""


def identifier_text(identifier: Identifier) -> str:
    """An identifier as the tables hold it."""
    return f"{identifier.type}:{identifier.value}"


def identifier_of(text: str) -> Identifier:
    """The reverse of ``identifier_text``."""
    kind, _, value = text.partition(":")
    return Identifier(IdentifierType(kind), value)


def problem_json(problem: Problem | None) -> str | None:
    """A problem as JSON text for a jsonb column."""
    return None if problem is None else orjson.dumps(_problem_members(problem)).decode()


def problem_of(text: str | None) -> Problem | None:
    """The reverse of ``problem_json``."""
    return None if text is None else _problem(orjson.loads(text))


def json_text(value: object) -> str:
    """Any JSON-ready value as text for a jsonb column."""
    return orjson.dumps(value, default=str).decode()


def order_of(row: Record) -> Order:
    """An order from a row with ORDER_COLUMNS."""
    status = OrderStatus(row["order_status"])
    is_finished = status is OrderStatus.VALID
    return Order(
        id=OrderId(row["order_id"]),
        account_id=AccountId(row["order_account_id"]),
        status=status,
        identifiers=tuple(map(identifier_of, row["order_identifiers"])),
        authorization_ids=tuple(map(AuthorizationId, row["authorization_ids"])),
        profile=row["profile"],
        profile_version=row["profile_version"],
        not_before=row["not_before"],
        not_after=row["not_after"],
        created_at=row["order_created_at"],
        expires_at=row["order_expires_at"],
        certificate_id=CertificateId(row["certificate_id"]) if is_finished else None,
        error=problem_of(row["order_error"]),
    )


def authorizations_of(rows: Iterable[Record]) -> tuple[Authorization, ...]:
    """Authorizations from rows with AUTHORIZATION_COLUMNS: one row for each, and one more for
    each further challenge of it that was answered; in the order of their first rows."""
    grouped: dict[Any, list[Record]] = {}
    for row in rows:
        if row["authorization_id"] is not None:
            grouped.setdefault(row["authorization_id"], []).append(row)
    return tuple(map(_authorization, grouped.values()))


def certificate_of(row: Record) -> Certificate:
    """A certificate from a row with CERTIFICATE_COLUMNS."""
    reason = row["revocation_reason"]
    account, order = row["certificate_account_id"], row["certificate_order_id"]
    return Certificate(
        id=CertificateId(row["certificate_id"]),
        serial=row["serial"],
        issuer=row["issuer"],
        shard=row["shard"],
        status=CertificateStatus(row["certificate_status"]),
        account_id=None if account is None else AccountId(account),
        order_id=None if order is None else OrderId(order),
        profile=row["certificate_profile"],
        identifiers=tuple(map(identifier_of, row["certificate_identifiers"])),
        not_before=row["certificate_not_before"],
        not_after=row["certificate_not_after"],
        tbs=row["tbs"],
        signature=row["signature"],
        revoked_at=row["revoked_at"],
        revocation_reason=None if reason is None else RevocationReason(reason),
    )


def _authorization(rows: Sequence[Record]) -> Authorization:
    row = rows[0]
    status = AuthorizationStatus(row["authorization_status"])
    answered = {entry["validation_type"]: entry for entry in rows}
    order = row["authorization_order_id"]
    return Authorization(
        id=AuthorizationId(row["authorization_id"]),
        account_id=AccountId(row["authorization_account_id"]),
        order_id=None if order is None else OrderId(order),
        identifier=identifier_of(row["identifier"]),
        wildcard=row["wildcard"],
        status=status,
        expires_at=row["authorization_expires_at"],
        challenges=tuple(
            _challenge(kind, row["token"], answered.get(kind)) for kind in row["challenge_types"]
        ),
    )


def _challenge(kind: str, token: str, answer: Record | None) -> Challenge:
    if answer is None:
        return Challenge(type=kind, status=ChallengeStatus.PENDING, token=token)
    status = ChallengeStatus(answer["validation_status"])
    return Challenge(
        type=kind,
        status=status,
        token=token,
        validated_at=answer["validation_ended_at"] if status is ChallengeStatus.VALID else None,
        error=problem_of(answer["validation_error"]),
    )


def _problem_members(problem: Problem) -> dict[str, Any]:
    members: dict[str, Any] = {"kind": problem.kind.value, "detail": problem.detail}
    if isinstance(problem.identifier, Identifier):
        members["identifier"] = identifier_text(problem.identifier)
    if problem.cause is not None:
        members["cause"] = problem.cause
    if problem.subproblems:
        members["subproblems"] = [_problem_members(sub) for sub in problem.subproblems]
    return members


def _problem(members: dict[str, Any]) -> Problem:
    identifier = members.get("identifier")
    return Problem(
        kind=ErrorKind(members["kind"]),
        detail=members["detail"],
        identifier=None if identifier is None else identifier_of(identifier),
        cause=members.get("cause"),
        subproblems=tuple(map(_problem, members.get("subproblems", ()))),
    )
