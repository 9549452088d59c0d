"""A model whose pictures are no numbers draws, learns, keeps and serves nothing (issue 18)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from cns.errors import NotFiniteError
from cns.files.bases import describe_base
from cns_cli.porcelain.check import check
from cns_cli.porcelain.generate import generate
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.options import CheckOptions, GenerateOptions
from cns_cli.porcelain.pictures.serving import PictureService
from cns_cli.progress import NullProgress
from registry.objects import Base
from registry.repository import Repository
from tests.porcelain.conftest import add


@pytest.fixture
def spoiled(tiny_base: Path, tmp_path: Path) -> Path:
    """A registry that an older version made on a base with one NaN in its VAE."""
    base = Path(shutil.copytree(tiny_base, tmp_path / "base"))
    path = base / "vae/diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors["decoder.conv_in.bias"][0] = torch.nan
    save_file(tensors, path, metadata={"format": "pt"})
    facts = describe_base(base)
    stored = Base(facts.family, facts.components, facts.matrices, facts.denoiser_parameters)
    Repository.init(tmp_path / "dogs", stored, {"base.source": str(base)}, author="ann", time=1)
    return tmp_path / "dogs"


def test_nothing_is_drawn_or_learned(spoiled: Path, photos: dict[str, Path], tmp_path: Path) -> None:
    out, head = tmp_path / "dog.png", Repository(spoiled).head().commit
    for act in (
        lambda: generate(GenerateOptions(start=spoiled, prompt="a dog", steps=2, out=out), NullProgress()),
        lambda: add(spoiled, "rex", photos["rex"]),
    ):
        with pytest.raises(NotFiniteError) as caught:
            act()
        assert caught.value.part == "VAE decoder"
    assert not out.exists()
    assert Repository(spoiled).head().commit == head


def test_no_concept_is_called_kept(session: Session) -> None:
    with torch.no_grad():
        session.base.model.pipeline.vae.decoder.conv_in.bias[0] = torch.nan
    with pytest.raises(NotFiniteError, match="VAE decoder"):
        check(CheckOptions(start=session.repo.root, images=3), NullProgress(), session=session)


def test_no_picture_is_served(learned: Path) -> None:
    service = PictureService(learned, device="cpu")
    with torch.no_grad():
        service.session.base.model.pipeline.text_encoder.get_input_embeddings().weight.fill_(torch.inf)
    with pytest.raises(NotFiniteError, match="text encoder"):
        service.picture({"prompt": "a dog", "steps": 2})
