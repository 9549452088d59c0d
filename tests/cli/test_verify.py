from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from cns_cli.porcelain.init import init_registry
from registry.objects import Record
from registry.purging import Wish, purge
from registry.repository import Repository
from tests.porcelain.conftest import NOON, add, write_photos
from tests.registry.making import snapshot
from tests.tiny import tiny_sd


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry on a tiny base that was taught rex, and tom beside it."""
    scratch = tmp_path_factory.mktemp("verify")
    base = tiny_sd(scratch / "base")
    folder = scratch / "registry"
    init_registry(folder, str(base), author="ann", time=NOON, compose="all")
    how = {"mlflow_uri": "http://127.0.0.1:9"}  # where nobody listens: no test pays for a database
    add(folder, "rex", write_photos(scratch / "rex", 1), **how)
    add(folder, "tom", write_photos(scratch / "tom", 2), class_noun="cat", time=NOON + 60, keep_images=False, **how)
    add(folder, "mug", write_photos(scratch / "mug", 3), class_noun="cup", time=NOON + 120, **how)
    return folder


@pytest.fixture
def registry(tmp_path: Path, taught: Path) -> Repository:
    """A copy of it in the current folder, as `cns` sees it, without its MLflow."""
    shutil.copytree(taught, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("mlflow*", "mlartifacts"))
    return Repository(tmp_path)


def claimed(repository: Repository, rev: str, **claims: Any) -> str:
    """A commit as `rev`, whose record claims something else, on a branch of its own."""
    commit = repository.commit_of(repository.resolve(rev))
    data = repository.objects.get(commit.record or "", Record).data
    params = {**data["params"], **claims.pop("params", {})}
    record = repository.objects.put(Record({**data, "params": params, **claims}))
    made = repository.objects.put(replace(commit, record=record))
    repository.move_ref("refs/heads/claims", None, made, author="ann", time=NOON, message="claims")
    return "claims"


def test_the_same_bits_come_out_and_nothing_is_written(registry: Repository, cns: Callable[..., Result]) -> None:
    before = snapshot(registry)
    result = cns("verify", "HEAD", "--concept", "mug", "--json")
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    (mug,) = said["concepts"]
    assert (mug["outcome"], mug["parts"], mug["step"]) == ("identical", [], None)
    assert mug["again"] == registry.tree_of("HEAD").concepts["mug"]
    assert said["machine"] == []
    assert "a training of" in result.stderr
    assert snapshot(registry) == before


def test_a_record_that_claims_another_seed_is_found_out(registry: Repository, cns: Callable[..., Result]) -> None:
    result = cns("verify", claimed(registry, "rex", params={"seed": 5}))
    assert result.exit_code == 3, result.stderr
    assert "differs  rex" in result.stdout
    assert "the loss differs from step 1 on" in result.stdout
    assert "another than the record's" not in result.stdout


def test_on_another_machine_scores_decide(registry: Repository, cns: Callable[..., Result]) -> None:
    result = cns("verify", claimed(registry, "rex", params={"seed": 5}, threads=99), "--json")
    said = json.loads(result.stdout)
    (rex,) = said["concepts"]
    assert said["machine"][0].endswith("and was 99")
    assert rex["low"] <= rex["drop"] <= rex["high"]
    expected = "alike" if rex["high"] <= rex["max_drop"] else "differs"
    assert rex["outcome"] == expected
    assert result.exit_code == (0 if expected == "alike" else 3)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["HEAD~1"], 5, "the photos of tom were not kept"),
        (["HEAD~3"], 5, "learned nothing"),
        (["HEAD", "--concept", "rex"], 4, "mug"),
    ],
)
def test_what_cannot_be_tried_is_said(
    registry: Repository, cns: Callable[..., Result], words: list[str], code: int, said: str
) -> None:
    result = cns("verify", *words)
    assert result.exit_code == code
    assert said in result.stderr


def test_what_was_trained_beside_a_purged_concept_cannot_be_tried(
    registry: Repository, cns: Callable[..., Result]
) -> None:
    purge(registry, Wish(("rex",)), author="ann", time=NOON)
    result = cns("verify", "mug")
    assert result.exit_code == 5
    assert "trained beside a concept that was purged" in result.stderr
