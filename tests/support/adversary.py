"""What hostile clients have in common: how they send, and what must hold after each of them."""

from __future__ import annotations

import json
from typing import Any

from storage.pool import Database
from support.acme import AcmeClient
from support.edge import Reply

NAMESPACE = "urn:ietf:params:acme:error:"
# RFC 8555, section 6.7, and the types that later RFCs registered.
REGISTERED_TYPES = frozenset(
    NAMESPACE + suffix
    for suffix in (
        "accountDoesNotExist",
        "alreadyReplaced",
        "alreadyRevoked",
        "badCSR",
        "badNonce",
        "badPublicKey",
        "badRevocationReason",
        "badSignatureAlgorithm",
        "caa",
        "compound",
        "connection",
        "dns",
        "externalAccountRequired",
        "incorrectResponse",
        "invalidContact",
        "invalidProfile",
        "malformed",
        "orderNotReady",
        "rateLimited",
        "rejectedIdentifier",
        "serverInternal",
        "tls",
        "unauthorized",
        "unsupportedContact",
        "unsupportedIdentifier",
        "userActionRequired",
    )
)
_STATE = (
    "accounts",
    "orders",
    "authorizations",
    "validations",
    "proven_names",
    "certificates",
    "serials",
    "audit_events",
)
_DIGESTS = " UNION ALL ".join(
    f"SELECT '{table}' AS name, md5(string_agg(t::text, ',' ORDER BY t::text)) AS digest "
    f"FROM {table} AS t"
    for table in _STATE
)


def parsed(reply: Reply) -> dict[str, Any]:
    """The object in an answer."""
    document: dict[str, Any] = json.loads(reply.body)
    return document


def outcome(reply: Reply) -> tuple[int, str]:
    """The status, and the type of the problem without its namespace or ``ok``."""
    if reply.status < 300:
        return reply.status, "ok"
    return reply.status, str(reply.problem()["type"]).removeprefix(NAMESPACE)


def order_for(*names: str) -> dict[str, Any]:
    """The payload of a newOrder for DNS names."""
    return {"identifiers": [{"type": "dns", "value": name} for name in names]}


def fault_of(reply: Reply) -> str | None:
    """What is wrong with the answer to a signed request, whatever it asked; None if nothing is."""
    if (fault := fault_of_problem(reply)) is not None or reply.status < 400:
        return fault
    if '<https://acme.example/directory>;rel="index"' not in reply.links:
        return "no link to the directory"
    return None if reply.headers.get("replay-nonce") else "no nonce"


def fault_of_problem(reply: Reply) -> str | None:
    """What is wrong with any answer; None if nothing is."""
    if reply.status >= 500:
        return f"status {reply.status}"
    if "server" in reply.headers:
        return "a banner"
    if reply.status < 400:
        return None
    if reply.headers.get("content-type") != "application/problem+json":
        return "an error that is no problem document"
    try:
        problem = json.loads(reply.body)
        detail, kind, status = problem["detail"], problem["type"], problem["status"]
    except (ValueError, KeyError, TypeError) as error:
        return f"a problem that cannot be read: {error!r}"
    if kind not in REGISTERED_TYPES or status != reply.status:
        return f"{status} {kind} in an answer with {reply.status}"
    if not (0 < len(detail.encode()) <= 1000 and detail.isprintable()) or "Traceback" in detail:
        return f"the detail {detail!r}"
    return None


async def state_of(database: Database) -> dict[str, str | None]:
    """A digest of all rows of each table that requests change."""
    rows = await database.fetch(_DIGESTS)
    return {row["name"]: row["digest"] for row in rows}


class Chain:
    """A client that signs each request with the nonce of the answer before, as clients do."""

    def __init__(self, client: AcmeClient, nonce: str) -> None:
        self.client = client
        self._nonce = nonce

    @classmethod
    async def of(cls, client: AcmeClient) -> Chain:
        """Starting with a nonce of newNonce."""
        return cls(client, await client.nonce())

    async def post(self, url: str, payload: object, **header: Any) -> Reply:
        """A right request, but for what ``header`` changes."""
        client = self.client
        who = {"jwk": client.key.jwk} if client.kid is None else {"kid": client.kid}
        right = {"alg": client.key.algorithm, **who, "nonce": self._nonce, "url": url}
        reply = await client.send(url, client.key.sign({**right, **header}, payload))
        self._nonce = reply.headers["replay-nonce"]
        return reply
