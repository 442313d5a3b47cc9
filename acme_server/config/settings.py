# ruff: noqa: RUF009 - setting() makes a field with an immutable default
"""All settings: a frozen dataclass for each section of the configuration file.

Durations are ``timedelta``, sizes bytes. The defaults are those outside of lab mode; ``lab=`` names
the other ones. What concerns several settings is in ``rules``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

from acme_server.config.acmesettings import AcmeSettings
from acme_server.config.addresses import (
    EMBEDDED,
    DatabaseUrl,
    EndpointText,
    MasterKeyText,
    NetworkText,
    OriginText,
    PathText,
)
from acme_server.config.declaration import setting
from acme_server.config.kinds import (
    Boolean,
    Duration,
    Integer,
    Listed,
    Mapped,
    Size,
    Text,
    Word,
)
from acme_server.config.limitsettings import LimitsSettings
from acme_server.config.profilesettings import ProfileSettings
from acme_server.config.validationsettings import ValidationSettings
from acme_server.config.values import (
    AutoMasterKey,
    Endpoint,
    KeyType,
    LogFormat,
    LogLevel,
    MasterKeySource,
    MigrateMode,
    Network,
    Tls,
    TlsFiles,
    TlsMode,
)

DATA_DIR = Path("acme-server-data")
ROOT_DATA_DIR = Path("/var/lib/acme-server")
_LOOPBACK = ip_address("127.0.0.1")
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?"
# The upper bound of an X.520 attribute, so that a CA's name with its suffix still fits.
_SUBJECT_PART = r"(?! ).{1,48}(?<! )"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    """Where everything is kept. ``url`` is ``embedded`` or PostgreSQL's URL."""

    url: str = setting(
        DatabaseUrl(or_embedded=True),
        "The database, as the role that serves. `embedded`: a private PostgreSQL in `data_dir`.",
        EMBEDDED,
        secret=True,
    )
    owner_url: str | None = setting(
        DatabaseUrl(or_embedded=False),
        "The same database as the role that owns the tables and migrates; empty: the same role.",
        None,
        secret=True,
    )
    migrate: MigrateMode = setting(
        Word(MigrateMode),
        "Whether `run` migrates the database; with `manual`, `acme-server db migrate` does.",
        MigrateMode.AUTO,
    )
    pool_size: int = setting(
        Integer(2, 200), "The most connections that one process opens.", 10, live=True
    )
    statement_timeout: timedelta = setting(
        Duration("100ms", "10m"),
        "The longest a statement may take.",
        timedelta(seconds=10),
        live=True,
    )
    lock_timeout: timedelta = setting(
        Duration("100ms", "10m"), "The longest wait for a lock.", timedelta(seconds=5), live=True
    )
    idle_timeout: timedelta = setting(
        Duration("1s", "10m"),
        "The longest a transaction may do nothing.",
        timedelta(seconds=30),
        live=True,
    )
    acquire_timeout: timedelta = setting(
        Duration("100ms", "1m"),
        "The longest a request waits for a connection before it is answered 503.",
        timedelta(seconds=5),
        live=True,
    )
    bin_dir: Path | None = setting(
        PathText(),
        "The directory of the embedded database's `postgres` and `initdb`; empty: found.",
        None,
    )
    user: str | None = setting(
        Text(
            "account name", pattern=r"[A-Za-z_][A-Za-z0-9_.-]{0,31}", expected="is no account name"
        ),
        "The account that runs the embedded database when the server is started as root; empty: "
        "`acme-server`, else `postgres`.",
        None,
    )

    @property
    def is_embedded(self) -> bool:
        """Whether the server runs its own PostgreSQL."""
        return self.url == EMBEDDED


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretsSettings:
    """Where the key is that opens the secrets in the database."""

    master_key: MasterKeySource = setting(
        MasterKeyText(),
        "The source of the master key, 32 bytes in base64url as `acme-server secrets generate` "
        "prints them. `auto` is a 0600 file in `data_dir`, for the embedded database only.",
        AutoMasterKey(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """The listeners and their limits."""

    listen: Endpoint = setting(
        EndpointText(),
        "Where the ACME front end listens (TLS unless `tls` is off).",
        Endpoint(_LOOPBACK, 14000),
    )
    external_url: str = setting(
        OriginText("https", "http"),
        "The URL under which clients reach the server; it stands in every URL they get. Setting it "
        "ends lab mode.",
        "https://localhost:14000",
        derived="`https://localhost` with the port of `listen`, if that is on loopback",
    )
    tls: Tls = setting(
        Mapped(Word(TlsMode), {"certificate": PathText(), "key": PathText()}, TlsFiles),
        "`auto`: the server's own CA issues its certificate. Files: PEM, read again on SIGHUP. "
        "`off`: plain HTTP, for a proxy that does TLS.",
        TlsMode.AUTO,
        live=True,
    )
    workers: int = setting(Integer(1, 256), "The number of HTTP processes.", 1, live=True)
    status_listen: Endpoint = setting(
        EndpointText(),
        "Where CRLs and CA certificates are served, in plain HTTP.",
        Endpoint(_LOOPBACK, 14080),
    )
    status_url: str = setting(
        OriginText("http"),
        "The URL under which everyone reaches the status listener. It stands in certificates for "
        "their whole life.",
        "http://localhost:14080",
        derived="`http://`, the host of `external_url` and the port of `status_listen`",
    )
    ops_listen: Endpoint = setting(
        EndpointText(),
        "Where /healthz, /readyz and /metrics are served, in plain HTTP; not for the public.",
        Endpoint(_LOOPBACK, 14090),
    )
    drain: timedelta = setting(
        Duration("0s", "10m"),
        "How long a process that stops keeps idle connections open.",
        timedelta(seconds=10),
        live=True,
    )
    body_limit: int = setting(
        Size("8KiB", "1MiB"), "The largest body of a request.", 64 * 1024, live=True
    )
    header_timeout: timedelta = setting(
        Duration("1s", "2m"),
        "From the connection, and from the first byte of a request, to the end of its head.",
        timedelta(seconds=10),
        live=True,
    )
    body_timeout: timedelta = setting(
        Duration("1s", "5m"),
        "From the end of a request's head to the end of its body.",
        timedelta(seconds=20),
        live=True,
    )
    idle_timeout: timedelta = setting(
        Duration("1s", "1h"),
        "How long a connection may rest between two requests.",
        timedelta(seconds=60),
        live=True,
    )
    response_timeout: timedelta = setting(
        Duration("1s", "5m"),
        "How long a client may take to read an answer.",
        timedelta(seconds=30),
        live=True,
    )
    max_connections: int = setting(
        Integer(10, 1_000_000),
        "The most open connections of one process; more close those that rest longest.",
        10_000,
        live=True,
    )
    trusted_proxies: tuple[Network, ...] = setting(
        Listed(NetworkText()),
        "Networks of HTTP proxies whose X-Forwarded-For tells the client's address.",
        (),
        live=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CaSettings:
    """The CA. What is not live is taken when the CA is made, at the very first start."""

    name: str = setting(
        Text(
            "name",
            pattern=_NAME,
            expected='must be letters, digits, ".", "_" and "-", such as "corp"',
        ),
        "The name of the CA in the URLs of its CRLs and certificates, for life.",
        "ca",
    )
    common_name: str = setting(
        Text("text", pattern=_SUBJECT_PART, expected="must be 1 to 48 ASCII characters"),
        "The name in the CA's certificates; ` Root` and ` Issuing` are appended.",
        "acme-server",
        lab="acme-server lab",
    )
    organization: str | None = setting(
        Text("text", pattern=_SUBJECT_PART, expected="must be 1 to 48 ASCII characters"),
        "The organization in the CA's certificates; empty: none.",
        None,
    )
    key_type: KeyType = setting(
        Word(KeyType), "The keys of the root and the issuing CA.", KeyType.EC_P256
    )
    root_lifetime: timedelta = setting(
        Duration("1d", "10950d"), "The validity of the root.", timedelta(days=3650)
    )
    issuing_lifetime: timedelta = setting(
        Duration("1d", "10950d"), "The validity of the issuing CA.", timedelta(days=1825)
    )
    certificate_lifetime: timedelta = setting(
        Duration("10m", "398d", is_whole=True),
        "The validity of certificates of the profile `tls_server`.",
        timedelta(days=90),
        live=True,
    )
    crl_lifetime: timedelta = setting(
        Duration("1h", "365d"),
        "From a CRL's thisUpdate to its nextUpdate.",
        timedelta(days=7),
        live=True,
    )
    crl_interval: timedelta = setting(
        Duration("1m", "30d"), "How often a CRL is made anew.", timedelta(days=1), live=True
    )
    cross_certificates: tuple[Path, ...] = setting(
        Listed(PathText()),
        "PEM files, each with a certificate that another CA made for ours and those above it, "
        "without that CA's root: each makes an alternate chain.",
        (),
        live=True,
    )
    chain_with_root: bool = setting(
        Boolean(),
        "Whether the chain with the root is offered too, as an alternate.",
        False,
        live=True,
    )
    shards: int = setting(
        Integer(1, 1024), "The number of CRLs that certificates are spread over.", 8, lab=1
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """What is never certified."""

    blocked_keys: tuple[Path, ...] = setting(
        Listed(PathText()),
        "Files with keys that neither certificates nor accounts may use: a SHA-256 of the DER of "
        "the SubjectPublicKeyInfo per line, in hexadecimal. Read again on SIGHUP.",
        (),
        live=True,
    )
    weak_keys: tuple[Path, ...] = setting(
        Listed(PathText()),
        "Files with the predictable RSA keys of Debian's OpenSSL, as its package openssl-blacklist "
        "has them. Read again on SIGHUP.",
        (),
        live=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggingSettings:
    """The log, on standard error."""

    level: LogLevel = setting(
        Word(LogLevel), "The least important events that are logged.", LogLevel.INFO, live=True
    )
    format: LogFormat = setting(
        Word(LogFormat),
        "`json`: one object per line. `console`: for eyes.",
        LogFormat.JSON,
        live=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration. ``lab`` is lab mode: no file and no external URL were given.

    In lab mode names below ``.localhost`` are loopback for validation (RFC 6761).
    """

    lab: bool = False
    data_dir: Path = setting(
        PathText(),
        "The directory of what the server keeps on this machine: the embedded database, the master "
        "key, `roots.pem`.",
        DATA_DIR,
        derived=f"`./{DATA_DIR}`, as root `{ROOT_DATA_DIR}`",
    )
    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    secrets: SecretsSettings = field(default_factory=SecretsSettings)
    server: ServerSettings = field(default_factory=ServerSettings)
    acme: AcmeSettings = field(default_factory=AcmeSettings)
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    ca: CaSettings = field(default_factory=CaSettings)
    policy: PolicySettings = field(default_factory=PolicySettings)
    limits: LimitsSettings = field(default_factory=LimitsSettings)
    logging: LoggingSettings = field(default_factory=LoggingSettings)
    # By name, in the order of the file.
    profiles: tuple[tuple[str, ProfileSettings], ...] = ()

    @property
    def master_key_file(self) -> Path:
        """The file of ``secrets.master_key: auto``."""
        return self.data_dir / "master_key"
