"""Learning one concept: token warm-up, selection of its neurons, finetuning of those alone, rounding to the grid.

1. The special token starts at the class noun's embedding and is trained alone for a few steps, so that the score sees
   the concept and not its class.
2. Weights are scored and the concept neurons chosen (`cns.selection`).
3. One flat parameter holds the masked weights. Each step scatters it into the live matrices, gathers their gradients
   back, and takes an Adam step on it and on the token's row: nothing outside the mask has a way to move.
4. The change is rounded to the integer grid; the trained floating-point weights are thrown away.

Everything random comes from one seeded generator. After every step the caller is handed the training's state
(`cns.resume`) and may start another training from it, which ends in the same bits. The module stores nothing and prints
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor

from cns import grid
from cns.codec import SparseDelta
from cns.compose import ConceptWeights, Model, Weights, kv_parameters
from cns.denoising import Denoiser, NoisedBatch, autocast_dtype, draw_batch, encode_images
from cns.errors import CodecError, MethodError
from cns.lesson import Learned, Lesson, Settings, Surroundings
from cns.regularizers import History, regularizer_named
from cns.report import Report
from cns.resume import Checkpoint, Stage, TrainingState, forget, put_back, take
from cns.selection import Selection, score_named, select_concept_neurons
from cns.tokens import class_noun_row, install_tokens, trainable_rows

SCORE_BATCHES = 24
"""Batches of the concept that the score accumulates over (chosen)."""

CHECKPOINTED_SIDE = 32
"""From this side of the latents on, activations are recomputed in the backward pass instead of kept (chosen): at
64x64 latents they would take several times the memory of the weights."""


def learn_concept(
    model: Model,
    parent: Weights,
    lesson: Lesson,
    around: Surroundings,
    settings: Settings,
    report: Report,
    checkpoint: Checkpoint = forget,
    state: TrainingState | None = None,
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
        checkpoint: Told the state after every step.
        state: Where to go on; every other argument must be what it was when this state was told.

    Raises:
        SettingsError: A setting cannot work.
        GridError: The training diverged.
        CodecError: The state is not one of such a training.
    """
    settings.check()
    denoiser = Denoiser(model, autocast_dtype(model.pipeline.device))
    row = class_noun_row(model.pipeline.tokenizer, model.pipeline.text_encoder, lesson.class_noun)
    install_tokens(model.pipeline.tokenizer, model.pipeline.text_encoder, {lesson.token: row})
    latents = encode_images(model.pipeline, lesson.images)
    row = row.to(model.pipeline.device).requires_grad_()
    model.freeze()
    if latents.shape[-1] >= CHECKPOINTED_SIDE:
        model.pipeline.unet.enable_gradient_checkpointing()
    try:
        run = _Run(denoiser, lesson, latents, row, settings, report, checkpoint, state)
        run.warm_up()
        selection = run.select(around.general)
        device = model.pipeline.device
        history = History(model.base, parent, selection.masks, around.past, around.calibration, device)
        trained = run.finetune(selection, history)
    finally:
        model.pipeline.unet.disable_gradient_checkpointing()
        model.write(parent)
        model.freeze()
    delta = {name: _to_grid(model, name, trained[name], parent[name], mask) for name, mask in selection.masks.items()}
    rows = {lesson.token: row.detach().float().cpu()}
    install_tokens(model.pipeline.tokenizer, model.pipeline.text_encoder, rows)
    weights = ConceptWeights(lesson.name, lesson.class_noun, rows, delta)
    return Learned(weights, selection, run.series, asdict(settings), settings.plugins)


class _Run:
    """One training: what warm-up, selection and finetuning share."""

    def __init__(
        self,
        denoiser: Denoiser,
        lesson: Lesson,
        latents: Tensor,
        row: Tensor,
        settings: Settings,
        report: Report,
        checkpoint: Checkpoint,
        state: TrainingState | None,
    ) -> None:
        self.denoiser, self.lesson, self.latents, self.row = denoiser, lesson, latents, row
        self.settings, self.report, self.checkpoint, self.state = settings, report, checkpoint, state
        self.text_encoder = denoiser.pipeline.text_encoder
        self.token_id = denoiser.pipeline.tokenizer.convert_tokens_to_ids(lesson.token)
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.series = {name: list(values) for name, values in state.series.items()} if state else {}
        if state is not None:
            self._set_generator(state)

    def draw(self) -> NoisedBatch:
        size, steps = self.settings.batch_size, self.denoiser.train_timesteps
        return draw_batch(self.latents, self.lesson.prompts, size, steps, self.generator)

    def warm_up(self) -> None:
        """Train the token's row alone."""
        if self._goes_on("finetuning"):
            return
        optimizer = torch.optim.AdamW([self.row], lr=2 * self.settings.token_lr, weight_decay=0.0)
        losses, steps = self.series.setdefault("warmup_loss", []), self.settings.warmup_steps
        for step in range(self._begin("token warm-up", {"row": self.row}, optimizer), steps):
            with trainable_rows(self.text_encoder, {self.token_id: self.row}):
                loss = self.denoiser.loss(self.draw())
            (self.row.grad,) = torch.autograd.grad(loss, [self.row])
            optimizer.step()
            losses.append(_finite(loss))
            self.checkpoint(self._state("token warm-up", step + 1, {"row": self.row}, optimizer), due=step + 1 == steps)
            self.report("token warm-up", step + 1, steps, loss=losses[-1])

    def select(self, general: Mapping[str, Tensor]) -> Selection:
        """Score the concept's weights and fill the budget; or take the masks of a state that has them."""
        for parameter in kv_parameters(self.denoiser.pipeline).values():
            parameter.requires_grad_(True)
        if self.state is not None and self.state.stage == "finetuning":
            return self._selected(self.state, general)
        tokenizer = self.denoiser.pipeline.tokenizer
        install_tokens(tokenizer, self.text_encoder, {self.lesson.token: self.row.detach()})
        prompts = sorted({prompt for choices in self.lesson.prompts for prompt in choices})
        batches = [self.draw() for _ in range(SCORE_BATCHES)]
        self.report("selection", 0, 1)
        scores = score_named(self.settings.score)(self.denoiser, prompts, batches)
        selection = select_concept_neurons(scores, general, self.settings.budget, self.settings.general_ratio)
        self.report("selection", 1, 1, neurons=selection.count)
        return selection

    def finetune(self, selection: Selection, history: History) -> Weights:
        """Train the masked weights and the token's row; return all K/V weights, float32, CPU."""
        settings, live = self.settings, kv_parameters(self.denoiser.pipeline)
        penalty = regularizer_named(settings.reg)(history, settings.reg_strength, settings.anchor_strength)
        flat = _Flat(live, selection.masks)
        trained = {"flat": flat.values, "row": self.row}
        groups = [{"params": [flat.values]}, {"params": [self.row]}]
        optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
        losses, penalties = self.series.setdefault("loss", []), self.series.setdefault("penalty", [])
        first = self._begin("finetuning", trained, optimizer)
        if self._goes_on("finetuning"):
            flat.scatter()
        else:
            self.checkpoint(self._state("finetuning", 0, trained, optimizer, selection), due=True)
        for step in range(first, settings.steps):
            factor = _learning_rate(step, settings.steps)
            for group, rate in zip(optimizer.param_groups, (settings.lr, settings.token_lr), strict=True):
                group["lr"] = rate * factor
            with trainable_rows(self.text_encoder, {self.token_id: self.row}):
                loss = self.denoiser.loss(self.draw())
            extra = penalty(live)
            *slopes, self.row.grad = torch.autograd.grad(loss + extra, [*live.values(), self.row])
            flat.gather(slopes)
            optimizer.step()
            flat.scatter()
            losses.append(_finite(loss))
            penalties.append(float(extra.detach()))
            state = self._state("finetuning", step + 1, trained, optimizer, selection)
            self.checkpoint(state, due=step + 1 == settings.steps)
            self.report("finetuning", step + 1, settings.steps, loss=losses[-1], penalty=penalties[-1])
        return {name: parameter.detach().to("cpu", torch.float32, copy=True) for name, parameter in live.items()}

    def _goes_on(self, stage: Stage) -> bool:
        """Whether the state to go on from is of this stage."""
        return self.state is not None and self.state.stage == stage

    def _begin(self, stage: Stage, trained: Mapping[str, Tensor], optimizer: torch.optim.Optimizer) -> int:
        """Set everything to the state to go on from, if it is of this stage; return the first step to take."""
        if self.state is None or self.state.stage != stage:
            return 0
        put_back(self.state, trained, optimizer)
        return self.state.step

    def _state(
        self,
        stage: Stage,
        step: int,
        trained: Mapping[str, Tensor],
        optimizer: torch.optim.Optimizer,
        selection: Selection | None = None,
    ) -> TrainingState:
        tensors = {"generator": self.generator.get_state(), **take(trained, optimizer)}
        series = {name: list(values) for name, values in self.series.items()}
        if selection is None:
            return TrainingState(stage, step, tensors, series)
        shares = (selection.general_share, selection.general_overlap)
        return TrainingState(stage, step, tensors, series, selection.masks, shares)

    def _set_generator(self, state: TrainingState) -> None:
        try:
            self.generator.set_state(state.tensors["generator"])
        except (KeyError, RuntimeError, TypeError) as error:
            raise CodecError(f"the training state has no random generator that works: {error}") from error

    def _selected(self, state: TrainingState, general: Mapping[str, Tensor]) -> Selection:
        shapes = {name: weight.shape for name, weight in self.denoiser.model.base.items()}
        if {name: mask.shape for name, mask in state.masks.items()} != shapes:
            raise CodecError("the training state has masks of other matrices than this base model's")
        return Selection(dict(state.masks), dict(general), *state.shares)


class _Flat:
    """The masked weights as one flat tensor, beside the live matrices that they belong to."""

    def __init__(self, live: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> None:
        self.live = live
        places = {name: masks[name].reshape(-1).nonzero().squeeze(1) for name in live}
        self.places = {name: place.to(live[name].device) for name, place in places.items()}
        self.values = torch.cat([one.detach().reshape(-1)[self.places[name]] for name, one in live.items()])

    def gather(self, slopes: Sequence[Tensor]) -> None:
        """Take the gradient out of the matrices' gradients, which are in their order."""
        pairs = zip(self.places.values(), slopes, strict=True)
        self.values.grad = torch.cat([slope.reshape(-1)[place] for place, slope in pairs])

    @torch.no_grad()
    def scatter(self) -> None:
        """Write the values into the live matrices."""
        parts = self.values.split([len(place) for place in self.places.values()])
        for (name, place), part in zip(self.places.items(), parts, strict=True):
            self.live[name].view(-1)[place] = part


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
