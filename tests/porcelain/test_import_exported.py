"""What `cns export` writes for one concept comes back by `cns import` as what it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from cns.adapters.directions import DIRECTIONS, named_directions
from cns.codec import encode
from cns.compose import ConceptWeights, Weights
from cns.errors import AdapterError, MethodError
from cns_cli.porcelain.export import export
from cns_cli.porcelain.models.session import Session
from cns_cli.progress import NullProgress
from registry.errors import DeltaTaken
from registry.objects import Concept
from registry.repository import Repository
from tests.porcelain.conftest import add, new_registry
from tests.porcelain.test_import import bring
from tests.tiny import WIDTH, tiny_sd


@pytest.fixture(scope="module")
def directed(
    tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, photos: dict[str, Path], mlflow_tables: Path
) -> Path:
    """A registry whose rex has directions and whose tom has a mask, and two vectors."""
    folder = new_registry(tmp_path_factory.mktemp("directed"), tiny_base, mlflow_tables, "named")
    add(folder, "rex", photos["rex"], directions=2, score=None)
    add(folder, "tom", photos["tom"], class_noun="cat", vectors=2)
    return folder


def written(folder: Path, out: Path, name: str, kind: str) -> Path:
    """The one file of a concept in a format."""
    export("HEAD", kind, out / kind, "fp32", folder, NullProgress(), [name])
    (file,) = (out / kind).glob("*.safetensors")
    return file


def stored(folder: Path, name: str) -> Concept:
    repo = Repository(folder)
    return repo.concepts(repo.tree_of("HEAD"))[name]


def weights(session: Session, concept: ConceptWeights) -> Weights:
    return session.base.model.compose([concept])


@pytest.fixture
def fresh(tmp_path: Path, tiny_base: Path, mlflow_tables: Path) -> Path:
    """Another registry on the same base."""
    return new_registry(tmp_path / "fresh", tiny_base, mlflow_tables, "named")


@pytest.mark.parametrize("name", ["rex", "tom"])
def test_a_delta_comes_back_with_its_ids(directed: Path, fresh: Path, tmp_path: Path, name: str) -> None:
    file = written(directed, tmp_path, name, "delta")
    made = bring(fresh, file, name, class_noun=None)
    was, now = stored(directed, name), stored(fresh, name)
    parts = ("mask", "delta", "embedding", "tokens", "class_noun")
    assert [getattr(now, part) for part in parts] == [getattr(was, part) for part in parts]
    assert (made.dialect, made.rounding_loss) == ("cns delta", 0.0)


def test_a_delta_under_another_name_has_another_token(directed: Path, fresh: Path, tmp_path: Path) -> None:
    bring(fresh, written(directed, tmp_path, "tom", "delta"), "bello", weight=0.5)
    now = stored(fresh, "bello")
    assert (now.class_noun, now.tokens) == ("dog", ("<bello>", "<bello>_1"))
    assert now.delta != stored(directed, "tom").delta


def test_the_same_change_a_second_time_is_told_of_the_new_name(directed: Path, fresh: Path, tmp_path: Path) -> None:
    file = written(directed, tmp_path, "tom", "delta")
    bring(fresh, file, "tom", class_noun=None)
    with pytest.raises(DeltaTaken) as same:
        bring(fresh, file, "abe", class_noun=None)
    assert (same.value.name, same.value.holder, same.value.hint) == ("abe", "tom", "cns mv tom abe")


@pytest.mark.parametrize(
    ("kind", "name"), [("lycoris", "tom"), ("comfy", "tom"), ("lycoris", "rex"), ("comfy", "rex"), ("lora", "rex")]
)
def test_weights_and_vectors_come_back_bit_for_bit(
    directed: Path, fresh: Path, tmp_path: Path, kind: str, name: str
) -> None:
    file, token = (written(directed, tmp_path, name, one) for one in (kind, "embedding"))
    made = bring(fresh, file, name, embedding=token)
    assert made.rounding_loss == 0
    was, now = Session.open(Repository(directed), "cpu"), Session.open(Repository(fresh), "cpu")
    before = was.concept(was.repo.tree_of("HEAD").concepts[name])
    after = now.concept(now.repo.tree_of("HEAD").concepts[name])
    assert all(torch.equal(one, after.rows[row]) for row, one in before.rows.items())
    assert before.rows.keys() == after.rows.keys()
    expected, found = weights(was, before), weights(now, after)
    assert all(torch.equal(found[matrix], expected[matrix]) for matrix in expected)
    if name == "rex":
        assert encode(after.delta) == encode(before.delta)


def renoted(file: Path, **notes: str) -> Path:
    """A file with another header."""
    save_file(load_file(file), file, notes)
    return file


def test_directions_that_a_header_does_not_name_are_rounded_and_that_is_said(
    directed: Path, fresh: Path, tmp_path: Path
) -> None:
    made = bring(fresh, renoted(written(directed, tmp_path, "rex", "lycoris")), "rex")
    assert 0 < made.rounding_loss < 1
    assert made.rank == 0
    assert [one for one in made.warnings if f"loses {made.rounding_loss:.1%} of the change" in one]


def test_directions_that_are_not_those_of_the_change_do_nothing(directed: Path, fresh: Path, tmp_path: Path) -> None:
    directions = named_directions(np.eye(WIDTH, 2, dtype=np.int8))
    file = renoted(written(directed, tmp_path, "tom", "lycoris"), **{DIRECTIONS: directions})
    made = bring(fresh, file, "tom")
    assert (made.rounding_loss, made.rank) == (0, 0)


@pytest.mark.parametrize("said", ["[]", '["AAAA"]', "7", '["%"]', "[1]", "[" * 2000])
def test_directions_that_cannot_be_read_are_refused(directed: Path, fresh: Path, tmp_path: Path, said: str) -> None:
    file = renoted(written(directed, tmp_path, "rex", "lycoris"), **{DIRECTIONS: said})
    with pytest.raises(AdapterError, match="names directions in its header that cannot be read"):
        bring(fresh, file, "rex")
    assert not Repository(fresh).tree_of("HEAD").concepts


@pytest.mark.parametrize("damage", ["mask", "grid", "missing"])
def test_a_damaged_delta_is_refused(directed: Path, fresh: Path, tmp_path: Path, damage: str) -> None:
    from safetensors import safe_open

    file = written(directed, tmp_path, "tom", "delta")
    with safe_open(file, "pt") as opened:
        notes = opened.metadata()
    tensors: dict[str, Any] = load_file(file)
    if damage == "missing":
        del tensors["embedding"]
    elif damage == "mask":
        tensors["mask"] = tensors["mask"][:-3].clone()
    else:
        notes["cns.concept"] = "[]"
    save_file(tensors, file, notes)
    with pytest.raises(MethodError):
        bring(fresh, file, "tom", class_noun=None)
    assert not Repository(fresh).tree_of("HEAD").concepts


def test_a_delta_of_another_base_is_refused(directed: Path, tmp_path: Path, mlflow_tables: Path) -> None:
    file = written(directed, tmp_path, "tom", "delta")
    elsewhere = new_registry(tmp_path / "elsewhere", tiny_sd(tmp_path / "base", seed=1), mlflow_tables)
    with pytest.raises(AdapterError, match="is a concept on another base"):
        bring(elsewhere, file, "tom", class_noun=None)
