"""The registry: deadline, retries, defects, and fairness between accounts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from policy.model.authorizations import ValidationTask
from policy.model.errors import ErrorKind
from support.dns import DnsServer
from support.targets import Target, responding, response, silent
from support.validation import KEY_AUTHORIZATION, NAME, Lab, make_task
from validators import causes
from validators.causes import Cause, ValidationFailure
from validators.registry import RetrySettings, Validators
from validators.scheduling import LoadSettings, ValidatorsBusy
from validators.sockets import SocketsExhausted
from validators.trace import Trace

NOW = datetime(2026, 1, 1, tzinfo=UTC)
VALUES = {"endpoint": "e", "host": "h", "seconds": 1.0, "url": "u", "name": "n", "type": "A"}


class Scripted:
    """A validator that ends as told, attempt by attempt; None proves control."""

    def __init__(self, *endings: Cause | Exception | None) -> None:
        self._endings = list(endings)
        self.attempts = 0

    async def prove(self, task: ValidationTask, trace: Trace) -> None:
        """The next ending."""
        self.attempts += 1
        trace.begin("scripted", attempt=self.attempts)
        ending = self._endings.pop(0) if len(self._endings) > 1 else self._endings[0]
        if isinstance(ending, Cause):
            raise ValidationFailure(ending, **VALUES)
        if ending is not None:
            raise ending


class Waiting:
    """A validator that waits until it is released."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.released = asyncio.Event()

    async def prove(self, task: ValidationTask, trace: Trace) -> None:
        """Proves control once released."""
        self.started.set()
        await self.released.wait()


def validators(
    scripted: Scripted | Waiting,
    *,
    attempts: int = 3,
    deadline: float = 20,
    load: LoadSettings | None = None,
    now: Callable[[], datetime] = lambda: NOW,
) -> Validators:
    return Validators(
        {"http-01": scripted},
        deadline=timedelta(seconds=deadline),
        retries=RetrySettings(attempts=attempts, delay=timedelta(0)),
        load=load,
        perspective="here",
        now=now,
    )


async def test_the_evidence_names_method_perspective_and_times() -> None:
    times = iter([NOW, NOW + timedelta(seconds=1)])

    verdict = await validators(Scripted(None), now=lambda: next(times)).validate(make_task())

    evidence = verdict.evidence
    assert verdict.problem is None
    assert (evidence.method, evidence.perspective) == ("http-01", "here")
    assert (evidence.started_at, evidence.finished_at) == (NOW, NOW + timedelta(seconds=1))
    assert [step["step"] for step in evidence.facts["attempts"][0]] == ["scripted"]


@pytest.mark.parametrize("cause", causes.CAUSES.values(), ids=causes.CAUSES)
async def test_only_transient_failures_are_tried_again(cause: Cause) -> None:
    values = {"reason": "r", "expected": "e", "first": "f", "status": 1, "count": 1, "limit": 1}
    values |= {"record": "r", "publish": "p", "method": "m", "account": "a"}

    class Failing(Scripted):
        async def prove(self, task: ValidationTask, trace: Trace) -> None:
            self.attempts += 1
            raise ValidationFailure(cause, **VALUES, **values)

    scripted = Failing()
    verdict = await validators(scripted).validate(make_task())

    assert scripted.attempts == (3 if cause.is_transient else 1)
    assert verdict.problem is not None
    assert verdict.problem.cause == cause.code
    assert verdict.is_ours is cause.is_ours
    assert len(verdict.evidence.facts["attempts"]) == scripted.attempts


async def test_a_later_attempt_can_prove_control() -> None:
    scripted = Scripted(causes.HTTP_CLOSED, causes.DNS_UNREACHABLE, None)

    verdict = await validators(scripted).validate(make_task())

    assert verdict.is_valid
    assert not verdict.is_ours
    assert scripted.attempts == 3


async def test_a_definite_failure_ends_the_attempts() -> None:
    scripted = Scripted(causes.HTTP_CLOSED, causes.CONNECTION_REFUSED, None)

    verdict = await validators(scripted).validate(make_task())

    assert verdict.problem is not None
    assert verdict.problem.cause == "connection_refused"
    assert scripted.attempts == 2


async def test_the_deadline_ends_a_validation() -> None:
    verdict = await validators(Waiting(), deadline=0.05).validate(make_task())

    assert verdict.problem is not None
    assert (verdict.problem.kind, verdict.problem.cause) == (
        ErrorKind.CONNECTION,
        "deadline_network",
    )


async def test_at_the_deadline_an_earlier_failure_says_more() -> None:
    class Hanging(Scripted):
        async def prove(self, task: ValidationTask, trace: Trace) -> None:
            if self.attempts:
                await asyncio.Event().wait()
            await super().prove(task, trace)

    verdict = await validators(Hanging(causes.HTTP_CLOSED), deadline=0.05).validate(make_task())

    assert verdict.problem is not None
    assert verdict.problem.cause == "http_closed"


async def test_a_defect_is_logged_and_ends_in_a_verdict() -> None:
    with capture_logs() as logs:
        verdict = await validators(Scripted(RuntimeError("secret"))).validate(make_task())

    assert verdict.problem is not None
    assert (verdict.problem.kind, verdict.problem.cause) == (
        ErrorKind.SERVER_INTERNAL,
        "internal",
    )
    assert "secret" not in verdict.problem.detail
    assert "RuntimeError: secret" in verdict.evidence.facts["defect"]
    assert [(log["event"], log["log_level"]) for log in logs] == [("validation_crashed", "error")]


async def test_an_unknown_type_is_a_failure() -> None:
    verdict = await validators(Scripted(None)).validate(make_task(challenge="no\x1bsuch-01"))

    assert verdict.problem is not None
    assert verdict.problem.cause == "type_unsupported"
    assert r"no\x1bsuch-01" in verdict.problem.detail


async def test_a_lack_of_sockets_gives_no_verdict() -> None:
    with pytest.raises(ValidatorsBusy):
        await validators(Scripted(SocketsExhausted("EMFILE"))).validate(make_task())


@pytest.mark.parametrize("ending", [None, causes.CONNECTION_REFUSED, RuntimeError("x")])
async def test_the_place_is_given_back_whatever_happens(ending: Cause | Exception | None) -> None:
    load = LoadSettings(concurrency=1, per_account=1, queue=0)
    running = validators(Scripted(ending), load=load)

    with capture_logs():
        for _ in range(3):
            await running.validate(make_task())

    assert running.has_room(make_task().account_id)


async def test_a_cancelled_validation_gives_its_place_back() -> None:
    waiting = Waiting()
    running = validators(waiting, load=LoadSettings(concurrency=1, per_account=1, queue=0))
    task = asyncio.create_task(running.validate(make_task()))
    await waiting.started.wait()
    assert not running.has_room(make_task().account_id)

    task.cancel()
    await asyncio.wait({task})

    assert running.has_room(make_task().account_id)


async def test_an_account_with_many_hanging_targets_does_not_hold_up_another(
    lab: Lab, dns_server: DnsServer
) -> None:
    dns_server.add("slow.example.test", "A", "127.0.0.3")
    lab.load = LoadSettings(concurrency=8, per_account=4, queue=1000)
    arrived = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if slow.connections == 4:
            arrived.set()
        await silent(reader, writer)

    async with (
        Target(responding(response(KEY_AUTHORIZATION))) as quick,
        Target(hang, host="127.0.0.3", port=quick.port) as slow,
    ):
        lab.http_port = quick.port
        running = lab.validators()
        hanging = [
            asyncio.create_task(running.validate(make_task("slow.example.test", account=1)))
            for _ in range(200)
        ]
        await arrived.wait()
        verdict = await running.validate(make_task(NAME, account=2))
        for task in hanging:
            task.cancel()
        await asyncio.wait(hanging)

    assert verdict.is_valid
    assert slow.connections == 4
