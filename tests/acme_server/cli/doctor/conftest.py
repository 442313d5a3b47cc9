"""Sites to examine, and servers that are met on the way."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from acme_server.cli.doctor.site import Site
from acme_server.config.loader import build_settings
from acme_server.config.values import Endpoint, EnvironmentMasterKey
from acme_server.workflow.inspection import DatabaseFacts, inspect
from support.doctor import own_database
from support.postgres import PostgresCluster, run_apart
from support.records import closed_port

MakeSite = Callable[..., Site]
Serve = Callable[..., int]


@pytest.fixture
def make_site(tmp_path: Path) -> MakeSite:
    """A site on free ports, whose server does not run; settings by key, the rest by name.

    ``lab=True`` makes it a laboratory.
    """

    def make(values: Mapping[str, Any] | None = None, *, lab: bool = False, **more: Any) -> Site:
        loopback = build_settings({}, is_lab=True).server.listen.address
        given: dict[str, Any] = {
            "data_dir": tmp_path,
            "server.listen": Endpoint(loopback, closed_port()),
            "server.status_listen": Endpoint(loopback, closed_port()),
            "server.ops_listen": Endpoint(loopback, closed_port()),
            "secrets.master_key": EnvironmentMasterKey("MASTER_KEY"),
        }
        settings = build_settings(given | dict(values or {}), is_lab=lab)
        return Site(settings=settings, **({"seconds": 10.0} | more))

    return make


@pytest.fixture(scope="module")
def facts(postgres_cluster: PostgresCluster, migrated_template: str) -> DatabaseFacts:
    """A fresh migrated database, as it was."""
    with own_database(postgres_cluster, migrated_template) as url:
        return run_apart(inspect(url))


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start an HTTP server that answers by path; its port."""
    servers: list[ThreadingHTTPServer] = []

    def start(
        answers: Mapping[str, tuple[int, bytes]], *, tls: ssl.SSLContext | None = None
    ) -> int:
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(answers))
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        port: int = server.server_address[1]
        return port

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A socket that listens and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        yield held


def _handler(answers: Mapping[str, tuple[int, bytes]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers.get(self.path, (404, b"nothing here"))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
