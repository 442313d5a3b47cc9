"""Loading configurations that a test writes down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from acme_server.config.loader import load_settings
from acme_server.config.problems import ConfigurationError
from acme_server.config.settings import Settings

Load = Callable[..., Settings]
Refuse = Callable[..., list[str]]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load settings from the text of ``config.yaml`` in the working directory, and variables."""
    monkeypatch.chdir(tmp_path)

    def load_text(text: str | bytes | None, environ: Mapping[str, str] | None = None) -> Settings:
        if text is None:
            return load_settings(None, environ or {})
        content = text if isinstance(text, bytes) else dedent(text).encode()
        Path("config.yaml").write_bytes(content)
        return load_settings(Path("config.yaml"), environ or {})

    return load_text


@pytest.fixture
def refuse(load: Load) -> Refuse:
    """Load settings that must be refused; the lines of the refusal."""

    def load_text(text: str | bytes | None, environ: Mapping[str, str] | None = None) -> list[str]:
        with pytest.raises(ConfigurationError) as caught:
            load(text, environ)
        return [str(problem) for problem in caught.value.problems]

    return load_text
