"""One server in lab mode for all client tests, with a DNS zone of its own on loopback."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from benchmarks.lab import LabServer
from support.zone import Zone


@dataclass(frozen=True, slots=True)
class ClientLab:
    """The server; the zone that it asks; its roots as it serves them over HTTP."""

    server: LabServer
    zone: Zone
    roots: Path

    @property
    def directory_url(self) -> str:
        """The URL of the ACME directory."""
        return self.server.directory_url


@contextmanager
def client_lab(folder: Path, more: Mapping[str, str] | None = None) -> Iterator[ClientLab]:
    """A running lab; ``folder`` is for its files. It gives up on silent targets soon. ``more``
    are variables of its environment."""
    with Zone(folder) as zone:
        settings = {
            "ACME_SERVER__VALIDATION__RESOLVERS": f'["{zone.endpoint}"]',
            "ACME_SERVER__VALIDATION__CONNECT_TIMEOUT": "2s",
            "ACME_SERVER__VALIDATION__RETRIES": "0",
            "ACME_SERVER__CA__CHAIN_WITH_ROOT": "true",
            **(more or {}),
        }
        with LabServer(settings) as server:
            roots = folder / "roots.pem"
            with urllib.request.urlopen(f"http://localhost:{server.status_port}/roots.pem") as got:
                roots.write_bytes(got.read())
            yield ClientLab(server, zone, roots)


@contextmanager
def web_server(port: int, answer: Callable[[str], str]) -> Iterator[None]:
    """A web server on 127.0.0.1 that answers every GET with 200 and what ``answer`` makes of the
    last part of the path: of http-01, the token."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answer(self.path.rpartition("/")[2]).encode("ascii")
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as web:
        thread = Thread(target=web.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield
        finally:
            web.shutdown()
            thread.join()
