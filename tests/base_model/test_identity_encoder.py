"""The identity encoder's contract: unit vectors, and a file that gives back the same network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from base_model.identity import compose, contrast, draw_drawings
from cns.errors import BaseModelError
from cns.judges.identity import IdentityEncoder


@pytest.fixture
def encoder() -> IdentityEncoder:
    torch.manual_seed(0)
    return IdentityEncoder(widths=(8, 16, 16), embedding_size=12).eval()


def test_embeddings_are_float32_unit_vectors(encoder: IdentityEncoder) -> None:
    embeddings = encoder(torch.rand(5, 3, 64, 64) * 2 - 1)
    assert embeddings.shape == (5, 12)
    assert embeddings.dtype == torch.float32
    assert torch.allclose(embeddings.norm(dim=1), torch.ones(5), atol=1e-5)


def test_saved_encoder_comes_back_the_same(encoder: IdentityEncoder, tmp_path: Path) -> None:
    encoder.save_pretrained(tmp_path / "identity")
    again = IdentityEncoder.from_pretrained(tmp_path / "identity")
    pictures = torch.rand(2, 3, 64, 64)
    assert torch.equal(encoder(pictures), again(pictures))
    assert not again.training


def test_fp16_file_comes_back_as_float32(encoder: IdentityEncoder, tmp_path: Path) -> None:
    encoder.half().save_pretrained(tmp_path)
    again = IdentityEncoder.from_pretrained(tmp_path)
    assert {parameter.dtype for parameter in again.parameters()} == {torch.float32}


def test_config_says_what_is_needed_to_rebuild(encoder: IdentityEncoder, tmp_path: Path) -> None:
    encoder.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config == {"architecture": "IdentityEncoder", "image_size": 64, "widths": [8, 16, 16], "embedding_size": 12}


def test_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BaseModelError):
        IdentityEncoder.from_pretrained(tmp_path)


def test_composed_pictures_depend_on_the_generator_alone() -> None:
    drawings, backgrounds = torch.rand(4, 4, 64, 64), torch.rand(3, 3, 64, 64)
    first, again = (compose(drawings, backgrounds, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again)


def test_batch_holds_distinct_drawings() -> None:
    chosen = draw_drawings(torch.arange(100), 200, torch.Generator().manual_seed(0))
    assert len(chosen.unique()) == len(chosen) <= 64


def test_contrast_is_lower_when_views_agree() -> None:
    drawing = torch.tensor([0, 1, 0, 1])
    apart = torch.eye(2)[[0, 1, 0, 1]]
    mixed = torch.eye(2)[[0, 1, 1, 0]]
    assert contrast(apart, drawing) < contrast(mixed, drawing)
