"""`cns add`: what is committed, what is refused, and that nothing is half-written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load

from cns import codec
from cns.errors import BaseModelError, ImageError, MethodError, SettingsError, TokenError
from cns.files.images import load_images
from cns_cli.porcelain.add import add_concept
from cns_cli.porcelain.answers import DryRun
from cns_cli.porcelain.learning.learn import learn
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.options import AddOptions
from cns_cli.progress import NullProgress
from cns_cli.sheets import TILE
from registry.errors import BadName, DeltaTaken, NameTaken, TipMoved, TokenTaken
from registry.objects import Blob, Concept, Record, References
from registry.repository import Repository
from registry.trees import without_concept
from tests.porcelain.conftest import NOON, add, new_registry
from tests.tiny import tiny_sd


def files(folder: Path) -> dict[str, bytes]:
    """Every file of a registry that is not a cache, a preview or MLflow's."""
    kept = {}
    for path in sorted((folder / ".cns").rglob("*")):
        part = path.relative_to(folder / ".cns").parts[0]
        if path.is_file() and part in ("objects", "refs", "logs", "HEAD", "config.toml"):
            kept[str(path.relative_to(folder))] = path.read_bytes()
    return kept


def test_add_commits_a_concept_with_everything_it_needs(learned):
    repo = Repository(learned)
    concept = repo.concepts(repo.tree_of("HEAD~1"))["rex"]
    assert (concept.name, concept.class_noun, concept.tokens) == ("rex", "dog", ("<rex>",))
    mask, delta = (repo.objects.get(blob, Blob).data for blob in (concept.mask, concept.delta))
    decoded = codec.decode(mask, delta)
    record = repo.objects.get(repo.commit_of(repo.resolve("HEAD~1")).record, Record).data
    assert codec.count_weights(decoded) == record["metrics"]["neurons"] > 0
    references = repo.objects.get(concept.references, References)
    pixels = load(repo.objects.get(references.images, Blob).data)["images"]
    assert pixels.shape == (3, 64, 64, 3)
    assert concept.trained_on == repo.commit_of(repo.resolve("HEAD~2")).tree


def test_the_record_says_how_it_came(learned):
    repo = Repository(learned)
    data = repo.objects.get(repo.commit_of(repo.resolve("HEAD")).record, Record).data
    assert data["params"]["steps"] == 2
    assert len(data["series"]["loss"]) == 2
    assert set(data["drift"]) == {"rex"} == set(data["overlap"])
    assert data["drift"]["rex"] >= 0
    assert 0 < data["metrics"]["identity_alone"] != data["metrics"]["identity_after"]
    assert len(data["image_digests"]) == 3
    assert {"torch", "diffusers", "transformers", "python"} <= set(data["versions"])
    assert json.dumps(data)


def test_add_says_what_was_learned(empty, photos):
    result = add(empty, "rex", photos["rex"])
    assert result.token == "<rex>"
    assert result.branch == "main"
    assert result.share_denoiser <= 0.0013
    assert result.preview.is_file()
    with Image.open(result.preview) as sheet:
        assert sheet.size[0] > 300
        assert sheet.size[1] > 4 * TILE  # training images, the noun before, the concept after, and alone
    assert result.photos_kept
    assert result.class_confidence is None
    assert result.longer == f"cns add rex {photos['rex']} --class dog --steps 4 --preview 12 --replace"


@pytest.mark.usefixtures("few_voters")
def test_two_fresh_registries_get_the_same_ids_from_the_same_seed(tmp_path, tiny_base, photos, mlflow_tables):
    tips = []
    for name in ("one", "two"):
        new_registry(tmp_path / name, tiny_base, mlflow_tables)
        add(tmp_path / name, "rex", photos["rex"], score="gradient")
        repo = Repository(tmp_path / name)
        tips.append(repo.commit_of(repo.head().commit).tree)
    assert tips[0] == tips[1]


@pytest.mark.usefixtures("few_voters")
@pytest.mark.parametrize("variant", ["sd-2", "emoji-64"])
def test_other_families_learn_too(registry_of, photos, variant):
    folder = registry_of(variant)
    result = add(folder, "rex", photos["rex"], score="gradient", warmup=2)
    assert 0 < result.share_kv <= 0.058


def test_a_name_that_is_taken_is_refused_before_anything_is_loaded(learned, photos):
    before = files(learned)
    with pytest.raises(NameTaken):
        add(learned, "rex", photos["mug"])
    assert files(learned) == before


def test_replace_teaches_a_taken_name_anew_with_its_token(learned, photos):
    result = add(learned, "rex", photos["mug"], replace=True, time=NOON + 120)
    repo = Repository(learned)
    tree = repo.tree_of("HEAD")
    assert set(tree.concepts) == {"rex", "tom"}
    assert tree.concepts["rex"] != repo.tree_of("HEAD~1").concepts["rex"]
    assert result.token == "<rex>"
    trained_on = repo.concepts(tree)["rex"].trained_on
    assert "rex" not in repo.objects.get(trained_on, type(tree)).concepts


def test_replace_needs_something_to_replace(empty, photos):
    with pytest.raises(MethodError, match="no concept 'rex' to replace"):
        add(empty, "rex", photos["rex"], replace=True)


@pytest.mark.parametrize("name", ["", "../x", "a b", ".hidden", "x.lock", "a" * 65, "\x1b[31m"])
def test_a_bad_name_is_refused(empty, photos, name):
    with pytest.raises(BadName):
        add(empty, name, photos["rex"])


@pytest.mark.parametrize(("token", "error"), [("dog", TokenError), ("<tom>", TokenTaken), ("<tom>_1", TokenTaken)])
def test_a_token_with_a_meaning_is_refused_and_nothing_is_written(learned, photos, token, error):
    before = files(learned)
    with pytest.raises(error):
        add(learned, "mug", photos["mug"], token=token)
    assert files(learned) == before


def test_a_token_whose_further_vector_another_concept_has_is_refused(learned, photos):
    add(learned, "cup", photos["mug"], token="<mug>_2", time=NOON + 120)
    with pytest.raises(TokenTaken, match=r"'<mug>_2'"):
        add(learned, "mug", photos["mug"])


@pytest.mark.parametrize("option", ["score", "reg"])
def test_a_score_or_regularizer_that_nobody_has_is_refused_before_a_registry_is_made(tmp_path, photos, option):
    with pytest.raises(SettingsError, match="there are"):
        add(tmp_path, "rex", photos["rex"], **{option: "gradint"})
    assert not (tmp_path / ".cns").exists()


def test_two_names_that_differ_in_case_would_share_a_token(learned, photos):
    with pytest.raises(TokenTaken):
        add(learned, "REX", photos["mug"])
    assert add(learned, "REX", photos["mug"], token="<big-rex>").token == "<big-rex>"


def test_a_folder_without_an_image_is_refused(empty, tmp_path):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ImageError, match="no image"):
        add(empty, "rex", tmp_path / "nothing")


def test_a_broken_image_is_refused_by_its_name(empty, tmp_path, photos):
    folder = tmp_path / "broken"
    shutil.copytree(photos["rex"], folder)
    (folder / "2.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    before = files(empty)
    with pytest.raises(ImageError, match=r"2\.png"):
        add(empty, "rex", folder)
    assert files(empty) == before


def test_one_image_is_taken_with_a_warning(empty, tmp_path, photos):
    (tmp_path / "one").mkdir()
    shutil.copy(photos["rex"] / "0.png", tmp_path / "one")
    result = add(empty, "rex", tmp_path / "one")
    assert any("one image" in warning for warning in result.warnings)
    assert result.identity_ceiling is None


def test_a_setting_that_does_not_exist_is_refused(empty, photos):
    with pytest.raises(SettingsError, match="luck"):
        add(empty, "rex", photos["rex"], score="luck")


def test_a_base_that_changed_is_refused(tmp_path, photos, mlflow_tables):
    base = tiny_sd(tmp_path / "base", seed=1)
    new_registry(tmp_path / "registry", base, mlflow_tables)
    tiny_sd(base, seed=2)
    with pytest.raises(BaseModelError, match="not the one"):
        add(tmp_path / "registry", "rex", photos["rex"])


def test_captions_beside_the_images_are_part_of_the_recipe(empty, tmp_path, photos):
    folder = tmp_path / "captioned"
    shutil.copytree(photos["rex"], folder)
    for number in range(3):
        (folder / f"{number}.txt").write_text("a {name} dog on the grass")
    add(empty, "rex", folder)
    repo = Repository(empty)
    concept = repo.concepts(repo.tree_of("HEAD"))["rex"]
    assert concept.recipe["captions"] is not None
    assert repo.objects.get(concept.references, References).captions == ("a {name} dog on the grass",) * 3


def test_without_kept_images_the_features_remain_and_the_check_still_works(empty, photos):
    from cns_cli.porcelain.check import check
    from cns_cli.porcelain.options import CheckOptions

    result = add(empty, "rex", photos["rex"], keep_images=False)
    repo = Repository(empty)
    references = repo.objects.get(repo.concepts(repo.tree_of("HEAD"))["rex"].references, References)
    assert references.images is None
    assert len(references.features) == 2
    assert not result.photos_kept
    assert check(CheckOptions(start=empty, images=1)).passed


def test_a_dry_run_measures_and_writes_nothing(tmp_path, empty, photos):
    shutil.rmtree(empty / ".cns" / "cache", ignore_errors=True)
    before, folders = files(empty), sorted((empty / ".cns").rglob("*"))
    options = AddOptions(start=empty, name="rex", images=photos["rex"], class_noun="dog", dry_run=True)
    result = add_concept(options, NullProgress())
    assert sorted((empty / ".cns").rglob("*")) == folders
    assert isinstance(result, DryRun)
    assert result.seconds > result.steps * result.step_seconds > 0
    assert result.memory_bytes > 10**7
    assert result.images == 3
    assert files(empty) == before


def test_a_dry_run_asks_no_noun_of_a_style(empty, photos):
    options = AddOptions(start=empty, name="mona", images=photos["rex"], kind="style", dry_run=True)
    result = add_concept(options, NullProgress())
    assert isinstance(result, DryRun)
    assert result.class_nouns == ()


def test_a_dry_run_takes_the_class_noun_that_the_training_would(tmp_path, empty, photos):
    folder = shutil.copytree(photos["rex"], tmp_path / "IMG")
    options = AddOptions(start=empty, name="rex", images=folder, dry_run=True)
    unclear = add_concept(options, NullProgress())
    assert len(unclear.class_nouns) > 1
    assert any("not clear" in warning and "--class" in warning for warning in unclear.warnings)
    for image in folder.glob("*.png"):
        image.with_suffix(".txt").write_text("a dog on the grass")
    assert add_concept(options, NullProgress()).class_nouns == (("dog", 1.0),)


def test_a_tip_that_moved_gets_the_concept_on_top(learned, photos):
    """Two people train at once: the second commit is applied to the first one's tree."""
    repo = Repository(learned)
    seen = repo.head().commit
    outcome = learn(mug(learned, photos["mug"]), load_images(photos["mug"], 64), repo, NullProgress())
    other = remove_tom(repo, seen)
    done = outcome.commit(seen)
    assert done.rebased
    assert done.commit.parents == (other,)
    tree = repo.tree_of(done.id)
    assert set(tree.concepts) == {"rex", "mug"}
    assert repo.objects.get(tree.concepts["mug"], Concept).trained_on == repo.commit_of(seen).tree


def test_a_training_whose_name_was_taken_meanwhile_is_kept(learned, photos):
    repo = Repository(learned)
    seen = repo.head().commit
    outcome = learn(mug(learned, photos["mug"]), load_images(photos["mug"], 64), repo, NullProgress())
    add(learned, "mug", photos["rex"])
    with pytest.raises(TipMoved) as error:
        outcome.commit(seen)
    assert repo.commit_of(error.value.commit).parents == (seen,)
    assert set(repo.tree_of(error.value.commit).concepts) == {"rex", "tom", "mug"}


@pytest.mark.parametrize(("compose", "told"), [("learned", True), ("named", False)])
def test_a_commit_that_came_first_is_told_where_it_may_have_changed_what_prompts_see(request, photos, compose, told):
    registry = request.getfixturevalue(compose)

    class Other(NullProgress):
        def stage(self, name, total=None, written=str):
            if name == "commit":
                add(registry, "pip", photos["mug"], class_noun="cup", seed=1, preview=1, directions=2)

    words = {"class_noun": "dog", "steps": 2, "preview": 1, "directions": 2, "author": "ann", "time": NOON}
    result = add_concept(AddOptions(start=registry, name="ben", images=photos["rex"], **words), Other())
    assert {"pip", "ben"} <= set(Repository(registry).tree_of("HEAD").concepts)
    assert any("another commit came first" in warning for warning in result.warnings) is told


def test_mlflow_out_of_reach_is_a_warning_and_the_commit_stands(empty, photos, tmp_path):
    (tmp_path / "file").write_text("in the way")
    result = add(empty, "rex", photos["rex"], mlflow_uri=f"sqlite:///{tmp_path}/file/mlflow.db")
    assert any("cns mlflow sync" in warning for warning in result.warnings)
    assert "rex" in Repository(empty).tree_of("HEAD").concepts


def test_after_the_commit_the_check_writes_and_warns_as_the_commit_does(learned, photos, tmp_path):
    (tmp_path / "file").write_text("in the way")
    result = add(learned, "mug", photos["mug"], class_noun="cup", check=True, mlflow_uri=f"sqlite:///{tmp_path}/file/x")
    assert sum("cns mlflow sync" in warning for warning in result.warnings) == 2


def test_an_error_after_the_commit_says_that_it_stands(empty, photos, tmp_path):
    (tmp_path / "pyproject.toml").write_text('[tool.cns.check]\nmetrics = ["charm"]\n')
    with pytest.raises(Exception, match="charm") as caught:
        add(empty, "rex", photos["rex"], check=True)
    assert caught.value.__notes__ == [f"rex is committed as {Repository(empty).head().commit[:10]}"]


def test_what_was_stored_composes_to_what_was_judged(session):
    """The record's figures are those of the composed integers, not of the trained floats."""
    from tests.porcelain.evaluation import evaluate

    repo = session.repo
    tree = repo.tree_of("HEAD")
    data = repo.objects.get(repo.commit_of(repo.resolve("HEAD")).record, Record).data
    scores = evaluate(session, session.birth_tree(tree.concepts["tom"]), tree.concepts["tom"], 1, 0)
    assert np.isclose(scores.clip_i.mean(), data["metrics"]["clip_i_after"], atol=1e-6)


def mug(registry: Path, images: Path) -> AddOptions:
    settings: dict[str, Any] = {"class_noun": "car", "steps": 2, "score": "wanda", "author": "bob", "time": NOON}
    return AddOptions(start=registry, name="mug", images=images, **settings)


def remove_tom(repo: Repository, seen: str) -> str:
    return repo.commit(
        kind="remove",
        message="remove tom",
        author="ann",
        time=NOON + 100,
        record=None,
        change=lambda tree: without_concept(tree, "tom"),
        seen=seen,
        keep_as="tom",
    ).id


def test_sessions_refuse_to_open_without_their_base(learned, tmp_path):
    repo = Repository(learned)
    repo.set_config("base.source", str(tmp_path / "gone"))
    with pytest.raises(BaseModelError):
        Session.open(repo, "cpu")


def test_the_same_images_once_more_are_said_at_the_start_and_the_same_delta_is_a_rename(
    tmp_path, tiny_base, photos, mlflow_tables
):
    folder = new_registry(tmp_path / "r", tiny_base, mlflow_tables, compose="named")
    how = {"seed": 1}
    assert not any("cns mv" in said for said in add(folder, "rex", photos["rex"], **how).warnings)
    tip = Repository(folder).head().commit
    with pytest.raises(DeltaTaken) as same:
        add(folder, "bello", photos["rex"], **how)
    assert (same.value.name, same.value.holder, same.value.hint) == ("bello", "rex", "cns mv rex bello")
    assert Repository(folder).head().commit == tip
    assert not list((folder / ".cns" / "resume").rglob("*")), "to go on with it would come to the same"
    other = add(folder, "bello", photos["rex"], **{**how, "seed": 2})
    assert "these are the images of rex, too; to call that otherwise: cns mv rex bello" in other.warnings
