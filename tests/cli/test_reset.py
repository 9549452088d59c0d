"""`cns reset REV`."""

from __future__ import annotations

import json
from typing import Any


def test_the_branch_of_head_moves_and_what_is_left_behind_is_said(lineage: Any, cns: Any) -> None:
    first = lineage.add("rex").id
    second = lineage.add("tom").id
    third = lineage.add("pip", message="add pip\n\nat night").id
    done = cns("reset", "HEAD~2")
    assert done.stdout == (
        f"main is now at {first[:10]}, which holds rex\n"
        "left behind, as no branch or tag reaches them:\n"
        f"  {third[:10]} add pip\n"
        f"  {second[:10]} add tom\n"
    )
    assert done.stderr == "  next: cns undo   (to get back)\n"
    assert lineage.repo.branches() == {"main": first}
    assert lineage.repo.reflog()[0].message == "reset: moving to HEAD~2"
    assert cns("fsck").exit_code == 0


def test_json_says_where_it_was(lineage: Any, cns: Any) -> None:
    first = lineage.repo.head().commit
    second = lineage.add("rex").id
    assert json.loads(cns("reset", first, "--json").stdout) == {
        "commit": first, "branch": "main", "before": second, "concepts": [], "left_behind": {second: "add rex"},
    }  # fmt: skip


def test_what_another_name_reaches_is_not_left_behind(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    cns("tag", "v1")
    kept = lineage.add("tom").id
    cns("checkout", kept)
    assert "left behind" not in cns("reset", "v1").stdout  # a detached HEAD moves alone: main still has it
    cns("checkout", "main")
    assert json.loads(cns("reset", "v1~1", "--json").stdout)["left_behind"] == {kept: "add tom"}


def test_forward_again_is_a_reset_too(lineage: Any, cns: Any) -> None:
    tip = lineage.add("rex").id
    cns("reset", "HEAD~1")
    assert cns("reset", "HEAD@{1}").stdout == f"main is now at {tip[:10]}, which holds rex\n"


def test_where_it_is_already_nothing_moves(lineage: Any, cns: Any) -> None:
    tip = lineage.add("rex").id
    logged = len(lineage.repo.reflog())
    done = cns("reset", "main")
    assert (done.stdout, done.stderr) == (f"main is still at {tip[:10]}, which holds rex\n", "")
    assert len(lineage.repo.reflog()) == logged


def test_many_that_are_left_behind_are_counted(lineage: Any, cns: Any) -> None:
    for number in range(23):
        lineage.add(f"c{number}")
    lines = cns("reset", "HEAD~23").stdout.splitlines()
    assert len(lines) == 23
    assert lines[-1] == "  and 3 commits before these"


def test_an_unknown_revision_moves_nothing(lineage: Any, cns: Any) -> None:
    before = lineage.repo.head()
    assert cns("reset", "nope").exit_code == 4
    assert cns("reset", "main..main").exit_code == 4
    assert cns("reset").exit_code == 2
    assert lineage.repo.head() == before
