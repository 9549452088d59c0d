"""The judges: unit rows that do not depend on the batch, prepared as the original processors do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cns.errors import BaseModelError, EncoderMissingError, MetricError
from cns.families import FAMILIES
from cns.judges import encoders, files
from cns.judges.encoders import ClipEncoder, DinoEncoder, IdentityJudge
from cns.judges.files import find_named, folder_digest
from cns.judges.preparation import Preparation
from cns.quiet import quiet_libraries
from tests.cns.judges.loading import load_encoders
from tests.tiny import tiny_sd

with quiet_libraries():
    from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer, Dinov2Config, Dinov2Model

PROCESSOR = '{"size": {"shortest_edge": 36}, "crop_size": {"height": 28, "width": 28}, "resample": 3, '
PROCESSOR += '"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}'


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_sd(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def dino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random DINOv2."""
    folder = tmp_path_factory.mktemp("dino")
    config = Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)
    with torch.random.fork_rng(devices=[]), quiet_libraries():
        torch.manual_seed(0)
        Dinov2Model(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(PROCESSOR)
    return folder


@pytest.fixture(scope="module", params=["clip", "identity", "dino"])
def encoder(request: pytest.FixtureRequest, base: Path, dino: Path) -> Any:
    makers: dict[str, Callable[[], Any]] = {
        "clip": lambda: ClipEncoder.from_folder(base / "clip"),
        "identity": lambda: IdentityJudge.from_folder(base / "identity"),
        "dino": lambda: DinoEncoder.from_folder(dino),
    }
    return makers[request.param]()


def pictures(count: int, height: int = 64, width: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)


def test_features_are_unit_rows(encoder: Any) -> None:
    features = encoder.image_features(pictures(3))
    assert features.dtype == np.float32
    assert features.shape[0] == 3
    assert np.linalg.norm(features, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    assert len(encoder.digest) == 64
    assert encoder.name in ("clip", "identity")


def test_feature_does_not_depend_on_the_batch(encoder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    images = pictures(5)
    together = encoder.image_features(images)
    monkeypatch.setattr(encoders, "BATCH", 2)
    assert encoder.image_features(images) == pytest.approx(together, abs=1e-6)


def test_no_random_state_and_no_gradient_is_touched(encoder: Any) -> None:
    state = torch.random.get_rng_state()
    encoder.image_features(pictures(1))
    assert torch.equal(state, torch.random.get_rng_state())
    assert not any(parameter.requires_grad for parameter in encoder.model.parameters())


@pytest.mark.parametrize(
    "images", [pictures(0), pictures(1)[0], pictures(1).astype(np.float32), np.zeros((1, 64, 64, 4), np.uint8)]
)
def test_what_is_no_picture_fails(encoder: Any, images: np.ndarray) -> None:
    with pytest.raises(MetricError, match="expected"):
        encoder.image_features(images)


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (48, 80), (21, 33)])
def test_preparation_equals_the_original_processor(base: Path, size: tuple[int, int]) -> None:
    images = pictures(2, *size)
    original = CLIPImageProcessorPil.from_pretrained(base / "clip")
    expected = original([Image.fromarray(image) for image in images], return_tensors="np")["pixel_values"]
    prepared = Preparation.from_folder(base / "clip").prepare(images)
    assert prepared.dtype == np.float32
    assert prepared == pytest.approx(expected, abs=1e-5)


def test_clip_features_equal_the_models_own(base: Path) -> None:
    encoder = ClipEncoder.from_folder(base / "clip")
    model = CLIPModel.from_pretrained(base / "clip", dtype=torch.float32)
    tokenizer = CLIPTokenizer.from_pretrained(base / "clip")
    images, texts = pictures(2, 32, 32), ["a dog", "a red car on the grass"]
    values = (images.astype(np.float64) / 255 - [0.48, 0.45, 0.40]) / [0.27, 0.26, 0.27]
    pixels = torch.from_numpy(values).permute(0, 3, 1, 2).float()
    ids = tokenizer(texts, padding="max_length", max_length=24, return_tensors="pt").input_ids
    ends = (ids == tokenizer.eos_token_id).int().argmax(1)
    with torch.no_grad():
        of_images = model.visual_projection(model.vision_model(pixels).pooler_output).numpy()
        hidden = model.text_model(ids).last_hidden_state[torch.arange(2), ends]
        of_texts = model.text_projection(hidden).numpy()
    for found, raw in ((encoder.image_features(images), of_images), (encoder.text_features(texts), of_texts)):
        assert found == pytest.approx(raw / np.linalg.norm(raw, axis=1, keepdims=True), abs=1e-5)


def test_long_text_is_cut_and_no_text_fails(base: Path) -> None:
    encoder = ClipEncoder.from_folder(base / "clip")
    assert encoder.text_features(["a dog " * 100]).shape == (1, 16)
    with pytest.raises(MetricError):
        encoder.text_features([])


def test_label_is_a_mean_of_softmaxes(base: Path) -> None:
    encoder = ClipEncoder.from_folder(base / "clip")
    images, nouns, templates = pictures(3), ["dog", "apple", "car"], ("a {}", "a photo of a {}")
    found = encoder.label(images, nouns, templates)
    words = [["a dog", "a photo of a dog"], ["an apple", "a photo of an apple"], ["a car", "a photo of a car"]]
    means = np.stack([encoder.text_features(texts).mean(0) for texts in words])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    logits = np.exp(encoder.model.logit_scale.item()) * encoder.image_features(images) @ means.T
    each = [[np.exp(a) / sum(np.exp(b) for b in row) for a in row] for row in logits.astype(np.float64)]
    assert found == pytest.approx(np.mean(each, axis=0), abs=1e-5)
    assert found.sum() == pytest.approx(1)


def test_a_base_is_judged_by_its_own_judges(base: Path) -> None:
    judges = load_encoders(FAMILIES["sd-1"], base)
    assert isinstance(judges["clip"], ClipEncoder)
    assert isinstance(judges["identity"], IdentityJudge)
    assert list(load_encoders(FAMILIES["sd-1"], base, names=["clip"])) == ["clip"]


def test_dino_is_known_by_its_config(base: Path, dino: Path, tmp_path: Path) -> None:
    shutil.copytree(base / "clip", tmp_path / "clip")
    shutil.copytree(dino, tmp_path / "identity")
    assert isinstance(load_encoders(FAMILIES["sd-1"], tmp_path)["identity"], DinoEncoder)


def test_family_without_a_hub_judge_has_none_or_says_so(tmp_path: Path) -> None:
    assert load_encoders(FAMILIES["emoji-64"], tmp_path, names=["identity"]) == {"identity": None}
    with pytest.raises(EncoderMissingError, match="ships no CLIP"):
        load_encoders(FAMILIES["emoji-64"], tmp_path, names=["clip"])


def test_judge_that_cannot_be_fetched_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(hub_id: str, patterns: tuple[str, ...], revision: str | None = None, offline: bool = False) -> Path:
        raise BaseModelError(f"{hub_id!r} is not on this machine", source=hub_id)

    monkeypatch.setattr(files, "fetch_snapshot", offline)
    for name in ("clip", "identity"):
        with pytest.raises(EncoderMissingError) as caught:
            load_encoders(FAMILIES["sd-1"], tmp_path, names=[name])
        assert caught.value.source in (FAMILIES["sd-1"].clip, FAMILIES["sd-1"].identity)


def test_partly_cached_judge_is_fetched_and_not_taken(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another program leaves it: transformers fetches pickled weights where there are no others."""
    revision = "1" * 40
    snapshot = tmp_path / "models--nobody--clip" / "snapshots" / revision
    shutil.copytree(base / "clip", snapshot)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert find_named(f"nobody/clip@{revision}") == {"clip": snapshot.resolve()}
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(EncoderMissingError, match=f"nobody/clip@{revision}"):
        find_named(f"nobody/clip@{revision}")


INCOMPLETE = [("clip", "preprocessor_config.json")]
INCOMPLETE += [(judge, file) for judge in ("clip", "identity") for file in ("config.json", "model.safetensors")]


@pytest.mark.parametrize(("judge", "file"), INCOMPLETE)
def test_incomplete_judge_is_an_error_that_names_it(base: Path, tmp_path: Path, judge: str, file: str) -> None:
    shutil.copytree(base / judge, tmp_path / judge)
    (tmp_path / judge / file).unlink()
    with pytest.raises(EncoderMissingError) as caught:
        load_encoders(FAMILIES["sd-1"], tmp_path, names=[judge])
    assert judge in caught.value.source


def test_digest_is_of_the_files_that_are_loaded(base: Path, tmp_path: Path) -> None:
    copy = tmp_path / "clip"
    shutil.copytree(base / "clip", copy)
    (copy / "special_tokens_map.json").write_text("{}")
    assert folder_digest(copy) == folder_digest(base / "clip")


def test_digest_participates_weights_and_preparation(base: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(base / "clip", tmp_path / "clip"))
    (copy / "README.md").write_text("not part of the judge")
    assert folder_digest(copy) == folder_digest(base / "clip")
    text = (copy / "preprocessor_config.json").read_text()
    (copy / "preprocessor_config.json").write_text(text.replace("0.48", "0.49"))
    assert folder_digest(copy) != folder_digest(base / "clip")


@pytest.mark.embedded
def test_embedded_judges_know_a_drawing_from_its_background() -> None:
    from cns.files.bases import resolve_base

    judges = load_encoders(FAMILIES["emoji-64"], resolve_base("emoji-64"))
    assert set(judges) == {"clip", "identity"}
    drawing = np.zeros((2, 64, 64, 3), np.uint8)
    drawing[0], drawing[1] = (70, 165, 80), (60, 120, 210)  # two backgrounds
    for image in drawing:
        image[16:48, 16:48] = (214, 48, 49)
        image[24:40, 24:40] = (250, 214, 70)
    other = 255 - drawing[:1]
    features = judges["identity"].image_features(np.concatenate([drawing, other]))
    assert features[0] @ features[1] > features[0] @ features[2]
