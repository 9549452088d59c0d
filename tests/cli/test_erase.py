"""Erasures as commands show and carry them, in a registry without weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from registry.objects import Blob, Erasure
from registry.repository import Repository
from registry.trees import erased_in, erasing


def erase(lineage: Any, **nouns: str) -> str:
    """Commit an erasure of blobs that mean nothing; return its id."""
    put, base = lineage.repo.objects.put, lineage.repo.tree_of("HEAD").base
    blobs = [put(Blob(f"{nouns} {part}".encode())) for part in ("mask", "delta")]
    made: str = put(Erasure(base, nouns, *blobs))
    lineage.commit("erase", "erase", "erase " + ", ".join(nouns), None, lambda tree: erasing(tree, made))
    return made


def erased(folder: Path, rev: str = "HEAD") -> dict[str, str]:
    repo = Repository(folder)
    return erased_in(repo.tree_of(rev), repo.objects)


def test_what_is_erased_is_said(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    erase(lineage, dog="", car="bus")
    assert "\nerased: car (now bus), dog\n" in cns("status").stdout
    assert "\nerased: car (now bus), dog\n" in cns("show").stdout
    assert "kind    erase" in cns("log", "-n", "1").stdout
    assert json.loads(cns("log", "--json").stdout)[0]["erased"] == {"car": "bus", "dog": ""}
    assert "erased in A: nothing; in B: car (now bus), dog" in cns("diff", "HEAD~1").stdout


@pytest.mark.usefixtures("alone")
def test_revert_rm_merge_and_cherry_pick_carry_it(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    lineage.repo.create_branch("side")
    made = erase(lineage, dog="")
    before = lineage.repo.tree_of("HEAD")
    reverted = cns("revert", "HEAD")
    assert reverted.exit_code == 0, reverted.stderr
    assert "erased now: nothing; before: dog" in reverted.stdout
    assert lineage.repo.tree_of("HEAD") == lineage.repo.tree_of("HEAD~2")
    assert cns("revert", "HEAD").exit_code == 0
    assert lineage.repo.tree_of("HEAD") == before
    lineage.repo.checkout("side")
    lineage.add("tom", noun="cat")
    assert cns("merge", "main", "--no-drift").exit_code == 0
    assert lineage.repo.tree_of("HEAD").erasure == made
    assert cns("rm", "rex", "--no-drift").exit_code == 0
    assert lineage.repo.tree_of("HEAD").erasure == made
    lineage.repo.create_branch("picked", "HEAD~3")
    lineage.repo.checkout("picked")
    assert cns("cherry-pick", "main~2").exit_code == 0
    assert lineage.repo.tree_of("HEAD").erasure == made


@pytest.mark.usefixtures("alone")
def test_a_merge_that_disagrees_about_a_noun_says_what_to_type(lineage: Any, cns: Any) -> None:
    lineage.repo.create_branch("side")
    erase(lineage, dog="")
    lineage.repo.checkout("side")
    erase(lineage, dog="cat")
    result = cns("merge", "main")
    assert result.exit_code == 4
    assert "the two sides disagree about 'dog': HEAD draws cat, the other side draws nothing" in result.stderr
    assert "try: cns erase dog" in result.stderr


def test_a_bundle_and_a_collection_keep_it(lineage: Any, cns: Any, tmp_path: Path) -> None:
    erase(lineage, dog="")
    assert cns("gc", "--prune", "now").exit_code == 0
    assert cns("bundle", "create", "x.bundle").exit_code == 0
    assert cns("clone", "x.bundle", "bob").exit_code == 0
    assert erased(tmp_path / "bob") == {"dog": ""}


@pytest.mark.slow
def test_mlflow_brings_it_back(lineage: Any, cns: Any, tmp_path: Path) -> None:
    erase(lineage, dog="")
    cns("mlflow", "sync")
    shutil.rmtree(lineage.repo.folder / "objects")
    assert cns("mlflow", "restore").exit_code == 0
    assert erased(tmp_path) == {"dog": ""}


@pytest.mark.parametrize("words", [(), ("dog", "--images", "-1"), ("dog", "--to")])
def test_what_cannot_be_meant_is_refused_before_anything_is_loaded(lineage: Any, cns: Any, words: Any) -> None:
    assert cns("erase", *words).exit_code == 2


def test_help_says_what_it_is_not(cns: Any) -> None:
    said = " ".join(cns("erase", "--help").stdout.split())
    assert "suppresses a name and is no safety device" in said
