from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cns.files.bases import describe_base, resolve_base
from registry.objects import Base
from registry.repository import Repository
from tests.cli.sharing import shared


@pytest.fixture(autouse=True)
def _filled(lineage: Any) -> None:
    lineage.add("rex")
    lineage.add("tom")


def test_a_clone_is_a_registry(lineage: Any, cns: Any, tmp_path: Path) -> None:
    place = shared(lineage, tmp_path)
    result = cns("clone", str(place), "bob")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"cloned {place} into bob\n")
    assert "concepts  rex, tom" in result.stdout
    assert "  next: cd bob" in result.stderr
    made = Repository(tmp_path / "bob")
    assert made.head() == lineage.repo.head()


def test_the_folder_is_called_as_the_address_ends(lineage: Any, cns: Any, tmp_path: Path, monkeypatch: Any) -> None:
    shared(lineage, tmp_path).rename(tmp_path / "studio")
    (tmp_path / "desk").mkdir()
    monkeypatch.chdir(tmp_path / "desk")
    result = cns("clone", f"file://{tmp_path}/studio/", "--json")
    assert json.loads(result.stdout)["folder"] == str(tmp_path / "desk" / "studio")


def test_a_base_that_is_not_known_is_asked_for(lineage: Any, cns: Any, tmp_path: Path) -> None:
    result = cns("clone", str(shared(lineage, tmp_path)), "bob", "--json")
    assert json.loads(result.stdout)["base_source"] is None
    assert "cns config base.source FOLDER" in result.stderr


def test_a_base_that_is_another_is_refused_and_the_clone_goes_on(lineage: Any, cns: Any, tmp_path: Path) -> None:
    place = str(shared(lineage, tmp_path))
    result = cns("clone", place, "bob", "--base", "emoji-64")
    assert result.exit_code == 5
    assert not (tmp_path / "bob" / ".cns").exists()
    again = json.loads(cns("clone", place, "bob", "--json").stdout)
    assert again["packs"] == 0


def test_the_embedded_base_is_found_by_its_digests(cns: Any, tmp_path: Path) -> None:
    facts = describe_base(resolve_base("emoji-64"))
    shutil.rmtree(tmp_path / ".cns")
    base = Base(facts.family, facts.components, facts.matrices, facts.denoiser_parameters)
    Repository.init(tmp_path, base, {"base.source": "/of/ann"}, author="ann", time=0)
    place = shared(None, tmp_path)  # type: ignore[arg-type]
    result = cns("clone", str(place), "bob", "--json")
    assert json.loads(result.stdout)["base_source"] == "emoji-64"
    assert Repository(tmp_path / "bob").config["base"] == {"source": "emoji-64"}


def test_nothing_is_cloned_over(lineage: Any, cns: Any, tmp_path: Path) -> None:
    place = str(shared(lineage, tmp_path))
    assert cns("clone", place, "bob").exit_code == 0
    result = cns("clone", place, "bob")
    assert result.exit_code == 4
    assert "already holds a registry" in result.stderr


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("nowhere", "there is no such file or folder"),
        ("https://ann:pw@host#x", "expected none"),
        ("s4://x/y", "Protocol not known"),
    ],
)
def test_what_cannot_be_cloned_is_said_with_exit_8(cns: Any, tmp_path: Path, address: str, said: str) -> None:
    result = cns("clone", address)
    assert result.exit_code == 8
    assert said in result.stderr
    assert "pw" not in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == [".cns"]


def test_an_address_that_ends_in_no_name_needs_a_folder(cns: Any) -> None:
    result = cns("clone", "s3://bucket/..")
    assert result.exit_code == 4
    assert "cns clone URL FOLDER" in result.stderr


def test_a_server_that_is_not_there_is_said_in_few_words(cns: Any) -> None:
    result = cns("clone", "http://127.0.0.1:9#studio", "here")
    assert result.exit_code == 8
    assert result.stderr.splitlines()[0].endswith("it cannot be reached: Connection refused")
