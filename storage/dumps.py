"""Running pg_dump and pg_restore on a database that is named by its URL."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

_CHUNK = 1 << 20


class DumpError(Exception):
    """What pg_dump or pg_restore said when it failed."""


def dump(program: str, url: str, target: IO[bytes]) -> tuple[int, str]:
    """Run pg_dump into ``target``; its length and SHA-256. Raises DumpError."""
    # Nonces are worthless elsewhere; without them the older ones are refused.
    options = ("--format=custom", "--no-unlogged-table-data")
    digest = hashlib.sha256()
    size = 0
    with _client(program, url, *options, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while chunk := process.stdout.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            target.write(chunk)
    return size, digest.hexdigest()


def load(program: str, url: str, source: IO[bytes]) -> None:
    """Run pg_restore from ``source``, in one transaction. Raises DumpError."""
    options = ("--no-owner", "--exit-on-error", "--single-transaction")
    with _client(program, url, *options, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        # Where it gives up early it says why, and that is reported.
        with contextlib.suppress(BrokenPipeError):
            shutil.copyfileobj(source, process.stdin, _CHUNK)
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()


@contextlib.contextmanager
def _client(
    program: str,
    url: str,
    *options: str,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
) -> Iterator[subprocess.Popen[bytes]]:
    """One of PostgreSQL's programs on the database; raises what it said when it fails."""
    public_url, secrets = _without_password(url)
    with tempfile.TemporaryFile() as errors:
        with subprocess.Popen(  # noqa: S603
            [program, *options, "--no-password", f"--dbname={public_url}"],
            stdin=stdin,
            stdout=stdout,
            stderr=errors,
            env=os.environ | secrets | {"LC_ALL": "C"},
        ) as process:
            yield process
        if process.returncode != 0:
            errors.seek(0)
            said = errors.read().decode("utf-8", "replace").strip()
            raise DumpError(f"{Path(program).name} failed: {said}")


def _without_password(url: str) -> tuple[str, dict[str, str]]:
    """The URL as others may see it on a command line, and the password for the environment."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    userinfo, _, hosts = parts.netloc.rpartition("@")
    user, _, password = userinfo.partition(":")
    password = query.pop("password", unquote(password))
    netloc = f"{user}@{hosts}" if userinfo else hosts
    public = urlunsplit(parts._replace(netloc=netloc, query=urlencode(query, safe="/")))
    return public, {"PGPASSWORD": password} if password else {}
