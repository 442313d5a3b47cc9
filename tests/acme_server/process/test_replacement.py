"""Children that die, retire or can't start: somebody serves at any moment, and all is counted."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse

import pytest

from support.embedded import wait_for_end
from support.keepalive import asking_clients
from support.serverprocess import ServerProcess, running_server, until

ANSWERED = 'acme_http_requests_total{route="/who",status="200"}'


def ask(wire: HTTPConnection) -> tuple[int, HTTPResponse]:
    """The pid of who answers on a connection, and the answer."""
    wire.request("GET", "/who")
    answer = wire.getresponse()
    pid = answer.read().partition(b'"pid":')[2].partition(b",")[0]
    return int(pid), answer


def event_index(server: ServerProcess, name: str, child: int) -> int:
    """Where in the log something is said of a child."""
    found = [e["event"] == name and e.get("child") == child for e in server.events]
    return found.index(True)


def only(pids: set[int]) -> int:
    """The one pid."""
    (pid,) = pids
    return pid


def test_killed_worker_is_replaced_and_nothing_that_was_counted_is_forgotten() -> None:
    with running_server(server={"workers": 2}) as server:
        for _ in range(20):
            server.get("/who")
        until(lambda: server.metric(ANSWERED) == 20, "all samples of both workers")
        before = server.pids("http")
        victim = min(before)

        os.kill(victim, signal.SIGKILL)
        server.wait_for_event("process_died")
        fewer = server.metric("standin_workers")
        after = server.wait_for_pids("http", 2, other_than={victim})

        assert fewer == 1
        assert server.metric(ANSWERED) == 20
        assert len(after & before) == 1
        until(lambda: server.metric("standin_workers") == 2, "the gauge of the new worker")
        until(lambda: server.metric('acme_processes{role="http"}') == 2, "its role")
        assert server.metric('acme_process_unexpected_ends_total{role="http"}') == 1
        died = server.events_named("process_died")[0]
        assert died["child"] == victim
        assert died["signal"] == "SIGKILL"
        server.get("/who")
        until(lambda: server.metric(ANSWERED) == 21, "one more")


def test_connection_made_while_no_worker_lives_is_answered_by_the_next() -> None:
    with running_server() as server:
        victim = only(server.pids("http"))
        os.kill(victim, signal.SIGSTOP)

        with closing(HTTPConnection("127.0.0.1", server.port, 40)) as wire:
            wire.connect()
            os.kill(victim, signal.SIGKILL)
            server.wait_for_event("process_died")
            assert server.ops("/readyz") == (503, "no worker accepts connections\n")
            pid, answer = ask(wire)

        assert answer.status == 200
        assert pid == only(server.wait_for_pids("http", 1, other_than={victim}))
        assert server.ops("/readyz")[0] == 200


def test_each_of_two_workers_takes_from_the_same_queue() -> None:
    with running_server(server={"workers": 2}) as server:
        first, second = sorted(server.pids("http"))

        for halted, other in ((first, second), (second, first)):
            os.kill(halted, signal.SIGSTOP)
            answering = {server.get("/who")["pid"] for _ in range(5)}
            os.kill(halted, signal.SIGCONT)

            assert answering == {other}


async def test_retiring_workers_lose_no_request_of_busy_clients() -> None:
    await retire_workers_under_load(rounds=1)


@pytest.mark.full
@pytest.mark.timeout(900)
async def test_retiring_workers_lose_no_request_of_busy_clients_for_long() -> None:
    await retire_workers_under_load(rounds=20)


async def retire_workers_under_load(*, rounds: int) -> None:
    """Each round retires both workers, one after the other, under 16 clients."""
    with running_server(server={"workers": 2}) as server:
        async with asking_clients(server.port, 16) as tally:
            for _ in range(rounds):
                for veteran in server.pids("http"):
                    await tally.until_answered_by({veteran})
                    os.kill(veteran, signal.SIGTERM)
                    await asyncio.to_thread(wait_until_noted, server, "process_ended", veteran)
            newest = server.pids("http")
            assert len(newest) == 2
            await tally.until_answered_by(newest)

        assert tally.failures == []
        assert server.events_named("process_died") == []
        assert {event["status"] for event in server.events_named("process_ended")} == {0}
        assert len(server.events_named("process_ended")) == 2 * rounds
        assert tally.farewells > 0
        total = sum(tally.answers.values())
        until(lambda: (server.metric(ANSWERED) or 0) >= total, "all of them counted")
        assert server.metric(ANSWERED) == total


def wait_until_noted(server: ServerProcess, name: str, child: int) -> None:
    """Wait until the log says that of a child."""
    until(lambda: is_noted(server, name, child), f"{name} of {child}")


def is_noted(server: ServerProcess, name: str, child: int) -> bool:
    """Whether the log says that of a child."""
    return any(event["child"] == child for event in server.events_named(name))


def test_retiring_worker_serves_until_its_replacement_does_and_then_its_idle_connections() -> None:
    with (
        running_server() as server,
        closing(HTTPConnection("127.0.0.1", server.port, 40)) as wire,
    ):
        veteran, answer = ask(wire)
        assert answer.headers["Connection"] is None

        os.kill(veteran, signal.SIGTERM)
        until(lambda: len(server.pids("http")) == 2, "the replacement beside it")
        until(lambda: server.get("/who")["pid"] != veteran, "the replacement takes all new ones")
        last, answer = ask(wire)

        assert last == veteran
        assert answer.headers["Connection"] == "close"
        successor = only(server.wait_for_pids("http", 1, other_than={veteran}))
        assert event_index(server, "process_started", successor) < event_index(
            server, "process_ended", veteran
        )
        assert is_noted(server, "process_ended", veteran)


def test_connection_that_stays_idle_is_kept_for_the_drain_and_not_longer() -> None:
    with (
        running_server(server={"drain": "500ms"}) as server,
        closing(HTTPConnection("127.0.0.1", server.port, 40)) as wire,
    ):
        veteran, _ = ask(wire)

        os.kill(veteran, signal.SIGTERM)

        wait_for_end(veteran)
        assert wire.sock.recv(1) == b""
        server.wait_for_event("process_ended")
        assert server.events_named("process_died") == []


def test_worker_whose_replacement_cannot_start_goes_on_serving() -> None:
    with running_server() as server:
        veteran = only(server.pids("http"))
        server.set("http_fails")

        os.kill(veteran, signal.SIGTERM)
        server.wait_for_event("restart_postponed", 2)

        assert server.get("/who")["pid"] == veteran
        assert server.ops("/readyz")[0] == 200
        server.unset("http_fails")
        server.wait_for_pids("http", 1, other_than={veteran})
        assert is_noted(server, "process_ended", veteran)


def test_samples_of_a_retired_worker_are_all_counted() -> None:
    with running_server() as server:
        veteran = only(server.pids("http"))
        for _ in range(7):
            server.get("/who")

        os.kill(veteran, signal.SIGTERM)
        server.wait_for_event("process_ended")

        assert server.metric(ANSWERED) == 7


def test_crash_loop_is_visible_and_slows_down_and_ends_by_itself() -> None:
    with ServerProcess() as server:
        server.set("http_fails")
        server.spawn()
        server.wait_for_event("restart_postponed", 4)

        postponed = server.events_named("restart_postponed")[:4]
        assert [event["seconds"] for event in postponed] == [0.1, 0.2, 0.4, 0.8]
        assert {event["child_role"] for event in postponed} == {"http"}
        assert len(server.events_named("process_died")) >= 4
        assert server.events_named("process_gave_up")[0]["reason"] == "as the test wants it"
        assert server.ops("/readyz") == (503, "no worker accepts connections\n")
        assert len(server.pids("background")) == 1
        server.unset("http_fails")
        server.wait_for_event("server_ready")
        assert server.ops("/readyz")[0] == 200


def test_defect_in_a_child_is_logged_with_its_traceback() -> None:
    with ServerProcess() as server:
        server.set("background_fails")
        server.spawn()

        failed = server.wait_for_event("process_failed")

        assert failed["role"] == "background"
        assert "ValueError: as the test wants it" in failed["exception"]
        assert "a-master-key" not in server.output
        assert "a-password" not in server.output


def test_worker_that_exits_in_a_request_is_replaced() -> None:
    with running_server() as server:
        victim = only(server.pids("http"))

        with pytest.raises(ConnectionError):
            server.get("/die", body="")

        server.wait_for_pids("http", 1, other_than={victim})
        assert server.events_named("process_died")[0]["status"] == 3


def test_background_process_that_ends_by_itself_is_replaced() -> None:
    with running_server() as server:
        first = only(server.pids("background"))
        server.set("background_ends")
        server.wait_for_event("process_died")
        server.unset("background_ends")

        server.wait_for_pids("background", 1, other_than={first})
        assert server.events_named("process_stopped_working")
        assert server.ops("/readyz")[0] == 200


def test_retiring_background_process_is_replaced_first() -> None:
    with running_server() as server:
        veteran = only(server.pids("background"))

        os.kill(veteran, signal.SIGTERM)

        server.wait_for_event("process_ended")
        successor = only(server.wait_for_pids("background", 1, other_than={veteran}))
        assert event_index(server, "process_started", successor) < event_index(
            server, "process_ended", veteran
        )
        assert (server.data_dir / "background_runs").read_text() == f"{veteran}\n"


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_signals_meant_for_the_parent_do_not_end_a_child(number: signal.Signals) -> None:
    with running_server() as server:
        children = server.pids("http") | server.pids("background")
        for child in children:
            os.kill(child, number)

        answered = server.get("/who")["pid"]

        # What was sent is handled before anything else that the process does later.
        assert answered in children
        assert server.pids("http") | server.pids("background") == children
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert server.events_named("process_died") == []
