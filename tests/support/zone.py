"""A DNS zone on loopback whose TXT records clients' hooks write and remove."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from support.dns import DnsServer, Question, records
from validators.addresses import Endpoint

# What lego's exec provider calls: present|cleanup NAME VALUE. A name is a file, a value a line.
_HOOK = """#!/bin/sh
name=$(printf %s "$2" | tr A-Z a-z)
file="{folder}/${{name%.}}"
case "$1" in
present) echo "$3" >>"$file" ;;
cleanup) rm -f "$file" ;;
esac
"""


class Zone:
    """``with Zone(folder) as zone``: a DNS server of its own thread, for ``zone.endpoint``.

    ``folder`` has a file for each name with TXT records; ``hook`` is a program that writes them.
    Names that nothing is known about get NXDOMAIN.
    """

    def __init__(self, folder: Path) -> None:
        self._texts = folder / "txt"
        self._texts.mkdir()
        self.hook = folder / "zone-hook"
        self.hook.write_text(_HOOK.format(folder=self._texts))
        self.hook.chmod(0o755)
        self._dns = _FolderServer(self._texts)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens."""
        return self._dns.endpoint

    def publish(self, name: str, address: str = "127.0.0.1") -> None:
        """Give ``name`` an address."""
        self._dns.add(name, "A", address)

    def restrict(self, name: str, *texts: str) -> None:
        """Publish CAA records of ``name``, such as ``0 issue "ca.example"``."""
        self._dns.add(name, "CAA", *texts)

    def write(self, name: str, *texts: str) -> None:
        """Let ``texts`` be the TXT records of ``name``."""
        (self._texts / name).write_text("".join(f"{text}\n" for text in texts), "ascii")

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._dns.__aenter__(), self._loop).result(10)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._dns.__aexit__(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


class _FolderServer(DnsServer):
    def __init__(self, texts: Path) -> None:
        super().__init__()
        self._texts = texts

    def _look_up(self, question: Question) -> Sequence[bytes]:
        file = self._texts / question.text
        if question.type.name != "TXT" or not file.exists():
            return super()._look_up(question)
        lines = file.read_text("ascii").split()
        return records(*(f"{question.text}. TXT {line}" for line in lines))(question) or ()
