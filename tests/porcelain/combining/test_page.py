"""What docs/history.md shows is what the program says, on the golden registry: real concepts, no model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, run
from tests.golden import unpack

PAGE = (ROOT / "docs" / "history.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(unpack(tmp_path))
    assert run("checkout", "clean").exit_code == 0


def test_the_conflict_of_the_page() -> None:
    result = run("merge", "harmless")
    assert result.exit_code == 4
    assert f"$ cns merge harmless\n{result.stdout}```" in PAGE


def test_the_interference_of_the_page() -> None:
    words = "merge harmless --rename jet=jet2 --dry-run"
    result = run(*words.split(), "--no-drift")
    shown, _, rest = result.stdout.partition("K/V drift")
    assert rest == " not computed: --no-drift\nNothing was committed.\n"
    assert f"$ cns {words}\n{shown}K/V drift since birth" in PAGE
