"""The packaged folder: its layout, its size, and files that agree with the recipe's words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from base_model.calibration import calibration_table, vocabulary_table
from base_model.card import notice_text
from base_model.concepts import CONCEPT_ICONS, REFERENCES_PER_CONCEPT
from base_model.package import MAX_BYTES, folder_bytes, model_index

REPOSITORY = Path(__file__).parents[2]
BASE = REPOSITORY / "cns" / "bases" / "emoji-64-v1"
LAYOUT = (
    "model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors", "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors", "text_encoder/config.json", "text_encoder/model.safetensors",
    "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json", "scheduler/scheduler_config.json",
    "clip/config.json", "clip/model.safetensors", "clip/tokenizer.json", "clip/preprocessor_config.json",
    "identity/config.json", "identity/model.safetensors", "nouns.json", "calibration.json", "README.md", "NOTICE",
    "evaluation.json", "card_sheet.png",
)  # fmt: skip


@pytest.mark.parametrize("name", LAYOUT)
def test_layout(name: str) -> None:
    assert (BASE / name).is_file()


def test_folder_is_small_enough_for_a_wheel() -> None:
    assert folder_bytes(BASE) <= MAX_BYTES


def test_weights_are_safetensors_only() -> None:
    assert not [path for path in BASE.rglob("*") if path.suffix in {".bin", ".pt", ".ckpt", ".pkl"}]


def test_word_lists_are_those_of_the_recipe() -> None:
    assert json.loads((BASE / "nouns.json").read_text()) == vocabulary_table()
    assert json.loads((BASE / "calibration.json").read_text()) == calibration_table()


def test_model_index_names_explicit_classes() -> None:
    found = json.loads((BASE / "model_index.json").read_text())
    expected = model_index() | {"_diffusers_version": found["_diffusers_version"]}
    assert found == expected


def test_scheduler_gives_no_cause_for_a_warning() -> None:
    config = json.loads((BASE / "scheduler" / "scheduler_config.json").read_text())
    assert config["steps_offset"] == 1
    assert config["clip_sample"] is False


def test_text_encoder_knows_the_end_token() -> None:
    config = json.loads((BASE / "text_encoder" / "config.json").read_text())
    vocab = json.loads((BASE / "tokenizer" / "tokenizer.json").read_text())["model"]["vocab"]
    assert config["eos_token_id"] == vocab["<|endoftext|>"]
    assert config["vocab_size"] == len(vocab)


def test_configs_name_no_folder_of_the_maintainer() -> None:
    for path in BASE.rglob("*.json"):
        assert "/work" not in path.read_text()
        if path.name == "config.json":
            assert "_name_or_path" not in json.loads(path.read_text())


def test_symbols_of_concept_tokens_are_pieces() -> None:
    vocab = json.loads((BASE / "tokenizer" / "tokenizer.json").read_text())["model"]["vocab"]
    for symbol in "<>0123456789":
        assert symbol in vocab
        assert f"{symbol}</w>" in vocab


@pytest.mark.parametrize("notice", [REPOSITORY / "NOTICE", BASE / "NOTICE"])
def test_notice_names_every_source(notice: Path) -> None:
    assert notice.read_text().startswith(notice_text(warm_started=False))


def test_figures_reach_their_bars() -> None:
    report = json.loads((BASE / "evaluation.json").read_text())
    for name, bar in report["bars"].items():
        figure = report["figures"][name]
        assert figure <= bar if name == "seconds_per_image" else figure >= bar, name


def test_every_concept_has_its_pictures_and_five_other_artists() -> None:
    table = json.loads((REPOSITORY / "examples" / "concepts" / "concepts.json").read_text())
    assert set(table) == set(CONCEPT_ICONS)
    for noun in table:
        assert len(list((REPOSITORY / "examples" / "concepts" / noun).glob("*.png"))) == REFERENCES_PER_CONCEPT
        artists = list((REPOSITORY / "benchmarks" / "other_artists" / noun).iterdir())
        assert len(artists) == 5
        assert all(len(list(artist.glob("*.png"))) == 4 for artist in artists)
