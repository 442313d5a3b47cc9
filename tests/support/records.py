"""An installation in which something has happened, for the commands of operators."""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
from dataclasses import dataclass
from datetime import timedelta

from acme_server.workflow.accounts import NewAccountRequest
from acme_server.workflow.sealing import MasterKey, generate_master_key
from policy.model.accounts import Account, Caller
from policy.model.authorizations import ValidationTask, Verdict
from policy.model.certificates import Certificate
from policy.model.ids import CertificateId
from policy.model.orders import Order
from storage.authorizations import Authorizations
from storage.lookups import Lookups
from storage.pool import Database
from support.validation import Lab
from support.workflow import House, build_house, csr_for


@dataclass(frozen=True, kw_only=True)
class Records:
    """What ``record`` made: an account with an issued, a failed and a fresh order."""

    master_key: str
    account: Account
    issued: Order
    certificate: Certificate
    failed: Order
    failed_port: int
    failed_verdict: Verdict
    fresh: Order


async def record(url: str) -> Records:
    """Let things happen in the database at ``url``: real use cases, and a real failed http-01."""
    database = await Database.open(url)
    try:
        text = generate_master_key()
        house = await build_house(database, MasterKey.from_text(text))
        account = await _register(house)
        caller = Caller(account.id, account.thumbprint)
        ready = await house.ready_order(caller, "www.example.org", "a.example.org")
        issued = await house.issuance.finalize(
            caller, ready.id, csr_for("www.example.org", "a.example.org")
        )
        certificate = await Lookups(database).certificate(_known(issued.certificate_id))
        assert certificate is not None
        failed = await house.order(caller, "demo.localhost")
        port = closed_port()
        verdict = await _fail(database, caller, failed, port)
        fresh = await house.order(caller, "new.example.org")
        await house.publication.publish_due()
        return Records(
            master_key=text,
            account=account,
            issued=issued,
            certificate=certificate,
            failed=await house.orders.get(caller, failed.id),
            failed_port=port,
            failed_verdict=verdict,
            fresh=fresh,
        )
    finally:
        await database.close()


def closed_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _register(house: House) -> Account:
    key = secrets.token_hex(16)
    account, _ = await house.accounts.register(
        NewAccountRequest(
            jwk=b'{"kty":"oct","k":"' + key.encode() + b'"}',
            thumbprint=hashlib.sha256(os.urandom(32)).digest(),
            spki_sha256=os.urandom(32),
            contacts=("mailto:admin@example.org",),
            terms_agreed=True,
            only_return_existing=False,
            address="192.0.2.1",
        )
    )
    return account


async def _fail(database: Database, caller: Caller, order: Order, port: int) -> Verdict:
    table = Authorizations(database)
    answered = await table.answer(
        caller,
        order.authorization_ids[0],
        "http-01",
        owner="worker-1",
        lease=timedelta(minutes=1),
    )
    assert answered is not None
    task: ValidationTask | None = answered[1]
    assert task is not None
    lab = Lab(allowed=("127.0.0.0/8", "::1/128"), http_port=port, localhost_names=True)
    verdict = await lab.validate(task)
    assert await table.conclude(task, verdict)
    return verdict


def _known(value: CertificateId | None) -> CertificateId:
    assert value is not None
    return value
