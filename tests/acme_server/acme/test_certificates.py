"""Certificates are downloaded in the form and with the chain that a client asks for."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import load_der_pkcs7_certificates

from storage.pool import Database
from support.acme import JOSE, AcmeClient, serve_house
from support.edge import Reply
from support.jose import b64
from support.workflow import STATUS_URL, House, build_house, csr_for

PEM = "application/pem-certificate-chain"
INDEX = '<https://acme.example/directory>;rel="index"'


@pytest.fixture
async def house(database: Database) -> House:
    """The use cases on a fresh database, with an alternate chain."""
    return await build_house(database, with_root=True)


async def issue(client: AcmeClient) -> str:
    """The URL of a new certificate."""
    payload = {"identifiers": [{"type": "dns", "value": "a.example"}]}
    order = json.loads((await client.post(client.urls.new_order, payload)).body)
    challenge = json.loads((await client.read(order["authorizations"][0])).body)["challenges"][0]
    await client.post(challenge["url"], {})
    done = await client.post(order["finalize"], {"csr": b64(csr_for("a.example"))})
    return str(json.loads(done.body)["certificate"])


async def get(client: AcmeClient, url: str, accept: str | None = None) -> Reply:
    """POST-as-GET with an Accept header."""
    body = json.dumps(client.key.sign(await client.header(url), b"")).encode()
    headers = {"Content-Type": JOSE} | ({} if accept is None else {"Accept": accept})
    return await client.request("POST", url.removeprefix(client.urls.origin), body, headers)


def links(reply: Reply) -> list[str]:
    """The links that are this answer's own."""
    return [link for link in reply.links if link != INDEX]


@pytest.mark.parametrize("accept", [None, "*/*", PEM, "text/html", "nonsense"])
async def test_default_is_the_chain_in_pem_without_the_root(
    house: House, accept: str | None
) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        url = await issue(client)
        reply = await get(client, url, accept)

    leaf, issuing = x509.load_pem_x509_certificates(reply.body)
    leaf.verify_directly_issued_by(issuing)
    assert reply.headers["content-type"] == PEM
    assert links(reply) == [f'<{url}/1>;rel="alternate"']


async def test_alternate_chain_ends_with_the_root_and_leads_back(
    house: House, tmp_path: Path
) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        url = await issue(client)
        reply = await get(client, f"{url}/1")

    leaf, issuing, root = x509.load_pem_x509_certificates(reply.body)
    leaf.verify_directly_issued_by(issuing)
    assert root.public_bytes(Encoding.DER) == house.authority.root()
    assert links(reply) == [f'<{url}>;rel="alternate"']
    (tmp_path / "chain.pem").write_bytes(reply.body)
    (tmp_path / "root.pem").write_bytes(root.public_bytes(Encoding.PEM))
    command = ["openssl", "verify", "-CAfile", tmp_path / "root.pem", "-untrusted"]
    await asyncio.to_thread(
        subprocess.run,
        [*command, tmp_path / "chain.pem", tmp_path / "chain.pem"],
        check=True,
        stdout=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("suffix", ["", "/1"])
async def test_single_certificate_is_der_with_a_link_to_its_issuer(
    house: House, suffix: str
) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        url = await issue(client)
        chain = await get(client, url)
        reply = await get(client, url + suffix, "application/pkix-cert")

    leaf = x509.load_pem_x509_certificates(chain.body)[0]
    assert reply.body == leaf.public_bytes(Encoding.DER)
    assert reply.headers["content-type"] == "application/pkix-cert"
    assert links(reply) == [f'<{STATUS_URL}/ca/ca.crt>;rel="up"']


@pytest.mark.parametrize(("suffix", "count"), [("", 2), ("/1", 3)])
async def test_pkcs7_has_the_certificates_of_the_chain(
    house: House, suffix: str, count: int
) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        url = await issue(client)
        chain = await get(client, url + suffix)
        reply = await get(client, url + suffix, "application/pkcs7-mime")

    found = load_der_pkcs7_certificates(reply.body)
    assert set(found) == set(x509.load_pem_x509_certificates(chain.body))
    assert len(found) == count
    assert reply.headers["content-type"] == "application/pkcs7-mime; smime-type=certs-only"
    assert links(reply) == links(chain)


@pytest.mark.parametrize("number", ["0", "2", "01", "-1", "1/", "x", "", "1" * 30])
async def test_chain_that_is_not_there_is_not_found(house: House, number: str) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        url = await issue(client)
        reply = await get(client, f"{url}/{number}")

    assert reply.status == 404


async def test_alternate_of_another_accounts_certificate_is_not_found(house: House) -> None:
    async with serve_house(house) as served:
        owner, stranger = await served.registered(), await served.registered()
        url = await issue(owner)
        reply = await get(stranger, f"{url}/1")

    assert reply.status == 404


async def test_without_alternates_there_are_no_links_to_any(database: Database) -> None:
    plain = await build_house(database)
    async with serve_house(plain) as served:
        client = await served.registered()
        url = await issue(client)
        reply = await get(client, url)
        missing = await get(client, f"{url}/1")

    assert links(reply) == []
    assert missing.status == 404
