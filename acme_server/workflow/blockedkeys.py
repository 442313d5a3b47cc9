"""The operator's lists of keys that nobody may use, as they are in their files now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from policy.blocklists import KeyBlocklist, make_blocklist, read_key_list, read_modulus_list
from policy.keys import AccountKey, check_account_key
from policy.model.errors import ErrorKind, ServerError

# Three million hashes; the largest list of Debian's has a few hundred thousand.
MAX_LIST_BYTES = 64 * 1024 * 1024


class BlocklistRefused(Exception):
    """A list can't be used; the text names setting, file and reason."""


class BlockedKeys:
    """Keys that are on a list. ``keys`` and ``weak_keys`` are the files of the settings
    ``policy.blocked_keys`` and ``policy.weak_keys``; nothing is blocked before ``reload``."""

    def __init__(self, *, keys: Sequence[Path] = (), weak_keys: Sequence[Path] = ()) -> None:
        self._keys = tuple(keys)
        self._weak_keys = tuple(weak_keys)
        self._seen: list[tuple[int, ...]] | None = None
        self.current = KeyBlocklist()

    def reload(self) -> None:
        """Read the files again if one of them changed. Takes seconds for a million keys.

        Raises BlocklistRefused; the lists stay as they were then.
        """
        seen = _state_of("policy.blocked_keys", self._keys)
        seen += _state_of("policy.weak_keys", self._weak_keys)
        if seen == self._seen:
            return
        self.current = make_blocklist(
            _read_all("policy.blocked_keys", self._keys, read_key_list),
            _read_all("policy.weak_keys", self._weak_keys, read_modulus_list),
        )
        self._seen = seen

    def check_account_key(self, key: AccountKey) -> None:
        """Raises ServerError(BAD_PUBLIC_KEY) for a key that no account may have."""
        check_account_key(key)
        if (reason := self.current.refusal_of(key)) is not None:
            raise ServerError(
                ErrorKind.BAD_PUBLIC_KEY,
                f"The account key is refused: {reason}; make a new one.",
            )


def _state_of(setting: str, paths: Sequence[Path]) -> list[tuple[int, ...]]:
    """What tells that a file is another one, or was written to."""
    try:
        found = [path.stat() for path in paths]
    except OSError as error:
        raise BlocklistRefused(
            f"{setting}: can't read {error.filename}: {error.strerror}"
        ) from error
    return [(each.st_dev, each.st_ino, each.st_size, each.st_mtime_ns) for each in found]


def _read_all(
    setting: str, paths: Sequence[Path], read: Callable[[Iterable[str]], Iterator[bytes]]
) -> Iterator[bytes]:
    for path in paths:
        try:
            with path.open("rb") as file:
                content = file.read(MAX_LIST_BYTES + 1)
            if len(content) > MAX_LIST_BYTES:
                raise ValueError(f"it has more than {MAX_LIST_BYTES // 1024**2} MiB")
            yield from read(content.decode("ascii").splitlines())
        except OSError as error:
            raise BlocklistRefused(f"{setting}: can't read {path}: {error.strerror}") from error
        except ValueError as error:
            raise BlocklistRefused(f"{setting}: {path}: {error}") from error
