"""The HTTP challenge (RFC 8555, section 8.3)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from policy.model.authorizations import ValidationTask
from validators.network import Dialer
from validators.trace import Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """``port`` is where targets answer; redirects may lead to ``redirect_ports`` only.

    ``response_timeout`` runs from the request to the end of the header, ``body_timeout`` from
    there to the end of the body.
    """

    port: int = 80
    redirect_ports: frozenset[int] = frozenset({80, 443})
    max_redirects: int = 10
    response_timeout: timedelta = timedelta(seconds=10)
    body_timeout: timedelta = timedelta(seconds=5)
    user_agent: str = "acme-server (http-01 validation)"


class Http01Validator:
    """Fetches ``http://{name}/.well-known/acme-challenge/{token}`` and compares."""

    type = "http-01"

    def __init__(self, dialer: Dialer, settings: HttpSettings) -> None:
        self._dialer = dialer
        self._settings = settings

    async def prove(self, task: ValidationTask, trace: Trace) -> None:
        """Returns when control is proven; raises ValidationFailure when it is not."""
        raise NotImplementedError
