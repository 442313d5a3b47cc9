"""Start and stop of a whole server: in which order, with what said, and with nothing left."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from support.embedded import wait_for_end
from support.serverprocess import ServerProcess, running_server, until


def connect(port: int) -> socket.socket:
    """A connection; raises ConnectionRefusedError while nobody listens."""
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def children_of(pid: int) -> set[int]:
    """The process ids of the live children of a process."""
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def test_server_that_waits_for_its_database_says_so_and_refuses_connections() -> None:
    with ServerProcess() as server:
        server.set("database_away")
        server.spawn()
        until(lambda: "acme-server: waiting for the database" in server.output, "progress")

        assert server.ops("/healthz") == (200, "ok\n")
        status, reason = server.ops("/readyz")
        assert status == 503
        assert "database" in reason
        for port in (server.port, server.status_port):
            with pytest.raises(ConnectionRefusedError):
                connect(port)
        assert children_of(server.pid) == set()


def test_server_is_ready_once_the_database_has_answered() -> None:
    with ServerProcess() as server:
        server.set("database_away")
        server.spawn()
        until(lambda: "waiting for the database" in server.output, "progress")

        server.unset("database_away")
        server.wait_for_event("server_ready")

        assert server.ops("/readyz") == (200, "ready\n")
        assert server.get("/who")["pid"] in server.pids("http")
        assert server.get("/who", port=server.status_port)["pid"] in server.pids("http")


def test_waiting_server_can_be_stopped() -> None:
    with ServerProcess() as server:
        server.set("database_away")
        server.spawn()
        until(lambda: "waiting for the database" in server.output, "progress")

        server.signal(signal.SIGTERM)

        assert server.wait() == 0
        assert not server.is_set("database_stopped")


def test_ports_are_taken_before_the_database_answers() -> None:
    with ServerProcess() as first, ServerProcess() as second:
        first.set("database_away")
        first.spawn()
        until(lambda: "waiting for the database" in first.output, "progress")
        second.port = first.port
        second.configure()

        second.spawn()

        assert second.wait() == 1
        assert (
            f"acme-server: server.listen: can't listen on 127.0.0.1:{first.port}" in second.output
        )
        assert "Traceback" not in second.output


def test_start_that_is_refused_ends_with_one_line() -> None:
    with ServerProcess() as server:
        server.set("database_refuses")

        server.spawn()

        assert server.wait() == 1
        assert server.output == "acme-server: database.url: the database refuses the login\n"


def test_banner_comes_once_when_all_serve() -> None:
    with running_server(server={"workers": 2}) as server:
        assert server.output.count("acme-server is ready: ") == 1
        before_banner = server.output.partition("acme-server is ready")[0]
        assert before_banner.count('"process_started"') == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_orderly_stop_ends_all_and_then_the_database(number: signal.Signals) -> None:
    with running_server(server={"workers": 2}) as server:
        children = children_of(server.pid)
        assert len(children) == 3

        server.signal(number)

        assert server.wait() == 0
        for child in children:
            wait_for_end(child)
        assert server.is_set("database_stopped")
        assert {event["status"] for event in server.events_named("process_ended")} == {0}
        assert len(server.events_named("process_ended")) == 3
        assert server.events_named("process_died") == []


def test_stopping_server_answers_open_connections_with_the_news_and_takes_no_new_ones() -> None:
    with (
        running_server() as server,
        closing(HTTPConnection("127.0.0.1", server.port, 30)) as wire,
    ):
        wire.request("GET", "/who")
        wire.getresponse().read()
        server.signal(signal.SIGTERM)
        server.wait_for_event("server_stopping")

        def is_refused() -> bool:
            try:
                connect(server.port).close()
            except ConnectionRefusedError:
                return True
            return False

        until(is_refused, "refusal of new connections")
        assert server.ops("/readyz") == (503, "the server is stopping\n")
        assert server.ops("/healthz")[0] == 200
        wire.request("GET", "/who")
        answer = wire.getresponse()
        answer.read()
        assert answer.status == 200
        assert answer.headers["Connection"] == "close"
        assert server.wait() == 0


def test_second_signal_ends_what_the_first_lets_rest() -> None:
    with (
        running_server(server={"drain": "10m"}) as server,
        closing(connect(server.port)),
    ):
        # Accepted for sure: the worker answers what comes later.
        server.get("/who")
        server.signal(signal.SIGTERM)
        server.wait_for_event("server_stopping")

        server.signal(signal.SIGTERM)

        assert server.wait() == 0
        assert server.events_named("process_killed")
        assert server.is_set("database_stopped")


def test_killed_parent_takes_all_with_it() -> None:
    with running_server(server={"workers": 2}) as server:
        children = children_of(server.pid)
        assert len(children) == 3

        server.signal(signal.SIGKILL)

        server.wait()
        for child in children:
            wait_for_end(child)


def test_parent_killed_while_a_child_starts_takes_it_along() -> None:
    with ServerProcess() as server:
        server.set("http_hangs")
        server.spawn()
        until(lambda: len(server.pids("background")) == 1, "the background process")
        children = children_of(server.pid)
        assert len(children) == 2

        server.signal(signal.SIGKILL)

        server.wait()
        for child in children:
            wait_for_end(child)


def test_children_stop_in_a_start_that_hangs() -> None:
    with ServerProcess() as server:
        server.set("http_hangs")
        server.spawn()
        until(lambda: len(server.pids("background")) == 1, "the background process")

        server.signal(signal.SIGTERM)

        assert server.wait() == 0
        assert server.events_named("process_killed") == []


def test_database_that_cannot_be_kept_ends_the_server_with_an_error() -> None:
    with running_server() as server:
        server.set("supervision_fails")

        assert server.wait() == 1
        assert server.events_named("database_supervision_failed")
        assert server.events_named("process_killed") == []
        assert server.is_set("database_stopped")


def test_readiness_follows_the_database() -> None:
    with running_server() as server:
        server.set("database_away")

        assert server.ops("/readyz") == (503, "the database does not answer\n")
        server.unset("database_away")
        assert server.ops("/readyz") == (200, "ready\n")


def test_reader_of_the_log_may_go_away() -> None:
    read, write = os.pipe()
    with ServerProcess() as server:
        server.spawn_writing_to(write)
        os.close(write)
        started = b""
        while b"server_ready" not in started:
            started += os.read(read, 65536)
        os.close(read)

        answers = {server.fetch("/who")[0] for _ in range(3)}
        deaths = server.metric('acme_process_unexpected_ends_total{role="http"}')

        assert answers == {200}
        assert deaths is None
        server.signal(signal.SIGTERM)
        assert server.wait() == 0


def test_closed_terminal_stops_the_server() -> None:
    terminal, end = os.openpty()
    with ServerProcess() as server:
        server.spawn_on_terminal(end)
        os.close(end)
        said = b""
        while b"server_ready" not in said:
            said += os.read(terminal, 65536)

        os.close(terminal)

        assert server.wait() == 0
        assert server.is_set("database_stopped")


def test_hangup_on_a_terminal_that_is_still_there_is_a_reload() -> None:
    terminal, end = os.openpty()
    with ServerProcess() as server:
        server.spawn_on_terminal(end)
        os.close(end)
        said = b""
        for event in (b"server_ready", b"configuration_reloaded"):
            while event not in said:
                said += os.read(terminal, 65536)
            server.signal(signal.SIGHUP)

        assert server.ops("/readyz")[0] == 200
        os.close(terminal)
        assert server.wait() == 0


def test_time_to_stop_without_connections_is_not_the_drain() -> None:
    with running_server(server={"drain": "10m"}) as server:
        started = time.monotonic()
        server.signal(signal.SIGTERM)

        assert server.wait() == 0
        assert time.monotonic() - started < 600
