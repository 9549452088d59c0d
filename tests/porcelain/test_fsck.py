"""`fsck --read-data`: what hashes to its id and still means nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from cns import codec, grid
from cns_cli.porcelain.fsck import FsckOptions, FsckResult, fsck
from cns_cli.porcelain.health import data
from registry.objects import Blob, Concept, Evaluation, References, Tree
from registry.refs import EVALUATIONS, LOST
from registry.repository import Repository

Matrices = dict[str, codec.SparseDelta]


def checked(registry: Path) -> FsckResult:
    return fsck(FsckOptions(start=registry, read_data=True))


def faults(registry: Path) -> list[str]:
    return [finding.what for finding in checked(registry).findings if finding.code == "data-invalid"]


def rex(repo: Repository) -> Concept:
    return repo.concepts(repo.tree_of("HEAD"))["rex"]


def keep(repo: Repository, concept: Concept) -> str:
    """Commit a concept as a user's own program might, past every check, and return its id."""
    new = repo.objects.put(concept)
    head = repo.commit_of(repo.head().commit)
    tree = repo.objects.put(Tree(repo.tree_of("HEAD").base, {"odd": new}))
    commit = repo.objects.put(dataclasses.replace(head, tree=tree, parents=(repo.head().commit,)))
    repo.refs.overwrite(LOST + "odd", commit)
    return new


def with_delta(repo: Repository, change: Callable[[Matrices], Any]) -> str:
    stored = rex(repo)
    matrices = codec.decode(repo.objects.get(stored.mask, Blob).data, repo.objects.get(stored.delta, Blob).data)
    change(matrices)
    mask, delta = codec.encode(matrices)
    parts = {"mask": repo.objects.put(Blob(mask)), "delta": repo.objects.put(Blob(delta))}
    return keep(repo, dataclasses.replace(stored, name="odd", **parts))


def first(matrices: Matrices, **changes: Any) -> None:
    name = min(matrices)
    matrices[name] = dataclasses.replace(matrices[name], **changes)


def test_what_add_wrote_is_whole_and_is_decoded(learned: Path) -> None:
    result = checked(learned)
    assert result.findings == ()
    assert result.decoded == 2
    assert fsck(FsckOptions(start=learned)).decoded == 0


def test_unreadable_mask_is_named_with_its_concept(learned: Path) -> None:
    repo = Repository(learned)
    odd = keep(repo, dataclasses.replace(rex(repo), name="odd", mask=repo.objects.put(Blob(b"no safetensors"))))
    (found,) = [finding for finding in checked(learned).findings if finding.level == "error"]
    assert (found.code, found.object_id, found.kind) == ("data-invalid", odd, "concept")
    assert found.reach.concepts == ("odd",)
    assert found.reach.refs == (LOST + "odd",)
    assert found.fix.startswith("cns rm odd")
    assert checked(learned).damaged
    assert not fsck(FsckOptions(start=learned)).damaged, "every byte is what was written"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda m: first(m, exponent=3), "its grid exponent of"),
        (lambda m: first(m, shape=(m[min(m)].shape[0] * 2, m[min(m)].shape[1])), "is for shape"),
        (lambda m: m.update({"nowhere.weight": m[min(m)]}), "changes 'nowhere.weight', which is no matrix"),
        (lambda m: first(m, steps=np.full_like(m[min(m)].steps, -32768)), "by 32768 steps: expected at most 32767"),
    ],
    ids=["exponent", "shape", "matrix", "range"],
)
def test_delta_is_compared_with_the_matrices_of_its_base(
    learned: Path, change: Callable[[Matrices], Any], told: str
) -> None:
    with_delta(Repository(learned), change)
    (found,) = faults(learned)
    assert told in found


def test_embedding_must_have_the_rows_of_its_tokens(learned: Path) -> None:
    repo = Repository(learned)
    keep(repo, dataclasses.replace(rex(repo), name="odd", tokens=("<odd>",)))
    assert "its embedding has rows for ['<rex>']: expected ['<odd>']" in faults(learned)[0]


def test_references_are_compared_with_their_counts(learned: Path) -> None:
    repo = Repository(learned)
    stored = repo.objects.get(rex(repo).references, References)
    images = load(repo.objects.get(stored.images or "", Blob).data)["images"]
    wrong = repo.objects.put(Blob(save({"images": images[:, :8]})))
    features = repo.objects.put(Blob(save({"features": np.full((1, 4), np.nan, np.float32)})))
    odd = References(wrong, stored.captions[:1], stored.count, stored.resolution, {"a" * 64: features})
    keep(repo, dataclasses.replace(rex(repo), name="odd", references=repo.objects.put(odd)))
    found = " ".join(faults(learned))
    assert f"1 captions for {stored.count} images" in found
    assert "its images are uint8" in found
    assert "its features of encoder aaaaaaaaaa" in found


def test_sum_of_a_model_stays_where_float32_is_exact(learned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound by largest integers is enough to pass a model; to refuse it, the exact sum decides."""
    repo = Repository(learned)
    head = repo.commit_of(repo.head().commit)
    parts = [
        [repo.objects.get(part, Blob).data for part in (concept.mask, concept.delta)]
        for concept in repo.concepts(repo.tree_of("HEAD")).values()
    ]
    deltas = [codec.decode(mask, delta) for mask, delta in parts]
    sums = {name: codec.total_steps([delta[name] for delta in deltas], deltas[0][name].shape) for name in deltas[0]}
    largest = max(int(np.abs(total).max()) for total in sums.values())
    bound = max(sum(int(np.abs(delta[name].steps).max()) for delta in deltas) for name in sums)
    assert largest <= bound
    monkeypatch.setattr(data, "MAX_TOTAL", largest + 1)
    assert faults(learned) == []
    monkeypatch.setattr(data, "MAX_TOTAL", largest)
    found = [fault for fault in faults(learned) if head.tree[:10] in fault]
    assert found
    assert all(f"by {largest} steps together" in fault for fault in found)
    assert grid.MAX_TOTAL == 2**24


def test_concept_of_another_base_in_a_model(learned: Path) -> None:
    repo = Repository(learned)
    base = repo.objects.get(repo.tree_of("HEAD").base, type(repo.objects.load(repo.tree_of("HEAD").base)))
    other = repo.objects.put(dataclasses.replace(base, denoiser_parameters=1))  # type: ignore[type-var]
    head = repo.commit_of(repo.head().commit)
    tree = repo.objects.put(Tree(other, repo.tree_of("HEAD").concepts))
    repo.refs.overwrite(LOST + "odd", repo.objects.put(dataclasses.replace(head, tree=tree)))
    (found,) = faults(learned)
    assert "trained on another base" in found


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"scores": {}}, "it has no scores"),
        ({"scores": {"identity": [["high"]]}}, "'identity' holds what is no finite number"),
        ({"scores": {"identity": [[True]]}}, "'identity' holds what is no finite number"),
    ],
)
def test_scores_must_be_numbers(learned: Path, changes: dict[str, Any], told: str) -> None:
    repo = Repository(learned)
    (known,) = [name.rpartition("/")[2] for name in repo.refs.names(EVALUATIONS)][:1]
    stored = repo.objects.get(known, Evaluation)
    repo.add_evaluation(dataclasses.replace(stored, **changes))
    assert told in " ".join(faults(learned))


def test_scores_of_a_concept_that_its_tree_has_not(learned: Path) -> None:
    repo = Repository(learned)
    stored = repo.objects.get(repo.refs.names(EVALUATIONS)[0].rpartition("/")[2], Evaluation)
    tom = repo.tree_of("HEAD").concepts["tom"]
    before = repo.commit_of(repo.resolve("HEAD~1")).tree  # rex alone
    repo.add_evaluation(dataclasses.replace(stored, tree=before, concept=tom, concept_name="tom"))
    assert "which its tree does not hold" in " ".join(faults(learned))


def test_scores_of_a_class_noun_on_the_bare_base_are_in_order(learned: Path) -> None:
    repo = Repository(learned)
    stored = repo.objects.get(repo.refs.names(EVALUATIONS)[0].rpartition("/")[2], Evaluation)
    repo.add_evaluation(dataclasses.replace(stored, tree=repo.commit_of(repo.resolve("HEAD~2")).tree))
    assert faults(learned) == []


def test_damaged_parts_are_told_once(learned: Path) -> None:
    repo = Repository(learned)
    path = repo.objects.path(rex(repo).mask)
    path.chmod(0o644)
    path.write_bytes(b"x")
    assert [finding.code for finding in checked(learned).findings] == ["object-corrupt"]


@pytest.mark.slow
def test_rebuild_makes_the_mirror_again(learned: Path) -> None:
    (learned / ".cns" / "mlflow.db").unlink()
    result = fsck(FsckOptions(start=learned, author="ann", rebuild=True))
    assert not result.damaged
    assert any("3 commits" in done for done in result.rebuilt)
