"""The lines of a page of the documentation, run as a reader pastes them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from support.checkout import ROOT

_SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def pasted_lines(page: str, ports: Mapping[int, int]) -> str:
    """The page's shell blocks, but not those that install; ``ports`` are put in for others."""
    _, *parts = _SECTION.split((ROOT / page).read_text("utf-8"))
    sections = zip(parts[::2], parts[1::2], strict=True)
    lines = "".join(
        block for title, text in sections if title != "Install" for block in _BLOCK.findall(text)
    )
    numbers = re.compile(rf"\b({'|'.join(map(str, ports))})\b")
    return numbers.sub(lambda number: str(ports[int(number[0])]), lines)


def paste(lines: str, folder: Path, path: str) -> str:
    """Run ``lines`` in ``folder`` with ``path`` as PATH; what they printed. A line that fails ends
    it and fails the test; what runs in the background is ended with it."""
    output = folder / "output"
    with (
        output.open("wb") as stream,
        subprocess.Popen(
            ["bash", "-e", "-c", lines],
            cwd=folder,
            env=os.environ | {"PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        ) as shell,
    ):
        try:
            status = shell.wait(240)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGTERM)
    printed = output.read_text(errors="replace")
    assert status == 0, printed
    return printed
