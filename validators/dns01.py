"""The DNS challenge (RFC 8555, section 8.4)."""

from __future__ import annotations

from policy.model.authorizations import ValidationTask
from validators.resolver import Resolver
from validators.trace import Trace


class Dns01Validator:
    """Looks for the digest among the TXT records at ``_acme-challenge.{name}``."""

    type = "dns-01"

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    async def prove(self, task: ValidationTask, trace: Trace) -> None:
        """Returns when control is proven; raises ValidationFailure when it is not."""
        raise NotImplementedError
