"""Families, their templates and word lists: complete, disjoint where they must be, told apart by a base's configs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cns.errors import BaseModelError, ClassNounError, SettingsError
from cns.families import FAMILIES, Family, family_named, family_of
from cns.files.bases import family_at
from cns.judges.classnoun import ClassNoun, clean_noun, infer_class_noun, near_nouns
from cns.prompts import calibration_of, nouns_of, prompts_digest
from cns.templates import fill_template, fill_templates
from tests.tiny import NOUNS, VARIANTS, tiny_sd

SD_1_UNET = {
    "_class_name": "UNet2DConditionModel",
    "sample_size": 64,
    "in_channels": 4,
    "out_channels": 4,
    "cross_attention_dim": 768,
}
SD_2_UNET = {**SD_1_UNET, "sample_size": 96, "cross_attention_dim": 1024, "use_linear_projection": True}
SDXL_UNET = {**SD_2_UNET, "cross_attention_dim": 2048, "addition_embed_type": "text_time"}


@pytest.fixture(params=list(FAMILIES))
def family(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]


def test_no_concept_is_judged_on_prompts_that_taught_or_protected_it(family: Family) -> None:
    judges = set(family.objects.judge)
    assert not judges & set(family.objects.regularization)
    assert not judges & set(family.objects.training)


def test_templates_are_enough_and_hold_one_place(family: Family) -> None:
    assert len(set(family.objects.regularization)) == len(family.objects.regularization) >= 32
    assert len(set(family.objects.judge)) == len(family.objects.judge) >= 6
    everything = (*family.objects.training, *family.objects.regularization, *family.objects.judge)
    assert all(template.count("{}") == 1 for template in everything)


def test_exactly_one_budget_share_is_named(family: Family) -> None:
    shares = (family.defaults.budget_share_kv, family.defaults.budget_share_denoiser)
    assert sum(share is not None for share in shares) == 1


def test_budget_is_the_papers_share() -> None:
    assert FAMILIES["sd-1"].defaults.budget(19_169_280, 859_520_964) == 1_117_377  # 0.13 % of SD 1.5, 5.8 % of its K/V
    assert FAMILIES["emoji-64"].defaults.budget(442_368, 10_667_124) == 25_657
    assert FAMILIES["emoji-64"].defaults.budget(1, 1) == 1


@pytest.mark.parametrize(("unet", "width", "name"), [(SD_1_UNET, 768, "sd-1"), (SD_2_UNET, 1024, "sd-2")])
def test_real_configs_are_told_apart(unet: dict[str, Any], width: int, name: str) -> None:
    assert family_of(unet, {"hidden_size": width}).name == name


def test_two_text_encoders_write_side_by_side() -> None:
    assert family_of(SDXL_UNET, {"hidden_size": 768}, {"hidden_size": 1280}).name == "sdxl"
    with pytest.raises(BaseModelError, match=r"768 \+ 1024"):
        family_of(SDXL_UNET, {"hidden_size": 768}, {"hidden_size": 1024})
    with pytest.raises(BaseModelError, match="are 2, and its denoiser is made for one"):
        family_of({**SD_1_UNET, "cross_attention_dim": 2048}, {"hidden_size": 768}, {"hidden_size": 1280})


@pytest.mark.parametrize("variant", VARIANTS)
def test_tiny_pipelines_are_of_their_family(tmp_path: Path, variant: str) -> None:
    folder = tiny_sd(tmp_path, variant=variant)
    assert family_at(folder).name == variant


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"_class_name": "SD3Transformer2DModel"}, "SD3Transformer2DModel"),
        ({"addition_embed_type": "text_time"}, "two, as SDXL's"),
        ({"addition_embed_type": "text_image"}, "text_image"),
        ({"in_channels": 9}, "inpainting"),
        ({"num_class_embeds": 1000}, "class labels"),
        ({"encoder_hid_dim": 4096}, "projects"),
        ({"cross_attention_dim": [320, 640]}, "[320, 640]"),
        ({"cross_attention_dim": 1024}, "1024"),
    ],
)
def test_unsupported_base_is_refused_by_its_property(change: dict[str, Any], word: str) -> None:
    with pytest.raises(BaseModelError) as caught:
        family_of({**SD_1_UNET, **change}, {"hidden_size": 768})
    assert word in caught.value.message
    assert all(name in caught.value.message for name in FAMILIES)


def test_unknown_family_lists_the_known() -> None:
    assert family_named("sd-2").name == "sd-2"
    with pytest.raises(SettingsError) as caught:
        family_named("sd-3")
    assert caught.value.value == "sd-3"
    assert "sd-1" in caught.value.message


def test_shipped_calibration_is_large_diverse_and_split(tmp_path: Path) -> None:
    calibration = calibration_of(FAMILIES["sd-1"], tmp_path)
    assert len(calibration.prompts) >= 200
    assert not set(calibration.selection) & set(calibration.held_out)
    assert abs(len(calibration.selection) - len(calibration.held_out)) <= 1
    assert calibration.prompts[0] == calibration.selection[0]
    assert calibration.prompts[1] == calibration.held_out[0]
    assert calibration.digest == prompts_digest(calibration.prompts)
    words = {word for prompt in calibration.held_out for word in prompt.split()}
    assert len(words) > 300


def test_digest_participates_order_and_text() -> None:
    assert prompts_digest(["a", "b"]) != prompts_digest(["b", "a"]) != prompts_digest(["ab"])


@pytest.mark.parametrize("name", ["sd-1", "sd-2"])  # the embedded base's own list is tested with the base
def test_judge_and_calibration_do_not_overlap(tmp_path: Path, name: str) -> None:
    family = FAMILIES[name]
    held_out = calibration_of(family, tmp_path).held_out
    assert not {fill_template(template, "dog") for template in family.objects.judge} & set(held_out)


def test_a_bases_own_lists_win(tmp_path: Path) -> None:
    folder = tiny_sd(tmp_path, variant="emoji-64")
    assert nouns_of(FAMILIES["emoji-64"], folder) == NOUNS
    assert len(calibration_of(FAMILIES["emoji-64"], folder).prompts) >= 200


def test_list_of_objects_is_read_like_a_list_of_texts(tmp_path: Path) -> None:
    rows = [{"index": place, "prompt": f"a thing number {place}"} for place in range(200)]
    (tmp_path / "calibration.json").write_text(json.dumps({"version": 3, "prompts": rows}))
    (tmp_path / "nouns.json").write_text(json.dumps({"nouns": [{"noun": "owl", "article": "an"}]}))
    calibration = calibration_of(FAMILIES["emoji-64"], tmp_path)
    assert (calibration.version, calibration.prompts[3]) == (3, "a thing number 3")
    assert nouns_of(FAMILIES["emoji-64"], tmp_path) == ("owl",)


@pytest.mark.parametrize("prompts", [["a"] * 250, [f"{place}" for place in range(199)]])
def test_poor_calibration_is_refused(tmp_path: Path, prompts: list[str]) -> None:
    (tmp_path / "calibration.json").write_text(json.dumps({"version": 1, "prompts": prompts}))
    with pytest.raises(BaseModelError, match="at least 200"):
        calibration_of(FAMILIES["emoji-64"], tmp_path)


def test_missing_lists_are_named(tmp_path: Path) -> None:
    with pytest.raises(BaseModelError, match=r"calibration\.json"):
        calibration_of(FAMILIES["emoji-64"], tmp_path)
    (tmp_path / "nouns.json").write_text('{"nouns": []}')
    with pytest.raises(BaseModelError, match="no noun"):
        nouns_of(FAMILIES["emoji-64"], tmp_path)


def test_nouns_of_stable_diffusion_are_many_and_different(tmp_path: Path) -> None:
    nouns = nouns_of(FAMILIES["sd-2"], tmp_path)
    assert len(nouns) == len(set(nouns)) > 100
    assert "teddy bear" in nouns


@pytest.mark.parametrize(
    ("template", "words", "prompt"),
    [
        ("a {}", "dog", "a dog"),
        ("a {}", "apple", "an apple"),
        ("a {}", "unicorn", "a unicorn"),
        ("a {}", "hourglass", "an hourglass"),
        ("a {}", "<rex> apple", "a <rex> apple"),
        ("a small {}", "apple", "a small apple"),
        ("a cat and a {} on grass", "Owl", "a cat and an Owl on grass"),
        ("{} a {}", "x", "x a x"),
    ],
)
def test_article_fits_the_words(template: str, words: str, prompt: str) -> None:
    assert fill_template(template, words) == prompt


def test_templates_are_filled_in_order() -> None:
    assert fill_templates(["a {}", "one {}"], "owl") == ["an owl", "one owl"]


class StubLabeller:
    """A CLIP that has made up its mind."""

    def __init__(self, *probabilities: float) -> None:
        self.probabilities = np.asarray(probabilities, np.float32)

    def label(self, images: Any, nouns: Any, templates: Any = ("a {}",)) -> Any:
        return self.probabilities


IMAGES = np.zeros((2, 4, 4, 3), np.uint8)
KNOWN = ["cat", "dog", "apple", "car"]


def test_class_noun_comes_from_captions_then_folder_then_clip() -> None:
    sure = StubLabeller(0.1, 0.8, 0.06, 0.04)
    by_captions = infer_class_noun(IMAGES, ["a cat", "cat {name}"], KNOWN, sure, 0.5, folder_name="dog")
    assert (by_captions.noun, by_captions.source) == ("cat", "captions")
    by_folder = infer_class_noun(IMAGES, [None, None], KNOWN, sure, 0.5, folder_name="10_sks car")
    assert (by_folder.noun, by_folder.source) == ("car", "folder")
    by_clip = infer_class_noun(IMAGES, [None, None], KNOWN, sure, 0.5, folder_name="images")
    assert (by_clip.noun, by_clip.source, round(by_clip.probability, 3)) == ("dog", "clip", 0.8)


@pytest.mark.parametrize("folder", ["dog1", "dog-2", "10_sks dog", "myDog", "photos_of_dogs", "Dogs2024"])
def test_class_noun_is_the_folders_name_less_digits_and_case(folder: str) -> None:
    unsure = StubLabeller(0.53, 0.1, 0.3, 0.07)
    found = infer_class_noun(IMAGES, [None, None], KNOWN, unsure, 0.8, folder_name=folder, name="rex")
    assert (found.noun, found.source) == ("dog", "folder")


def test_class_noun_is_the_concepts_name_unless_pictures_or_folder_say_otherwise() -> None:
    def inferred(labeller: StubLabeller, folder: str) -> ClassNoun:
        return infer_class_noun(IMAGES, [None, None], KNOWN, labeller, 0.8, folder_name=folder, name="cat1")

    assert inferred(StubLabeller(0.1, 0.3, 0.53, 0.07), "photos").noun == "cat"
    assert inferred(StubLabeller(0.9, 0.1), "dog").noun == "dog"  # asked among the two, the CLIP decides
    with pytest.raises(ClassNounError, match="its name says cat"):
        inferred(StubLabeller(0.01, 0.95, 0.02, 0.02), "photos")
    with pytest.raises(ClassNounError) as caught:
        inferred(StubLabeller(0.4, 0.6), "dog")
    assert [noun for noun, _ in caught.value.candidates] == ["cat", "dog"]


@pytest.mark.parametrize("typed", ["dog", " dog ", "a dog", "the  dog", "A\tdog", "an dog"])
def test_class_noun_is_cleaned_of_articles_and_blanks(typed: str) -> None:
    assert clean_noun(typed) == "dog"


@pytest.mark.parametrize(
    "typed", ["", " ", "a", "a dog on the grass", "dog, cat", "<rex>", "dog.", "my own very good dog"]
)
def test_class_noun_that_is_no_noun_is_refused(typed: str) -> None:
    with pytest.raises(ClassNounError, match="expected a word or two"):
        clean_noun(typed)


def test_nouns_that_are_spelled_alike_are_named() -> None:
    assert near_nouns("dgo", KNOWN) == ["dog"]
    assert near_nouns("xylophone", KNOWN) == []


def test_unclear_class_noun_names_the_three_likeliest() -> None:
    with pytest.raises(ClassNounError) as caught:
        infer_class_noun(IMAGES, [None, None], KNOWN, StubLabeller(0.3, 0.2, 0.1, 0.4), 0.5)
    assert [noun for noun, _ in caught.value.candidates] == ["car", "cat", "dog"]
    assert "car (40%), cat (30%), dog (20%)" in caught.value.message
    assert "--class" in caught.value.hint
