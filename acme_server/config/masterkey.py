"""Where the text of the master key comes from; what it means is ``workflow.sealing``'s business."""

from __future__ import annotations

import contextlib
import os
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
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        _write_durably(partial, f"{text}\n")
        # A link refuses to replace what is there, a rename would not.
        with contextlib.suppress(FileExistsError):
            os.link(partial, path)
        _sync_directory(path.parent)
    except OSError as error:
        raise _refusal(f"can't make {path}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
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


def _write_durably(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refusal(message: str) -> ConfigurationError:
    return ConfigurationError([Problem(None, _KEY, message)])
