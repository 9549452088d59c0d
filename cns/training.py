"""Learning one concept: token warm-up, selection of its neurons, finetuning of those alone, rounding to the grid.

1. The special token starts at the class noun's embedding and is trained alone for a few steps, so that the score sees
   the concept and not its class.
2. Weights are scored and the concept neurons chosen (`cns.selection`).
3. One flat parameter holds the masked weights. Each step scatters it into the live matrices, gathers their gradients
   back, and takes an Adam step on it and on the token's row: nothing outside the mask has a way to move.
4. The change is rounded to the integer grid; the trained floating-point weights are thrown away.

Everything random comes from one seeded generator. The module stores nothing and prints nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cns import grid
from cns.codec import SparseDelta
from cns.compose import ConceptWeights, Model, Weights, kv_parameters
from cns.denoising import Denoiser, NoisedBatch, autocast_dtype, draw_batch, encode_images
from cns.drift import Moments
from cns.errors import MethodError, SettingsError
from cns.regularizers import REGULARIZERS, History, PastConcept
from cns.report import Report
from cns.selection import SCORES, Selection, select_concept_neurons
from cns.tokens import class_noun_row, install_tokens, trainable_rows

SCORE_BATCHES = 24
"""Batches of the concept that the score accumulates over (chosen)."""

CHECKPOINTED_SIDE = 32
"""From this side of the latents on, activations are recomputed in the backward pass instead of kept (chosen): at
64x64 latents they would take several times the memory of the weights."""


@dataclass(frozen=True)
class Settings:
    """How to learn a concept; `cns.families.Defaults` has the defaults and says where they come from.

    Attributes:
        score: Key of `SCORES`.
        reg: Key of `REGULARIZERS`.
        reg_strength: a, the pull toward what was learned before.
        anchor_strength: b, the pull toward the base.
        steps: Finetuning steps.
        warmup_steps: Token-only steps before scoring.
        lr: Learning rate of the masked weights.
        token_lr: Learning rate of the token's row.
        batch_size: Images a step.
        budget: How many weights may change.
        general_ratio: Share of a row that counts as active for a calibration prompt.
        general_vote: Share of the calibration prompts that make a weight general.
        seed: Seeds everything random.
    """

    score: str
    reg: str
    reg_strength: float
    anchor_strength: float
    steps: int
    warmup_steps: int
    lr: float
    token_lr: float
    batch_size: int
    budget: int
    general_ratio: float
    general_vote: float
    seed: int

    def check(self) -> None:
        """Raise SettingsError for a value that cannot work."""
        if self.score not in SCORES:
            raise SettingsError(f"no score {self.score!r}; there are {', '.join(SCORES)}", hint="cns add --help")
        if self.reg not in REGULARIZERS:
            raise SettingsError(
                f"no regularizer {self.reg!r}; there are {', '.join(REGULARIZERS)}", hint="cns add --help"
            )
        if self.steps < 1 or self.batch_size < 1 or self.budget < 1 or self.lr <= 0 or self.token_lr <= 0:
            raise SettingsError("steps, batch size, budget and learning rates must be positive", hint="cns add --help")


@dataclass(frozen=True)
class Lesson:
    """What is to be learned.

    Attributes:
        name: The concept's name.
        class_noun: What it is one of.
        token: Its special token; not in the vocabulary yet.
        images: Shape (N, R, R, 3), uint8.
        prompts: For each image, the prompts that may describe it; they contain the token.
    """

    name: str
    class_noun: str
    token: str
    images: NDArray[np.uint8]
    prompts: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Surroundings:
    """What the lesson must respect.

    Attributes:
        past: Earlier concepts of this model.
        calibration: Moments of the calibration prompts, for the anchor to the base.
        general: General neurons of this base under this score (see `cns.general.find_general_neurons`).
    """

    past: Sequence[PastConcept]
    calibration: Moments
    general: Mapping[str, Tensor]


@dataclass(frozen=True)
class Learned:
    """A learned concept and how it came.

    Attributes:
        weights: Token rows and the change on the grid.
        selection: Masks and shares.
        series: Per-step figures: `warmup_loss`, `loss` (denoising), `penalty` (regularization).
        settings: The settings, as plain values.
    """

    weights: ConceptWeights
    selection: Selection
    series: dict[str, list[float]] = field(default_factory=dict)
    settings: dict[str, float | int | str] = field(default_factory=dict)


def learn_concept(
    model: Model, parent: Weights, lesson: Lesson, around: Surroundings, settings: Settings, report: Report
) -> Learned:
    """Learn one concept on top of `parent`.

    Args:
        model: Its live weights equal `parent`, and do again when this returns or raises; the lesson's token stays
            installed.
        parent: Composed weights of the concepts learned so far.
        lesson: Images, token, prompts.
        around: Earlier concepts and general neurons.
        settings: How.
        report: Told of progress.

    Raises:
        SettingsError: A setting cannot work.
        GridError: The training diverged.
    """
    settings.check()
    denoiser = Denoiser(model, autocast_dtype(model.pipeline.device))
    generator = torch.Generator().manual_seed(settings.seed)
    row = class_noun_row(model.pipeline.tokenizer, model.pipeline.text_encoder, lesson.class_noun)
    install_tokens(model.pipeline.tokenizer, model.pipeline.text_encoder, {lesson.token: row})
    latents = encode_images(model.pipeline, lesson.images)
    row = row.to(model.pipeline.device).requires_grad_()
    series: dict[str, list[float]] = {}
    model.freeze()
    if latents.shape[-1] >= CHECKPOINTED_SIDE:
        model.pipeline.unet.enable_gradient_checkpointing()
    try:
        run = _Run(denoiser, lesson, latents, row, settings, generator, report, series)
        run.warm_up()
        selection = run.select(around.general)
        device = model.pipeline.device
        history = History(model.base, parent, selection.masks, around.past, around.calibration, device)
        trained = run.finetune(selection.masks, history)
    finally:
        model.pipeline.unet.disable_gradient_checkpointing()
        model.write(parent)
        model.freeze()
    delta = {name: _to_grid(model, name, trained[name], parent[name], mask) for name, mask in selection.masks.items()}
    rows = {lesson.token: row.detach().float().cpu()}
    install_tokens(model.pipeline.tokenizer, model.pipeline.text_encoder, rows)
    weights = ConceptWeights(lesson.name, lesson.class_noun, rows, delta)
    return Learned(weights, selection, series, asdict(settings))


def time_steps(model: Model, images: NDArray[np.uint8], class_noun: str, settings: Settings, steps: int = 3) -> float:
    """Seconds of one training step, the mean of a few after a warm-up; weights and token rows are left as they are.

    Args:
        model: Its live weights are used.
        images: Shape (N, R, R, 3), uint8.
        class_noun: Stands in the prompts.
        settings: Batch size and seed.
        steps: How many are timed.
    """
    denoiser = Denoiser(model, autocast_dtype(model.pipeline.device))
    generator = torch.Generator().manual_seed(settings.seed)
    latents = encode_images(model.pipeline, images)
    parameters = list(kv_parameters(model.pipeline).values())
    for parameter in parameters:
        parameter.requires_grad_(True)
    began = 0.0
    for step in range(steps + 1):
        if step == 1:
            began = time.monotonic()
        prompts = [[f"a {class_noun}"]] * len(latents)
        batch = draw_batch(latents, prompts, settings.batch_size, denoiser.train_timesteps, generator)
        torch.autograd.grad(denoiser.loss(batch), parameters)
    model.freeze()
    return (time.monotonic() - began) / steps


class _Run:
    """One training: what warm-up, selection and finetuning share."""

    def __init__(
        self,
        denoiser: Denoiser,
        lesson: Lesson,
        latents: Tensor,
        row: Tensor,
        settings: Settings,
        generator: torch.Generator,
        report: Report,
        series: dict[str, list[float]],
    ) -> None:
        self.denoiser, self.lesson, self.latents, self.row = denoiser, lesson, latents, row
        self.settings, self.generator, self.report, self.series = settings, generator, report, series
        self.text_encoder = denoiser.pipeline.text_encoder
        self.token_id = denoiser.pipeline.tokenizer.convert_tokens_to_ids(lesson.token)

    def draw(self) -> NoisedBatch:
        size, steps = self.settings.batch_size, self.denoiser.train_timesteps
        return draw_batch(self.latents, self.lesson.prompts, size, steps, self.generator)

    def warm_up(self) -> None:
        """Train the token's row alone."""
        optimizer = torch.optim.AdamW([self.row], lr=2 * self.settings.token_lr, weight_decay=0.0)
        losses = self.series.setdefault("warmup_loss", [])
        for step in range(self.settings.warmup_steps):
            with trainable_rows(self.text_encoder, {self.token_id: self.row}):
                loss = self.denoiser.loss(self.draw())
            (self.row.grad,) = torch.autograd.grad(loss, [self.row])
            optimizer.step()
            losses.append(_finite(loss))
            self.report("token warm-up", step + 1, self.settings.warmup_steps, loss=losses[-1])

    def select(self, general: Mapping[str, Tensor]) -> Selection:
        """Score the concept's weights and fill the budget."""
        tokenizer = self.denoiser.pipeline.tokenizer
        install_tokens(tokenizer, self.text_encoder, {self.lesson.token: self.row.detach()})
        for parameter in kv_parameters(self.denoiser.pipeline).values():
            parameter.requires_grad_(True)
        prompts = sorted({prompt for choices in self.lesson.prompts for prompt in choices})
        batches = [self.draw() for _ in range(SCORE_BATCHES)]
        self.report("selection", 0, 1)
        scores = SCORES[self.settings.score](self.denoiser, prompts, batches)
        selection = select_concept_neurons(scores, general, self.settings.budget, self.settings.general_ratio)
        self.report("selection", 1, 1, neurons=selection.count)
        return selection

    def finetune(self, masks: Mapping[str, Tensor], history: History) -> Weights:
        """Train the masked weights and the token's row; return all K/V weights, float32, CPU."""
        settings, parameters = self.settings, kv_parameters(self.denoiser.pipeline)
        penalty = REGULARIZERS[settings.reg](history, settings.reg_strength, settings.anchor_strength)
        device = self.denoiser.pipeline.device
        positions = {name: masks[name].reshape(-1).nonzero().squeeze(1).to(device) for name in parameters}
        counts = [len(positions[name]) for name in parameters]
        flat = torch.cat([parameters[name].detach().reshape(-1)[positions[name]] for name in parameters])
        groups = [{"params": [flat], "lr": settings.lr}, {"params": [self.row], "lr": settings.token_lr}]
        optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _learning_rate(step, settings.steps))
        losses, penalties = self.series.setdefault("loss", []), self.series.setdefault("penalty", [])
        for step in range(settings.steps):
            with trainable_rows(self.text_encoder, {self.token_id: self.row}):
                loss = self.denoiser.loss(self.draw())
            extra = penalty(parameters)
            *slopes, self.row.grad = torch.autograd.grad(loss + extra, [*parameters.values(), self.row])
            flat.grad = torch.cat([s.reshape(-1)[positions[n]] for n, s in zip(parameters, slopes, strict=True)])
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                for (name, parameter), part in zip(parameters.items(), flat.split(counts), strict=True):
                    parameter.view(-1)[positions[name]] = part
            losses.append(_finite(loss))
            penalties.append(float(extra.detach()))
            self.report("finetuning", step + 1, settings.steps, loss=losses[-1], penalty=penalties[-1])
        return {name: parameter.detach().to("cpu", torch.float32, copy=True) for name, parameter in parameters.items()}


def _learning_rate(step: int, steps: int) -> float:
    """Factor on the learning rate: ten steps up, constant, then linear to 5 % over the last 40 %."""
    remaining = (steps - step) / (0.4 * steps)
    return min(1.0, (step + 1) / 10) * max(0.05, min(1.0, remaining))


def _finite(loss: Tensor) -> float:
    value = float(loss.detach())
    if not np.isfinite(value):
        raise MethodError(
            "the loss became NaN or infinite: the training diverged", hint="cns add … --lr with a third of it"
        )
    return value


def _to_grid(model: Model, name: str, trained: Tensor, parent: Tensor, mask: Tensor) -> SparseDelta:
    positions = mask.reshape(-1).nonzero().squeeze(1).numpy()
    change = (trained - parent).reshape(-1).numpy()[positions]
    exponent = model.exponents[name]
    rows, columns = trained.shape
    return SparseDelta((rows, columns), positions, grid.quantise(change, exponent), exponent)
