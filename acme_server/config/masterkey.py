"""Where the text of the master key comes from; what it means is ``workflow.sealing``'s business."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from acme_server.config.problems import ConfigurationError, Problem
from acme_server.config.settings import Settings
from acme_server.config.values import EnvironmentMasterKey, FileMasterKey

_KEY = "secrets.master_key"
_MAX_BYTES = 1024


def find_master_key(settings: Settings, environ: Mapping[str, str]) -> str | None:
    """The text of the key; None while ``auto`` has not made its file.

    Raises ConfigurationError for a source that was named and has no key; the message never
    holds what was read.
    """
    source = settings.secrets.master_key
    if isinstance(source, EnvironmentMasterKey):
        text = environ.get(source.name, "").strip()
        if not text:
            raise _refusal(f"the environment variable {source.name} is not set, or empty")
        return text
    if isinstance(source, FileMasterKey):
        return _read(source.path)
    with contextlib.suppress(FileNotFoundError):
        settings.master_key_file.stat()
        return _read(settings.master_key_file)
    return None


def make_master_key_file(path: Path, text: str) -> str:
    """Write ``text`` to a new 0600 file, on disk when this returns; the text of the file.

    Where two do this at once both get the text of one. The directory must be there.
    Raises ConfigurationError.
    """
    try:
        # Only its owner may read what this makes.
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.") as partial:
            partial.write(f"{text}\n")
            partial.flush()
            os.fsync(partial.fileno())
            # A link refuses to replace what is there, a rename would not.
            with contextlib.suppress(FileExistsError):
                os.link(partial.name, path)
        _sync_directory(path.parent)
    except OSError as error:
        raise _refusal(f"can't make {path}: {error.strerror}") from error
    return _read(path)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        text = content.decode("ascii").strip()
    except OSError as error:
        raise _refusal(f"can't read {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise _refusal(f"{path} holds no text such as `secrets generate` prints") from None
    if not text or len(content) > _MAX_BYTES:
        raise _refusal(f"{path} holds no text such as `secrets generate` prints")
    return text


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refusal(message: str) -> ConfigurationError:
    return ConfigurationError([Problem(None, _KEY, message)])
