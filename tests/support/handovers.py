"""Handovers to children."""

from __future__ import annotations

from acme_server.app.context import ProcessContext
from acme_server.config.settings import Settings
from acme_server.process.handover import Handover
from acme_server.process.tlsfiles import TlsPem


def make_handover(settings: Settings | None = None) -> Handover:
    """A handover with something in each field."""
    return Handover(
        context=ProcessContext(
            settings=settings or Settings(),
            database_url="postgresql://acme_app:a-password@localhost/acme",
            master_key="a-master-key",
            account="acme-server",
        ),
        factory="support.standin:build_http",
        loop="uvloop",
        parent=4711,
        channel=3,
        listeners={"acme": 4, "status": 5},
        tls=TlsPem(certificate=b"a certificate \x00\xff", key=b"a private key"),
    )
