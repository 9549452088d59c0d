"""Registries whose prompts see the concepts that they name: what is so by construction, and what is said of it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cns.errors import MethodError
from cns_cli.porcelain.check import check
from cns_cli.porcelain.config import change_setting
from cns_cli.porcelain.export import RECORD, ConceptsUnsaid, export
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.options import CheckOptions, ReportOptions, Request
from cns_cli.porcelain.report import report
from cns_cli.porcelain.reporting.collect import Collector
from cns_cli.porcelain.verify import verify
from cns_cli.progress import NullProgress
from registry.errors import UnknownConcept
from registry.objects import Concept, Tree
from registry.refs import EVALUATIONS
from registry.repository import Repository
from registry.trees import birth, composing, seen
from tests.porcelain.conftest import NOON, add, new_registry
from tests.porcelain.learning.test_resume import interrupt, resume
from tests.porcelain.test_check_light import HEAVY, shell
from tests.porcelain.test_check_mlflow import metrics_by_commit
from tests.porcelain.test_promote import gate_tags

DECIDES_NOTHING = 2.0  # a drop of a cosine, at most


def parts(folder: Path) -> dict[str, tuple[str, str, str]]:
    """Mask, delta and embedding of each concept of HEAD, by its name."""
    repo = Repository(folder)
    return {name: (one.mask, one.delta, one.embedding) for name, one in repo.concepts(repo.tree_of("HEAD")).items()}


def test_a_check_of_three_concepts_is_answered_by_their_weights_without_an_image_and_without_torch(named: Path) -> None:
    check(CheckOptions(start=named))  # which tells MLflow
    assert gate_tags(Repository(named), Repository(named).head().commit) == {"passed"}
    code, said, loaded = shell(named, "check", "--json")
    assert code == 0, said
    assert not loaded & HEAVY
    found = json.loads(said)
    assert (found["passed"], found["images"], found["images_made"]) == (True, 0, 0)
    assert [row["concept"] for row in found["rows"]] == ["mug", "rex", "tom"]
    assert all(one["same"] and one["drop"] == 0 for row in found["rows"] for one in row["metrics"])
    code, said, _ = shell(named, "check", "--metric", "id,clip-i,class-drift,zero-shot,drift,margin")
    assert code == 0, said
    assert said.count("same weights") == 3 * 5 + 1
    assert "no image" in said


def test_the_figures_of_learning_stand_beside_what_cannot_have_changed(named: Path) -> None:
    rows = check(CheckOptions(start=named)).rows
    assert all(math.isfinite(one.now) and one.now == one.baseline for row in rows for one in row.metrics)


def test_what_was_judged_by_few_pictures_cannot_have_changed_either(
    tmp_path: Path, photos: dict[str, Path], tiny_base: Path, mlflow_tables: Path
) -> None:
    folder = new_registry(tmp_path / "few", tiny_base, mlflow_tables, "named")
    add(folder, "rex", photos["rex"], preview=None)
    result = check(CheckOptions(start=folder))
    assert result.passed
    assert not any(math.isfinite(one.now) for one in result.rows[0].metrics)  # nothing was judged, nothing is made up


def test_the_order_in_which_concepts_are_learned_changes_no_bit_of_them(
    named: Path, photos: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, mlflow_tables: Path
) -> None:
    other = new_registry(tmp_path_factory.mktemp("order"), tiny_base, mlflow_tables, "named")
    add(other, "mug", photos["mug"], class_noun="cup", steps=8, lr=0.3, reg="none", budget=0.5)
    add(other, "tom", photos["tom"], class_noun="cat")
    add(other, "rex", photos["rex"])
    assert parts(other) == parts(named)
    assert Repository(other).tree_of("HEAD") == Repository(named).tree_of("HEAD")


def test_what_is_measured_once_is_measured_for_every_commit(named: Path) -> None:
    options = CheckOptions(start=named, concepts=("rex",), images=1, minimum={"": -1.0}, max_drop={"": DECIDES_NOTHING})
    made = [check(replace(options, rev=rev)).images_made for rev in ("HEAD~2", "HEAD~1", "HEAD", "HEAD~1")]
    assert made[0] > 0
    assert made[1:] == [0, 0, 0]
    repo = Repository(named)
    rex = repo.tree_of("HEAD").concepts["rex"]
    trees = {name.removeprefix(EVALUATIONS).split("/")[0] for name in repo.refs.names(EVALUATIONS)}
    assert birth(repo.objects, rex).id in trees
    assert repo.tree_of("HEAD").id not in trees


def test_a_least_score_is_drawn_and_decides(named: Path) -> None:
    kept = check(CheckOptions(start=named, concepts=("rex",), images=1, minimum={"": -1.0}))
    assert kept.passed
    assert kept.images > 0
    lost = check(CheckOptions(start=named, concepts=("rex",), images=1, minimum={"": 0.999}))
    assert lost.outcome == "forgot"


def test_what_was_learned_beside_others_is_drawn_and_compared(learned: Path) -> None:
    repo = Repository(learned)
    before = repo.tree_of("HEAD")
    repo.commit(
        kind="compose", message="compose named", author="ann", time=NOON, record=None, seen=repo.head().commit,
        keep_as="compose", change=lambda tree: composing(tree, "named"),
    )  # fmt: skip
    assert repo.tree_of("HEAD") == composing(before, "named")
    found = check(CheckOptions(start=learned, images=1, max_drop={"": DECIDES_NOTHING, "drift": 1e9}))
    rows = {row.concept: row for row in found.rows}
    assert found.images_made > 0
    assert rows["tom"].drift is not None
    assert rows["tom"].drift > 0  # rex's weights are gone
    assert rows["rex"].drift == 0  # it was alone
    assert not any(one.same for row in found.rows for one in row.metrics)


def test_since_compares_with_what_prompts_saw_then(named: Path) -> None:
    found = check(CheckOptions(start=named, since="HEAD~1"))
    assert found.passed
    assert all(one.same for row in found.rows for one in row.metrics)
    repo = Repository(named)
    tree = repo.tree_of("HEAD~1")
    assert {row.baseline_tree for row in found.rows if row.concept == "tom"} == {seen(tree, ["tom"]).id}


def test_fast_looks_at_the_weights_of_all_and_finds_the_live_model_to_be_the_base(named: Path) -> None:
    found = check(CheckOptions(start=named, fast=True))
    assert found.passed
    (whole,) = (row for row in found.rows if row.gates)
    assert all(whole.gates.values())
    assert {row.drift for row in found.rows if row.concept != whole.concept} == {0.0}


def test_a_concept_learns_on_the_base_alone_and_is_learned_again_to_the_bit(named: Path) -> None:
    repo = Repository(named)
    for concept_id in repo.tree_of("HEAD").concepts.values():
        trained_on = repo.objects.get(repo.objects.get(concept_id, Concept).trained_on, Tree)
        assert trained_on == Tree(trained_on.base, {}, "named")
    again = verify(Request(start=named), "HEAD~1", "tom", NullProgress())
    assert again.reproduced
    assert again.concepts[0].outcome == "identical"


def test_options_about_earlier_concepts_are_refused_with_the_command_that_works(
    named: Path, photos: dict[str, Path]
) -> None:
    before = Repository(named).head()
    with pytest.raises(MethodError) as caught:
        add(named, "max", photos["rex"], past_vote=0.5, reg_strength=1.0, anchor=2.0)
    assert "--past-vote and --reg-strength" in caught.value.message
    assert "--past-vote" not in caught.value.hint
    assert "--anchor 2.0" in caught.value.hint
    assert Repository(named).head() == before


def test_adding_says_that_no_other_can_have_changed(named: Path, photos: dict[str, Path]) -> None:
    from cns_cli.commands.add import add_lines

    result = add(named, "max", photos["rex"], seed=1)
    assert (result.compose, result.untouched, dict(result.drift), dict(result.capacity)) == (
        "named", ("mug", "rex", "tom"), {}, {},
    )  # fmt: skip
    said = " ".join(line for line in add_lines(result) if isinstance(line, str))
    assert "No other concept can have changed" in said
    assert "mug, rex, tom" in said


def test_the_live_model_of_a_named_tree_is_the_base(named: Path) -> None:
    session = Session.open(Repository(named), "cpu")
    session.set_tree(Repository(named).tree_of("HEAD"))
    for name, parameter in session.base.model.pipeline.unet.named_parameters():
        if name in session.base.model.base:
            assert np.array_equal(parameter.detach().numpy(), session.base.model.base[name].numpy())


def test_other_programs_get_the_set_that_is_named_and_the_folder_says_which(named: Path, tmp_path: Path) -> None:
    with pytest.raises(ConceptsUnsaid, match="which of mug, rex, tom") as caught:
        export("HEAD", "diffusers", tmp_path / "x", "fp32", named)
    assert caught.value.hint == f"cns export --concept mug --concept rex --concept tom {tmp_path / 'x'}"
    with pytest.raises(UnknownConcept):
        export("HEAD", "diffusers", tmp_path / "x", "fp32", named, concepts=("max",))
    assert not (tmp_path / "x").exists()
    result = export("HEAD", "diffusers", tmp_path / "x", "fp32", named, concepts=("tom", "rex"))
    assert result.tokens == {"rex": "<rex>", "tom": "<tom>"}
    said = json.loads((tmp_path / "x" / RECORD).read_text())
    assert (said["compose"], sorted(said["concepts"])) == ("named", ["rex", "tom"])
    session = Session.open(Repository(named), "cpu")
    tree = Repository(named).tree_of("HEAD")
    weights = session.base.model.compose([session.concept(tree.concepts[name]) for name in ("rex", "tom")])
    stored = load_file(tmp_path / "x" / "unet" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(stored[name], weight) for name, weight in weights.items())


def test_a_report_draws_and_scores_each_concept_once_for_all_commits(named: Path) -> None:
    report(ReportOptions(start=named, fill=True, images=1, out=Path("page.html")))
    repo = Repository(named)
    data = Collector(repo, repo.head().commit).collect("HEAD")
    table = data.tables[0]
    for column in range(3):
        measured = [cells[column].value for cells in table.cells if cells[column] is not None]
        assert len(measured) == 3 - column
        assert len(set(measured)) == 1
    assert table.summary.bwt == 0
    assert set(data.drift.values()) == {0.0}
    drawn = list((named / ".cns" / "cache" / "report").iterdir())
    assert len(drawn) == 3 * 3 * 2  # each concept and its class noun alone, on three prompts; once for all commits


def test_what_others_learn_meanwhile_is_in_no_interrupted_training_s_way(named: Path, photos: dict[str, Path]) -> None:
    interrupt(named, photos["rex"], "finetuning", 1, name="max", class_noun="cat")
    add(named, "zoe", photos["tom"], seed=1)
    done = resume(named)
    assert done.name == "max"
    assert sorted(Repository(named).tree_of("HEAD").concepts) == ["max", "mug", "rex", "tom", "zoe"]
    interrupt(named, photos["mug"], "finetuning", 1, name="kim", class_noun="cat")
    change_setting(Request(start=named), "compose", "all")
    with pytest.raises(MethodError, match="compose is gone"):
        resume(named)


def test_mlflow_shows_the_scores_of_a_concept_at_every_commit_that_holds_it(named: Path) -> None:
    check(CheckOptions(start=named, concepts=("rex",), images=3, minimum={"": -1.0}))
    found = metrics_by_commit(named)
    values = [
        {name: value for name, value in found[Repository(named).resolve(rev)].items() if "/rex." in name}
        for rev in ("HEAD", "HEAD~1", "HEAD~2")
    ]
    assert values[0]
    assert values[0] == values[1] == values[2]
