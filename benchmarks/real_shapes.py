"""A base of Stable Diffusion 1.5's shapes with random weights: what an add costs at that size, without a model hub."""

from __future__ import annotations

from pathlib import Path

import torch

from cns.judges.identity import IdentityEncoder
from cns.quiet import quiet_libraries
from tests.tiny import tiny_clip, tiny_tokenizer

with quiet_libraries():
    from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

POSITIONS, WIDTH, SIDE = 77, 768, 64
LEVELS = (128, 256, 512, 512)


def unet() -> UNet2DConditionModel:
    """The denoiser, 859.5 M parameters: diffusers' own defaults are its shapes, but for the text's width."""
    return UNet2DConditionModel(sample_size=SIDE, cross_attention_dim=WIDTH)


def vae() -> AutoencoderKL:
    """The autoencoder, 83.7 M parameters."""
    return AutoencoderKL(
        sample_size=8 * SIDE,
        block_out_channels=LEVELS,
        down_block_types=("DownEncoderBlock2D",) * len(LEVELS),
        up_block_types=("UpDecoderBlock2D",) * len(LEVELS),
        layers_per_block=2,
        latent_channels=4,
    )


def pipeline() -> StableDiffusionPipeline:
    """The whole, with a small vocabulary's tokenizer beside an embedding of the real size."""
    tokenizer = tiny_tokenizer()
    tokenizer.model_max_length = POSITIONS
    text = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=12,
        num_attention_heads=12,
        max_position_embeddings=POSITIONS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=2,
        pad_token_id=tokenizer.pad_token_id,
    )
    scheduler = PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, skip_prk_steps=True
    )
    with quiet_libraries():
        return StableDiffusionPipeline(
            unet=unet(),
            vae=vae(),
            text_encoder=CLIPTextModel(text),
            tokenizer=tokenizer,
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )


def write(folder: Path) -> Path:
    """Write the pipeline, 4 GB in float32, with tiny judges; return the folder."""
    torch.manual_seed(0)
    whole = pipeline()
    with quiet_libraries():
        whole.save_pretrained(folder)
        tiny_clip(folder / "clip", whole.tokenizer)
        IdentityEncoder((8, 16, 16), embedding_size=16).save_pretrained(folder / "identity")
    return folder
