"""The command as a whole: what it imports, how it ends, how it answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import Result

from acme_server.cli import root
from acme_server.cli.output import printable, render_table
from acme_server.workflow.sealing import decode_master_key
from support.checkout import ROOT

Run = Callable[..., Result]

_HEAVY = {"aiohttp", "asyncpg", "cryptography", "dns", "josepy", "orjson", "structlog", "yaml"}
_MAIN = "from acme_server.cli import main; main()"
_SHOW_MODULES = f"""
import sys
try:
    {_MAIN}
except SystemExit:
    pass
print("modules:", *sys.modules, file=sys.stderr)
"""


def run_process(
    *arguments: str, code: str = _MAIN, environ: dict[str, str] | None = None, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | (environ or {}),
        capture_output=True,
        text=True,
        check=False,
    )


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command and group."""
    yield path
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from commands(child, (*path, name))


_COMMANDS = list(commands(root))
_LEAVES = [path for path in _COMMANDS if not any(o[:-1] == path for o in _COMMANDS if o)]
_CONFIGURED = [
    path for path in _LEAVES if path not in (("version",), ("completion",), ("secrets", "generate"))
]


@pytest.mark.parametrize(
    ("arguments", "environ"),
    [
        (["--help"], {}),
        (["certificate", "list", "--help"], {}),
        (["version"], {}),
        (
            [],
            {
                "_ACME_SERVER_COMPLETE": "bash_complete",
                "COMP_WORDS": "acme-server certificate ",
                "COMP_CWORD": "2",
            },
        ),
    ],
)
def test_help_and_completion_import_nothing_heavy(
    arguments: list[str], environ: dict[str, str]
) -> None:
    result = run_process(*arguments, code=_SHOW_MODULES, environ=environ)

    assert result.stdout
    modules = set(result.stderr.partition("modules:")[2].split())
    assert "click" in modules
    assert not _HEAVY & modules


def test_completion_offers_the_verbs_of_a_noun() -> None:
    result = run_process(
        environ={
            "_ACME_SERVER_COMPLETE": "bash_complete",
            "COMP_WORDS": "acme-server certificate ",
            "COMP_CWORD": "2",
        }
    )

    assert result.stdout.split() == ["plain,list", "plain,revoke", "plain,show"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_calls_the_command(run: Run, shell: str) -> None:
    result = run("completion", shell)

    assert result.exit_code == 0
    assert "_ACME_SERVER_COMPLETE" in result.stdout


@pytest.mark.parametrize("path", _COMMANDS, ids=" ".join)
def test_every_command_explains_itself(run: Run, path: tuple[str, ...]) -> None:
    result = run(*path, "--help")

    assert result.exit_code == 0
    assert result.stdout.splitlines()[2].strip()


@pytest.mark.parametrize(
    "path", [path for path in _LEAVES if path not in (("run",), ("completion",))], ids=" ".join
)
def test_every_command_prints_json_if_asked(run: Run, path: tuple[str, ...]) -> None:
    assert "--json" in run(*path, "--help").stdout


@pytest.mark.parametrize("path", _LEAVES, ids=" ".join)
def test_every_command_finds_its_configuration_as_run_does(run: Run, path: tuple[str, ...]) -> None:
    assert ("--config FILE" in run(*path, "--help").stdout) is (path in _CONFIGURED)


def test_version_is_told(run: Run) -> None:
    text, document = run("version"), json.loads(run("version", "--json").stdout)

    assert text.stdout == f"acme-server {document['version']} (Python {document['python']})\n"


def test_generated_keys_are_keys_and_differ(run: Run) -> None:
    first = run("secrets", "generate").stdout
    second = json.loads(run("secrets", "generate", "--json").stdout)["master_key"]

    assert len(decode_master_key(first)) == len(decode_master_key(second)) == 32
    assert first.strip() != second


def test_valid_configuration_is_confirmed(run: Run) -> None:
    Path("c.yaml").write_text("server: {external_url: 'https://acme.example.org'}\n")

    result = run("config", "check", "--config", "c.yaml")
    by_variable = run("config", "check", environ={"ACME_SERVER_CONFIG": "c.yaml"})

    assert result.exit_code == 0
    assert result.stdout == by_variable.stdout
    assert result.stdout.startswith("c.yaml: no problems")
    assert "https://acme.example.org/directory" in result.stdout


def test_faults_of_a_configuration_are_a_line_each(run: Run) -> None:
    Path("c.yaml").write_text("databse: {}\nserver: {workers: x}\n")

    result = run("config", "check", "--config", "c.yaml")

    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        'c.yaml:1:1: databse: unknown key, did you mean "database"?',
        "c.yaml:2:19: server.workers: must be a whole number, in decimal digits",
    ]


def test_faults_of_a_configuration_are_json_if_asked(run: Run) -> None:
    Path("c.yaml").write_text("databse: {}\n")

    result = run("config", "check", "--config", "c.yaml", "--json")

    assert result.exit_code == 2
    assert json.loads(result.stdout)["problems"] == [
        {
            "source": "c.yaml",
            "line": 1,
            "column": 1,
            "key": "databse",
            "message": 'unknown key, did you mean "database"?',
        }
    ]


@pytest.mark.parametrize("path", _CONFIGURED, ids=" ".join)
def test_no_command_works_with_a_faulty_configuration(run: Run, path: tuple[str, ...]) -> None:
    arguments = {
        ("account", "show"): ["A" * 22],
        ("account", "unpause"): ["A" * 22],
        ("certificate", "show"): ["ab"],
        ("certificate", "revoke"): ["ab", "--reason", "superseded"],
        ("order", "explain"): ["A" * 22],
        ("profile", "show"): ["tls_server"],
        ("eab", "revoke"): ["A" * 22],
        ("db", "backup"): ["x"],
        ("db", "restore"): ["x"],
    }

    result = run(*path, *arguments.get(path, []), environ={"ACME_SERVER__SERVER__WORKERS": "x"})

    assert result.exit_code == 2
    assert "ACME_SERVER__SERVER__WORKERS: server.workers: must be" in result.output


def test_shown_configuration_names_sources_and_hides_passwords(run: Run) -> None:
    Path("c.yaml").write_text("database: {url: 'postgresql://app:hunter2@db/acme'}\n")
    environ = {
        "ACME_SERVER__DATABASE__OWNER_URL": "postgresql://owner:hunter2@db/acme",
        "ACME_SERVER__SECRETS__MASTER_KEY": "env:KEY",
        "ACME_SERVER__SERVER__TLS": "{certificate: /a, key: /b}",
    }

    text = run("config", "show", "--config", "c.yaml", environ=environ)
    shown = run("config", "show", "--config", "c.yaml", "--json", environ=environ)

    settings = json.loads(shown.stdout)["settings"]
    assert settings["database.url"] == {
        "value": "postgresql://app:***@db/acme",
        "source": "c.yaml:1:12",
    }
    assert settings["server.tls"]["value"] == {"certificate": "/a", "key": "/b"}
    assert settings["server.workers"] == {"value": 1, "source": "default"}
    assert "ACME_SERVER__DATABASE__OWNER_URL" in text.stdout
    assert "hunter2" not in text.output + shown.output


def test_database_that_is_not_there_is_told_without_a_traceback(run: Run) -> None:
    missing = run("account", "list", environ={"ACME_SERVER__DATA_DIR": "nowhere"})
    closed = run(
        "account",
        "list",
        environ={
            "ACME_SERVER__DATABASE__URL": "postgresql://app:hunter2@127.0.0.1:1/acme",
            "ACME_SERVER__SECRETS__MASTER_KEY": "env:KEY",
        },
    )

    assert missing.exit_code == closed.exit_code == 1
    assert "there is no database in" in missing.stderr
    assert not Path("nowhere").exists()
    assert closed.stderr.startswith("acme-server: the database can't be used: ")
    assert "hunter2" not in closed.output


def test_wrong_password_is_told_without_a_traceback(run: Run, environment: dict[str, str]) -> None:
    url = environment["ACME_SERVER__DATABASE__URL"]
    head, _, tail = url.partition("@")
    wrong = f"{head.rpartition(':')[0]}:hunter2@{tail}"

    result = run("account", "list", environ=environment | {"ACME_SERVER__DATABASE__URL": wrong})

    assert result.exit_code == 1
    assert "password authentication failed" in result.stderr
    assert "hunter2" not in result.output


def test_foreign_package_of_the_same_name_is_refused_by_its_path(tmp_path: Path) -> None:
    intruder = tmp_path / "validators"
    intruder.mkdir()
    (intruder / "__init__.py").write_text("raise SystemExit('imported')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {_MAIN}"

    result = run_process("config", "check", code=code)

    assert result.returncode == 1
    assert f'the package "validators" is not ours, it is {intruder}' in result.stderr
    assert "imported" not in result.stderr


def test_closed_pipe_ends_a_command_quietly() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _MAIN, "config", "show"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None

    errors = process.stderr.read()

    process.stderr.close()
    assert process.wait() in (0, 1)
    assert b"Traceback" not in errors


def test_terminal_is_told_nothing_that_it_would_obey() -> None:
    table = render_table(("name",), [("\x1b[31mred\r\n",)])

    assert table == "name\n\\x1b[31mred\\r\\n\n"
    assert printable("grün") == "grün"
