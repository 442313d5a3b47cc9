"""Whatever stands in a file or a variable is settings or a refusal, never another exception."""

from __future__ import annotations

import contextlib
import string
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acme_server.config.environment import variable_of
from acme_server.config.loader import DECLARED, load_settings
from acme_server.config.problems import ConfigurationError
from acme_server.config.reference import example_file
from acme_server.config.settings import Settings

_EXAMPLE = example_file()
_words = st.text(alphabet=string.printable + "é\u2028\x85", max_size=30)
_documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _words,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*DECLARED, "server", "acme"]) | _words, inner)
    ),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that is written again and again."""
    return tmp_path_factory.mktemp("fuzz") / "config.yaml"


def load(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with contextlib.suppress(ConfigurationError):
        assert isinstance(load_settings(file, {}), Settings)


@given(st.binary(max_size=200))
def test_bytes_are_settings_or_refused(file: Path, content: bytes) -> None:
    load(file, content)


@given(st.text(alphabet="ab:[]{}&*!|>-?,#'\"%@`~\n\t <.0", max_size=60))
def test_shreds_of_yaml_are_settings_or_refused(file: Path, text: str) -> None:
    load(file, text.encode())


@given(_documents)
def test_documents_of_any_shape_are_settings_or_refused(file: Path, document: object) -> None:
    load(file, yaml.safe_dump(document, allow_unicode=True).encode())


@given(st.data())
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
def test_every_setting_takes_its_values_or_refuses(file: Path, data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(DECLARED)))
    value = data.draw(_documents)
    section, _, name = key.rpartition(".")
    document = {section: {name: value}} if section else {name: value}

    load(file, yaml.safe_dump(document, allow_unicode=True).encode())


@given(st.integers(0, len(_EXAMPLE)), st.integers(0, 40), _words)
def test_damaged_example_is_settings_or_refused(
    file: Path, start: int, length: int, insertion: str
) -> None:
    load(file, (_EXAMPLE[:start] + insertion + _EXAMPLE[start + length :]).encode())


@given(st.sampled_from(sorted(DECLARED)), _words)
def test_variables_are_settings_or_refused(key: str, text: str) -> None:
    with contextlib.suppress(ConfigurationError):
        assert isinstance(load_settings(None, {variable_of(key): text}), Settings)


@given(st.text(alphabet=string.ascii_uppercase + "_", min_size=1, max_size=30), _words)
def test_names_of_variables_are_known_or_refused(name: str, text: str) -> None:
    with contextlib.suppress(ConfigurationError):
        assert isinstance(load_settings(None, {f"ACME_SERVER__{name}": text}), Settings)
