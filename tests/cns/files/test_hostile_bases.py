"""A base folder that was made to harm: refused with a reason, before memory is taken or anything else is loaded."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from cns.errors import EncoderMissingError, MethodError
from cns.families import FAMILIES
from cns.files.bases import check_base, describe_base
from cns.loading import load_pipeline
from cns.prompts import calibration_of, nouns_of
from tests.cns.judges.loading import load_encoders
from tests.tiny import tiny_sd

UNET = "unet/diffusion_pytorch_model.safetensors"
Harm = Callable[[Path], None]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_sd(tmp_path_factory.mktemp("base"), variant="emoji-64")


@pytest.fixture
def own(shared: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shared, tmp_path / "copy"))


def says(file: str, **changes: Any) -> Harm:
    def harm(folder: Path) -> None:
        path = folder / file
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return harm


def holds(file: str, data: bytes) -> Harm:
    def harm(folder: Path) -> None:
        (folder / file).unlink(missing_ok=True)
        (folder / file).write_bytes(data)

    return harm


def pipe(file: str) -> Harm:
    def harm(folder: Path) -> None:
        (folder / file).unlink()
        os.mkfifo(folder / file)

    return harm


def table(entries: str) -> bytes:
    return struct.pack("<Q", len(entries)) + entries.encode() + bytes(16)


MANY = ",".join(f'"{number}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for number in range(60_000))
DOUBLE = '{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'
HARMS: dict[str, Harm] = {
    "the index of parts is empty": says("model_index.json", unet=[]),
    "the index is nested 100,000 deep": holds("model_index.json", b'{"a":' * 100_000),
    "a config is nested 100,000 deep": holds("unet/config.json", b"[" * 100_000),
    "a config of megabytes": holds("unet/config.json", b'{"a":"' + b"x" * 2**21 + b'"}'),
    "a config is a pipe": pipe("unet/config.json"),
    "weights are a pipe": pipe("vae/diffusion_pytorch_model.safetensors"),
    "a config names code": says("text_encoder/config.json", auto_map={"AutoModel": "evil.Model"}),
    "a config names a kernel of a hub": says("text_encoder/config.json", attn_implementation="evil/kernel"),
    "a config names a quantiser": says("unet/config.json", quantization_config={"quant_method": "bitsandbytes"}),
    "an adapter lies beside the weights": holds(
        "text_encoder/adapter_config.json", b'{"base_model_name_or_path":"evil/x"}'
    ),
    "a table of shards lies beside the whole file": holds(
        "unet/diffusion_pytorch_model.safetensors.index.json", b'{"weight_map":{"a":"../../other.safetensors"}}'
    ),
    "a layer of a million": says("unet/config.json", block_out_channels=[2**20, 2**20]),
    "numbers beyond any": says("unet/config.json", cross_attention_dim=10**15),
    "a million layers": says("text_encoder/config.json", num_hidden_layers=10**6),
    "an embedding of a million words": says("text_encoder/config.json", vocab_size=10**6),
    "a scheduler of a billion steps": says("scheduler/scheduler_config.json", num_train_timesteps=10**9),
    "a scheduler of infinity": says("scheduler/scheduler_config.json", num_train_timesteps=float("inf")),
    "tensors of no length, 60,000": holds(UNET, table("{" + MANY + "}")),
    "one tensor twice": holds(UNET, table(DOUBLE)),
    "a tensor of a negative side": holds(UNET, table('{"a":{"dtype":"F32","shape":[-1,-4],"data_offsets":[0,16]}}')),
    "a table of 2^63 bytes": holds(UNET, struct.pack("<Q", 2**63)),
    "a tokenizer that is none": holds("tokenizer/tokenizer.json", b'{"model":{"type":"WordPiece"}}'),
    "a tokenizer nested 100,000 deep": holds("tokenizer/tokenizer.json", b'{"model":' * 100_000),
    "a tokenizer of 70 megabytes": holds("tokenizer/vocab.json", b" " * 70_000_000),
}


@pytest.mark.parametrize("name", HARMS)
def test_harmful_base_is_refused_with_a_reason(own: Path, name: str) -> None:
    HARMS[name](own)

    def use() -> None:
        describe_base(own)
        load_pipeline(own)

    with pytest.raises(MethodError) as caught:
        use()
    assert len(caught.value.message) < 1000
    assert "\n" not in caught.value.message


def test_weights_that_are_loaded_are_those_whose_digests_were_compared(own: Path, shared: Path) -> None:
    """A table of shards is looked for first by the library: beside a whole file it would win, unchecked."""
    before = describe_base(shared)
    weights = load_file(own / UNET)
    save_file(
        {name: value + 1 for name, value in weights.items()},
        own / "unet" / "diffusion_pytorch_model-00001-of-00001.safetensors",
    )
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, "diffusion_pytorch_model-00001-of-00001.safetensors")}
    (own / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(MethodError, match="unchecked"):
        check_base(own, before.components)


def test_nan_in_a_matrix_that_concepts_change_is_refused(own: Path) -> None:
    weights = load_file(own / UNET)
    name = next(name for name in weights if name.endswith("attn2.to_k.weight"))
    weights[name] = torch.full_like(weights[name], float("nan"))
    save_file(weights, own / UNET)
    with pytest.raises(MethodError, match="NaN"):
        describe_base(own)


@pytest.mark.parametrize(
    "harm",
    [
        says("clip/preprocessor_config.json", size={"shortest_edge": 10**9}),
        says("clip/config.json", auto_map={"AutoModel": "evil.Model"}),
        says("identity/config.json", widths=[2**20, 2**20]),
        says("identity/config.json", widths="wide"),
        holds("identity/model.safetensors", b"\xff" * 100),
        pipe("clip/config.json"),
    ],
)
def test_harmful_judge_is_refused(own: Path, harm: Harm) -> None:
    harm(own)
    with pytest.raises(EncoderMissingError):
        load_encoders(FAMILIES["emoji-64"], own)


@pytest.mark.parametrize(
    "data", [b"[]", b"{}", b'{"version":1,"prompts":5,"nouns":7}', b"[" * 100_000, b'{"prompts":[[]],"nouns":[{}]}']
)
def test_harmful_word_list_is_refused(own: Path, data: bytes) -> None:
    for name, read in (("calibration.json", calibration_of), ("nouns.json", nouns_of)):
        (own / name).write_bytes(data)
        with pytest.raises(MethodError):
            read(FAMILIES["emoji-64"], own)
