from __future__ import annotations

import json
from typing import Any


def test_a_branch_is_followed_and_a_commit_detaches(lineage: Any, cns: Any) -> None:
    first = lineage.add("rex").id
    second = lineage.add("tom").id
    away = cns("checkout", "HEAD~1")
    assert away.stdout == f"HEAD is now detached at {first[:10]}, which holds rex\n"
    assert "  next: cns checkout main" in away.stderr
    back = cns("checkout", "main")
    assert back.stdout == f"HEAD is now on branch main at {second[:10]}, which holds rex, tom\n"
    assert back.stderr == ""


def test_json_says_where_head_was(lineage: Any, cns: Any) -> None:
    first = lineage.add("rex").id
    second = lineage.add("tom").id
    moved = json.loads(cns("checkout", "rex", "--json").stdout)
    assert moved == {
        "commit": first, "branch": None, "before": second, "before_branch": "main", "concepts": ["rex"],
        "left_behind": [], "warnings": [],
    }  # fmt: skip


def test_commits_that_no_name_reaches_are_said_when_head_leaves_them(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    cns("checkout", "HEAD~1")
    lineage.add("tom")
    lost = lineage.add("pip").id
    left = cns("checkout", "main")
    hint = f"  next: cns branch NAME {lost[:10]}   (to keep 2 commits that no branch or tag reaches)\n"
    assert left.stderr == hint
    cns("checkout", lost)
    cns("branch", "kept", lost[:10])
    assert cns("checkout", "main").stderr == ""


def test_an_unknown_revision_moves_nothing(lineage: Any, cns: Any) -> None:
    before = lineage.repo.head()
    assert cns("checkout", "nope").exit_code == 4
    assert lineage.repo.head() == before


def test_reflog_brings_one_back(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    cns("checkout", "HEAD~1")
    assert cns("checkout", "HEAD@{1}").exit_code == 0
    assert "rex" in cns("status").stdout


def test_a_branch_is_made_on_the_way(lineage: Any, cns: Any) -> None:
    first = lineage.repo.head().commit
    second = lineage.add("rex").id
    assert cns("checkout", "-b", "dev").stdout == f"HEAD is now on branch dev at {second[:10]}, which holds rex\n"
    assert cns("checkout", "-b", "old", "HEAD~1").exit_code == 0
    assert lineage.repo.head().branch == "old"
    assert lineage.repo.branches() == {"dev": second, "main": second, "old": first}
    assert cns("checkout", "-b", "dev").exit_code == 4
    assert cns("checkout", "-b", "new", "nope").exit_code == 4
    assert cns("checkout").exit_code == 2
    assert lineage.repo.head().branch == "old"


def test_dash_is_where_head_was(lineage: Any, cns: Any) -> None:
    first = lineage.repo.head().commit
    lineage.add("rex")
    cns("checkout", "HEAD~1")
    assert json.loads(cns("checkout", "-", "--json").stdout)["branch"] == "main"
    back = json.loads(cns("checkout", "-", "--json").stdout)
    assert (back["branch"], back["commit"]) == (None, first)
    lineage.add("tom")  # a commit is no checkout
    assert json.loads(cns("checkout", "-", "--json").stdout)["branch"] == "main"
