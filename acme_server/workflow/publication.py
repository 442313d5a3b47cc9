"""Publishing CRLs: made anew in time, and at once when something was revoked."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import structlog

from acme_server.workflow.authority import Authority, SigningIssuer
from acme_server.workflow.clock import Clock
from policy.model.certificates import Crl, RevokedEntry
from policy.signing.crl import build_crl_tbs
from storage.certificates import Certificates
from storage.crls import Crls, CrlState
from storage.leases import Leases

_LEASE_NAME = "crl-publication"
# For one CRL; who is dead for this long is relieved of the rest.
_LEASE = timedelta(seconds=30)
# A clock that is a little behind must not find a CRL that isn't valid yet.
_BACKDATE = timedelta(minutes=5)


class PublicationUseCases:
    """The CRLs of all shards of all issuers. ``lifetime`` is from thisUpdate to nextUpdate,
    ``interval`` how often each is made anew."""

    def __init__(
        self,
        crls: Crls,
        certificates: Certificates,
        leases: Leases,
        authority: Authority,
        clock: Clock,
        *,
        owner: str,
        lifetime: timedelta,
        interval: timedelta,
    ) -> None:
        self._crls = crls
        self._certificates = certificates
        self._leases = leases
        self._authority = authority
        self._clock = clock
        self._owner = owner
        self._lifetime = lifetime
        # At least three tries before a CRL runs out.
        self._interval = min(interval, lifetime / 4)

    async def find_crl(self, issuer: str, shard: int) -> Crl | None:
        """The newest published CRL of a shard; None if there is no such issuer or shard."""
        return await self._crls.find(issuer, shard)

    async def publish_due(self) -> int:
        """Make the CRLs that are due; their number. Only one process at a time does.

        Looking costs one statement that writes nothing. The lease is kept no longer than there
        is work, so that no revocation waits for who held it last.
        """
        if not await self._find_due():
            return 0
        try:
            return await self._publish_all()
        finally:
            await self._leases.release(_LEASE_NAME, self._owner)

    async def _publish_all(self) -> int:
        """Under the lease, look again: another process may have done it meanwhile."""
        if await self._leases.take(_LEASE_NAME, self._owner, _LEASE) is None:
            return 0
        published = 0
        for issuer, shard, present in await self._find_due():
            token = await self._leases.take(_LEASE_NAME, self._owner, _LEASE)
            if token is None:
                break
            published += await self._publish(issuer, shard, present, token)
        return published

    async def _find_due(self) -> list[tuple[SigningIssuer, int, CrlState | None]]:
        """Issuer, shard and newest CRL of those that are missing, old or asked for.

        Requests are read here, before what is revoked: those of later revocations stay for the
        next run, whether the CRL lists them already or not.
        """
        states = await self._crls.states()
        shards = (
            (issuer, shard, states.get((issuer.name, shard)))
            for issuer in self._authority.signing()
            for shard in range(issuer.issuer.shards)
        )
        return [entry for entry in shards if entry[2] is None or self._is_due(entry[2])]

    async def _publish(
        self, issuer: SigningIssuer, shard: int, present: CrlState | None, token: int
    ) -> bool:
        now = self._clock.now().replace(microsecond=0)
        entries = await self._certificates.revoked(issuer.name, shard, self._lifetime)
        number = 1 if present is None else present.number + 1
        crl = await self._build(issuer, shard, number, list(entries), now)
        requests = () if present is None else present.requests
        is_published = await self._crls.publish(crl, token, requests)
        structlog.get_logger().info(
            "crl_published" if is_published else "crl_publication_came_late",
            issuer=issuer.name,
            shard=shard,
            number=number,
            entries=len(entries),
        )
        return is_published

    def _is_due(self, present: CrlState) -> bool:
        age = self._clock.now() - (present.this_update + _BACKDATE)
        return bool(present.requests) or not timedelta(0) <= age < self._interval

    async def _build(
        self,
        issuer: SigningIssuer,
        shard: int,
        number: int,
        entries: list[RevokedEntry],
        now: datetime,
    ) -> Crl:
        this_update = now - _BACKDATE
        next_update = this_update + self._lifetime
        tbs = await asyncio.to_thread(
            build_crl_tbs, issuer.facts, shard, number, entries, this_update, next_update
        )
        return Crl(
            issuer=issuer.name,
            shard=shard,
            number=number,
            this_update=this_update,
            next_update=next_update,
            der=issuer.assemble(tbs, await issuer.sign(tbs)),
        )
