"""Who gets a dump of the database gets no secret with it."""

from __future__ import annotations

import asyncio
import base64
import stat
import subprocess

import asyncpg
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    load_der_private_key,
    load_pem_private_key,
)

from acme_server.workflow.sealing import MasterKey
from benchmarks.lab import LabServer
from storage.embedded import find_binaries, find_running


async def test_dump_holds_no_secret_in_clear(server: LabServer) -> None:
    running = find_running(server.data_dir)
    assert running is not None
    await asyncio.to_thread(
        subprocess.run,
        [*server.command[:-1], "eab", "create"],
        env=server.environment,
        cwd=server.folder,
        check=True,
        capture_output=True,
    )
    key_file = server.data_dir / "master_key"
    text = key_file.read_text("ascii").strip()
    connection = await asyncpg.connect(running.owner_url)
    rows = await connection.fetch("SELECT id, purpose, sealed FROM sealed_secrets")
    await connection.close()
    master_key = MasterKey.from_text(text)
    secrets = [
        master_key.open(row["sealed"], purpose=row["purpose"], row=row["id"])
        for row in rows
        if row["purpose"] != "master-key-check"
    ]

    dump = await asyncio.to_thread(
        subprocess.run,
        [find_binaries().bin_dir / "pg_dump", "--dbname", running.owner_url],
        check=True,
        capture_output=True,
        text=True,
    )

    assert "sealed_secrets" in dump.stdout
    assert len(secrets) >= 6
    assert text not in dump.stdout
    for secret in map(_private_part, secrets):
        assert secret.hex() not in dump.stdout
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            assert encode(secret).decode("ascii")[:-4] not in dump.stdout


def _private_part(secret: bytes) -> bytes:
    """A secret without what certificates tell everybody: of a key pair, the private number."""
    if len(secret) in (32, 64):
        return secret
    load = load_pem_private_key if secret.startswith(b"-----") else load_der_private_key
    key = load(secret, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key.private_numbers().private_value.to_bytes(32)


def test_master_key_is_its_owners_alone(server: LabServer) -> None:
    for name in ("master_key", "database-passwords.json"):
        mode = (server.data_dir / name).stat().st_mode

        assert stat.S_IMODE(mode) == 0o600
