"""Keys that are on a list of the operator's, or weak, are no keys of accounts."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from acme_server.workflow.blockedkeys import BlockedKeys
from policy.blocklists import modulus_hash, spki_hash
from storage.pool import Database
from support.acme import AcmeClient, AcmeServed, serve_house
from support.csrs import rsa_key
from support.jose import ClientKey
from support.workflow import House, build_house

_SMALL_PRIMES = math.prod(n for n in range(3, 2000, 2) if all(n % d for d in range(3, 50, 2)))


@pytest.fixture
async def house(database: Database) -> House:
    return await build_house(database)


@pytest.fixture
def blocked(tmp_path: Path) -> BlockedKeys:
    """Lists that are empty as yet: the files ``keys`` and ``moduli``."""
    paths = (tmp_path / "keys", tmp_path / "moduli")
    for path in paths:
        path.touch()
    return BlockedKeys(keys=paths[:1], weak_keys=paths[1:])


async def _register(served: AcmeServed, key: ClientKey) -> tuple[int, dict[str, object]]:
    client = AcmeClient(served, await served.connect(), key)
    reply = await client.post(served.urls.new_account, {"termsOfServiceAgreed": True})
    return reply.status, json.loads(reply.body)


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA"])
async def test_blocked_key_registers_no_account(
    house: House, blocked: BlockedKeys, tmp_path: Path, algorithm: str
) -> None:
    key = ClientKey.generate(algorithm)
    (tmp_path / "keys").write_text(spki_hash(key.private.public_key()).hex())
    blocked.reload()

    async with serve_house(house, check_key=blocked.check_account_key) as served:
        status, document = await _register(served, key)
        other, _ = await _register(served, ClientKey.generate(algorithm))

    assert (status, other) == (400, 201)
    assert document == {
        "type": "urn:ietf:params:acme:error:badPublicKey",
        "status": 400,
        "detail": (
            "The account key is refused: it is on this CA's list of compromised keys; make a new "
            "one."
        ),
    }
    assert await house.database.fetchval("SELECT count(*) FROM accounts") == 1


async def test_key_of_a_debian_list_registers_no_account(
    house: House, blocked: BlockedKeys, tmp_path: Path
) -> None:
    key = ClientKey("RS256", rsa_key())
    modulus = rsa_key().public_key().public_numbers().n
    (tmp_path / "moduli").write_text(modulus_hash(modulus).hex())
    blocked.reload()

    async with serve_house(house, check_key=blocked.check_account_key) as served:
        status, document = await _register(served, key)

    assert status == 400
    assert document["type"] == "urn:ietf:params:acme:error:badPublicKey"
    assert "Debian" in str(document["detail"])


async def test_lists_that_are_read_again_hold_at_once(
    house: House, blocked: BlockedKeys, tmp_path: Path
) -> None:
    first, second = ClientKey.generate(), ClientKey.generate()
    async with serve_house(house, check_key=blocked.check_account_key) as served:
        before, _ = await _register(served, first)
        (tmp_path / "keys").write_text(spki_hash(second.private.public_key()).hex())
        blocked.reload()
        after, _ = await _register(served, second)

    assert (before, after) == (201, 400)


def _next_prime(number: int) -> int:
    number |= 1
    while math.gcd(number, _SMALL_PRIMES) != 1 or pow(2, number - 1, number) != 1:
        number += 2
    return number


async def test_key_of_close_primes_registers_no_account(house: House) -> None:
    """The key signs rightly: what gives it away is its modulus."""
    p = rsa_key().private_numbers().p
    q = _next_prime(p + (1 << 64))
    exponent = 65_537
    d = pow(exponent, -1, math.lcm(p - 1, q - 1))
    private = rsa.RSAPrivateNumbers(
        p=p,
        q=q,
        d=d,
        dmp1=rsa.rsa_crt_dmp1(d, p),
        dmq1=rsa.rsa_crt_dmq1(d, q),
        iqmp=rsa.rsa_crt_iqmp(p, q),
        public_numbers=rsa.RSAPublicNumbers(exponent, p * q),
    ).private_key()

    async with serve_house(house) as served:
        status, document = await _register(served, ClientKey("RS256", private))

    assert status == 400
    assert document["detail"] == (
        "The account key is refused: the primes of the RSA modulus are too close to each other."
    )
