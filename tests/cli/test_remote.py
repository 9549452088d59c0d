from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.cli.conftest import Lineage
from tests.cli.sharing import shared


def test_remotes_are_added_listed_changed_and_removed(lineage: Lineage, cns: Any, tmp_path: Path) -> None:
    assert cns("remote", "list").stdout == "no remotes\n"
    added = cns("remote", "add", "origin", "s3://bucket/studio")
    assert (added.exit_code, added.stdout) == (0, "origin  s3://bucket/studio\n")
    assert "  next: cns push origin" in added.stderr
    assert cns("remote", "add", "origin", "s3://x").exit_code == 4
    assert cns("remote", "set-url", "origin", "s3://other/studio").stdout == "origin  s3://other/studio\n"
    assert cns("remote", "set-url", "nope", "s3://other/studio").exit_code == 4
    assert cns("remote", "remove", "origin").stdout == "no remotes\n"


def test_a_list_says_where_branches_were(lineage: Lineage, cns: Any, tmp_path: Path) -> None:
    place = shared(lineage, tmp_path)
    head = lineage.repo.head().commit
    assert cns("remote", "list").stdout == f"origin  {place}\n  {head[:10]}  main\n"
    (one,) = json.loads(cns("remote", "list", "--json").stdout)["remotes"]
    assert one == {"name": "origin", "address": str(place), "trusted": True, "branches": {"main": head}}


def test_an_address_with_a_password_is_refused(lineage: Lineage, cns: Any) -> None:
    result = cns("remote", "add", "origin", "https://ann:secret@mlflow.example.org#studio")
    assert result.exit_code == 8
    assert "secret" not in result.stdout + result.stderr
    assert "MLFLOW_TRACKING_PASSWORD" in result.stderr
    assert "secret" not in (lineage.repo.folder / "config.toml").read_text()


def test_a_name_is_a_plain_word(lineage: Lineage, cns: Any) -> None:
    assert cns("remote", "add", "a/b", "s3://x/y").exit_code == 4


def test_an_address_from_elsewhere_is_marked(lineage: Lineage, cns: Any, tmp_path: Path) -> None:
    cns("remote", "add", "origin", "s3://bucket/studio")
    path = tmp_path / ".cns" / "config.toml"
    path.write_text(path.read_text().replace("bucket", "evil"))
    result = cns("remote", "list")
    assert "came with this folder" in result.stderr
    cns("remote", "set-url", "origin", "s3://evil/studio")
    assert cns("remote", "list").stderr == ""
