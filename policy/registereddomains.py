"""Domains as their owners register them, by the public suffix list (https://publicsuffix.org)."""

from __future__ import annotations

from functools import cache

from publicsuffixlist import PublicSuffixList


def registered_domain(name: str) -> str:
    """The registered domain that ``name``, in canonical form, is or is below.

    A public suffix stands for itself. Below a top-level domain that the list doesn't know, a
    private one, the last two labels count.
    """
    return _suffixes().privatesuffix(name) or name


def read_list() -> None:
    """Read the list of the installed package now, while its file can be read; once for all."""
    _suffixes()


@cache
def _suffixes() -> PublicSuffixList:
    """Read when a limit first needs it, unless ``read_list`` did; never fetched."""
    return PublicSuffixList()
