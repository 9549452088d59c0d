from __future__ import annotations

from typing import Any

from registry.mirror.scores import Point, evaluations_by_tree, points_of, scores_of, trees_seen
from registry.objects import Evaluation, Tree
from registry.repository import Repository
from tests.registry.making import DIGEST, OTHER, add, new_repository

TREE, CONCEPT = "c" * 64, "d" * 64


def evaluation(scores: dict[str, Any], digest: str = DIGEST, **protocol: Any) -> Evaluation:
    return Evaluation(TREE, CONCEPT, "rex", protocol, digest, scores)


def test_scores_are_numbers_or_means_of_however_nested_lists() -> None:
    one = evaluation({"clip_i": [0.25, 0.75], "identity": [[0.5], [1.0]], "n": 3, "note": "x", "none": []})
    assert scores_of(one) == {"rex.clip_i": 0.5, "rex.identity": 0.75, "rex.n": 3.0}


def test_a_table_of_scores_is_no_figure() -> None:
    assert scores_of(evaluation({"others": {CONCEPT: [[0.5]]}, "drift": 0.25})) == {"rex.drift": 0.25}


def test_the_class_noun_alone_has_a_name_of_its_own() -> None:
    assert scores_of(evaluation({"identity": [[0.5]]}, subject="class")) == {"rex.class.identity": 0.5}


def test_of_one_protocol_the_most_images_count_whatever_the_order() -> None:
    few, many = evaluation({"clip_i": [[0.5]]}), evaluation({"clip_i": [[0.5, 1.0]]})
    other = evaluation({"clip_i": [[0.25]]}, OTHER)
    expected = {"check/aaaaaaaa/rex.clip_i": Point(0.75, 2), "check/bbbbbbbb/rex.clip_i": Point(0.25, 1)}
    assert points_of([few, many, other]) == expected
    assert points_of([other, many, few]) == expected


def test_evaluations_are_found_by_tree(tmp_path: Any) -> None:
    repository: Repository = new_repository(tmp_path)
    made = add(repository, "rex")
    tree, concept = made.commit.tree, repository.tree_of(made.id).concepts["rex"]
    ids = {
        repository.add_evaluation(Evaluation(tree, concept, "rex", {}, DIGEST, {"clip_i": [[value]]}))
        for value in (0.25, 0.5)
    }
    assert {found: set(some) for found, some in evaluations_by_tree(repository).items()} == {tree: ids}


def test_the_scores_of_a_tree_are_those_of_what_prompts_see_of_it() -> None:
    tree = Tree(DIGEST, {"rex": OTHER, "tom": CONCEPT})
    assert trees_seen(tree) == {tree.id}
    alone = {Tree(DIGEST, {name: one}, "named").id for name, one in tree.concepts.items()}
    assert trees_seen(Tree(DIGEST, tree.concepts, "named")) == alone
