"""The denoiser and the text encoder, trained together on latents that the VAE encoded once.

The text encoder starts from the CLIP's text tower and goes on learning at a third of the rate: a frozen one confused
colours and backgrounds (docs/base_model.md). Captions are padded to the length that the pipeline pads to, since the
cross-attention sees the padding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from transformers import CLIPTextModel, CLIPTokenizer

from base_model.clip import token_ids, use_plain_attention
from base_model.training import Schedule, Training, autocast, matrix_optimizers

TIMESTEPS = 1000
BATCH = 32
EMPTY_SHARE = 0.1  # of captions, for classifier-free guidance
PEAK_LR = 3e-3
TEXT_LR_SHARE = 0.3
EMA_DECAY = 0.999


def new_unet() -> UNet2DConditionModel:
    """An untrained denoiser: 10.7 M parameters, cross-attention at 8x8 and 4x4."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(48, 128, 192),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=192,
        attention_head_dim=2,  # in this class: the number of heads
        norm_num_groups=16,
    )


def new_scheduler() -> DDIMScheduler:
    """The sampler that ships: deterministic DDIM; its noise schedule is also that of the training."""
    return DDIMScheduler(
        num_train_timesteps=TIMESTEPS,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        clip_sample=False,
        timestep_spacing="trailing",
        steps_offset=1,
    )


def train_unet(
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    latents: Tensor,
    captions: Sequence[str],
    minutes: float,
    folder: Path,
    device: torch.device,
    *,
    peak_lr: float = PEAK_LR,
    decay_from: float = 0.5,
    seed: int = 3,
) -> None:
    """Train both in place and write their averages in float32 as `folder`/unet and `folder`/text_encoder.

    Args:
        unet: A new or an earlier denoiser.
        text_encoder: The CLIP's text tower, or an earlier text encoder.
        tokenizer: The CLIP's.
        latents: float32 (N, 4, 16, 16), scaled as the pipeline scales them.
        captions: N captions.
        minutes: Time budget.
        folder: Keeps the checkpoint and the result.
        device: Where to train.
        peak_lr: Of the denoiser.
        decay_from: Share of the budget after which the rate falls to zero.
        seed: Of batches, timesteps, noise and empty captions.
    """
    modules = nn.ModuleDict({"unet": unet, "text_encoder": text_encoder}).to(device)
    optimizers = _optimizers(unet, text_encoder, peak_lr)
    schedule = Schedule(100, decay_from)
    training = Training(modules, optimizers, schedule, minutes, folder / "checkpoint.pt", seed, EMA_DECAY)
    loss_of = _loss(unet, text_encoder, token_ids(tokenizer, ["", *captions]), latents, device)
    trained = training.run(loss_of, log=lambda line: print("unet", line, flush=True))
    trained["unet"].save_pretrained(folder / "unet")
    trained["text_encoder"].save_pretrained(folder / "text_encoder")


def _loss(
    unet: UNet2DConditionModel, text_encoder: CLIPTextModel, ids: Tensor, latents: Tensor, device: torch.device
) -> Callable[[Generator], Tensor]:
    """The loss of a random batch; row 0 of `ids` is the empty caption, row i + 1 that of latent i."""
    signal_share = new_scheduler().alphas_cumprod.to(device)

    def loss_of(generator: Generator) -> Tensor:
        chosen = torch.randint(0, len(latents), (BATCH,), generator=generator)
        is_empty = torch.rand(BATCH, generator=generator) < EMPTY_SHARE
        rows = torch.where(is_empty, 0, chosen + 1)
        noise = torch.randn(BATCH, *latents.shape[1:], generator=generator).to(device)
        timesteps = spread_timesteps(BATCH, generator).to(device)
        with autocast(device):
            states = text_encoder(ids[rows].to(device)).last_hidden_state
        return velocity_loss(unet, states, latents[chosen].to(device), noise, timesteps, signal_share)

    return loss_of


def _optimizers(unet: UNet2DConditionModel, text_encoder: CLIPTextModel, peak_lr: float) -> list[Optimizer]:
    """Muon and AdamW over both, which attend by matrix products from now on."""
    # At these sizes the fused attention's backward is slower on a CPU.
    use_plain_attention(text_encoder)
    unet.set_attn_processor(AttnProcessor())
    groups: list[tuple[nn.Module, float]] = [(unet, peak_lr), (text_encoder, peak_lr * TEXT_LR_SHARE)]
    return matrix_optimizers(groups, excluded=_belongs_to_adam)


def _belongs_to_adam(name: str) -> bool:
    """Token and position tables, and the convolutions at the latents, whose rows or columns are not features."""
    return "embedding" in name.removeprefix("time_embedding") or name.startswith(("conv_in", "conv_out"))


def velocity_loss(
    unet: UNet2DConditionModel, states: Tensor, latents: Tensor, noise: Tensor, timesteps: Tensor, signal_share: Tensor
) -> Tensor:
    """Mean squared error of v = sqrt(a) noise - sqrt(1 - a) latents, equal weight at every timestep.

    Args:
        unet: The denoiser.
        states: Text features, shape (B, 32, 192).
        latents: Shape (B, 4, 16, 16).
        noise: Like `latents`.
        timesteps: int64 (B,).
        signal_share: The schedule's cumulative alphas, shape (1000,).
    """
    alpha = signal_share[timesteps].view(-1, 1, 1, 1)
    noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
    velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * latents
    with autocast(latents.device):
        predicted = unet(noisy, timesteps, states).sample
    return F.mse_loss(predicted.float(), velocity)


def spread_timesteps(count: int, generator: Generator) -> Tensor:
    """One random timestep from each of `count` equal parts of the schedule: less noise in the loss than free draws."""
    offsets = torch.rand(count, generator=generator)
    return ((torch.arange(count) + offsets) / count * TIMESTEPS).long().clamp(max=TIMESTEPS - 1)
