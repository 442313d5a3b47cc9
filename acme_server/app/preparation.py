"""From settings to a database that is there, migrated and has a CA: what ``run`` does first."""

from __future__ import annotations

import asyncio
import os
import pwd
import ssl
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from acme_server.app.background import background_parts
from acme_server.app.context import ProcessContext, open_core, open_database
from acme_server.config.masterkey import find_master_key, make_master_key_file
from acme_server.config.settings import Settings
from acme_server.config.values import AutoMasterKey, MigrateMode, TlsMode
from acme_server.workflow.authority import AuthorityError, Installation, NewAuthority
from acme_server.workflow.blockedkeys import BlocklistRefused
from acme_server.workflow.clock import SystemClock
from acme_server.workflow.sealing import MasterKey, generate_master_key
from policy.model.errors import DatabaseUnavailable
from storage.embedded import EmbeddedPostgres, EmbeddedPostgresError
from storage.issuers import Issuers
from storage.maintenance import Maintenance
from storage.migrations import MigrationError, migrate, pending_migrations
from storage.pool import Database, LoginRefused
from storage.secrets import SealedSecrets
from validators.nameservers import resolver_trust

Progress = Callable[[str], None]
_DATABASE_PAUSE = 1.0


class PreparationFailed(Exception):
    """The server can't start; the text names the setting and the remedy."""


class Prepared:
    """A database that is ready to be served, and what keeps it so."""

    def __init__(
        self, context: ProcessContext, embedded: EmbeddedPostgres | None, database: Database
    ) -> None:
        self.context = context
        self._embedded = embedded
        self._database = database

    async def supervise(self) -> None:
        """Keep the embedded database running; waits for ever where there is none."""
        if self._embedded is None:
            await asyncio.Event().wait()
        else:
            await self._embedded.supervise()

    async def is_database_up(self) -> bool:
        """Whether the database answers now."""
        try:
            await Maintenance(self._database).check()
        except DatabaseUnavailable:
            return False
        return True

    async def check(self, settings: Settings) -> None:
        """Whether children can be built with ``settings``: all files and names in them that only
        the use shows to be wrong. Raises PreparationFailed."""
        _check_resolver_ca(settings)
        try:
            core = await open_core(replace(self.context, settings=settings))
        except (AuthorityError, BlocklistRefused) as error:
            raise PreparationFailed(str(error)) from error
        except DatabaseUnavailable as error:
            raise PreparationFailed(
                f"the database does not answer, so nothing can be tried out: {error}; reload "
                "again when it is back"
            ) from error
        await core.database.close()

    async def stop(self) -> None:
        """Let go of the database, and stop it if it is the embedded one."""
        await self._database.close()
        if self._embedded is not None:
            self._embedded.stop()


async def prepare(settings: Settings, progress: Progress) -> Prepared:
    """Start or wait for the database, migrate it, make the CA at the very first start.

    Raises PreparationFailed. What was started is stopped again then.
    """
    _check_resolver_ca(settings)
    embedded = _start_embedded(settings, progress) if settings.database.is_embedded else None
    try:
        return await _prepare(settings, embedded, progress)
    except BaseException as error:
        if embedded is not None:
            embedded.stop()
        if isinstance(error, MigrationError | AuthorityError | BlocklistRefused):
            raise PreparationFailed(str(error)) from error
        raise


def _check_resolver_ca(settings: Settings) -> None:
    """Here, where the operator is told; the workers read it when they build their resolver."""
    path = settings.validation.resolver_ca
    if path is None:
        return
    try:
        resolver_trust(path)
    except OSError as error:  # ssl.SSLError for a file that holds no certificates
        raise PreparationFailed(
            f"validation.resolver_ca: can't read CA certificates (PEM) from {path}: {error}"
        ) from error


async def _prepare(
    settings: Settings, embedded: EmbeddedPostgres | None, progress: Progress
) -> Prepared:
    url, owner_url = _urls(settings, embedded)
    database = await _wait_for_database(settings, url, progress)
    try:
        await _migrate(settings, url, owner_url, progress)
        master_key = _master_key(settings)
        await _establish(settings, database, MasterKey.from_text(master_key), progress)
        account = None if embedded is None or os.geteuid() != 0 else embedded.account.name
        context = ProcessContext(
            settings=settings,
            database_url=url,
            master_key=master_key,
            account=account or _account_for_root(settings),
        )
        await _first_work(context)
        return Prepared(context, embedded, database)
    except BaseException:
        await database.close()
        raise


def _start_embedded(settings: Settings, progress: Progress) -> EmbeddedPostgres:
    embedded = EmbeddedPostgres(
        settings.data_dir, user=settings.database.user, bin_dir=settings.database.bin_dir
    )
    try:
        embedded.start(progress)
    except EmbeddedPostgresError as error:
        raise PreparationFailed(str(error)) from error
    return embedded


def _urls(settings: Settings, embedded: EmbeddedPostgres | None) -> tuple[str, str]:
    if embedded is not None:
        return embedded.app_url, embedded.owner_url
    url = settings.database.url
    return url, settings.database.owner_url or url


async def _wait_for_database(settings: Settings, url: str, progress: Progress) -> Database:
    """An open pool, however long the database takes to come up."""
    is_told = False
    while True:
        try:
            return await open_database(settings, url, max_size=2)
        except DatabaseUnavailable as error:
            if not is_told:
                progress(f"waiting for the database of database.url ({error})")
                is_told = True
        except LoginRefused as error:
            raise PreparationFailed(
                f"database.url: PostgreSQL refuses the login: {error}; check user and password"
            ) from error
        await asyncio.sleep(_DATABASE_PAUSE)


async def _migrate(settings: Settings, url: str, owner_url: str, progress: Progress) -> None:
    if settings.database.migrate is MigrateMode.MANUAL:
        if missing := await pending_migrations(owner_url):
            raise PreparationFailed(
                f"the database lacks the migrations {', '.join(missing)} and database.migrate is "
                "manual: run acme-server db migrate"
            )
        return
    for name in await migrate(owner_url, urlsplit(url).username):
        progress(f"applied migration {name}")


def _master_key(settings: Settings) -> str:
    """The text of the master key; made at the first start of an embedded installation."""
    text = find_master_key(settings, os.environ)
    if text is None:
        if not isinstance(settings.secrets.master_key, AutoMasterKey):
            raise PreparationFailed("secrets.master_key names no key")
        text = make_master_key_file(settings.master_key_file, generate_master_key())
    try:
        MasterKey.from_text(text)
    except ValueError as error:
        raise PreparationFailed(f"secrets.master_key: {error}") from error
    return text


async def _establish(
    settings: Settings, database: Database, master_key: MasterKey, progress: Progress
) -> None:
    clock = SystemClock()
    installation = Installation(Issuers(database), SealedSecrets(database), master_key, clock)
    ca = settings.ca
    new = NewAuthority(
        name=ca.name,
        common_name=ca.common_name,
        organization=ca.organization,
        key_type=ca.key_type.value,
        root_lifetime=ca.root_lifetime,
        issuing_lifetime=ca.issuing_lifetime,
        shards=ca.shards,
    )
    if await installation.establish(new, settings.server.status_url):
        progress(f"made a certification authority: {ca.common_name}")
    authority = await installation.load(settings.server.status_url)
    _write_roots(settings.data_dir, ssl.DER_cert_to_PEM_cert(authority.root()))


async def _first_work(context: ProcessContext) -> None:
    """What must be there before the first request: CRLs and the server's own certificate."""
    core = await open_core(context)
    try:
        parts = background_parts(core)
        await parts.maintenance.ensure_partitions()
        await parts.publication.publish_due()
        if context.settings.server.tls is TlsMode.AUTO:
            await parts.service_certificate.renew_if_due()
    finally:
        await core.database.close()


def _account_for_root(settings: Settings) -> str | None:
    """Whom children become as root with an external database: as with an embedded one."""
    if os.geteuid() != 0:
        return None
    for name in (settings.database.user, "acme-server", "postgres"):
        if name is not None:
            try:
                return pwd.getpwnam(name).pw_name
            except KeyError:
                continue
    raise PreparationFailed(
        "started as root, and there is no account to serve as: set database.user to an "
        "unprivileged account, or create one named acme-server"
    )


def _write_roots(data_dir: Path, pem: str) -> None:
    """Put the root where clients on this machine find it, whole at any moment."""
    path = data_dir / "roots.pem"
    if path.exists() and path.read_text("ascii") == pem:
        return
    data_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=data_dir, prefix=".roots.", delete=False) as file:
        file.write(pem)
        os.fchmod(file.fileno(), 0o644)
    Path(file.name).replace(path)
