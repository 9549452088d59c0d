"""The denoising loss: what finetuning minimises and what the gradient score differentiates.

``Denoiser`` joins a model with the training noise schedule and the precision to compute in. It knows latents and
prompts, not concepts, masks or optimizers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from diffusers import DDPMScheduler
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from cns.compose import Model
from cns.denoiser import check_sides, denoiser_of, predict
from cns.files.pipelines import FLOWS, is_flow
from cns.finite import require_finite
from cns.text import Conditions, conditions_of

if TYPE_CHECKING:  # the class is for annotations; importing it costs seconds and talks
    from diffusers import StableDiffusionPipeline

UNMASKED_WEIGHT = 0.1
"""What the loss weighs outside a mask, where inside it is 1, before both are scaled: OneTrainer's default of the same
name. With 0 nothing would hold the rest of the picture, and what the concept is drawn in comes out as anything."""

ENCODED_PIXELS = 2**19
"""Of the images that are encoded at a time (chosen): two of 512 pixels, which take less than a step of as many."""


@dataclass(frozen=True)
class Schedule:
    """What a base was trained to predict, at each of T noise levels of its training.

    Attributes:
        signal: What latents are multiplied by, shape (T,), float32.
        sigma: What noise is multiplied by before it is added, likewise.
        times: What the denoiser is told of the level, shape (T,).
        predicts: The noise ("epsilon"); "v_prediction": v = signal noise - sigma latents (Salimans & Ho, "Progressive
            Distillation", ICLR 2022, appendix D); "flow_prediction": noise - latents (Lipman et al., ICLR 2023).
    """

    signal: Tensor
    sigma: Tensor
    times: Tensor
    predicts: str

    @staticmethod
    def of(pipeline: StableDiffusionPipeline) -> Schedule:
        """The schedule that a pipeline was trained under, whatever scheduler it draws by.

        Of flow matching sigma is even in time and then shifted toward noise, as the scheduler's config says (Esser et
        al., "Scaling Rectified Flow Transformers", ICML 2024, equation 23), and is what the denoiser is told, times T.
        Departure: Sana's own training draws levels in the middle more often; here all are drawn as often.
        """
        config, kind = pipeline.scheduler.config, type(pipeline.scheduler).__name__
        if is_flow(kind, config):
            even = torch.arange(1, config.num_train_timesteps + 1) / config.num_train_timesteps
            shift = config[FLOWS[kind]]
            sigma = shift * even / (1 + (shift - 1) * even)
            return Schedule(1 - sigma, sigma, sigma * config.num_train_timesteps, "flow_prediction")
        schedule = DDPMScheduler.from_config(config)
        alphas = schedule.alphas_cumprod
        return Schedule(alphas.sqrt(), (1 - alphas).sqrt(), torch.arange(len(alphas)), schedule.config.prediction_type)

    def to(self, device: torch.device) -> Schedule:
        """The same schedule on a device."""
        return Schedule(self.signal.to(device), self.sigma.to(device), self.times.to(device), self.predicts)

    def target(self, latents: Tensor, noise: Tensor, signal: Tensor, sigma: Tensor) -> Tensor:
        """What is to be predicted of latents, all of shape (B, C, h, w) or wide as that."""
        if self.predicts == "flow_prediction":
            return noise - latents
        return signal * noise - sigma * latents if self.predicts == "v_prediction" else noise


@dataclass(frozen=True)
class NoisedBatch:
    """B latents with the noise, the timestep and the prompt of each.

    Attributes:
        latents: Scaled latents, shape (B, C, h, w), float32.
        noise: Standard normal, same shape.
        timesteps: Levels of the schedule, shape (B,), int64, 0 <= t < its length.
        prompts: B prompts.
        weights: Of the loss at each latent pixel, shape (B, 1, h, w), float32, of mean 1 in each latent; None: all 1.
        framings: How each was cut out, see `cns.files.squares.Framing`, shape (B, 4); None: they are whole pictures.
    """

    latents: Tensor
    noise: Tensor
    timesteps: Tensor
    prompts: tuple[str, ...]
    weights: Tensor | None = None
    framings: Tensor | None = None


class Denoiser:
    """The model under its training noise schedule.

    Attributes:
        model: The model; its live weights are used.
        autocast_dtype: What is cast to, see `cns.precision.training_dtype`; None where nothing is.
    """

    def __init__(self, model: Model, autocast_dtype: torch.dtype | None) -> None:
        self.model = model
        self.autocast_dtype = autocast_dtype
        self._schedule = Schedule.of(model.pipeline).to(model.pipeline.device)

    @property
    def pipeline(self) -> StableDiffusionPipeline:
        """The live pipeline."""
        return self.model.pipeline

    @property
    def train_timesteps(self) -> int:
        """Length of the training noise schedule."""
        return len(self._schedule.sigma)

    def loss(self, batch: NoisedBatch, *, mixed_precision: bool = True) -> Tensor:
        """Mean squared error of the network's prediction, weighted where the batch has weights; a float32 scalar.

        The target is what the base was trained to predict (`Schedule`).

        Args:
            batch: Latents, noise, timesteps, prompts.
            mixed_precision: Compute under `autocast_dtype`; scores are taken in full precision.
        """
        device, factor = self.pipeline.device, self.pipeline.vae_scale_factor
        latents, noise, steps = (part.to(device) for part in (batch.latents, batch.noise, batch.timesteps))
        signal, sigma = (one[steps].view(-1, 1, 1, 1) for one in (self._schedule.signal, self._schedule.sigma))
        noisy = signal * latents + sigma * noise
        enabled = mixed_precision and self.autocast_dtype is not None
        with torch.autocast(device.type, self.autocast_dtype or torch.bfloat16, enabled=enabled):
            height, width = (side * factor for side in latents.shape[-2:])
            told = self._conditions(batch.prompts).inputs(height, width, batch.framings)
            prediction = predict(denoiser_of(self.pipeline), noisy, self._schedule.times[steps], told).float()
        errors = (prediction - self._schedule.target(latents, noise, signal, sigma)).square()
        return errors.mean() if batch.weights is None else (batch.weights.to(device) * errors).mean()

    def _conditions(self, prompts: Sequence[str]) -> Conditions:
        unique = sorted(set(prompts))
        return conditions_of(self.pipeline, unique).pick([unique.index(prompt) for prompt in prompts])


@torch.no_grad()
def encode_images(pipeline: StableDiffusionPipeline, pixels: NDArray[np.uint8]) -> Tensor:
    """Scaled latents of images, which can be cached and repeated: nothing is drawn at random.

    Args:
        pipeline: Its VAE is used.
        pixels: Shape (N, H, W, 3), uint8.

    Returns:
        Shape (N, C, h, w), float32, CPU.

    Raises:
        NotFiniteError: A latent is NaN or infinite.
        SettingsError: The denoiser cannot cut images of this size into patches.
    """
    parts = []
    check_sides(pipeline, *pixels.shape[1:3])
    batch_size = encoded_at_once(*pixels.shape[1:3])
    for start in range(0, len(pixels), batch_size):
        images = torch.from_numpy(pixels[start : start + batch_size].astype(np.float32)).permute(0, 3, 1, 2)
        images = (images / 127.5 - 1).to(pipeline.device, pipeline.vae.dtype)
        parts.append((encoded(pipeline.vae, images) * pipeline.vae.config.scaling_factor).float().cpu())
    return require_finite(torch.cat(parts), "VAE encoder", "latents of the images")


def encoded_at_once(height: int, width: int) -> int:
    """How many images of this size in pixels the VAE is given at a time."""
    return max(1, min(8, ENCODED_PIXELS // (height * width)))


def encoded(vae: Any, images: Tensor) -> Tensor:
    """What an autoencoder makes of images, shape (B, C, h, w): the mean of its posterior, or Sana's, which has none."""
    answer = vae.encode(images)
    latents: Tensor = answer.latent_dist.mean if hasattr(answer, "latent_dist") else answer.latent
    return latents


def loss_weights(masks: NDArray[np.uint8], height: int, width: int) -> Tensor:
    """What the loss weighs at each latent pixel, by masks of the images.

    The weight is the share of the latent pixel that is masked, at least `UNMASKED_WEIGHT`, divided by its mean over
    the image: so the loss keeps its scale, whatever a mask's size, and an image without a mask weighs as before.

    Source: OneTrainer's masked training (`masked_losses`), its loss normalised by the masked area.

    Args:
        masks: Shape (N, H, W), uint8, 255 where the concept is.
        height: Of the latents, in latent pixels.
        width: Likewise.

    Returns:
        Shape (N, 1, h, w), float32, CPU.
    """
    areas = adaptive_avg_pool2d(torch.from_numpy(masks.astype(np.float32) / 255).unsqueeze(1), (height, width))
    weights = areas.clamp_min(UNMASKED_WEIGHT)
    return weights / weights.mean((2, 3), keepdim=True)


def draw_batch(
    latents: Tensor,
    prompts: Sequence[Sequence[str]],
    size: int,
    train_timesteps: int,
    generator: torch.Generator,
    weights: Tensor | None = None,
    framings: Tensor | None = None,
) -> NoisedBatch:
    """Draw B latents with noise, a prompt each, and timesteps spread evenly over the schedule.

    Timesteps are stratified, one from each of B equal parts: same expectation as uniform draws, less variance.

    Args:
        latents: Shape (N, C, h, w).
        prompts: For each latent, the prompts it may go with.
        size: B.
        train_timesteps: Length of the noise schedule.
        generator: A CPU generator.
        weights: Of the loss, shape (N, 1, h, w); None: all 1.
        framings: As of `NoisedBatch`, shape (N, 4).
    """
    rounds = -(-size // len(latents))
    index = torch.cat([torch.randperm(len(latents), generator=generator) for _ in range(rounds)])[:size]
    strata = (torch.arange(size) + torch.rand(size, generator=generator)) / size
    picks = torch.rand(size, generator=generator)
    chosen = tuple(prompts[i][int(u * len(prompts[i]))] for i, u in zip(index.tolist(), picks.tolist(), strict=True))
    return NoisedBatch(
        latents[index],
        torch.randn((size, *latents.shape[1:]), generator=generator),
        (strata * train_timesteps).long().clamp_(max=train_timesteps - 1),  # float32 may round up to the end
        chosen,
        *(None if one is None else one[index] for one in (weights, framings)),
    )
