"""`cns add` with every setting of its own: what reaches the record, the files, and a training that goes on."""

from __future__ import annotations

import pytest
import torch
from diffusers import StableDiffusionPipeline

from cns.errors import MethodError
from cns.families import BARE_SHARE
from cns.files.images import load_images
from cns_cli.porcelain.add import add_concept
from cns_cli.porcelain.export import export
from cns_cli.porcelain.learning.learn import learn
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.options import AddOptions, Request
from cns_cli.porcelain.rm import rm
from cns_cli.porcelain.status import status
from cns_cli.porcelain.views.provenance import show_provenance
from cns_cli.progress import NullProgress
from registry.errors import NothingToDo
from registry.objects import Concept, Record
from registry.repository import Repository
from tests.porcelain.conftest import NOON, add
from tests.steps import WARM_UP


def head(folder):
    repo = Repository(folder)
    return repo, repo.objects.get(repo.commit_of(repo.resolve("HEAD")).record, Record).data


def test_settings_reach_the_record_only_where_they_were_given(learned, photos):
    _, before = head(learned)
    assert not {"vectors", "past_vote", "init", "norm_guard", "prior"} & before["params"].keys()
    assert before["params"]["bare_share"] == BARE_SHARE
    more = {
        "anchor": 0.3,
        "warmup": 1,
        "past_vote": 0.5,
        "vectors": 2,
        "init": "red cup",
        "norm_guard": True,
        "prior": 2,
    }
    result = add(learned, "mug", photos["mug"], class_noun="cup", time=NOON + 120, **more)
    repo, record = head(learned)
    params = record["params"]
    assert (params["anchor_strength"], params["warmup_steps"], params["past_vote"]) == (0.3, 1, 0.5)
    assert (params["vectors"], params["init"], params["norm_guard"], params["prior"]) == (2, "red cup", True, 2)
    assert len(record["series"]["warmup_loss"]) == 1
    mug = repo.objects.get(repo.tree_of("HEAD").concepts["mug"], Concept)
    assert mug.tokens == ("<mug>", "<mug>_1")
    assert result.token == "<mug>"
    session = Session.open(repo, "cpu")
    held = session.concept(repo.tree_of("HEAD").concepts["mug"]).delta
    for other in ("rex", "tom"):  # a half of two is one: what either holds was left out
        theirs = session.concept(repo.tree_of("HEAD").concepts[other]).delta
        assert not any(set(held[n].positions.tolist()) & set(theirs[n].positions.tolist()) for n in held)
    assert result.capacity["reused"] == 0.0


def test_a_preset_gives_what_was_not_typed_and_stands_in_the_record(empty, photos):
    add(empty, "rex", photos["rex"], preset="fast")
    params, rows = head(empty)[1]["params"], {row.name: row for row in show_provenance(empty, "rex").rows}
    assert params["preset"] == "fast"
    assert (params["steps"], params["warmup_steps"]) == (2, WARM_UP // 2)  # the steps were typed
    assert (rows["preset"].value, rows["preset"].whose, rows["preset"].default) == ("fast", "yours", "balanced")
    assert (rows["warmup_steps"].whose, rows["lr"].whose, rows["steps"].whose) == ("ours", "ours", "yours")
    add(empty, "tom", photos["tom"], class_noun="cat", time=NOON + 60)
    assert "preset" not in head(empty)[1]["params"]
    assert {row.name: row for row in show_provenance(empty, "tom").rows}["preset"].value == "balanced"


def test_what_changes_nothing_is_said_and_not_recorded(empty, photos):
    result = add(empty, "rex", photos["rex"], past_vote=0.5, reg="none", reg_strength=3.0, anchor=1.0)
    said = [warning for warning in result.warnings if "no effect" in warning]
    assert [warning.split()[0] for warning in said] == ["--past-vote", "--reg-strength", "--anchor"]
    assert "past_vote" not in head(empty)[1]["params"]


def test_capacity_is_recorded_told_and_shown_by_status(learned, photos, tmp_path):
    result = add(learned, "mug", photos["mug"], class_noun="cup", time=NOON + 120)
    repo, record = head(learned)
    session = Session.open(repo, "cpu")
    positions = [
        (name, place)
        for concept in repo.tree_of("HEAD").concepts.values()
        for name, sparse in session.concept(concept).delta.items()
        for place in sparse.positions.tolist()
    ]
    held = len(set(positions)) / session.base.model.kv_size
    assert result.capacity["capacity_held"] == record["metrics"]["capacity_held"] == pytest.approx(held)
    shares = {name: value for name, value in result.capacity.items() if name != "reused"}
    assert status(learned).capacity == shares
    assert 0 < shares["general_share"] < 1
    assert sum(shares.values()) >= 1 - 1e-9  # a weight may be both held and general after another score


def test_status_counts_what_is_held_after_a_removal(learned, photos):
    alone = status(learned).capacity
    rm(Request(start=learned, author="ann", time=NOON + 200), "rex", NullProgress())
    now = status(learned).capacity
    repo = Repository(learned)
    delta = Session.open(repo, "cpu").concept(repo.tree_of("HEAD").concepts["tom"]).delta
    size = sum(sparse.shape[0] * sparse.shape[1] for sparse in delta.values())
    assert now["capacity_held"] == pytest.approx(sum(sparse.count for sparse in delta.values()) / size)
    assert now["capacity_held"] < alone["capacity_held"]
    assert now["general_share"] == alone["general_share"]


def test_capacity_counts_what_another_training_committed_meanwhile(learned, photos):
    repo = Repository(learned)
    seen = repo.head().commit
    options = AddOptions(
        start=learned,
        name="cup",
        images=photos["mug"],
        class_noun="cup",
        steps=2,
        score="wanda",
        author="ann",
        time=NOON,
    )
    outcome = learn(options, load_images(photos["mug"], 64), repo, NullProgress())
    add(learned, "mug", photos["mug"], class_noun="cup", budget=0.3, time=NOON + 120)
    with_mug = status(learned).capacity["capacity_held"]
    assert outcome.commit(seen).rebased
    assert status(learned).capacity["capacity_held"] >= with_mug


@pytest.mark.parametrize("reg", ["project", "project-hard", "features-parent"])
def test_every_regularizer_learns_beside_others_and_tells_the_energy(learned, photos, reg):
    result = add(learned, "mug", photos["mug"], class_noun="cup", reg=reg, steps=3, budget=0.5, time=NOON + 120)
    _, record = head(learned)
    if reg == "features-parent":
        assert result.energy_left is None
        assert "energy_left" not in record["metrics"]
        return
    assert len(record["series"]["energy_left"]) == 3
    assert result.energy_left == record["metrics"]["energy_left"]
    assert 0 < result.energy_left < 1


def test_plain_diffusers_makes_the_same_images_of_a_token_of_two_vectors(learned, photos, tmp_path_factory):
    add(learned, "mug", photos["mug"], class_noun="cup", vectors=2, lr=0.1, time=NOON + 120)
    repo = Repository(learned)
    session = Session.open(repo, "cpu")
    session.set_tree(repo.tree_of("HEAD"))
    prompts, seeds = ["a <mug> cup", "a <rex> dog and a <mug> cup"], [3, 4]
    ours = [session.base.images([prompt], [seed])[0] for prompt, seed in zip(prompts, seeds, strict=True)]
    folder = tmp_path_factory.mktemp("export") / "pipeline"
    export("HEAD", "diffusers", folder, "fp32", learned)
    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    defaults = session.base.family.defaults
    for prompt, seed, expected in zip(prompts, seeds, ours, strict=True):
        made = pipeline(
            prompt, num_inference_steps=defaults.sampler_steps, guidance_scale=defaults.guidance,
            generator=torch.Generator("cpu").manual_seed(seed), height=64, width=64, output_type="np",
        ).images[0]  # fmt: skip
        assert abs((made * 255).round().astype(int) - expected.astype(int)).max() <= 1
    assert pipeline.tokenizer.tokenize(pipeline.maybe_convert_prompt(prompts[0], pipeline.tokenizer))[1:3] == [
        "<mug>",
        "<mug>_1",
    ]


def test_a_token_of_several_vectors_may_not_meet_another_concepts_token(learned, photos):
    add(learned, "mug", photos["mug"], class_noun="cup", token="<mug>_1", time=NOON + 120)
    with pytest.raises(Exception, match="<mug>_1"):
        add(learned, "cup", photos["mug"], class_noun="cup", token="<mug>", vectors=2, time=NOON + 180)


def test_an_interrupted_training_goes_on_with_its_settings(empty, photos, monkeypatch):
    more = {
        "vectors": 2,
        "past_vote": 0.5,
        "reg": "project",
        "norm_guard": True,
        "prior": 1,
        "anchor": 0.5,
        "warmup": 2,
    }
    add(empty, "tom", photos["tom"], class_noun="cat")
    monkeypatch.setattr("cns_cli.porcelain.learning.saving.INTERVAL_S", 0.0)
    monkeypatch.setattr("cns_cli.porcelain.learning.saving.SHARE", 1e9)

    class Stop(NullProgress):
        def step(self, done, **numbers):
            if "penalty" in numbers and done == 2:
                raise KeyboardInterrupt

    request = {"start": empty, "author": "ann", "time": NOON + 60, "class_noun": "dog", "steps": 4, "score": "wanda"}
    with pytest.raises(KeyboardInterrupt):
        add_concept(AddOptions(name="rex", images=photos["rex"], **request, **more), Stop())
    with pytest.raises(MethodError, match="--vectors is 3, and was 2"):
        add_concept(AddOptions(name="rex", images=photos["rex"], start=empty, resume=True, vectors=3), NullProgress())
    again = AddOptions(name="", images=type(empty)(), start=empty, author="ann", time=NOON + 60, resume=True)
    add_concept(again, NullProgress())
    _, record = head(empty)
    assert len(record["series"]["energy_left"]) == 4
    with pytest.raises(NothingToDo):  # the same training without interruption is the same concept, bit for bit
        add(empty, "rex", photos["rex"], steps=4, replace=True, time=NOON + 120, **more)
