"""Bases of the real shapes with random weights: what an add costs at the size that people use, without a model hub."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from cns.compose import Model, kv_parameters
from cns.families import PIXART, SANA, SD_1, SD_2, SDXL, Family
from cns.files.pipelines import TOKENS
from cns.judges.identity import IdentityEncoder
from cns.quiet import quiet_libraries
from cns_cli.porcelain.models.base import LoadedBase
from tests.tiny import tiny_clip, tiny_gemma, tiny_sentencepiece, tiny_tokenizer

with quiet_libraries():
    from diffusers import (
        AutoencoderDC,
        AutoencoderKL,
        DPMSolverMultistepScheduler,
        EulerDiscreteScheduler,
        PixArtSigmaPipeline,
        PixArtTransformer2DModel,
        PNDMScheduler,
        SanaPipeline,
        SanaTransformer2DModel,
        StableDiffusionPipeline,
        StableDiffusionXLPipeline,
        UNet2DConditionModel,
    )
    from transformers import (
        CLIPTextConfig,
        CLIPTextModel,
        CLIPTextModelWithProjection,
        CLIPTokenizer,
        Gemma2Config,
        Gemma2Model,
        T5Config,
        T5EncoderModel,
    )

POSITIONS, WORDS = 77, 49408
LEVELS = (128, 256, 512, 512)
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
CLIP_L = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}
CLIP_H = {"hidden_size": 1024, "num_hidden_layers": 23, "num_attention_heads": 16, "hidden_act": "gelu"}
CLIP_G = {"hidden_size": 1280, "num_hidden_layers": 32, "num_attention_heads": 20, "hidden_act": "gelu"}


def sd_1(side: int = 64) -> StableDiffusionPipeline:
    """Stable Diffusion 1.5: diffusers' own defaults are the shapes of its denoiser, but for the text's width."""
    return plain(UNet2DConditionModel(sample_size=side, cross_attention_dim=768), CLIP_L)


def sd_2(side: int = 96) -> StableDiffusionPipeline:
    """Stable Diffusion 2.1."""
    unet = UNet2DConditionModel(
        sample_size=side, cross_attention_dim=1024, attention_head_dim=(5, 10, 20, 20), use_linear_projection=True
    )
    return plain(unet, CLIP_H, prediction_type="v_prediction")


def sdxl(side: int = 128) -> StableDiffusionXLPipeline:
    """Stable Diffusion XL."""
    unet = UNet2DConditionModel(
        sample_size=side,
        block_out_channels=(320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10),
        attention_head_dim=(5, 10, 20),
        cross_attention_dim=2048,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    )
    words = _tokenizer()
    return StableDiffusionXLPipeline(
        unet=unet,
        vae=_vae(side),
        text_encoder=CLIPTextModel(_text(CLIP_L, words)),
        text_encoder_2=CLIPTextModelWithProjection(_text({**CLIP_G, "projection_dim": 1280}, words)),
        tokenizer=words,
        tokenizer_2=_tokenizer(),
        scheduler=EulerDiscreteScheduler(**BETAS),
        add_watermarker=False,
    )


def pixart(side: int = 128) -> PixArtSigmaPipeline:
    """PixArt-Sigma at 1024 pixels, with a T5-XXL: diffusers' own defaults are the shapes of its denoiser."""
    words = tiny_sentencepiece()
    words.model_max_length = TOKENS["PixArtSigmaPipeline"]
    text = T5Config(
        vocab_size=32128,
        d_model=4096,
        d_kv=64,
        d_ff=10240,
        num_layers=24,
        num_heads=64,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
    )
    return PixArtSigmaPipeline(
        transformer=PixArtTransformer2DModel(sample_size=side, caption_channels=4096, use_additional_conditions=False),
        vae=_vae(side),
        text_encoder=T5EncoderModel(text),
        tokenizer=words,
        scheduler=DPMSolverMultistepScheduler(beta_start=0.0001, beta_end=0.02),
    )


def sana(layers: int = 20, heads: int = 70, across: int = 20, side: int = 32) -> SanaPipeline:
    """Sana at 1024 pixels, by default the larger one, with a Gemma 2 of 2 B: transformers' defaults are its shapes."""
    words, width = tiny_gemma(), 32 * heads
    words.model_max_length = TOKENS["SanaPipeline"]
    blocks = {"block_types": ("ResBlock",) * 3 + ("EfficientViTBlock",) * 3}
    return SanaPipeline(
        transformer=SanaTransformer2DModel(
            sample_size=side,
            num_layers=layers,
            num_attention_heads=heads,
            num_cross_attention_heads=across,
            cross_attention_head_dim=width // across,
            cross_attention_dim=width,
        ),
        vae=AutoencoderDC(
            **{f"{half}_{name}": value for half in ("encoder", "decoder") for name, value in blocks.items()},
            downsample_block_type="conv",
            upsample_block_type="interpolate",
            scaling_factor=0.41407,
        ),
        text_encoder=Gemma2Model(Gemma2Config()),
        tokenizer=words,
        scheduler=DPMSolverMultistepScheduler(use_flow_sigmas=True, flow_shift=3.0, prediction_type="flow_prediction"),
    )


BASES: Mapping[str, tuple[Family, Callable[[], Any]]] = {
    "Stable Diffusion 1.5": (SD_1, sd_1),
    "Stable Diffusion 2.1": (SD_2, sd_2),
    "Stable Diffusion XL": (SDXL, sdxl),
    "PixArt-Sigma": (PIXART, pixart),
    "Sana 0.6 B": (SANA, partial(sana, 28, 36, 16)),
    "Sana 1.6 B": (SANA, sana),
}
"""Name -> family, and what makes its pipeline: each is a row of `nox -s bench -- shapes`."""


def imagined(name: str) -> LoadedBase:
    """One of `BASES`, on fake tensors, which have shapes and no memory."""
    family, make = BASES[name]
    with FakeTensorMode(), quiet_libraries():
        pipeline = make()
        model = Model(pipeline, dict.fromkeys(kv_parameters(pipeline), family.grid_bits))
    return LoadedBase(Path(), family, model, torch.device("cpu"))


def write(folder: Path, side: int = 64) -> Path:
    """Write the first of them, 4 GB in float32, with tiny judges; return the folder."""
    torch.manual_seed(0)
    with quiet_libraries():
        whole = sd_1(side)
        whole.save_pretrained(folder)
        tiny_clip(folder / "clip", whole.tokenizer)
        IdentityEncoder((8, 16, 16), embedding_size=16).save_pretrained(folder / "identity")
    return folder


def plain(unet: UNet2DConditionModel, text: Mapping[str, Any], **schedule: Any) -> StableDiffusionPipeline:
    """A pipeline of one text encoder, whose shape is `text`."""
    words = _tokenizer()
    return StableDiffusionPipeline(
        unet=unet,
        vae=_vae(unet.config.sample_size),
        text_encoder=CLIPTextModel(_text(text, words)),
        tokenizer=words,
        scheduler=PNDMScheduler(**BETAS, **schedule, skip_prk_steps=True),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _vae(side: int) -> AutoencoderKL:
    """The autoencoder of them all, 83.7 M parameters."""
    return AutoencoderKL(
        sample_size=8 * side,
        block_out_channels=LEVELS,
        down_block_types=("DownEncoderBlock2D",) * len(LEVELS),
        up_block_types=("UpDecoderBlock2D",) * len(LEVELS),
        layers_per_block=2,
        latent_channels=4,
    )


def _tokenizer() -> CLIPTokenizer:
    """Of a small vocabulary, beside an embedding of the real size."""
    tokenizer = tiny_tokenizer()
    tokenizer.model_max_length = POSITIONS
    return tokenizer


def _text(shape: Mapping[str, Any], tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=WORDS,
        intermediate_size=4 * shape["hidden_size"],
        max_position_embeddings=POSITIONS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=2,
        pad_token_id=tokenizer.pad_token_id,
        **shape,
    )
