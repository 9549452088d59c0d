"""`cns undo [BRANCH]`."""

from __future__ import annotations

import json
from typing import Any

import pytest


def test_a_commit_is_undone_and_stays_within_reach(lineage: Any, cns: Any) -> None:
    first = lineage.repo.head().commit
    added = lineage.add("rex").id
    done = cns("undo")
    assert done.stdout == (
        "undone: add: add rex\n"
        f"HEAD is now on branch main at {first[:10]}, which holds no concept\n"
        "left behind, as no branch or tag reaches it:\n"
        f"  {added[:10]} add rex\n"
    )
    assert done.stderr == "  next: cns undo   (to make that move again)\n"
    assert lineage.repo.resolve("HEAD@{1}") == added
    assert cns("fsck").exit_code == 0


def test_undo_of_undo_is_redo_as_often_as_one_likes(lineage: Any, cns: Any) -> None:
    first = lineage.repo.head().commit
    added = lineage.add("rex").id
    for _ in range(2):
        assert json.loads(cns("undo", "--json").stdout)["commit"] == first
        assert lineage.repo.branches() == {"main": first}
        assert json.loads(cns("undo", "--json").stdout)["commit"] == added
        assert lineage.repo.branches() == {"main": added}
    messages = [move.message for move in lineage.repo.reflog()]
    assert messages == ["redo: add: add rex", "undo: add: add rex"] * 2 + ["add: add rex", "init"]


def test_a_reset_is_undone(lineage: Any, cns: Any) -> None:
    tip = lineage.add("rex").id
    cns("reset", "HEAD~1")
    assert json.loads(cns("undo", "--json").stdout) == {
        "ref": "HEAD", "undone": "reset: moving to HEAD~1", "commit": tip, "before": lineage.repo.resolve("HEAD~1"),
        "branch": "main", "concepts": ["rex"], "left_behind": {},
    }  # fmt: skip


def test_a_checkout_is_undone_as_a_checkout(lineage: Any, cns: Any) -> None:
    first = lineage.repo.head().commit
    lineage.add("rex")
    cns("branch", "dev", "HEAD~1")
    cns("checkout", "dev")
    refs = lineage.repo.branches()
    assert "undone: checkout: moving from main to dev\nHEAD is now on branch main at" in cns("undo").stdout
    assert lineage.repo.head().branch == "main"
    cns("undo")
    assert lineage.repo.head().branch == "dev"
    cns("checkout", first)
    cns("undo")
    assert lineage.repo.head().branch == "dev"
    cns("undo")
    assert lineage.repo.head() == type(lineage.repo.head())(None, first)
    assert lineage.repo.branches() == refs


def test_a_checkout_back_to_a_branch_follows_where_it_is_now(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    cns("checkout", "HEAD~1")
    away = lineage.add("tom").id
    lineage.repo.move_ref("refs/heads/main", lineage.repo.branches()["main"], away, author="", time=0, message="pull")
    cns("checkout", "HEAD~1")
    cns("undo")
    assert lineage.repo.head().commit == away
    cns("checkout", "main")
    cns("undo")
    assert lineage.repo.head().branch is None


def test_a_branch_alone_is_undone(lineage: Any, cns: Any) -> None:
    first = lineage.repo.head().commit
    cns("checkout", "-b", "dev")
    lineage.add("rex")
    cns("checkout", "main")
    assert cns("undo", "dev").stdout.splitlines()[:2] == [
        "undone: add: add rex",
        f"dev is now at {first[:10]}, which holds no concept",
    ]
    assert lineage.repo.branches() == {"dev": first, "main": first}
    assert lineage.repo.head().branch == "main"
    assert lineage.repo.reflog()[0].message == "checkout: moving from dev to main"


def test_the_branch_of_head_takes_head_along(lineage: Any, cns: Any) -> None:
    first = lineage.repo.head().commit
    lineage.add("rex")
    cns("checkout", "HEAD~1")
    cns("checkout", "main")
    cns("undo", "main")
    assert lineage.repo.head().commit == first
    assert lineage.repo.reflog()[0].message == "undo: add: add rex"


def test_a_deleted_branch_comes_back(lineage: Any, cns: Any) -> None:
    tip = lineage.add("rex").id
    cns("branch", "dev")
    cns("branch", "-d", "dev")
    back = json.loads(cns("undo", "dev", "--json").stdout)
    assert (back["undone"], back["before"], back["commit"]) == ("branch: deleted", None, tip)
    assert lineage.repo.branches()["dev"] == tip


@pytest.mark.parametrize("name", ["HEAD", "@", "main"])
def test_a_fresh_registry_has_nothing_to_undo(lineage: Any, cns: Any, name: str) -> None:
    done = cns("undo", name)
    assert done.exit_code == 4
    assert "nothing to undo" in done.stderr
    assert "cns reflog" in done.stderr


def test_a_checkout_that_led_nowhere_is_passed_over(lineage: Any, cns: Any) -> None:
    first = lineage.repo.head().commit
    lineage.add("rex")
    cns("checkout", "main")
    assert json.loads(cns("undo", "--json").stdout)["commit"] == first


def test_a_branch_that_was_only_made_or_never_was_has_nothing_to_undo(lineage: Any, cns: Any) -> None:
    cns("branch", "dev")
    for name in ("dev", "nobody"):
        assert cns("undo", name).exit_code == 4
    assert cns("undo", "no such").exit_code == 4
    assert "dev" in lineage.repo.branches()


def test_a_branch_that_is_gone_is_named_with_the_way_to_it(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    cns("checkout", "-b", "dev")
    cns("checkout", "main")
    cns("branch", "-d", "dev")
    refused = cns("undo")
    assert refused.exit_code == 4
    assert "cns undo dev" in refused.stderr
    assert lineage.repo.head().branch == "main"


def test_a_move_that_never_came_is_not_undone(lineage: Any, cns: Any) -> None:
    """A kill between the log and the ref leaves its line in the log."""
    first = lineage.repo.head().commit
    tip = lineage.add("rex").id
    move = lineage.repo.reflog()[0]
    lineage.repo.reflogs.append("HEAD", type(move)(tip, first, "ann", 0, "reset: moving to HEAD~1"))
    lineage.repo.reflogs.append("HEAD", type(move)(tip, tip, "ann", 0, "checkout: moving from main to dev"))
    assert json.loads(cns("undo", "--json").stdout)["undone"] == "add: add rex"
    assert lineage.repo.head().commit == first
