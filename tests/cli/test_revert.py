from __future__ import annotations

import json
from typing import Any

import pytest

pytestmark = pytest.mark.usefixtures("alone")


def tree(lineage: Any, rev: str = "HEAD") -> str:
    return str(lineage.repo.commit_of(lineage.repo.resolve(rev)).tree)


def test_what_came_since_stays(lineage: Any, cns: Any) -> None:
    gone = lineage.add("rex").id
    lineage.add("tom")
    result = cns("revert", "HEAD~1")
    assert result.exit_code == 0, result.stderr
    assert "reverted HEAD~1: commit " in result.stdout
    assert "removed rex; 1 concept now" in result.stdout
    assert "Now outside their training context: tom" in result.stdout
    commit = lineage.repo.commit_of(lineage.repo.head().commit)
    assert (commit.kind, commit.message) == ("revert", f'revert "add rex"\n\nThis takes back {gone[:10]}.')
    assert list(lineage.repo.tree_of("HEAD").concepts) == ["tom"]


def test_a_revert_that_is_reverted_leaves_the_same_tree(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    lineage.add("tom")
    before = tree(lineage)
    for _ in range(2):
        assert cns("revert", "HEAD", "--no-drift").exit_code == 0
    assert tree(lineage) == before


def test_a_revert_brings_back_what_was_removed(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    before = tree(lineage)
    lineage.remove("rex")
    assert cns("revert", "HEAD", "--message", "rex is missed").exit_code == 0
    assert tree(lineage) == before
    assert lineage.repo.commit_of(lineage.repo.head().commit).message == "rex is missed"


def test_a_merge_is_reverted_against_the_parent_that_is_named(lineage: Any, cns: Any) -> None:
    lineage.repo.create_branch("pets")
    lineage.add("rex")
    main = lineage.repo.head().commit
    lineage.repo.checkout("pets")
    lineage.add("tom")
    lineage.repo.checkout("main")
    cns("merge", "pets", "--no-drift")
    merge = lineage.repo.head().commit
    refused = cns("revert", "HEAD")
    assert refused.exit_code == 4
    assert f"-m 1: {main[:10]}" in refused.stderr
    assert "try: cns revert HEAD -m 1" in refused.stderr
    assert cns("revert", "HEAD", "-m", "3").exit_code == 4
    assert cns("revert", "HEAD", "-m", "1", "--no-drift").exit_code == 0
    assert tree(lineage) == tree(lineage, main)
    assert cns("revert", merge, "-m", "2", "--no-drift").exit_code == 0
    assert list(lineage.repo.tree_of("HEAD").concepts) == []


def test_a_later_change_of_the_same_name_is_a_conflict(lineage: Any, cns: Any) -> None:
    added = lineage.add("rex").id
    lineage.remove("rex")
    lineage.add("rex")
    answer = json.loads(cns("revert", added, "--json").stdout)
    assert [(one["name"], one["ours"]["did"], one["theirs"]["did"]) for one in answer["conflicts"]] == [
        ("rex", "changed", "removed")
    ]


def test_the_first_commit_cannot_be_taken_back(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    result = cns("revert", "HEAD~1")
    assert result.exit_code == 4
    assert "it is the first commit" in result.stderr
