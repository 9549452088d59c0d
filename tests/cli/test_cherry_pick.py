from __future__ import annotations

import json
from typing import Any

import pytest

from registry.objects import Record
from tests.registry.making import snapshot

pytestmark = pytest.mark.usefixtures("alone")


def test_one_concept_comes_over_alone(lineage: Any, cns: Any) -> None:
    lineage.repo.create_branch("pets")
    lineage.repo.checkout("pets")
    lineage.add("rex")
    picked = lineage.add("tom", message="add tom, a cat").id
    lineage.add("mug")
    lineage.repo.checkout("main")
    before = lineage.repo.head().commit
    result = cns("cherry-pick", "pets~1")
    assert result.exit_code == 0, result.stderr
    assert "picked pets~1: commit " in result.stdout
    assert "Now outside their training context: tom" in result.stdout
    assert lineage.repo.tree_of("HEAD").concepts == {"tom": lineage.repo.tree_of(picked).concepts["tom"]}
    commit = lineage.repo.commit_of(lineage.repo.head().commit)
    assert (commit.kind, commit.message, commit.parents) == ("cherry-pick", "add tom, a cat", (before,))
    assert lineage.repo.objects.get(commit.record, Record).data == {"params": {"picked": picked}}


def test_onto_its_own_parent_it_is_the_same_tree(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    lineage.repo.create_branch("here")
    one = lineage.add("tom")
    lineage.repo.checkout("here")
    assert cns("cherry-pick", "main", "--no-drift").exit_code == 0
    assert lineage.repo.commit_of(lineage.repo.head().commit).tree == one.commit.tree


def test_what_is_there_already_is_nothing_to_do(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    before = snapshot(lineage.repo)
    result = cns("cherry-pick", "HEAD")
    assert result.exit_code == 4
    assert "this cherry-pick changes nothing" in result.stderr
    assert {name: data for name, data in snapshot(lineage.repo).items() if not name.startswith("objects")} == {
        name: data for name, data in before.items() if not name.startswith("objects")
    }


def test_a_conflict_names_the_command_with_its_choices(lineage: Any, cns: Any) -> None:
    lineage.repo.create_branch("pets")
    lineage.add("rex")
    lineage.repo.checkout("pets")
    lineage.add("rex", noun="cat")
    result = cns("cherry-pick", "main", "--json")
    assert result.exit_code == 4
    assert json.loads(result.stdout)["commands"][:2] == [
        "cns cherry-pick main -X ours",
        "cns cherry-pick main -X theirs",
    ]
    assert cns("cherry-pick", "main", "--theirs", "rex", "--no-drift").exit_code == 0
    assert lineage.repo.tree_of("HEAD") == lineage.repo.tree_of("main")


def test_the_first_commit_brings_nothing(lineage: Any, cns: Any) -> None:
    result = cns("cherry-pick", "HEAD")
    assert result.exit_code == 4
    assert "it is the first commit" in result.stderr
