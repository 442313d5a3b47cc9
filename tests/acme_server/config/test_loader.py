"""From text to settings, and from faults to lines that say what to do."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest

from acme_server.config.loader import load_configuration, load_settings
from acme_server.config.problems import ConfigurationError, Place
from acme_server.config.settings import Settings
from acme_server.config.values import (
    ChallengeType,
    EnvironmentMasterKey,
    FileMasterKey,
    LogLevel,
    MigrateMode,
    TlsFiles,
    TlsMode,
)

Load = Callable[..., Settings]
Refuse = Callable[..., list[str]]


def test_every_kind_of_value_is_read(load: Load) -> None:
    settings = load("""
        data_dir: /srv/acme
        database:
          url: "postgresql://app:secret@db.example.org:5432/acme"
          owner_url: postgresql://owner:secret@db.example.org:5432/acme
          migrate: manual
          statement_timeout: 7500ms
        secrets:
          master_key: file:/etc/acme-server/master_key
        server:
          listen: "[::]:14000"
          external_url: https://ACME.example.org:443/
          tls: {certificate: /etc/tls/chain.pem, key: /etc/tls/key.pem}
          workers: 4
          body_limit: 128KiB
          trusted_proxies: [10.1.0.0/16, 'fd00::/8']
        acme:
          authorization_reuse: false
          allowed_names:
            - Example.ORG
          challenge_types: [dns-01]
        validation:
          allowed_networks: ["127.0.0.1"]
        logging:
          level: warning
    """)

    assert settings.data_dir == Path("/srv/acme")
    assert not settings.lab
    assert not settings.database.is_embedded
    assert settings.database.migrate is MigrateMode.MANUAL
    assert settings.database.statement_timeout == timedelta(seconds=7.5)
    assert settings.secrets.master_key == FileMasterKey(Path("/etc/acme-server/master_key"))
    assert str(settings.server.listen) == "[::]:14000"
    assert settings.server.external_url == "https://acme.example.org"
    assert settings.server.tls == TlsFiles(
        certificate=Path("/etc/tls/chain.pem"), key=Path("/etc/tls/key.pem")
    )
    assert settings.server.workers == 4
    assert settings.server.body_limit == 131_072
    assert settings.server.trusted_proxies == (ip_network("10.1.0.0/16"), ip_network("fd00::/8"))
    assert settings.acme.authorization_reuse is False
    assert settings.acme.allowed_names == ("example.org",)
    assert settings.acme.challenge_types == (ChallengeType.DNS_01,)
    assert settings.validation.allowed_networks == (ip_network("127.0.0.1/32"),)
    assert settings.logging.level is LogLevel.WARNING


def test_all_faults_are_told_at_once_in_the_order_of_the_file(refuse: Refuse) -> None:
    lines = refuse(
        """\
        server:
          lisen: 127.0.0.1:1
          workers: many
        databse:
          url: embedded
        validation:
          allowed_networks: [10.0.0.1/8, fd00::/8]
        """,
        {"ACME_SERVER__SERVER__TLS": "of"},
    )

    network = '"10.0.0.1/8" has bits set beyond its prefix, did you mean "10.0.0.0/8"?'
    assert lines == [
        'config.yaml:2:3: server.lisen: unknown key, did you mean "server.listen"?',
        "config.yaml:3:12: server.workers: must be a whole number, in decimal digits",
        'config.yaml:4:1: databse: unknown key, did you mean "database"?',
        f"config.yaml:7:22: validation.allowed_networks: {network}",
        'ACME_SERVER__SERVER__TLS: server.tls: "of" is not one of auto, off, did you mean "off"?',
    ]


@pytest.mark.parametrize(
    ("text", "beginning"),
    [
        ("listen: 1", '1:1: listen: unknown key, did you mean "server.listen"?'),
        ("external-url: 1", '1:1: external-url: unknown key, did you mean "server.external_url"?'),
        ("server: {Listen: 1}", '1:10: server.Listen: unknown key, did you mean "server.listen"?'),
        ("sever: {}", '1:1: sever: unknown key, did you mean "server"?'),
        ("ca: {queue: 1}", '1:6: ca.queue: unknown key, did you mean "validation.queue"?'),
        ("zzz: 1", "1:1: zzz: unknown key"),
        ("server: 5", "1:9: server: must be a section, with its settings indented below"),
        ("server: [a]", "1:9: server: must be a section, with its settings indented below"),
        ("<<: {a: 1}", "1:1: <<: unknown key"),
        ("1: x", "1:1: 1: unknown key"),
        ("? [a]\n: x", "1:3: a key must be a single word"),
        ("server: {workers: '2'}", "1:19: server.workers: must be a number, without quotes"),
        ("server: {workers: 2.0}", "1:19: server.workers: must be a whole number"),
        ("server: {workers: 010}", "1:19: server.workers: must be a whole number"),
        ("server: {workers: 0x2}", "1:19: server.workers: must be a whole number"),
        ("server: {workers: 1_0}", "1:19: server.workers: must be a whole number"),
        ("server: {workers: -1}", "1:19: server.workers: must be a whole number"),
        ("server: {workers: 0}", "1:19: server.workers: must be 1 to 256"),
        ("server: {workers: [1]}", "1:19: server.workers: must be number, 1 to 256; write"),
        ("server: {workers: }", "1:18: server.workers: has no value; give one, or remove it (def"),
        ("acme: {authorization_reuse: yes}", "1:29: acme.authorization_reuse: must be true or"),
        ("acme: {authorization_reuse: True}", "1:29: acme.authorization_reuse: must be true or"),
        ("acme: {authorization_reuse: 1}", "1:29: acme.authorization_reuse: must be true or"),
        ("acme: {authorization_reuse: 'true'}", "1:29: acme.authorization_reuse: must be true or"),
        ("acme: {challenge_types: http-01}", "1:25: acme.challenge_types: must be a list in bra"),
        ("acme: {challenge_types: []}", "1:25: acme.challenge_types: must not be empty"),
        ("acme: {challenge_types: [dns-01, dns-01]}", "1:34: acme.challenge_types: dns-01 stands"),
        ("acme: {challenge_types: [dns-02]}", '1:26: acme.challenge_types: "dns-02" is not one'),
        (
            "acme: {issuer_domain_names: [ca.example.]}",
            '1:30: acme.issuer_domain_names: "ca.example."',
        ),
        ("acme: {challenge_types: [~]}", "1:26: acme.challenge_types: has no value"),
        ("ca: {name: 2024}", "1:12: ca.name: is a text, but YAML takes 2024 for something else;"),
        ("ca: {name: no}", "1:12: ca.name: is a text, but YAML takes no for something else;"),
        ("server: {tls: {certificate: /a}}", "1:15: server.tls: needs key as well"),
        ("server: {tls: {}}", "1:15: server.tls: needs certificate and key as well"),
        ("server: {tls: {key: /b, chain: /c}}", '1:25: server.tls: "chain" is unknown here'),
        ("server: {tls: true}", '1:15: server.tls: "true" is not one of auto, off'),
    ],
)
def test_value_of_the_wrong_shape_is_refused(refuse: Refuse, text: str, beginning: str) -> None:
    (line,) = refuse(text)

    assert line.startswith(f"config.yaml:{beginning}")


def test_off_is_a_word_though_yaml_takes_it_for_a_truth_value(load: Load) -> None:
    assert load("server: {tls: off, external_url: 'http://localhost'}").server.tls is TlsMode.OFF


def test_optional_setting_may_be_left_empty(load: Load) -> None:
    settings = load("database:\n  owner_url:\nserver:\nacme:\n")

    assert settings.database.owner_url is None


def test_keys_given_twice_are_refused_in_every_depth(refuse: Refuse) -> None:
    lines = refuse("server: {workers: 1, workers: 1}\nca: {}\nca: {}\n")

    assert lines == [
        "config.yaml:1:22: workers: given twice, first in line 1",
        "config.yaml:3:1: ca: given twice, first in line 2",
    ]


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n", "\ufeff", "---\n...\n", "~"])
def test_file_without_content_is_refused(refuse: Refuse, text: str) -> None:
    assert refuse(text) == ["config.yaml: is empty; without a file, lab mode is started"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("server", "1:1"),
        ("- server", "1:1"),
        ("server:\n  lis", "2:3"),
        ("server:\n  listen: '127.0.0.1:1", "2:23"),
        ("server:\n  tls: {certificate: /a, ", "2:26"),
        ("server:\n\tworkers: 1\n", "2:1"),
        ("server:\n  workers: 1\n listen: x\n", "3:2"),
        ("server: {listen: [::1]:14000}", "1:19"),
        ("a: 1\n---\nb: 1\n", "2:1"),
        ("a: *missing\n", "1:4"),
        ("a: &x 1\nb: &x 2\nc: \x01\n", "3:4"),
    ],
)
def test_half_written_or_broken_yaml_is_refused_with_its_place(
    refuse: Refuse, text: str, place: str
) -> None:
    (line,) = refuse(text)

    assert line.startswith(f"config.yaml:{place}: ")


def test_faults_of_the_environment_are_told_beside_those_of_a_broken_file(refuse: Refuse) -> None:
    lines = refuse("server: [", {"ACME_SERVER__SERVER__WORKERS": "x"})

    assert len(lines) == 2
    assert lines[1].startswith("ACME_SERVER__SERVER__WORKERS: ")


def test_tabs_and_brackets_are_explained(refuse: Refuse) -> None:
    assert "indent with spaces" in refuse("server:\n\tworkers: 1\n")[0]
    assert 'in quotes: "[::1]:14000"' in refuse("server: {listen: [::1]:14000}")[0]


def test_bytes_that_are_not_utf_8_are_refused_with_their_place(refuse: Refuse) -> None:
    assert refuse(b"ca:\n  name: caf\xe9\n") == ["config.yaml:2:12: byte 0xe9 is not UTF-8"]


def test_utf_16_is_refused(refuse: Refuse) -> None:
    assert refuse("ca: {name: x}".encode("utf-16")) == ["config.yaml:1:1: byte 0xff is not UTF-8"]


def test_byte_order_mark_is_passed_over(load: Load) -> None:
    assert load(b"\xef\xbb\xbfca: {name: corp}\n").ca.name == "corp"


@pytest.mark.parametrize("tag", ["!secret", "!!python/object/apply:os.system", "!<x>"])
def test_tags_are_refused_and_nothing_is_constructed(refuse: Refuse, tag: str) -> None:
    assert any(
        "is not allowed" in line or "is a text" in line for line in refuse(f"ca: {{name: {tag} x}}")
    )


def test_aliases_that_would_grow_a_small_file_are_refused(refuse: Refuse) -> None:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
    )

    (line,) = refuse(text)

    assert "more than 10000 values" in line


def test_alias_of_itself_is_refused(refuse: Refuse) -> None:
    (line,) = refuse("a: &a [*a]\n")

    assert "nested deeper than 16 levels" in line


@pytest.mark.parametrize("depth", [40, 5_000])
def test_deep_nesting_is_refused(refuse: Refuse, depth: int) -> None:
    (line,) = refuse("a: " + "[" * depth + "]" * depth)

    assert "nested deeper than 16 levels" in line


def test_alias_of_a_value_may_be_used(load: Load) -> None:
    settings = load("""
        database: {lock_timeout: &short 3s, acquire_timeout: *short}
    """)

    assert settings.database.acquire_timeout == timedelta(seconds=3)


def test_file_that_is_too_large_is_refused(refuse: Refuse) -> None:
    assert refuse("#" * (1024 * 1024 + 1)) == ["config.yaml: is larger than 1024 KiB"]


def test_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "missing.yaml"

    with pytest.raises(ConfigurationError) as caught:
        load_settings(path, {})

    assert str(caught.value) == f"{path}: can't be read: No such file or directory"


def test_directory_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="can't be read: Is a directory"):
        load_settings(tmp_path, {})


def test_environment_wins_over_the_file_and_fills_what_is_missing(load: Load) -> None:
    settings = load(
        "server: {workers: 2}\n",
        {
            "ACME_SERVER__SERVER__WORKERS": "3",
            "ACME_SERVER__VALIDATION__ALLOWED_NETWORKS": "[10.0.0.0/8, fd00::/8]",
            "ACME_SERVER__CA__NAME": "2024",
            "ACME_SERVER__DATABASE__OWNER_URL": "",
            "ACME_SERVER__SERVER__OPS_LISTEN": "[::1]:14090",
        },
    )

    assert settings.server.workers == 3
    assert len(settings.validation.allowed_networks) == 2
    assert settings.ca.name == "2024"
    assert settings.database.owner_url is None
    assert str(settings.server.ops_listen) == "[::1]:14090"


def test_environment_heals_a_fault_of_the_file_only_if_the_file_has_none(refuse: Refuse) -> None:
    lines = refuse("server: {workers: x}\n", {"ACME_SERVER__SERVER__WORKERS": "3"})

    assert lines == ["config.yaml:1:19: server.workers: must be a whole number, in decimal digits"]


@pytest.mark.parametrize(
    "environ",
    [
        {"ACME_SERVER__SERVER__TLS": "{certificate: /a, key: /b}"},
        {"ACME_SERVER__SERVER__TLS__CERTIFICATE": "/a", "ACME_SERVER__SERVER__TLS__KEY": "/b"},
        {
            "ACME_SERVER__SERVER__TLS": "auto",
            "ACME_SERVER__SERVER__TLS__CERTIFICATE": "/a",
            "ACME_SERVER__SERVER__TLS__KEY": "/b",
        },
    ],
)
def test_mapping_is_set_by_one_variable_or_by_its_members(
    load: Load, environ: dict[str, str]
) -> None:
    assert load(None, environ).server.tls == TlsFiles(certificate=Path("/a"), key=Path("/b"))


@pytest.mark.parametrize(
    ("variable", "value", "beginning"),
    [
        ("SERVR__LISTEN", "x", "unknown setting, did you mean ACME_SERVER__SERVER__LISTEN?"),
        ("LISTEN", "x", "unknown setting, did you mean ACME_SERVER__SERVER__LISTEN?"),
        ("SERVER__listen", "x", "unknown setting, did you mean ACME_SERVER__SERVER__LISTEN?"),
        ("QUITE__ANOTHER", "x", "unknown setting"),
        ("SERVER", "{}", "is a section; set its settings, such as ACME_SERVER__SERVER__LISTEN"),
        (
            "SERVER__WORKERS",
            "",
            "server.workers: has no value; give one, or remove it (default: 1)",
        ),
        ("VALIDATION__RESOLVERS", "127.0.0.1:53", "validation.resolvers: must be a list in bra"),
        ("ACME__AUTHORIZATION_REUSE", "no", "acme.authorization_reuse: must be true or false"),
    ],
)
def test_variable_that_means_nothing_is_refused(
    refuse: Refuse, variable: str, value: str, beginning: str
) -> None:
    (line,) = refuse(None, {f"ACME_SERVER__{variable}": value})

    assert line.startswith(f"ACME_SERVER__{variable}: {beginning}")


def test_other_variables_of_ours_are_no_settings(load: Load) -> None:
    settings = load(None, {"ACME_SERVER_CONFIG": "x", "ACME_SERVER_FAULTS": "", "PATH": "/bin"})

    assert settings.lab


def test_places_tell_where_each_value_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text("server:\n  workers: 2\n  drain: 1s\n")

    found = load_configuration(Path("c.yaml"), {"ACME_SERVER__SERVER__WORKERS": "3"})

    assert found.places == {
        "server.workers": Place("ACME_SERVER__SERVER__WORKERS"),
        "server.drain": Place("c.yaml", 3, 3),
    }


def test_data_directory_is_absolute_and_roots_is_the_systems(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    as_root = load(None)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    as_user = load(None)
    given = load(None, {"ACME_SERVER__DATA_DIR": "here"})

    assert as_root.data_dir == Path("/var/lib/acme-server")
    assert as_user.data_dir == tmp_path / "acme-server-data"
    assert given.data_dir == tmp_path / "here"


def test_key_from_the_environment_is_named_not_held(load: Load) -> None:
    settings = load(None, {"ACME_SERVER__SECRETS__MASTER_KEY": "env:ACME_MASTER_KEY"})

    assert settings.secrets.master_key == EnvironmentMasterKey("ACME_MASTER_KEY")


def test_settings_never_show_passwords(load: Load) -> None:
    settings = load(
        None,
        {
            "ACME_SERVER__DATABASE__URL": "postgresql://app:hunter2@db/acme",
            "ACME_SERVER__DATABASE__OWNER_URL": "postgresql://owner:hunter2@db/acme",
            "ACME_SERVER__SECRETS__MASTER_KEY": "env:KEY",
        },
    )

    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize("key", ["database.url", "database.owner_url", "secrets.master_key"])
@pytest.mark.parametrize("form", ["{}", "mysql://app:{}@db/x", "postgresql://a:{}#@db/x", "file{}"])
def test_refusals_never_repeat_a_secret(refuse: Refuse, key: str, form: str) -> None:
    section, name = key.split(".")
    lines = refuse(f"{section}: {{{name}: '{form.format('hunter2')}'}}")

    assert lines
    assert "hunter2" not in "\n".join(lines)


def test_settings_are_equal_when_their_sources_are(load: Load) -> None:
    text = "server: {workers: 2}\n"

    assert load(text) == load(text)
    assert dataclasses.replace(load(text), lab=True) != load(text)
