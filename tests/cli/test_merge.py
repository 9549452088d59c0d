from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cns import codec
from cns_cli.porcelain.combining.outcome import Combination, Overtaken
from cns_cli.porcelain.combining.settle import Choices
from cns_cli.porcelain.combining.sides import merging
from cns_cli.porcelain.options import Request
from cns_cli.progress import NullProgress
from registry.objects import Base, Blob, Concept, Tree
from registry.trees import with_concept, without_concept
from tests.registry.making import snapshot


@pytest.fixture(autouse=True)
def _alone(lineage: Any) -> None:
    """No MLflow and no base model: the commit stands without the one, and is answered without the other's drift."""
    lineage.repo.set_config("mlflow.tracking_uri", "http://127.0.0.1:9")
    lineage.repo.set_config("base.source", str(lineage.repo.root / "no-base"))


def parted(lineage: Any) -> None:
    """Two branches, main and pets, that part where HEAD is; HEAD stays on main."""
    lineage.repo.create_branch("pets")


def on(lineage: Any, branch: str) -> None:
    lineage.repo.checkout(branch)


def both_add(lineage: Any, mine: str = "rex", yours: str = "tom") -> None:
    """main adds one concept and pets another."""
    parted(lineage)
    on(lineage, "pets")
    lineage.add(yours, noun="cat")
    on(lineage, "main")
    lineage.add(mine)


def concepts(lineage: Any, rev: str = "HEAD") -> dict[str, str]:
    return dict(lineage.repo.tree_of(rev).concepts)


def replaced(lineage: Any, name: str, **fields: Any) -> None:
    """Commit another concept under a name that is taken."""
    trained_on = lineage.repo.commit_of(lineage.repo.head().commit).tree
    lineage.time += 1  # other blobs
    concept = lineage.concept(name, trained_on=trained_on, **fields)
    lineage.commit("add", name, f"replace {name}", None, lambda tree: with_concept(tree, name, concept, overwrite=True))


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
    assert "Nothing was written." in result.stdout


def test_a_conflict_is_an_answer_and_nothing_is_written(lineage: Any, cns: Any) -> None:
    both_add(lineage, "rex", "rex")
    before = snapshot(lineage.repo)
    result = cns("merge", "pets")
    assert (result.exit_code, snapshot(lineage.repo)) == (4, before)
    assert "1 conflict: nothing was written" in result.stdout
    ours, theirs = (lineage.repo.branches()[name][:10] for name in ("main", "pets"))
    (row,) = [line for line in result.stdout.splitlines() if line.startswith("rex ")]
    assert re.split(" {2,}", row) == ["rex", "both added it", f"added in {ours}, a dog", f"added in {theirs}, a cat"]
    assert max(map(len, result.stdout.splitlines())) <= 80


@pytest.mark.parametrize(("number", "names"), [(0, ["rex"]), (1, ["rex"]), (2, ["rex", "rex2"])])
def test_the_commands_of_a_conflict_settle_it(lineage: Any, cns: Any, number: int, names: list[str]) -> None:
    both_add(lineage, "rex", "rex")
    give_rows(lineage, "pets", "rex")
    sides = [concepts(lineage, "main")["rex"], concepts(lineage, "pets")["rex"]]
    answer = json.loads(cns("merge", "pets", "--json").stdout)
    assert answer["outcome"] == "conflicts"
    result = cns(*shlex.split(answer["commands"][number])[1:])
    assert result.exit_code == 0, result.stderr
    assert sorted(concepts(lineage)) == names
    assert concepts(lineage)["rex"] == sides[1 if number == 1 else 0]


def give_rows(lineage: Any, branch: str, name: str) -> None:
    """Give a concept an embedding that can be read, under its tokens."""
    on(lineage, branch)
    held = lineage.repo.objects.get(concepts(lineage)[name], Concept)
    rows = codec.encode_rows({token: np.full(4, 0.5, np.float32) for token in held.tokens})
    made = lineage.repo.objects.put(replace(held, embedding=lineage.repo.objects.put(Blob(rows))))
    lineage.commit("add", name, "rows", None, lambda tree: with_concept(tree, name, made, overwrite=True))
    on(lineage, "main")


def test_a_renamed_concept_keeps_its_weights_and_gets_a_token_of_its_own(lineage: Any, cns: Any) -> None:
    both_add(lineage, "rex", "rex")
    give_rows(lineage, "pets", "rex")
    was = lineage.repo.objects.get(concepts(lineage, "pets")["rex"], Concept)
    assert cns("merge", "pets", "--rename", "rex=max", "--no-drift").exit_code == 0
    now = lineage.repo.concepts(lineage.repo.tree_of("HEAD"))["max"]
    assert (now.delta, now.mask, now.class_noun, now.trained_on) == (was.delta, was.mask, "cat", was.trained_on)
    assert (now.name, now.tokens) == ("max", ("<max>",))
    rows = codec.decode_rows(lineage.repo.objects.get(now.embedding, Blob).data, now.tokens)
    assert rows["<max>"].tolist() == [0.5] * 4


def test_a_change_against_a_removal_is_a_conflict(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    parted(lineage)
    lineage.remove("rex")
    on(lineage, "pets")
    replaced(lineage, "rex")
    on(lineage, "main")
    result = cns("merge", "pets")
    assert result.exit_code == 4
    assert "rex      changed and removed  removed  changed in" in result.stdout
    assert cns("merge", "pets", "--ours", "rex", "--no-drift").exit_code == 0
    assert concepts(lineage) == {}


def test_each_conflict_can_be_settled_on_its_own(lineage: Any, cns: Any) -> None:
    parted(lineage)
    for branch in ("pets", "main"):
        on(lineage, branch)
        for name in ("rex", "tom", "mug"):
            lineage.add(name)
    ours, theirs = concepts(lineage, "main"), concepts(lineage, "pets")
    result = cns("merge", "pets", "--theirs", "rex", "--ours", "tom", "--json")
    assert [one["name"] for one in json.loads(result.stdout)["conflicts"]] == ["mug"]
    assert "cns merge pets --ours tom --theirs rex -X ours" in json.loads(result.stdout)["commands"]
    assert cns("merge", "pets", "--theirs", "rex", "-X", "ours", "--no-drift").exit_code == 0
    assert concepts(lineage) == {"rex": theirs["rex"], "tom": ours["tom"], "mug": ours["mug"]}


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--ours", "max"], ["rex"]),
        (["--theirs", "rex"], ["max"]),
        (["-X", "ours"], ["rex"]),
        (["-X", "theirs"], ["max"]),
        (["--rename", "max=moritz"], ["moritz", "rex"]),
    ],
)
def test_a_token_that_two_names_share_is_a_conflict_too(
    lineage: Any, cns: Any, words: list[str], names: list[str]
) -> None:
    parted(lineage)
    lineage.add("rex")
    on(lineage, "pets")
    replaced(lineage, "max", token="<rex>")
    give_rows(lineage, "pets", "max")
    result = cns("merge", "pets")
    assert result.exit_code == 4
    assert "max      has the token of rex  nothing  added in" in result.stdout
    for choice in (["--ours", "max"], ["--theirs", "rex"], ["--rename", "max=max2"]):
        assert f"  {' '.join(choice)}\n" in result.stdout
    assert cns("merge", "pets", *words, "--no-drift").exit_code == 0
    assert sorted(concepts(lineage)) == names


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ours", "mug"], "'mug' has no meaning: it is in no conflict; expected one of: rex"),
        (["--ours", "rex", "--theirs", "rex"], "there are two"),
        (["--rename", "rex=tom"], "the name 'tom' is taken"),
        (["--rename", "rex=.."], "expected 1 to 64"),
    ],
)
def test_a_choice_that_cannot_be_followed_is_refused(lineage: Any, cns: Any, words: list[str], said: str) -> None:
    lineage.add("tom")
    both_add(lineage, "rex", "rex")
    before = snapshot(lineage.repo)
    result = cns("merge", "pets", "-X", "ours", *words)
    assert (result.exit_code, snapshot(lineage.repo)) == (4, before)
    assert said in result.stderr


@pytest.mark.parametrize("text", ["rex", "rex=", "=max"])
def test_a_new_name_is_typed_behind_the_old_one(lineage: Any, cns: Any, text: str) -> None:
    assert cns("merge", "main", "--rename", text).exit_code == 2


def test_merge_bases_that_disagree_are_a_conflict_where_the_sides_do(lineage: Any, cns: Any) -> None:
    """A criss-cross: each branch took the other's tip and settled rex for itself, so that both tips are bases."""
    parted(lineage)
    lineage.add("rex")
    one = lineage.repo.head().commit
    on(lineage, "pets")
    lineage.add("rex")
    other = lineage.repo.head().commit
    cns("merge", one, "-X", "ours", "--no-drift")
    on(lineage, "main")
    cns("merge", other, "-X", "ours", "--no-drift")
    answer = json.loads(cns("merge", "pets", "--json").stdout)
    assert sorted(answer["bases"]) == sorted([one, other])
    assert [(row["name"], row["why"]) for row in answer["conflicts"]] == [("rex", "the merge bases disagree")]


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


def test_mlflow_can_be_demanded(lineage: Any, cns: Any) -> None:
    both_add(lineage)
    lineage.repo.set_config("mlflow.required", True)
    assert cns("merge", "pets").exit_code == 8
    assert sorted(concepts(lineage)) == ["rex", "tom"]


def test_planning_loads_no_torch(lineage: Any, tmp_path: Path) -> None:
    from tests.cli.conftest import modules_after

    both_add(lineage)
    assert not modules_after(["merge", "pets", "--dry-run"], tmp_path) & {"torch", "diffusers", "mlflow"}
