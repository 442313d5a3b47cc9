"""Authorizations, and the validations of their challenges."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from policy.model.accounts import Caller
from policy.model.authorizations import (
    Authorization,
    AuthorizationStatus,
    Challenge,
    ChallengeStatus,
    ValidationTask,
    Verdict,
)
from policy.model.errors import CallerStale, ErrorKind, Problem
from policy.model.ids import AccountId, AuthorizationId
from storage.accounts import CALLER
from storage.pool import Database, Record
from storage.rows import (
    AUTHORIZATION_COLUMNS,
    authorizations_of,
    identifier_of,
    json_text,
    problem_json,
)

_FIND = f"""
    WITH {CALLER}
    SELECT caller.id AS caller_id, {AUTHORIZATION_COLUMNS}
    FROM caller
    LEFT JOIN authorizations AS a ON a.id = $3 AND a.account_id = caller.id
    LEFT JOIN validations AS v ON v.authorization_id = a.id
"""
# Decides the race between answers to one challenge: the primary key lets one in. The validation
# is claimed by its process at once.
_ANSWER = f"""
    WITH {CALLER}, target AS (
        SELECT authorizations.* FROM authorizations JOIN caller ON account_id = caller.id
        WHERE authorizations.id = $3 AND $4 = ANY (challenge_types)
    ), made AS (
        INSERT INTO validations
            (authorization_id, type, status, attempt, owner, lease_until, thumbprint, answered_at)
        SELECT id, $4, 'processing', 1, $5, now() + $6, $2, now()
        FROM target WHERE status = 'pending' AND expires_at > now()
        ON CONFLICT (authorization_id, type) DO NOTHING
        RETURNING authorization_id
    ), audit AS (
        INSERT INTO audit_events (actor, action, subject, detail)
        SELECT 'account:' || $1::uuid, 'challenge_answered', 'authorization:' || authorization_id,
            jsonb_build_object('type', $4::text)
        FROM made
    )
    SELECT caller.id AS caller_id, (SELECT count(*) FROM made) AS made, {AUTHORIZATION_COLUMNS}
    FROM caller
    LEFT JOIN target AS a ON true
    LEFT JOIN validations AS v ON v.authorization_id = a.id
"""
# Decides which process takes over: rows that another one is taking are skipped, and the attempt
# tells its result from a late one of the former owner.
_CLAIM_ABANDONED = """
    UPDATE validations AS v
    SET attempt = v.attempt + 1, owner = $1, lease_until = now() + $2
    FROM (
        SELECT authorization_id, type FROM validations
        WHERE status = 'processing' AND lease_until < now()
        ORDER BY lease_until LIMIT $3
        FOR UPDATE SKIP LOCKED
    ) AS abandoned, authorizations AS a
    WHERE v.authorization_id = abandoned.authorization_id AND v.type = abandoned.type
        AND a.id = v.authorization_id
    RETURNING v.authorization_id, a.account_id, a.identifier, a.wildcard, v.type, a.token,
        v.thumbprint, v.attempt
"""
# The number of rows in ``moved``. An authorization that was asked for without an order may have
# been taken by one while the statement waited for the row: its snapshot doesn't have that order,
# which would wait for good. The statement is undone then, and the pool sends it again.
_UNLESS_ADOPTED_MEANWHILE = """
    CASE WHEN NOT EXISTS (SELECT FROM ordered) AND EXISTS (
            SELECT FROM moved WHERE order_id >= id_bound(now() - interval '1 hour')
                AND NOT EXISTS (SELECT FROM orders WHERE orders.id = moved.order_id)
        ) THEN snapshot_too_old() ELSE (SELECT count(*) FROM moved) END
"""
# Decides the races between two results, between the results of two challenges of one
# authorization, and between the authorizations of one order: each UPDATE sees the newest version
# of its row, and the counter of the order is lowered once per authorization. Other orders may rely
# on the proof for the shorter time $10.
_CONCLUDE = f"""
    WITH ended AS (
        UPDATE validations SET status = $4, ended_at = $5, error = $6, evidence = $7
        WHERE authorization_id = $1 AND type = $2 AND attempt = $3 AND status = 'processing'
        RETURNING authorization_id
    ), moved AS (
        UPDATE authorizations AS a
        SET status = $4,
            expires_at = CASE WHEN $4 = 'valid' THEN now() + $8 ELSE a.expires_at END
        FROM ended
        WHERE a.id = $1 AND a.status = 'pending' AND a.expires_at > now()
            AND EXISTS (SELECT FROM accounts WHERE id = a.account_id AND status = 'valid')
        RETURNING a.id, a.account_id, a.order_id, a.identifier, a.wildcard, a.expires_at
    ), ordered AS (
        UPDATE orders AS o
        SET pending_authorizations = o.pending_authorizations - 1,
            status = CASE WHEN $4 = 'invalid' THEN 'invalid'
                WHEN o.pending_authorizations = 1 THEN 'ready' ELSE 'pending' END,
            error = CASE WHEN $4 = 'invalid' THEN $9::jsonb END
        FROM moved WHERE o.id = moved.order_id AND o.status = 'pending'
        RETURNING o.id
    ), proven AS (
        INSERT INTO proven_names
            (account_id, identifier, wildcard, authorization_id, expires_at, method)
        SELECT account_id, identifier, wildcard, id, least(expires_at, now() + $10::interval), $2
        FROM moved WHERE $4 = 'valid'
        ON CONFLICT (account_id, identifier, wildcard) DO UPDATE
        SET authorization_id = excluded.authorization_id, expires_at = excluded.expires_at,
            method = excluded.method
    ), audit AS (
        INSERT INTO audit_events (actor, action, subject, detail)
        SELECT 'system:validation',
            CASE WHEN $4 = 'valid' THEN 'authorization_validated' ELSE 'authorization_failed' END,
            'authorization:' || id, jsonb_build_object('type', $2::text, 'identifier', identifier)
        FROM moved
    )
    SELECT {_UNLESS_ADOPTED_MEANWHILE}
"""
# Orders that wait for it or count on it end with it; those claimed are beyond recall.
_DEACTIVATE = f"""
    WITH {CALLER}, moved AS (
        UPDATE authorizations AS a SET status = 'deactivated'
        FROM caller
        WHERE a.id = $3 AND a.account_id = caller.id AND a.status IN ('pending', 'valid')
            AND a.expires_at > now()
        RETURNING a.id, a.account_id, a.order_id
    ), ordered AS (
        UPDATE orders AS o SET status = 'invalid', error = $4
        FROM moved
        WHERE o.account_id = moved.account_id AND o.status IN ('pending', 'ready')
            AND moved.id = ANY (o.authorization_ids)
        RETURNING o.id
    ), forgotten AS (
        DELETE FROM proven_names USING moved WHERE proven_names.authorization_id = moved.id
            AND proven_names.account_id = moved.account_id
    ), audit AS (
        INSERT INTO audit_events (actor, action, subject)
        SELECT 'account:' || account_id, 'authorization_deactivated', 'authorization:' || id
        FROM moved
    )
    SELECT caller.id AS caller_id, {_UNLESS_ADOPTED_MEANWHILE} AS moved, {AUTHORIZATION_COLUMNS}
    FROM caller
    LEFT JOIN authorizations AS a ON a.id = $3 AND a.account_id = caller.id
    LEFT JOIN validations AS v ON v.authorization_id = a.id
"""
# A resolver's cache may leave a TTL of a second; the client still has to finalize.
_OWN_ORDER = timedelta(hours=1)
_DEACTIVATED = Problem(
    kind=ErrorKind.UNAUTHORIZED, detail="An authorization of the order was deactivated."
)


class Authorizations:
    """The tables of authorizations and validations. ``lifetime`` is how long a proof holds."""

    def __init__(self, database: Database, *, lifetime: timedelta = timedelta(days=30)) -> None:
        self._database = database
        self._lifetime = lifetime

    async def find(self, caller: Caller, authorization_id: AuthorizationId) -> Authorization | None:
        """The caller's authorization; None if it isn't theirs or isn't there.

        Raises CallerStale.
        """
        rows = await self._database.fetch(
            _FIND, caller.account_id, caller.thumbprint, authorization_id
        )
        return _only(rows)

    async def answer(
        self,
        caller: Caller,
        authorization_id: AuthorizationId,
        challenge_type: str,
        *,
        owner: str,
        lease: timedelta,
    ) -> tuple[Authorization, ValidationTask | None] | None:
        """The authorization after the answer, and the validation if this call claimed it for
        ``owner``. None if the caller has no such authorization or it no such challenge.

        Raises CallerStale.
        """
        rows = await self._database.fetch(
            _ANSWER,
            caller.account_id,
            caller.thumbprint,
            authorization_id,
            challenge_type,
            owner,
            lease,
        )
        authorization = _only(rows)
        if authorization is None:
            return None
        # This statement's own insert, and that of who was faster just now, are not in its rows.
        if authorization.status is AuthorizationStatus.PENDING:
            authorization = _processing(authorization, challenge_type)
        if not rows[0]["made"]:
            return authorization, None
        task = ValidationTask(
            authorization_id=authorization.id,
            account_id=authorization.account_id,
            identifier=authorization.identifier,
            wildcard=authorization.wildcard,
            type=challenge_type,
            token=rows[0]["token"],
            thumbprint=caller.thumbprint,
            attempt=1,
        )
        return authorization, task

    async def claim_abandoned(
        self, owner: str, lease: timedelta, limit: int
    ) -> list[ValidationTask]:
        """Validations whose claim ran out, claimed for ``owner``."""
        rows = await self._database.fetch(_CLAIM_ABANDONED, owner, lease, limit)
        return [
            ValidationTask(
                authorization_id=AuthorizationId(row["authorization_id"]),
                account_id=AccountId(row["account_id"]),
                identifier=identifier_of(row["identifier"]),
                wildcard=row["wildcard"],
                type=row["type"],
                token=row["token"],
                thumbprint=row["thumbprint"],
                attempt=row["attempt"],
            )
            for row in rows
        ]

    async def conclude(self, task: ValidationTask, verdict: Verdict) -> bool:
        """Record the verdict with all that follows from it for authorization and order; False if
        it came too late to change anything."""
        evidence = verdict.evidence
        moved: int = await self._database.fetchval(
            _CONCLUDE,
            task.authorization_id,
            task.type,
            task.attempt,
            "valid" if verdict.is_valid else "invalid",
            evidence.finished_at,
            problem_json(verdict.problem),
            json_text(
                {
                    "method": evidence.method,
                    "perspective": evidence.perspective,
                    "started_at": evidence.started_at.isoformat(),
                    "finished_at": evidence.finished_at.isoformat(),
                    "facts": evidence.facts,
                }
            ),
            self._lifetime_of(verdict),
            problem_json(_order_problem(task, verdict)),
            verdict.reliance,
        )
        return moved == 1

    def _lifetime_of(self, verdict: Verdict) -> timedelta:
        """How long the authorization is valid: where the proof is short-lived, long enough for the
        order that it was made for."""
        if verdict.reliance is None:
            return self._lifetime
        return min(self._lifetime, max(verdict.reliance, _OWN_ORDER))

    async def deactivate(
        self, caller: Caller, authorization_id: AuthorizationId
    ) -> tuple[Authorization, bool] | None:
        """Give up a pending or valid authorization: as it is now, and whether this call did it.

        None if it isn't the caller's or isn't there. Raises CallerStale.
        """
        rows = await self._database.fetch(
            _DEACTIVATE,
            caller.account_id,
            caller.thumbprint,
            authorization_id,
            problem_json(_DEACTIVATED),
        )
        authorization = _only(rows)
        if authorization is None:
            return None
        if not rows[0]["moved"]:
            return authorization, False
        return replace(authorization, status=AuthorizationStatus.DEACTIVATED), True


def _only(rows: list[Record]) -> Authorization | None:
    if not rows:
        raise CallerStale
    return next(iter(authorizations_of(rows)), None)


def _processing(authorization: Authorization, challenge_type: str) -> Authorization:
    def answered(challenge: Challenge) -> Challenge:
        if challenge.type != challenge_type or challenge.status is not ChallengeStatus.PENDING:
            return challenge
        return replace(challenge, status=ChallengeStatus.PROCESSING)

    return replace(authorization, challenges=tuple(map(answered, authorization.challenges)))


def _order_problem(task: ValidationTask, verdict: Verdict) -> Problem | None:
    """What the order says of a failed authorization: which name, and why."""
    problem = verdict.problem
    if problem is None:
        return None
    return Problem(
        kind=problem.kind,
        detail=f"{task.identifier.value}: {problem.detail}",
        identifier=task.identifier,
        cause=problem.cause,
    )
