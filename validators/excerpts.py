"""Foreign text made safe for problem documents, evidence and logs."""

from __future__ import annotations

import re

_SAFE = re.compile(r"[\x20-\x5b\x5d-\x7e]*")
_UNSAFE = re.compile(r"[^\x20-\x7e]|\\")


def excerpt(foreign: str | bytes, limit: int = 100) -> str:
    """At most ``limit`` characters of printable ASCII, the rest escaped as in Python; a cut text
    ends in ``...``. Two different short inputs never look the same."""
    if len(foreign) <= limit:
        plain = foreign if isinstance(foreign, str) else foreign.decode("latin-1")
        if _SAFE.fullmatch(plain):
            return plain
    # An escape is never shorter than what it stands for, so a longer input is cut anyway.
    head = foreign[: limit + 1]
    text = head if isinstance(head, str) else head.decode("utf-8", "surrogateescape")
    escaped = _UNSAFE.sub(_escape, text)
    return escaped if len(escaped) <= limit else f"{escaped[: limit - 3]}..."


def _escape(match: re.Match[str]) -> str:
    point = ord(match[0])
    if match[0] == "\\":
        return r"\\"
    if 0xDC80 <= point <= 0xDCFF:  # a byte that is not UTF-8
        return f"\\x{point - 0xDC00:02x}"
    if point < 0x80:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"
