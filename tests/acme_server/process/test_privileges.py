"""What children are given, and what they are not."""

from __future__ import annotations

import os
import pwd
import signal
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme
from cryptography import x509

from support.embedded import wait_for_end
from support.handovers import make_handover
from support.serverprocess import ServerProcess, running_server
from support.standin import DATABASE_PASSWORD, MASTER_KEY

ACCOUNT = "nobody"


@pytest.fixture(scope="module")
def shared() -> Iterator[ServerProcess]:
    """A server for tests that only look at it."""
    with running_server() as server:
        yield server


@pytest.fixture(scope="module")
def shared_by_root() -> Iterator[ServerProcess]:
    """The same, whose children are another account."""
    with running_server(database={"user": ACCOUNT}) as server:
        yield server


def status_field(pid: int, name: str) -> str:
    """A line of what the kernel says of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (value,) = [line.partition(":")[2].strip() for line in lines if line.startswith(f"{name}:")]
    return value


@contextmanager
def inheritable_pipe() -> Iterator[tuple[int, int]]:
    """A descriptor that a careless parent would pass on, and the inode of its pipe."""
    read, write = os.pipe()
    try:
        yield write, os.fstat(write).st_ino
    finally:
        os.close(read)
        os.close(write)


def test_secrets_stand_in_no_command_line_and_no_environment(shared: ServerProcess) -> None:
    for pid in shared.pids("http") | shared.pids("background"):
        for name in ("cmdline", "environ"):
            shown = Path(f"/proc/{pid}/{name}").read_bytes().decode()

            assert MASTER_KEY not in shown
            assert DATABASE_PASSWORD not in shown
        assert "acme_server.process" in Path(f"/proc/{pid}/cmdline").read_text()


def test_children_have_a_clean_environment() -> None:
    given = {
        "MASTER_KEY_OF_OURS": "secret",
        "ACME_SERVER_CONFIG": "/elsewhere",
        "PYTHONSTARTUP": "/nowhere",
        "LANG": "C.UTF-8",
        "NOTIFY_SOCKET": "/nowhere",
    }
    with ServerProcess(environment=given) as server:
        server.start()

        seen = set(server.get("/what")["environment"])

        assert {"PATH", "LANG", "PYTHONPATH"} <= seen
        assert not seen & (given.keys() - {"LANG"})
        assert not {name for name in seen if name.startswith("ACME_SERVER")}


def test_workers_inherit_their_listeners_and_nothing_else() -> None:
    with inheritable_pipe() as (descriptor, inode):
        os.set_inheritable(descriptor, True)
        with ServerProcess(pass_fds=(descriptor,)) as server:
            server.start()
            assert inode in {
                os.stat(f"/proc/{server.pid}/fd/{name}").st_ino
                for name in os.listdir(f"/proc/{server.pid}/fd")
            }

            seen = server.get("/what")

            assert seen["listening"] == sorted([server.port, server.status_port])
            assert inode not in seen["pipes"]


def test_background_process_inherits_no_listener(shared: ServerProcess) -> None:
    (background,) = shared.pids("background")
    (worker,) = shared.pids("http")

    assert not sockets_of(background) & sockets_of(shared.pid)
    assert len(sockets_of(worker) & sockets_of(shared.pid)) == 2


def sockets_of(pid: int) -> set[str]:
    """The sockets that a process has open."""
    folder = Path(f"/proc/{pid}/fd")
    found = set()
    for entry in folder.iterdir():
        try:
            target = os.readlink(entry)
        except FileNotFoundError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


def test_nothing_dumps_core_and_many_files_may_be_open(shared: ServerProcess) -> None:
    for pid in (shared.pid, *shared.pids("http"), *shared.pids("background")):
        limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
        by_name = {line[:26].strip(): line[26:].split()[:2] for line in limits}

        assert by_name["Max core file size"] == ["0", "0"]
        soft, hard = by_name["Max open files"]
        assert soft == hard


def test_children_gain_no_privileges_by_other_programs(shared: ServerProcess) -> None:
    for pid in shared.pids("http") | shared.pids("background"):
        assert status_field(pid, "NoNewPrivs") == "1"


@pytest.mark.root
def test_children_of_root_are_the_account_of_the_database_and_the_parent_stays_root(
    shared_by_root: ServerProcess,
) -> None:
    account = pwd.getpwnam(ACCOUNT)
    seen = shared_by_root.get("/what")

    assert seen["uids"] == [account.pw_uid] * 3
    assert seen["gids"] == [account.pw_gid] * 3
    assert set(seen["groups"]) == set(os.getgrouplist(ACCOUNT, account.pw_gid))
    (background,) = shared_by_root.pids("background")
    assert status_field(background, "Uid").split() == [str(account.pw_uid)] * 4
    assert status_field(background, "Groups") == status_field(seen["pid"], "Groups")
    assert status_field(shared_by_root.pid, "Uid").split() == ["0"] * 4
    assert status_field(seen["pid"], "CapEff") == "0" * 16


@pytest.mark.root
def test_children_of_root_cannot_read_what_is_roots(shared_by_root: ServerProcess) -> None:
    private = shared_by_root.data_dir / "private"
    private.write_text("for root")
    private.chmod(0o600)
    public = shared_by_root.data_dir / "public"
    public.write_text("for all")
    public.chmod(0o644)

    assert shared_by_root.get("/read", body=str(private)) == {"error": "Permission denied"}
    assert shared_by_root.get("/read", body=str(public)) == {"error": None}
    assert (
        shared_by_root.get("/read", body=f"/proc/{shared_by_root.pid}/environ")["error"] is not None
    )


@pytest.mark.root
def test_key_that_only_root_reads_is_served_and_renewed(tmp_path: Path) -> None:
    ca = trustme.CA()

    def issue() -> None:
        issued = ca.issue_cert("localhost")
        (tmp_path / "certificate.pem").write_bytes(issued.cert_chain_pems[0].bytes())
        (tmp_path / "key.pem").write_bytes(issued.private_key_pem.bytes())
        (tmp_path / "key.pem").chmod(0o600)

    def served() -> int:
        pem = ssl.get_server_certificate(("127.0.0.1", server.port), timeout=40)
        return x509.load_pem_x509_certificate(pem.encode()).serial_number

    issue()
    tls = {"certificate": str(tmp_path / "certificate.pem"), "key": str(tmp_path / "key.pem")}
    with ServerProcess({"database": {"user": ACCOUNT}}) as server:
        server.configure(server={"tls": tls, "external_url": f"https://localhost:{server.port}"})
        server.start()
        first = served()
        issue()

        server.signal(signal.SIGHUP)
        server.wait_for_event("configuration_reloaded")

        assert served() != first
        (worker,) = server.pids("http")
        assert status_field(worker, "Uid").split()[1] != "0"


@pytest.mark.root
def test_killed_parent_takes_children_of_another_account_with_it() -> None:
    with running_server(database={"user": ACCOUNT}) as server:
        children = server.pids("http") | server.pids("background")

        server.signal(signal.SIGKILL)

        server.wait()
        for child in children:
            wait_for_end(child)


@pytest.mark.skipif(os.geteuid() == 0, reason="root changes the account")
def test_account_stays_for_who_is_not_root() -> None:
    with running_server() as server:
        assert server.get("/what")["uids"] == [os.geteuid()] * 3


def test_secrets_are_not_shown_by_a_handover() -> None:
    handover = make_handover()

    assert handover.context.master_key not in repr(handover)
    assert handover.context.database_url not in repr(handover)
    assert handover.tls is not None
    assert repr(handover.tls.key)[2:-1] not in repr(handover)
