"""The one error of the embedded database."""

from __future__ import annotations


class EmbeddedPostgresError(Exception):
    """The embedded PostgreSQL can't be used; the text names the path or setting and the remedy."""


class DataDirectoryTaken(EmbeddedPostgresError):
    """Another process owns the database of this data directory."""
