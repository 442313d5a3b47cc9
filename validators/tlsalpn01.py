"""The TLS ALPN challenge (RFC 8737; for addresses RFC 8738)."""

from __future__ import annotations

from policy.model.authorizations import ValidationTask
from validators.network import Dialer
from validators.trace import Trace


class TlsAlpn01Validator:
    """Does a TLS handshake for ``acme-tls/1`` and examines the certificate presented."""

    type = "tls-alpn-01"

    def __init__(self, dialer: Dialer, port: int = 443) -> None:
        self._dialer = dialer
        self._port = port

    async def prove(self, task: ValidationTask, trace: Trace) -> None:
        """Returns when control is proven; raises ValidationFailure when it is not."""
        raise NotImplementedError
