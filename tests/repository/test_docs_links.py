"""The checker of links finds each kind of fault."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support.checkout import ROOT


def check(root: Path) -> list[str]:
    """What the checker prints about the pages below ``root``."""
    result = subprocess.run(
        [sys.executable, str(ROOT / ".ci/docs_links.py"), str(root)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stderr == ""
    assert result.returncode == (1 if result.stdout else 0)
    return result.stdout.splitlines()


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """A page with two headings of the same name, and a folder beside it."""
    (tmp_path / "target.md").write_text("# The *Title*, in 2 words\n\n## Same\n\n## Same\n")
    (tmp_path / "folder").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    "text",
    [
        "[a](target.md)",
        "[a](target.md#the-title-in-2-words)",
        "[a](target.md#same) and [b](target.md#same-1)",
        "[a](folder)",
        "[a](https://example.org/anything#at-all)",
        "[a](mailto:someone@example.org)",
        "# Here\n\n[a](#here)",
        '<a id="made"></a>\n\n[a](#made)',
        "`[a](missing.md)`",
        "```\n[a](missing.md)\n```",
        "[a]: target.md#same",
        "/var/lib/acme-server and /etc/acme-server.yaml",
    ],
)
def test_good_pages_pass(pages: Path, text: str) -> None:
    (pages / "page.md").write_text(text + "\n")

    assert check(pages) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[a](missing.md)", "page.md:1: missing.md leads nowhere"),
        ("![a](missing.png)", "page.md:1: missing.png leads nowhere"),
        ("x\n\n[a]: missing.md", "page.md:3: missing.md leads nowhere"),
        (
            "[a](target.md#nothing)",
            "page.md:1: target.md#nothing: no heading makes this anchor",
        ),
        (
            "[a](target.md#same-2)",
            "page.md:1: target.md#same-2: no heading makes this anchor",
        ),
        ("[a](#nothing)", "page.md:1: #nothing: no heading makes this anchor"),
        ("[a](../../outside.md)", "page.md:1: ../../outside.md leads out of the repository"),
        ("[a](/target.md)", "page.md:1: /target.md is an absolute path"),
        (
            "```\n# Not a heading\n```\n[a](#not-a-heading)",
            "page.md:4: #not-a-heading: no heading makes this anchor",
        ),
        ("see /home/someone/tree", "page.md:1: /home/someone is a path of one machine"),
        ("```\ncd /root/tree\n```", "page.md:2: /root/tree is a path of one machine"),
    ],
)
def test_fault_is_told_with_its_place(pages: Path, text: str, fault: str) -> None:
    (pages / "page.md").write_text(text + "\n")

    assert check(pages) == [fault]
