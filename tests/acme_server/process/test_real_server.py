"""The real parts in these processes: what a stand-in can't show."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from benchmarks.issuance import Load, lab_target, measure
from benchmarks.lab import LabServer
from support.checkout import ROOT
from support.serverprocess import until

# Python runs it at the start of each process: it tells what is imported after root was given up,
# when the files of the installation may be out of reach.
_INFORMER = """
import os, sys
setuid = os.setuid
def tell_from_now_on(uid):
    setuid(uid)
    os.write(2, b"root given up\\n")
    sys.addaudithook(
        lambda event, args: event == "import" and os.write(2, f"late: {args[0]}\\n".encode())
    )
os.setuid = tell_from_now_on
"""


def events(server: LabServer) -> list[dict[str, object]]:
    """What the server logged so far."""
    whole, _, _ = server.output.rpartition("\n")
    return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]


def workers(server: LabServer) -> set[int]:
    """The HTTP workers that serve now."""
    pids: set[int] = set()
    for event in events(server):
        if event.get("child_role") == "http" and isinstance(event["child"], int):
            if event["event"] == "process_started":
                pids.add(event["child"])
            else:
                pids.discard(event["child"])
    return pids


@pytest.mark.root
def test_nothing_is_imported_after_root_was_given_up(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(_INFORMER)
    environment = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    with LabServer(environment) as server:
        wanted = Load(clients=2, certificates=4, suffix="late.localhost")
        report = asyncio.run(measure(lab_target(server), wanted))
        server.stop()

        lines = server.output.splitlines()
        assert report.errors == {}
        assert report.certificates == 4
        assert lines.count("root given up") >= 2
        assert [line for line in lines if line.startswith("late: ")] == []


@pytest.mark.full
@pytest.mark.timeout(600)
async def test_issuance_goes_on_while_workers_retire() -> None:
    with LabServer({"ACME_SERVER__SERVER__WORKERS": "2"}) as server:
        wanted = Load(clients=16, certificates=1500, suffix="retire.localhost")
        issuing = asyncio.ensure_future(measure(lab_target(server), wanted))
        retired = await asyncio.to_thread(retire_until_done, server, issuing)
        report = await issuing

        assert report.errors == {}
        assert report.certificates == 1500
        assert retired >= 2
        assert [event for event in events(server) if event["event"] == "process_died"] == []


def retire_until_done(server: LabServer, issuing: asyncio.Future[object]) -> int:
    """Retire one worker after another; how many."""
    count = 0
    while not issuing.done():
        veteran = min(workers(server))
        os.kill(veteran, signal.SIGTERM)
        until(lambda pid=veteran: pid not in workers(server), "the end of a worker")  # type: ignore[misc]
        count += 1
    return count
