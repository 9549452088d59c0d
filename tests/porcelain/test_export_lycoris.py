"""What lycoris-lora makes of exports: by `create_lycoris_from_weights`, on a UNet of diffusers."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from lycoris import LycorisNetwork, create_lycoris_from_weights

from tests.porcelain.test_export import composed, off, plain, written


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """LyCORIS talks, and keeps its prefix in the class."""
    logging.getLogger("LyCORIS").setLevel(logging.ERROR)
    monkeypatch.setattr(LycorisNetwork, "LORA_PREFIX", "lora_unet")


@pytest.mark.parametrize("kind", ["lycoris", "lora"])
def test_lycoris_adds_a_change_within_the_error_that_was_said(learned: Path, tmp_path: Path, kind: str) -> None:
    said = written(learned, kind, tmp_path / "x")
    session, exact = composed(learned)
    unet = plain(learned).unet
    network, _ = create_lycoris_from_weights(1.0, str(tmp_path / "x" / "x.safetensors"), unet)
    network.merge_to()
    found = unet.state_dict()
    assert off(found, exact, session.base.model.base) == pytest.approx(said.error, rel=1e-2, abs=1e-5)
    if kind == "lycoris":
        assert all(torch.equal(found[name], one) for name, one in exact.items())
