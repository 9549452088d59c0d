"""Textual inversions of every program, against the rows that diffusers loads from the same file."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cns.adapters.embeddings import MAX_PICKLE_BYTES, holds_vectors, read_vectors
from cns.compose import Model
from cns.errors import AdapterError
from tests.tiny import WIDTH

VECTORS = torch.randn(2, WIDTH, generator=torch.Generator().manual_seed(0))
FILES: dict[str, Any] = {
    "diffusers.safetensors": {"<zed>": VECTORS},
    "one.safetensors": {"<zed>": VECTORS[0]},
    "diffusers.bin": {"<zed>": VECTORS},
    "a1111.safetensors": {"emb_params": VECTORS},
    "a1111.pt": {"string_to_token": {"*": 265}, "string_to_param": {"*": VECTORS}, "name": "zed", "step": 100},
}


def write(file: Path, content: Any) -> Path:
    """A file of such content, by the library that the programs write theirs with."""
    if file.suffix == ".safetensors":
        save_file(content, file)
    else:
        torch.save(content, file)
    return file


@pytest.mark.parametrize("name", FILES)
def test_vectors_are_those_that_diffusers_loads(model: Model, tmp_path: Path, name: str) -> None:
    file = write(tmp_path / name, FILES[name])
    pipeline = model.pipeline
    pipeline.load_textual_inversion(str(file), token="<zed>", use_safetensors=file.suffix == ".safetensors")
    vectors = read_vectors(file, [WIDTH])
    tokens = ["<zed>", "<zed>_1"][: len(vectors)]
    ids = pipeline.tokenizer.convert_tokens_to_ids(tokens)
    rows = pipeline.text_encoder.get_input_embeddings().weight[ids].detach().numpy()
    assert np.array_equal(vectors, rows)
    assert holds_vectors(file)


def test_comfyui(tmp_path: Path) -> None:
    assert np.array_equal(
        read_vectors(write(tmp_path / "a.safetensors", {"clip_l": VECTORS}), [WIDTH]), VECTORS.numpy()
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"clip_l": VECTORS, "clip_g": torch.zeros(2, 2 * WIDTH)}, "a second text encoder that this base lacks"),
        ({"a": VECTORS, "b": VECTORS.clone()}, "holds 2 tensors"),
        ({"emb_params": torch.zeros(2, WIDTH + 1)}, "as this base's tokens have"),
        ({"emb_params": torch.full((1, WIDTH), torch.inf)}, "NaN or infinity"),
        ({"emb_params": torch.zeros(65, WIDTH)}, "expected 1 to 64 vectors"),
    ],
)
def test_what_are_no_vectors_of_this_base_is_refused(tmp_path: Path, content: Any, said: str) -> None:
    with pytest.raises(AdapterError, match=said):
        read_vectors(write(tmp_path / "bad.safetensors", content), [WIDTH])


class Evil:
    """What runs when it is unpickled."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("ran"),))


@pytest.mark.parametrize("content", [{"<zed>": Evil()}, torch.nn.Linear(2, 2)])
def test_no_code_of_a_pickle_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AdapterError, match="could run code"):
        read_vectors(write(tmp_path / "evil.pt", content), [WIDTH])
    assert not (tmp_path / "ran").exists()


def test_a_pickle_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "a.pt", {"<zed>": VECTORS})
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(AdapterError, match=r"a\.pt"):
        read_vectors(file, [WIDTH])


def test_a_pickle_that_unpacks_to_much_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a/data/0", bytes(MAX_PICKLE_BYTES + 1))
    assert (tmp_path / "a.pt").stat().st_size < 10**6
    with pytest.raises(AdapterError, match="has more than"):
        read_vectors(tmp_path / "a.pt", [WIDTH])
