"""`cns branch` and `cns tag`."""

from __future__ import annotations

import json
from typing import Any

import pytest


@pytest.mark.parametrize("verb", ["branch", "tag"])
def test_made_where_asked_and_listed(lineage: Any, cns: Any, verb: str) -> None:
    first = lineage.add("rex").id
    lineage.add("tom")
    assert cns(verb, "old", "HEAD~1").exit_code == 0
    listed = json.loads(cns(verb, "--json").stdout)
    assert listed["refs"]["old"] == first
    assert listed["current"] == ("main" if verb == "branch" else None)
    assert f"{first[:10]} old" in cns(verb).stdout


@pytest.mark.parametrize("verb", ["branch", "tag"])
def test_a_name_is_given_once(lineage: Any, cns: Any, verb: str) -> None:
    cns(verb, "old")
    result = cns(verb, "old")
    assert result.exit_code == 4
    assert "'old' is taken" in result.stderr
    assert cns(verb, "no such").exit_code == 4
    assert cns(verb, "new", "nowhere").exit_code == 4


def test_head_stays_and_has_the_star(lineage: Any, cns: Any) -> None:
    tip = lineage.repo.head().commit[:10]
    made = cns("branch", "side")
    assert made.stdout == f"* {tip} main\n  {tip} side\n"
    assert made.stderr == "  next: cns checkout side\n"


@pytest.mark.parametrize("verb", ["branch", "tag"])
def test_a_name_is_deleted_and_can_be_had_back(lineage: Any, cns: Any, verb: str) -> None:
    first = lineage.repo.head().commit
    cns(verb, "old")
    gone = cns(verb, "-d", "old")
    assert gone.stdout == f"deleted {verb} old, which was at {first[:10]}\n"
    assert gone.stderr == f"  next: cns {verb} old {first[:10]}   (to get it back)\n"
    assert "old" not in json.loads(cns(verb, "--json").stdout)["refs"]
    assert cns(verb, "old", first[:10]).exit_code == 0
    assert cns("fsck").exit_code == 0
    assert cns(verb, "--delete", "nobody").exit_code == 4
    assert cns(verb, "--delete", "old", "new").exit_code == 2


def test_a_deleted_branch_says_what_nothing_reaches_any_more(lineage: Any, cns: Any) -> None:
    cns("branch", "side")
    cns("checkout", "side")
    lost = lineage.add("rex").id
    refused = cns("branch", "-d", "side")
    assert refused.exit_code == 4
    assert "HEAD is on branch 'side'" in refused.stderr
    cns("checkout", "main")
    gone = cns("branch", "-d", "side")
    assert (
        f"cns branch side {lost[:10]}   (to get it back within a month; no other name reaches 1 commit)" in gone.stderr
    )
    assert cns("fsck").exit_code == 0
    assert cns("gc").exit_code == 0
    cns("branch", "side", lost[:10])
    assert lineage.repo.branches()["side"] == lost


@pytest.mark.parametrize(
    "words", [("branch", "rex"), ("tag", "rex"), ("checkout", "-b", "rex"), ("switch", "-c", "rex")], ids=" ".join
)
def test_a_name_that_is_a_concept_s_too_is_warned_of(lineage: Any, cns: Any, words: tuple[str, ...]) -> None:
    lineage.add("rex")
    lineage.add("tom")
    result = cns(*words)
    assert result.exit_code == 0
    what = "tag" if words[0] == "tag" else "branch"
    assert f"as a revision, rex means the {what} from now on; concept:rex the concept" in result.stderr
    assert lineage.repo.resolve("rex") == lineage.repo.head().commit != lineage.repo.resolve("concept:rex")
    assert "warning" not in cns("branch", "winter").stderr


def test_a_renamed_branch_keeps_its_log_and_head_goes_with_it(lineage: Any, cns: Any) -> None:
    first = lineage.repo.head().commit
    tip = lineage.add("rex").id
    made = cns("branch", "-m", "main", "trunk")
    assert made.stdout == f"* {tip[:10]} trunk\n"
    assert made.stderr == "  next: cns branch -m trunk main   (to take it back)\n"
    assert (lineage.repo.head().branch, lineage.repo.head().commit) == ("trunk", tip)
    assert lineage.repo.resolve("trunk@{2}") == lineage.repo.resolve("HEAD@{2}") == first
    messages = [one["message"] for one in json.loads(cns("reflog", "trunk", "--json").stdout)["moves"]]
    assert messages[:2] == ["branch: renamed from main to trunk", "add: add rex"]
    assert cns("branch", "-m", "main").exit_code == 0, "the branch of HEAD, by its new name alone"
    assert lineage.repo.branches() == {"main": tip}
    assert lineage.add("tom").commit.parents == (tip,)
    assert cns("fsck").exit_code == 0


def test_another_branch_is_renamed_and_head_stays(lineage: Any, cns: Any) -> None:
    cns("branch", "side")
    told = json.loads(cns("branch", "-m", "side", "dev/Winter", "--json").stdout)
    assert (told["current"], told["made"], told["renamed"]) == ("main", "dev/Winter", "side")
    assert set(lineage.repo.branches()) == {"dev/Winter", "main"}
    assert cns("branch", "side").exit_code == 0, "the name is free"
    assert cns("fsck").exit_code == 0


def test_undo_after_a_renaming_takes_back_what_moved(lineage: Any, cns: Any) -> None:
    first = lineage.repo.head().commit
    lineage.add("rex")
    cns("branch", "-m", "trunk")
    assert cns("undo").exit_code == 0
    assert (lineage.repo.head().branch, lineage.repo.head().commit) == ("trunk", first)


def test_a_head_that_is_lost_after_a_renaming_is_found_by_its_log(lineage: Any, cns: Any) -> None:
    tip = lineage.add("rex").id
    cns("branch", "-m", "trunk")
    (lineage.repo.folder / "HEAD").write_text("nothing")
    assert cns("fsck", "--rebuild").exit_code == 0
    assert (lineage.repo.head().branch, lineage.repo.head().commit) == ("trunk", tip)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("main", "side"), 4, "the branch name 'side' is taken"),
        (("side",), 4, "the branch name 'side' is taken"),
        (("nobody", "dev"), 4, "no commit matches 'nobody': there is no branch of this name"),
        (("main", "a..b"), 4, "try: cns branch -m main a-b"),
        ((), 2, "try: cns branch -m OLD NEW"),
        (("main", "dev", "-d", "side"), 2, "expected no --delete side"),
    ],
)
def test_what_cannot_be_renamed_stays(lineage: Any, cns: Any, words: tuple[str, ...], code: int, said: str) -> None:
    cns("branch", "side")
    before = lineage.repo.branches()
    refused = cns("branch", "-m", *words)
    assert refused.exit_code == code
    assert said in refused.stderr
    assert lineage.repo.branches() == before


def test_a_detached_head_is_on_no_branch_to_rename(lineage: Any, cns: Any) -> None:
    cns("checkout", "HEAD~0")
    lineage.repo.checkout(lineage.repo.head().commit)
    refused = cns("branch", "-m", "dev")
    assert refused.exit_code == 4
    assert "try: cns branch -m OLD dev" in refused.stderr
