"""`cns reflog`, and `@{n}` wherever a revision is taken."""

from __future__ import annotations

import json
from typing import Any

import pytest


@pytest.fixture
def moved(lineage: Any) -> Any:
    """main: init, rex, tom; HEAD went to a branch `side` and back."""
    lineage.add("rex")
    lineage.add("tom")
    lineage.repo.create_branch("side", "HEAD~1", time=lineage.time + 60)
    for place in ("side", "main"):
        lineage.repo.checkout(place, time=lineage.time + 120)
    return lineage


def test_moves_of_head_newest_first(moved: Any, cns: Any) -> None:
    lines = cns("reflog").stdout.splitlines()
    assert len(lines) == 5
    assert lines[0].startswith(f"HEAD@{{0}}  {moved.repo.head().commit[:10]}  ")
    assert [line.split("UTC  ")[1] for line in lines] == [
        "checkout: moving from side to main",
        "checkout: moving from main to side",
        "add: add tom",
        "add: add rex",
        "init",
    ]


def test_moves_of_a_branch_by_either_name(moved: Any, cns: Any) -> None:
    short, full = (json.loads(cns("reflog", name, "--json").stdout) for name in ("side", "refs/heads/side"))
    assert short["ref"] == full["ref"] == "refs/heads/side"
    assert [move["revision"] for move in short["moves"]] == ["side@{0}"]
    assert [move["revision"] for move in full["moves"]] == ["refs/heads/side@{0}"]
    assert cns("reflog", "@").stdout == cns("reflog").stdout


def test_every_line_can_be_typed_back(moved: Any, cns: Any) -> None:
    for ref in ("HEAD", "main", "refs/heads/side"):
        for move in json.loads(cns("reflog", ref, "--json").stdout)["moves"]:
            assert json.loads(cns("show", move["revision"], "--json").stdout)["commit"]["id"] == move["new"]
            assert json.loads(cns("log", move["revision"], "-n", "1", "--json").stdout)[0]["id"] == move["new"]


def test_what_a_branch_left_behind_is_found_again(moved: Any, cns: Any) -> None:
    tip, back = moved.repo.head().commit, moved.repo.resolve("HEAD~1")
    moved.repo.move_ref("refs/heads/main", tip, back, author="ann", time=moved.time, message="reset")
    assert cns("branch", "found", "HEAD@{1}").exit_code == 0
    assert moved.repo.branches()["found"] == tip


@pytest.mark.parametrize("ref", ["nope", "refs/heads/nope", "refs/nope/x", "../x", "", "refs/heads/"])
def test_other_refs_are_refused(moved: Any, cns: Any, ref: str) -> None:
    result = cns("reflog", ref)
    assert result.exit_code == 4
    assert "expected HEAD, a branch, or the full name of a ref" in result.stderr


def test_number_beyond_the_end(moved: Any, cns: Any) -> None:
    result = cns("show", "HEAD@{5}")
    assert result.exit_code == 4
    assert "the reflog of 'HEAD' has 5 entries" in result.stderr


def test_damaged_line_is_told_and_the_others_are_shown(moved: Any, cns: Any) -> None:
    path = moved.repo.folder / "logs" / "HEAD"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b"garbage\n", *lines[2:]]))
    result = cns("reflog")
    assert len(result.stdout.splitlines()) == 4
    assert "cannot be read in line 2" in result.stderr
    assert result.stderr.endswith("  next: cns fsck\n")


def test_log_of_a_branch_that_is_gone(moved: Any, cns: Any) -> None:
    at = moved.repo.branches()["side"]
    moved.repo.move_ref("refs/heads/side", at, None, author="ann", time=moved.time, message="deleted")
    lines = cns("reflog", "side").stdout.splitlines()
    assert lines[0].startswith("side@{0}  deleted")
    assert at[:10] in lines[1]


def test_without_any_log(lineage: Any, cns: Any) -> None:
    (lineage.repo.folder / "logs" / "HEAD").unlink()
    lineage.repo.reflogs.path("refs/heads/main").unlink()
    assert cns("reflog", "main").stdout == "no move of refs/heads/main is recorded\n"
    assert cns("reflog").stdout == "no move of HEAD is recorded\n"
