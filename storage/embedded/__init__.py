"""A private PostgreSQL for a server that was given no other.

``EmbeddedPostgres`` is the server's own; commands use ``join_or_start``. The rules are in
``docs/adr/``; the package is the only place that knows how PostgreSQL is run.
"""

from storage.embedded.account import Account
from storage.embedded.binaries import Binaries, find_binaries
from storage.embedded.errors import DataDirectoryTaken, EmbeddedPostgresError
from storage.embedded.joining import RunningDatabase, find_running, join_or_start
from storage.embedded.progress import Progress
from storage.embedded.supervisor import EmbeddedPostgres
from storage.embedded.upgrade import upgrade

__all__ = [
    "Account",
    "Binaries",
    "DataDirectoryTaken",
    "EmbeddedPostgres",
    "EmbeddedPostgresError",
    "Progress",
    "RunningDatabase",
    "find_binaries",
    "find_running",
    "join_or_start",
    "upgrade",
]
