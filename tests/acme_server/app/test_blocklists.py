"""Lists of blocked keys in a server: needed at the start, read again on SIGHUP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from acme_server.app.http import HttpWorker, build_http_worker
from acme_server.app.preparation import PreparationFailed, prepare
from acme_server.config.loader import load_settings
from acme_server.config.settings import Settings
from acme_server.web.requestlog import NoRecorder
from acme_server.workflow.sealing import generate_master_key
from policy.blocklists import spki_hash
from support.csrs import ec_key
from support.postgres import PostgresCluster


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """The file of ``policy.blocked_keys``, empty."""
    path = tmp_path / "blocked"
    path.touch()
    return path


@pytest.fixture
def settings(
    postgres_cluster: PostgresCluster,
    migrated_database: str,
    tmp_path: Path,
    listed: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Settings:
    """An installation on a database of its own, in plain HTTP."""
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("MASTER_KEY", generate_master_key())
    return load_settings(
        None,
        {
            "ACME_SERVER__DATA_DIR": str(tmp_path / "data"),
            "ACME_SERVER__DATABASE__URL": postgres_cluster.app_url(migrated_database),
            "ACME_SERVER__DATABASE__OWNER_URL": postgres_cluster.owner_url(migrated_database),
            "ACME_SERVER__SECRETS__MASTER_KEY": "env:MASTER_KEY",
            "ACME_SERVER__SERVER__EXTERNAL_URL": "http://acme.example:14000",
            "ACME_SERVER__SERVER__STATUS_URL": "http://acme.example:14080",
            "ACME_SERVER__SERVER__TLS": "off",
            "ACME_SERVER__POLICY__BLOCKED_KEYS": f"[{listed}]",
        },
    )


@pytest.fixture
async def worker(settings: Settings) -> AsyncIterator[HttpWorker]:
    prepared = await prepare(settings, lambda text: None)
    worker = await build_http_worker(prepared.context, NoRecorder())
    yield worker
    await worker.drain(1.0)
    await prepared.stop()


def _block(listed: Path) -> None:
    listed.write_text(spki_hash(ec_key().public_key()).hex())


def _damage(listed: Path) -> None:
    listed.write_text("no hash")


def _is_blocked(worker: HttpWorker) -> bool:
    blocked = worker._core.blocked_keys.current
    return blocked.refusal_of(ec_key().public_key()) is not None


async def test_worker_reads_its_lists_again_when_it_is_told_to(
    worker: HttpWorker, listed: Path
) -> None:
    before = _is_blocked(worker)
    _block(listed)

    await worker.reload()

    assert not before
    assert _is_blocked(worker)


async def test_list_that_can_not_be_read_leaves_the_old_one_in_force_and_is_logged(
    worker: HttpWorker, listed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _block(listed)
    await worker.reload()
    _damage(listed)

    await worker.reload()

    assert _is_blocked(worker)
    logged = capsys.readouterr().out
    assert "blocklist_not_reloaded" in logged
    assert "line 1 is not 64 hexadecimal digits" in logged


async def test_server_does_not_start_with_a_list_that_can_not_be_read(
    settings: Settings, listed: Path
) -> None:
    _damage(listed)

    with pytest.raises(PreparationFailed, match=rf"policy\.blocked_keys: {listed}: line 1"):
        await prepare(settings, lambda text: None)


async def test_list_that_did_not_change_is_not_read_again(worker: HttpWorker, listed: Path) -> None:
    before = worker._core.blocked_keys.current

    await worker.reload()

    assert worker._core.blocked_keys.current is before


@pytest.mark.parametrize(
    ("section", "changes", "named"),
    [
        ("validation", {"resolver_ca": Path("/nowhere.pem")}, "validation.resolver_ca"),
        ("policy", {"blocked_keys": (Path("/nowhere"),)}, "policy.blocked_keys"),
        ("ca", {"cross_certificates": (Path("/nowhere"),)}, "ca.cross_certificates"),
    ],
)
async def test_settings_are_tried_out_before_a_running_server_takes_them_up(
    settings: Settings, section: str, changes: dict[str, object], named: str
) -> None:
    prepared = await prepare(settings, lambda text: None)
    try:
        await prepared.check(settings)
        part = replace(getattr(settings, section), **changes)
        with pytest.raises(PreparationFailed, match=named):
            await prepared.check(replace(settings, **{section: part}))
    finally:
        await prepared.stop()
