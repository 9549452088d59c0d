from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from registry.repository import Repository
from tests.cli.conftest import Lineage


@pytest.fixture(autouse=True)
def _filled(lineage: Lineage, cns: Any) -> None:
    lineage.add("rex")
    cns("branch", "winter", "HEAD~1")
    cns("tag", "v1")


def test_a_lineage_goes_into_a_file_and_out_again(lineage: Lineage, cns: Any, tmp_path: Path) -> None:
    result = cns("bundle", "create", "studio.bundle")
    assert result.exit_code == 0
    assert result.stdout.startswith("wrote studio.bundle, ")
    assert [line.split()[1] for line in result.stdout.splitlines()[1:]] == ["main", "winter", "v1"]
    assert "cns clone studio.bundle" in result.stderr
    assert cns("bundle", "verify", "studio.bundle").stdout.startswith("whole: studio.bundle, ")
    assert cns("bundle", "clone", "studio.bundle", "bob").exit_code == 0
    assert cns("clone", "studio.bundle").exit_code == 0
    for name in ("bob", "studio"):
        assert Repository(tmp_path / name).head() == lineage.repo.head()


def test_some_branches_alone(cns: Any) -> None:
    answer = json.loads(cns("bundle", "create", "x.bundle", "winter", "--json").stdout)
    assert list(answer["refs"]) == ["refs/heads/winter"]
    result = cns("bundle", "create", "y.bundle", "HEAD~1")
    assert result.exit_code == 4
    assert "a bundle holds those" in result.stderr


def test_a_damaged_bundle_is_refused(cns: Any, tmp_path: Path) -> None:
    cns("bundle", "create", "x.bundle")
    data = bytearray((tmp_path / "x.bundle").read_bytes())
    data[-1] ^= 1
    (tmp_path / "x.bundle").write_bytes(data)
    result = cns("bundle", "verify", "x.bundle")
    assert result.exit_code == 4
    assert "is refused" in result.stderr
    assert cns("clone", "x.bundle", "bob").exit_code == 4
    (tmp_path / "y.bundle").write_text("no bundle")
    assert cns("bundle", "verify", "y.bundle").exit_code == 8
    assert cns("bundle", "verify", "none.bundle").exit_code == 8
