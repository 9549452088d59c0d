"""A Stable Diffusion 1 of full size with random weights: stable-diffusion.cpp reads no smaller one.

It knows 320 channels and 768 numbers a word, and has CLIP's vocabulary inside; so the few words of the prompt have
their ids of there. The sampler and the autoencoder are such as it has, too.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from cns.files.keys import kohya_name
from cns.judges.identity import IdentityEncoder
from tests.tiny import BOS, EOS, tiny_clip, tiny_tokenizer

PROMPT = "a <rex> dog"
PLACES = {"dog</w>": 1929, BOS: 49406, EOS: 49407}
"""Ids of CLIP's vocabulary; those of single letters, "a" among them, are the first."""

SIZE, WIDTH, RANK = 64, 768, 4
_STEP = -23
"""Exponent of the concept's step: the least grid of a base with such weights."""


def large_sd(folder: Path) -> Path:
    """Write the pipeline and tiny judges, 4.5 GB."""
    tokenizer = large_tokenizer()
    torch.manual_seed(0)
    StableDiffusionPipeline(
        unet=UNet2DConditionModel(sample_size=SIZE // 8, cross_attention_dim=WIDTH),
        vae=AutoencoderKL(
            sample_size=SIZE,
            block_out_channels=(32, 64, 128, 128),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
        ),
        text_encoder=CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=WIDTH,
                intermediate_size=4 * WIDTH,
                num_hidden_layers=12,
                num_attention_heads=12,
                eos_token_id=2,
            )
        ),
        tokenizer=tokenizer,
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    tiny_clip(folder / "clip", tiny_tokenizer())
    IdentityEncoder((8, 16, 16), embedding_size=16).save_pretrained(folder / "identity")
    return folder


def large_tokenizer() -> CLIPTokenizer:
    """The tiny bases' words, spread over as many places as CLIP's vocabulary has."""
    tiny = tiny_tokenizer()
    words = sorted((word for word in tiny.get_vocab() if word not in PLACES), key=tiny.get_vocab().__getitem__)
    free = [place for place in range(PLACES[BOS]) if place not in PLACES.values()]  # letters keep theirs, the first
    words += [f"unused {number}" for number in range(len(free) - len(words))]
    vocabulary = {**dict(zip(words, free, strict=True)), **PLACES}
    merges = [tuple(pair) for pair in json.loads(tiny.backend_tokenizer.to_str())["model"]["merges"]]
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)


def write_concept(base: Path, folder: Path) -> tuple[Path, Path]:
    """A LoRA and the vector of its token, of even steps, so that the registry holds it and its half as they are."""
    draw = torch.Generator().manual_seed(1)
    unet = UNet2DConditionModel.load_config(base / "unet")
    with torch.device("meta"):
        shapes = {name: one.shape for name, one in UNet2DConditionModel.from_config(unet).named_parameters()}
    down = torch.randint(-100, 101, (RANK, WIDTH), generator=draw).float()
    tensors = {}
    for name in shapes:
        module = name.removesuffix(".weight")
        if module.endswith(("attn2.to_k", "attn2.to_v")):
            up = torch.randint(-2000, 2001, (shapes[name][0], RANK), generator=draw).float()
            tensors[f"{kohya_name(module)}.lora_up.weight"] = torch.ldexp(up, torch.tensor(_STEP + 1))
            tensors[f"{kohya_name(module)}.lora_down.weight"] = down.clone()
    files = folder / "rex.safetensors", folder / "rex-token.safetensors"
    save_file(tensors, files[0])
    save_file({"emb_params": 0.05 * torch.randn(1, WIDTH, generator=draw)}, files[1])
    return files
