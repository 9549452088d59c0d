from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cns_cli.porcelain.combining.outcome import Combination, Overtaken
from cns_cli.porcelain.combining.settle import Choices
from cns_cli.porcelain.combining.sides import merging
from cns_cli.porcelain.merge import merge
from cns_cli.porcelain.options import Request
from cns_cli.progress import NullProgress
from cns_cli.signals import Interrupted
from registry.objects import Base, Tree
from registry.trees import without_concept
from tests.cli.branches import both_add, concepts, on, parted
from tests.cli.conftest import modules_after
from tests.registry.making import snapshot

pytestmark = pytest.mark.usefixtures("alone")


def test_two_branches_become_one_model(lineage: Any, cns: Any) -> None:
    both_add(lineage)
    ours, theirs = lineage.repo.head().commit, lineage.repo.branches()["pets"]
    result = cns("merge", "pets")
    assert result.exit_code == 0, result.stderr
    assert "merged pets: commit " in result.stdout
    assert "added tom; 2 concepts now" in result.stdout
    commit = lineage.repo.commit_of(lineage.repo.head().commit)
    assert (commit.kind, commit.message, commit.parents) == ("merge", "merge pets", (ours, theirs))
    assert concepts(lineage) == concepts(lineage, ours) | concepts(lineage, theirs)
    assert lineage.repo.branches() == {"main": lineage.repo.head().commit, "pets": theirs}
    assert lineage.repo.reflog()[0].message == "merge: merge pets"


def test_it_says_who_left_the_training_context_and_that_the_drift_is_not_known(lineage: Any, cns: Any) -> None:
    both_add(lineage)
    result = cns("merge", "pets")
    assert "Now outside their training context: rex, tom" in result.stdout
    assert "K/V drift not computed: " in result.stdout
    assert "no-base" in result.stdout
    assert "  next: cns check" in result.stderr


def test_both_ways_make_the_same_model(lineage: Any, cns: Any) -> None:
    both_add(lineage)
    lineage.repo.create_branch("was")
    cns("merge", "pets", "--no-drift")
    one = concepts(lineage)
    on(lineage, "pets")
    cns("merge", "was", "--no-drift")
    assert concepts(lineage) == one


def test_what_one_side_removed_does_not_come_back(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    both_add(lineage, "mug", "tom")
    lineage.remove("rex")
    cns("merge", "pets", "--no-drift")
    assert sorted(concepts(lineage)) == ["mug", "tom"]


def test_a_branch_that_lies_behind_moves_on_without_a_commit(lineage: Any, cns: Any) -> None:
    parted(lineage)
    lineage.add("rex")
    ahead = lineage.repo.head().commit
    on(lineage, "pets")
    result = cns("merge", "main")
    assert result.exit_code == 0
    assert "fast-forward to main" in result.stdout
    assert lineage.repo.branches() == {"main": ahead, "pets": ahead}
    assert lineage.repo.head().branch == "pets"
    assert lineage.repo.reflog("pets")[0].message == "merge main: fast-forward"


def test_no_ff_makes_a_commit_all_the_same(lineage: Any, cns: Any) -> None:
    parted(lineage)
    lineage.add("rex")
    ahead = lineage.repo.head().commit
    on(lineage, "pets")
    behind = lineage.repo.head().commit
    assert json.loads(cns("merge", "main", "--no-ff", "-m", "all of it", "--json").stdout)["outcome"] == "committed"
    commit = lineage.repo.commit_of(lineage.repo.head().commit)
    assert (commit.parents, commit.message) == ((behind, ahead), "all of it")
    assert concepts(lineage) == concepts(lineage, ahead)


def test_what_head_holds_already_is_nothing_to_merge(lineage: Any, cns: Any) -> None:
    parted(lineage)
    lineage.add("rex")
    before = snapshot(lineage.repo)
    result = cns("merge", "pets")
    assert (result.exit_code, snapshot(lineage.repo)) == (0, before)
    assert "Already up to date" in result.stdout


def test_a_dry_run_writes_nothing(lineage: Any, cns: Any) -> None:
    both_add(lineage)
    before = snapshot(lineage.repo)
    result = cns("merge", "pets", "--dry-run")
    assert (result.exit_code, snapshot(lineage.repo)) == (0, before)
    assert "would be merged into main: pets" in result.stdout
    assert "Nothing was committed." in result.stdout


def other_root(lineage: Any, base: str | None = None) -> str:
    """Commit a first commit of another history and call it `far`."""
    repo = lineage.repo
    first = repo.commit_of(list(repo.log())[-1][0])
    tree = repo.tree_of("HEAD")
    made = repo.objects.put(replace(first, tree=repo.objects.put(Tree(base or tree.base, {})), message="far"))
    repo.move_ref("refs/heads/far", None, made, author="ann", time=lineage.time, message="made")
    return str(made)


def test_histories_that_share_no_commit_are_refused_unless_allowed(lineage: Any, cns: Any) -> None:
    far = other_root(lineage)
    lineage.add("rex")
    result = cns("merge", "far")
    assert result.exit_code == 4
    assert "refusing to merge unrelated histories" in result.stderr
    assert cns("merge", "far", "--allow-unrelated-histories", "--no-drift").exit_code == 0
    assert lineage.repo.parents(lineage.repo.head().commit)[1] == far
    assert list(concepts(lineage)) == ["rex"]


def test_another_base_model_is_refused(lineage: Any, cns: Any) -> None:
    base = lineage.repo.objects.get(lineage.repo.tree_of("HEAD").base, Base)
    other_root(lineage, lineage.repo.objects.put(replace(base, denoiser_parameters=7)))
    result = cns("merge", "far", "--allow-unrelated-histories")
    assert result.exit_code == 4
    assert "stands on base" in result.stderr


def test_a_tip_that_moved_meanwhile_gets_no_merge_that_was_made_for_another(lineage: Any) -> None:
    both_add(lineage)
    repo = lineage.repo
    work = Combination(
        request=Request(start=repo.root), repo=repo, sides=merging(repo, "pets"), choices=Choices(favour="ours"),
        words=("cns", "merge", "pets"), progress=NullProgress(), drift=False,
    )  # fmt: skip
    tree = work.settled()
    assert isinstance(tree, Tree)
    for name in ("mug", "cup"):  # one that changes the tree, then the commit that takes it back
        lineage.add(name)
    lineage.commit("remove", "mug", "", None, lambda tree: without_concept(without_concept(tree, "mug"), "cup"))
    tip = repo.head().commit
    for act in (work.commit, lambda tree, _: work.forward(tree)):
        with pytest.raises(Overtaken) as stop:
            act(tree, "merge pets")
        assert (stop.value.found, repo.head().commit) == (tip, tip)
        assert stop.value.hint == "cns merge pets -X ours"
    assert list(repo.refs.names("refs/lost/")) == []


def test_an_interruption_while_it_is_recorded_says_what_stands(lineage: Any) -> None:
    class Stopped(NullProgress):
        def stage(self, name: str, total: int | None = None) -> None:
            raise Interrupted(signal.SIGTERM)

    both_add(lineage)
    with pytest.raises(Interrupted) as stop:
        merge(Request(start=lineage.repo.root), "pets", Choices(), Stopped())
    made = lineage.repo.head().commit
    assert lineage.repo.commit_of(made).kind == "merge"
    assert stop.value.message == f"pets: HEAD is at {made[:10]}; MLflow may lack it"
    assert stop.value.hint == "cns mlflow sync"


def test_mlflow_can_be_demanded(lineage: Any, cns: Any) -> None:
    both_add(lineage)
    lineage.repo.set_config("mlflow.required", True)
    assert cns("merge", "pets").exit_code == 8
    assert sorted(concepts(lineage)) == ["rex", "tom"]


def test_planning_loads_no_torch(lineage: Any, tmp_path: Path) -> None:
    both_add(lineage)
    assert not modules_after(["merge", "pets", "--dry-run"], tmp_path) & {"torch", "diffusers", "mlflow"}
