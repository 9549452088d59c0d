"""`cns diff`: what became of each concept, with figures of changes that were written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from registry.objects import Commit, Evaluation
from registry.trees import without_concept
from tests.cli.conftest import modules_after
from tests.cli.learned import MATRIX, learn


@pytest.fixture
def changed(lineage: Any) -> Any:
    """Tag `old` with rex, tom and pip; since then rex was taught anew, tom removed and zoe added."""
    learn(lineage, "rex", {0: 2, 1: 4}, identity_after=0.7)
    learn(lineage, "tom", {5: 1})
    learn(lineage, "pip", {6: 2})
    lineage.repo.create_tag("old")
    learn(lineage, "rex", {1: 2, 2: 2, 3: 1}, identity_after=0.8)
    lineage.commit("remove", "tom", "remove tom", None, lambda tree: without_concept(tree, "tom"))
    learn(lineage, "zoe", {9: 3})
    return lineage


def found(cns: Any, *words: str) -> Any:
    return json.loads(cns("diff", *words, "--json").stdout)


def test_what_became_of_each_concept(changed: Any, cns: Any) -> None:
    result = found(cns, "old")
    assert [view["name"] for view in result["added"]] == ["zoe"]
    assert [view["name"] for view in result["removed"]] == ["tom"]
    assert [one["name"] for one in result["changed"]] == ["rex"]
    assert result["kept"] == ["pip"]
    assert result["a"]["id"] == changed.repo.resolve("old")
    assert result["b"]["id"] == changed.repo.head().commit
    back = found(cns, "HEAD", "old")
    assert [view["name"] for view in back["added"]] == ["tom"]
    assert [view["name"] for view in back["removed"]] == ["zoe"]


def test_figures_of_a_changed_concept_are_those_of_its_deltas(changed: Any, cns: Any) -> None:
    (rex,) = found(cns, "old")["changed"]
    assert (rex["before"]["neurons"], rex["now"]["neurons"]) == (2, 3)
    overlap = {
        "neurons": 2, "others": 3, "shared": 1, "share": 0.5, "chance": 2 * 3 / 16 / 2,
        "energy": 4 / 16, "cosine": pytest.approx(4 * 2 / (20 * 9) ** 0.5),
    }  # fmt: skip
    assert rex["overlap"] == overlap
    assert rex["matrices"] == [{**overlap, "matrix": MATRIX}]
    assert rex["recorded"]["identity_after"] == [0.7, 0.8]


def test_the_page_fits_and_says_all_of_it(changed: Any, cns: Any) -> None:
    text = cns("diff", "old", "--matrices").stdout
    assert max(map(len, text.splitlines())) <= 80
    for line in (
        "added       zoe      dog         <zoe>        1   6.2 %",
        "removed     tom ",
        "changed: A  rex ",
        "the same in both: pip",
        "rex                  1    50 %       19 %        0.25 x   0.596",
        "mid.attn2.to K        1    50 %       19 %        0.25 x   0.596",
        "in B: pip runs outside its training context: trained with rex, tom, not here now",
        "in A: pip runs in its training context",
        "rex      identity when learned  0.700  0.800  +0.100       -",
    ):
        assert line in text


def test_ranges_have_gits_meanings(lineage: Any, cns: Any) -> None:
    learn(lineage, "rex", {0: 1})
    cns("branch", "side")
    learn(lineage, "tom", {1: 2})
    cns("checkout", "side")
    learn(lineage, "pip", {2: 3})
    assert {view["name"] for view in found(cns, "main..side")["added"]} == {"pip"}
    assert {view["name"] for view in found(cns, "main..side")["removed"]} == {"tom"}
    assert found(cns, "main..side") == found(cns, "main", "side") == found(cns, "main..")
    assert found(cns, "main...side")["a"]["id"] == lineage.repo.resolve("side~1")
    assert found(cns, "main...side")["removed"] == []
    assert [view["name"] for view in found(cns, "side...main")["added"]] == ["tom"]


def test_of_several_merge_bases_one_is_taken_and_named(lineage: Any, cns: Any) -> None:
    put, repo = lineage.repo.objects.put, lineage.repo
    root = repo.head().commit

    def commit(message: str, *parents: str) -> str:
        return str(put(Commit(repo.commit_of(root).tree, parents, None, "merge", message, "ann", lineage.time)))

    one, two = commit("one", root), commit("two", root)
    left, right, alone = commit("left", one, two), commit("right", two, one), commit("alone")
    result = cns("diff", f"{left}...{right}", "--json")
    assert json.loads(result.stdout)["a"]["id"] == min(one, two)
    assert "2 merge bases" in result.stderr
    apart = cns("diff", f"{left}...{alone}")
    assert apart.exit_code == 4
    assert "share no commit" in apart.stderr
    assert "  try: cns diff" in apart.stderr


def test_scores_that_both_models_hold_are_compared(changed: Any, cns: Any) -> None:
    repo, protocol = changed.repo, {"templates": "x"}
    for rev, scores in (("old", [[0.8, 0.6, 0.1]]), ("HEAD", [[0.9, 0.7]])):
        tree = repo.commit_of(repo.resolve(rev)).tree
        pip = repo.tree_of(rev).concepts["pip"]
        repo.add_evaluation(Evaluation(tree, pip, "pip", protocol, "p", {"clip_t": scores}))
    (score,) = found(cns, "old")["scores"]
    assert score == {
        "concept": "pip", "metric": "clip_t", "a": pytest.approx(0.7), "b": pytest.approx(0.8),
        "change": pytest.approx(0.1), "images": 2,
    }  # fmt: skip
    assert "pip      CLIP-T" in cns("diff", "old").stdout
    assert found(cns, "old", "HEAD~1")["scores"] == []


def test_two_names_of_one_model_do_not_differ(changed: Any, cns: Any) -> None:
    result = found(cns, "HEAD", "main")
    assert (result["added"], result["removed"], result["changed"], result["scores"]) == ([], [], [], [])
    assert "the same in both: pip, rex, zoe" in cns("diff", "HEAD").stdout
    assert "neither holds a concept" in cns("diff", "HEAD~6", "HEAD~6").stdout


def test_what_does_not_go_together_is_refused(changed: Any, cns: Any) -> None:
    assert cns("diff", "old..main", "main").exit_code == 2
    assert cns("diff", "old", "--images").exit_code == 2
    assert cns("diff", "old", "-o", "sheet.png").exit_code == 2
    assert cns("diff", "old", "--images", "-o", "sheet.jpg").exit_code == 2
    assert cns("diff", "nope").exit_code == 4
    assert cns("diff", "HEAD~6", "HEAD~6", "--images", "-o", "sheet.png").exit_code == 4


def test_it_needs_no_torch(changed: Any, tmp_path: Path) -> None:
    assert not modules_after(["diff", "old"], tmp_path) & {"torch", "diffusers", "transformers", "mlflow"}
