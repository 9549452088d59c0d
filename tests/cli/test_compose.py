"""What prompts see, as commands say it: who can have changed, who keeps company with whom, what cannot be merged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from registry.objects import Tree
from registry.repository import Repository
from tests.cli.branches import both_add, concepts, on, parted
from tests.golden import unpack

pytestmark = pytest.mark.usefixtures("alone")
UNTOUCHED = "No other concept can have changed: a prompt sees the concepts that it names."


@pytest.fixture
def named(lineage: Any) -> Any:
    """A registry whose prompts see what they name."""
    lineage.compose("named")
    return lineage


def test_a_new_registry_composes_what_is_asked_for(cns: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for compose, said in (("named", "the concepts that they name"), ("all", "all concepts")):
        (tmp_path / compose).mkdir()
        monkeypatch.chdir(tmp_path / compose)
        result = cns("init", "--compose", compose)
        assert result.exit_code == 0, result.output
        assert f"prompts see  {said}" in result.stdout
        assert Repository(tmp_path / compose).tree_of("HEAD").compose == compose
    assert cns("init", "--compose", "some").exit_code == 2


def test_status_show_and_log_say_what_prompts_see(named: Any, cns: Any) -> None:
    named.add("rex")
    assert "prompts see the concepts that they name" in cns("status").stdout
    assert json.loads(cns("status", "--json").stdout)["compose"] == "named"
    assert "compose named" in cns("show").stdout
    assert "compose named" in cns("log", "-n", "1").stdout
    assert [one["compose"] for one in json.loads(cns("log", "--json").stdout)] == ["named", "named", "all"]
    assert "prompts see all concepts in A, and the concepts that they name in B" in cns("diff", "HEAD~2", "HEAD").stdout


def test_concepts_of_two_branches_are_no_strangers_and_cannot_have_changed(named: Any, cns: Any) -> None:
    both_add(named)
    result = cns("merge", "pets")
    assert result.exit_code == 0, result.stderr
    assert UNTOUCHED in result.stdout
    assert "training context" not in result.stdout
    assert "pairs of concepts met" not in result.stdout
    assert "next: cns check " not in result.stderr
    assert named.repo.tree_of("HEAD").compose == "named"
    assert "training context" not in cns("status").stdout
    assert json.loads(cns("merge", "pets", "--json").stdout)["outcome"] == "up to date"


def test_removing_one_leaves_the_others_as_they_were(named: Any, cns: Any) -> None:
    named.add("rex")
    named.add("tom")
    result = cns("rm", "rex")
    assert UNTOUCHED in result.stdout
    assert "effect" not in result.stdout
    assert "next: cns check " not in result.stderr
    assert named.repo.tree_of("HEAD") == Tree(named.repo.tree_of("HEAD").base, concepts(named), "named")


def test_what_was_learned_beside_others_is_said_to_miss_them(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    lineage.add("tom")
    lineage.compose("named")
    said = cns("status").stdout
    assert "tom runs outside its training context: trained with rex, not here now" in said
    assert "rex runs" not in said


@pytest.mark.parametrize("words", [("merge", "pets"), ("cherry-pick", "pets"), ("merge", "pets", "-X", "ours")])
def test_trees_that_compose_differently_are_not_merged(lineage: Any, cns: Any, words: tuple[str, ...]) -> None:
    parted(lineage)
    on(lineage, "pets")
    lineage.compose("named")
    lineage.add("tom", noun="cat")
    on(lineage, "main")
    lineage.add("rex")
    before = lineage.repo.head()
    result = cns(*words)
    assert result.exit_code == 4
    assert "HEAD all concepts at once, the other side those that a prompt names" in " ".join(result.stderr.split())
    assert "try: cns config compose named" in result.stderr
    assert lineage.repo.head() == before
    assert cns("config", "compose", "named").exit_code == 0
    assert cns(*words, "--no-drift").exit_code == 0
    assert sorted(concepts(lineage)) == ["rex", "tom"]


def test_a_branch_that_changed_nothing_follows_and_a_change_is_taken_back(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    parted(lineage)
    on(lineage, "pets")
    lineage.compose("named")
    on(lineage, "main")
    assert cns("merge", "pets").exit_code == 0
    assert lineage.repo.tree_of("HEAD").compose == "named"
    assert cns("revert", "HEAD").exit_code == 0
    assert lineage.repo.tree_of("HEAD").compose == "all"


def test_a_bundle_and_a_clone_compose_alike(named: Any, cns: Any, tmp_path: Path, monkeypatch: Any) -> None:
    named.add("rex")
    tree = named.repo.tree_of("HEAD")
    assert cns("bundle", "create", "all.bundle").exit_code == 0
    result = cns("clone", "all.bundle", "other")
    assert result.exit_code == 0, result.stderr
    assert Repository(tmp_path / "other").tree_of("HEAD") == tree
    monkeypatch.chdir(tmp_path / "other")
    assert cns("fsck").exit_code == 0


def test_a_registry_of_before_says_that_prompts_see_all(cns: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """Its trees do not say so, and so keep their ids."""
    monkeypatch.chdir(unpack(tmp_path / "golden"))
    repo = Repository(Path.cwd())
    assert repo.tree_of("HEAD").compose == "all"
    assert b"compose" not in repo.tree_of("HEAD").payload()
    assert "prompts see all concepts" in cns("status").stdout
    assert "compose all" in cns("log", "-n", "1").stdout
    assert cns("config", "compose").stdout == "all\n"
