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
