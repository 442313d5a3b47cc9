"""Writes what users read about settings: ``docs/configuration.md`` and ``config.example.yaml``."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Any

import yaml

from acme_server.config.declaration import Declaration, declarations
from acme_server.config.profilesettings import declarations_of
from acme_server.config.settings import DATA_DIR, Settings

_INTRODUCTION = """\
# Configuration

`acme-server run --config FILE` reads one YAML file; every key with its default is in
[config.example.yaml](../config.example.yaml). This page and that file are made from the code.

- Every key can also be set by the environment, which wins: `ACME_SERVER__` and the key in capitals,
  with `__` for each dot: `ACME_SERVER__SERVER__LISTEN`. Lists and mappings are written as in YAML,
  `[10.0.0.0/8, fd00::/8]`.
- `ACME_SERVER_CONFIG` names the file where `--config` doesn't.
- Without a file and without `server.external_url` the server starts in **lab mode**, on loopback,
  with the defaults named "in lab mode" below; other variables override them singly.
- Durations have a unit, `10s` or `90d` (ms, s, m, h, d); sizes too, `64KiB` (B, KiB, MiB, GiB).
- Relative paths start in the directory where the command is run.
- Unknown keys, keys given twice, values of the wrong type and settings that contradict each other
  are refused, all at once: `acme-server config check --config FILE`.
- `acme-server config show` prints what is in force, and where each value comes from; passwords are
  left out.
- **live**: a change is taken up on SIGHUP, which reads file and environment again and keeps the old
  configuration if the new one is refused. The other settings need a restart.
"""

_PROFILES_TEXT = """\
## profiles

Certificate profiles by name: those that come with the server changed, or others added. What is
empty is as in the profile that it is based on. [profiles.md](profiles.md) explains more, and
`acme-server profile list` shows what they come to. Those in `acme.profiles` are offered.
"""

_EXAMPLE_PROFILES = """
# Certificate profiles by name, changed or added; docs/profiles.md explains them.
profiles:
  # NAME:
"""

_EXAMPLE_INTRODUCTION = """\
# All settings of acme-server with their defaults; what you don't change can be left out.
# docs/configuration.md explains more.

"""


def configuration_page() -> str:
    """The text of ``docs/configuration.md``."""
    parts = [_INTRODUCTION]
    for section, text, settings in _sections():
        heading = f"## {section}" if section else "## At the top"
        parts += [heading + "\n", f"{text}\n" if text else "", _table(settings)]
    parts += [_PROFILES_TEXT, _table(list(declarations_of("NAME")))]
    return "\n".join(part for part in parts if part)


def example_file() -> str:
    """The text of ``config.example.yaml``: valid, and equal to no settings at all."""
    parts = [_EXAMPLE_INTRODUCTION]
    for section, text, settings in _sections():
        if section:
            parts.append(f"\n# {text.replace('`', '')}\n{section}:\n")
        parts += [_example(declared, "  " if section else "") for declared in settings]
    parts.append(_EXAMPLE_PROFILES)
    parts += [_commented(declared) for declared in declarations_of("NAME")]
    return "".join(parts)


def _sections() -> Iterator[tuple[str, str, list[Declaration]]]:
    """The sections in their order, each with its sentence; what is in none comes first."""
    every = list(declarations(Settings))
    yield "", "", [declared for declared in every if "." not in declared.key]
    for field in fields(Settings):
        if isinstance(field.default_factory, type):
            first = (field.default_factory.__doc__ or "").partition("\n\n")[0]
            prefix = f"{field.name}."
            inside = [declared for declared in every if declared.key.startswith(prefix)]
            yield field.name, " ".join(first.replace("``", "`").split()), inside


def _table(settings: list[Declaration]) -> str:
    rows = ["| key | value | default | |", "|---|---|---|---|"]
    rows += [
        f"| `{declared.key}` | {_escape(declared.kind.form)} | {_default(declared)} "
        f"| {_explanation(declared)} |"
        for declared in settings
    ]
    return "\n".join(rows) + "\n"


def _default(declared: Declaration) -> str:
    if declared.derived is not None:
        return declared.derived
    shown = _shown(declared, declared.default)
    if declared.lab is not MISSING:
        shown += f"; in lab mode {_shown(declared, declared.lab)}"
    return shown


def _shown(declared: Declaration, value: Any) -> str:
    return "empty" if value is None else f"`{_yaml(declared.kind.plain(value))}`"


def _explanation(declared: Declaration) -> str:
    live = "**live.** " if declared.is_live else ""
    return f"{live}{_escape(declared.text)}"


def _example(declared: Declaration, indent: str) -> str:
    name = declared.key.rpartition(".")[2]
    comment = textwrap.wrap(
        f"{declared.text} [{declared.kind.form}]".replace("`", ""),
        width=98 - len(indent),
        break_on_hyphens=False,
        break_long_words=False,
    )
    value = "" if declared.default is None else f" {_yaml(_example_value(declared))}"
    return "".join(f"{indent}# {line}\n" for line in comment) + f"{indent}{name}:{value}\n"


def _commented(declared: Declaration) -> str:
    """The example of a setting below a name of the user's choice, with a mark before each line."""
    lines = _example(declared, "      ").splitlines()
    return "".join(f"  # {line[4:]}\n" for line in lines)


def _example_value(declared: Declaration) -> object:
    if declared.key == "data_dir":
        return f"./{DATA_DIR}"
    return declared.kind.plain(declared.default)


def _yaml(value: object) -> str:
    """One value as YAML, in one line, in quotes only where it needs them."""
    text = yaml.safe_dump(value, default_flow_style=True, width=1_000_000)
    return text.removesuffix("...\n").rstrip("\n")


def _escape(text: str) -> str:
    return text.replace("|", "\\|")
