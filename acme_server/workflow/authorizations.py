"""Authorizations and the answers to their challenges (RFC 8555, section 7.5)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

from policy.model.accounts import Caller
from policy.model.authorizations import (
    Authorization,
    AuthorizationStatus,
    Challenge,
    ChallengeStatus,
    ValidationTask,
    Verdict,
)
from policy.model.errors import ErrorKind, ServerError
from policy.model.ids import AccountId, AuthorizationId
from storage.authorizations import Authorizations

# A validation of a nearby target is done by then, and its client saves a poll.
QUICK_VALIDATION_SECONDS = 0.1
_BUSY_RETRY_SECONDS = 10


class ValidationRunner(Protocol):
    """Carries out claimed validations in the background (``workers.validation``)."""

    @property
    def owner(self) -> str:
        """The name under which this process claims validations."""
        ...

    @property
    def lease(self) -> timedelta:
        """How long a claim holds without an extension."""
        ...

    def has_room(self, account_id: AccountId) -> bool:
        """Whether a validation of this account can be taken on now."""
        ...

    def submit(self, task: ValidationTask) -> asyncio.Future[Verdict | None]:
        """Validate and record ``task``; the verdict once recorded, None if it came too late."""
        ...


class AuthorizationUseCases:
    """What an account can do with its authorizations."""

    def __init__(self, authorizations: Authorizations, runner: ValidationRunner) -> None:
        self._authorizations = authorizations
        self._runner = runner

    async def get(self, caller: Caller, authorization_id: AuthorizationId) -> Authorization:
        """Raises ServerError(NOT_FOUND), for another account's as for a missing one."""
        authorization = await self._authorizations.find(caller, authorization_id)
        if authorization is None:
            raise _not_found()
        return authorization

    async def answer(
        self, caller: Caller, authorization_id: AuthorizationId, challenge_type: str
    ) -> Authorization:
        """Start the validation that the client is ready for (RFC 8555, section 7.5.1).

        Answered again, or when the authorization is valid already, the challenge is returned
        unchanged. A quick validation is waited for. Raises ServerError: NOT_FOUND, MALFORMED
        where the authorization ended without this challenge, UNAVAILABLE while too many
        validations are under way.
        """
        if not self._runner.has_room(caller.account_id):
            raise ServerError(
                ErrorKind.UNAVAILABLE,
                "Too many validations are under way; answer the challenge again later.",
                retry_after=_BUSY_RETRY_SECONDS,
            )
        answered = await self._authorizations.answer(
            caller,
            authorization_id,
            challenge_type,
            owner=self._runner.owner,
            lease=self._runner.lease,
        )
        if answered is None:
            raise _not_found()
        authorization, task = answered
        if task is None:
            _check_answerable(authorization, challenge_type)
            return authorization
        recorded = self._runner.submit(task)
        await asyncio.wait({recorded}, timeout=QUICK_VALIDATION_SECONDS)
        if not recorded.done() or recorded.exception() is not None:
            return authorization
        verdict = recorded.result()
        return authorization if verdict is None else _concluded(authorization, task, verdict)

    async def deactivate(self, caller: Caller, authorization_id: AuthorizationId) -> Authorization:
        """Give the authorization up (RFC 8555, section 7.5.2).

        Raises ServerError: NOT_FOUND, MALFORMED if it has ended already.
        """
        deactivated = await self._authorizations.deactivate(caller, authorization_id)
        if deactivated is None:
            raise _not_found()
        authorization, is_moved = deactivated
        if not is_moved:
            raise ServerError(
                ErrorKind.MALFORMED,
                f"The authorization is {authorization.status}; only a pending or valid one can be "
                "deactivated.",
            )
        return authorization


def _check_answerable(authorization: Authorization, challenge_type: str) -> None:
    """Whether an answer that started nothing was at least no mistake."""
    status = authorization.status
    if status in (AuthorizationStatus.PENDING, AuthorizationStatus.VALID):
        return
    is_open = any(
        challenge.type == challenge_type and challenge.status is ChallengeStatus.PENDING
        for challenge in authorization.challenges
    )
    if is_open or status is not AuthorizationStatus.INVALID:
        raise ServerError(
            ErrorKind.MALFORMED,
            f"The authorization is {status}, its challenges can't be answered any more; place a "
            "new order.",
        )


def _concluded(
    authorization: Authorization, task: ValidationTask, verdict: Verdict
) -> Authorization:
    """The authorization as ``Authorizations.conclude`` has just recorded it."""

    def conclude(challenge: Challenge) -> Challenge:
        if challenge.type != task.type:
            return challenge
        if verdict.problem is None:
            return replace(
                challenge,
                status=ChallengeStatus.VALID,
                validated_at=verdict.evidence.finished_at,
            )
        return replace(challenge, status=ChallengeStatus.INVALID, error=verdict.problem)

    return replace(
        authorization,
        status=AuthorizationStatus.VALID if verdict.is_valid else AuthorizationStatus.INVALID,
        challenges=tuple(conclude(challenge) for challenge in authorization.challenges),
    )


def _not_found() -> ServerError:
    return ServerError(ErrorKind.NOT_FOUND, "There is no such authorization or challenge.")
