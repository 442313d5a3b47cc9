"""What each route of the server says to an account that is over, and to one that must agree."""

from __future__ import annotations

import re

import pytest

from acme_server.web import urls as paths
from storage.pool import Database
from support.acme import AcmeClient, any_id, encoded, serve_house
from support.workflow import House, build_house

OLD, NEW = "https://acme.example/terms/1", "https://acme.example/terms/2"
# All that signed requests go to, whatever comes to be served; newAccount is signed by a key.
ROUTES = sorted(
    path
    for path in vars(paths).values()
    if isinstance(path, str) and path.startswith(("/acme/", paths.DIRECTORY))
)
BY_KEY = {paths.NEW_ACCOUNT}
# What must stay possible without agreement, and fails for what the payload lacks.
REGARDLESS_OF_TERMS = {paths.ACCOUNT, paths.KEY_CHANGE, paths.REVOKE_CERTIFICATE}


@pytest.fixture
async def house(database: Database) -> House:
    """The use cases on a fresh database."""
    return await build_house(database)


def target(client: AcmeClient, path: str) -> str:
    """A URL of the route: the client's own account, any other object."""
    own = path in (paths.ACCOUNT, paths.ACCOUNT_ORDERS)
    id_ = client.account_id if own else encoded(any_id())
    path = path.replace("{id}", id_).replace("{type}", "http-01")
    return client.urls.base + re.sub(r"\{\w+\}", "1", path)


async def outcomes(client: AcmeClient, payload: object) -> dict[str, tuple[int, str]]:
    """Status and type of each route's refusal of a right request with this payload."""
    found = {}
    for path in ROUTES:
        if path not in BY_KEY:
            reply = await client.post(target(client, path), payload)
            kind = str(reply.problem()["type"]) if reply.status >= 400 else ""
            found[path] = reply.status, kind.rpartition(":")[2]
    return found


@pytest.mark.parametrize("payload", [b"", {}])
async def test_no_route_serves_a_deactivated_account(house: House, payload: object) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        assert client.kid is not None
        await client.post(client.kid, {"status": "deactivated"})
        found = await outcomes(client, payload)

    assert len(found) > 10
    assert found == dict.fromkeys(found, (401, "unauthorized"))


@pytest.mark.parametrize("payload", [b"", {}])
async def test_no_other_route_serves_who_has_not_agreed(house: House, payload: object) -> None:
    async with serve_house(house, terms=OLD) as before:
        client = await before.registered()
    async with serve_house(house, terms=NEW) as served:
        client = await served.connection_of(client)
        found = await outcomes(client, payload)

    refused = {path for path, (_, kind) in found.items() if kind == "userActionRequired"}
    assert refused == found.keys() - REGARDLESS_OF_TERMS
    assert {found[path][0] for path in refused} == {403}
