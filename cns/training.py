"""Learning one concept: token warm-up, selection of its neurons, finetuning of those alone, rounding to the grid.

1. The special token starts at the class noun's embedding and is trained alone for a few steps, so that the score sees
   the concept and not its class.
2. Weights are scored and the concept neurons chosen (`cns.selection`).
3. One flat parameter holds the masked weights. Each step scatters it into the live matrices, gathers their gradients
   back, and takes an Adam step on it and on the token's row: nothing outside the mask has a way to move.
4. The change is rounded to the integer grid; the trained floating-point weights are thrown away.

Everything random comes from one seeded generator. After every step the caller is handed the training's state
(`cns.resume`) and may start another training from it, which ends in the same bits on a CPU; GPUs add in no fixed order,
so there it ends in the last digits nearby. The module stores nothing and prints nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from cns import directions
from cns.codec import Delta
from cns.compose import ConceptWeights, Model, Weights, kv_parameters
from cns.denoising import Denoiser, NoisedBatch, draw_batch, encode_images, loss_weights
from cns.directions import Factors
from cns.errors import CodecError, SettingsError
from cns.flat import Flat, finite, learning_rate
from cns.masks import mask_of
from cns.precision import training_dtype
from cns.regularizers import History, Projection, Ties, regularizer_named
from cns.report import Report, Unwatched, Watch
from cns.resume import BASIS, Checkpoint, Stage, TrainingState, basis_of, forget, put_back, take
from cns.selection import Selection, score_named, select_concept_neurons, voted
from cns.task import Learned, Settings, TrainingConstraints, TrainingTask
from cns.templates import vector_tokens
from cns.text import class_noun_row, keep_norms, norm_bands, trainable_rows
from cns.tokens import check_read
from cns.validation import draws_of, fixed_batches, validation_steps

SCORE_BATCHES = 24
"""Batches of the concept that the score accumulates over (chosen)."""

WARMUP_RATE = 2
"""The token's learning rate while it is trained alone, as a multiple of `Settings.token_lr` (chosen)."""


def learn_concept(
    model: Model,
    parent: Weights,
    task: TrainingTask,
    constraints: TrainingConstraints,
    settings: Settings,
    report: Report,
    checkpoint: Checkpoint = forget,
    state: TrainingState | None = None,
    watch: Watch = Unwatched(),  # noqa: B008 (it has no state)
) -> Learned:
    """Learn one concept on top of `parent`.

    Args:
        model: Its live weights equal `parent`, and do again when this returns or raises; the task's token stays
            installed.
        parent: Composed weights of the concepts learned so far.
        task: Images, token, prompts.
        constraints: Earlier concepts and general neurons.
        settings: How.
        report: Told of progress.
        checkpoint: Told the state after every step.
        state: Where to go on; every other argument but `watch` must be what it was when this state was told.
        watch: Shown the concept between steps; what it does changes no bit of the outcome.

    Raises:
        SettingsError: A setting cannot work, or a prompt hides the token from the text encoder.
        GridError: The training diverged.
        CodecError: The state is not one of such a training.
    """
    settings.check()
    run = _Run(model, task, settings, report, checkpoint, state, watch)
    model.freeze()
    try:
        run.warm_up()
        selection = run.select(constraints)
        device = model.pipeline.device
        base = constraints.base or model.base
        history = History(base, parent, selection.masks, constraints.past, constraints.calibration, device)
        run.aim(constraints)
        delta = run.finetune(history)
    finally:
        model.write(parent)
        model.freeze()
    weights = run.outcome(delta)
    model.add_tokens(weights.rows)
    return Learned(weights, selection, run.series, settings.plain(), settings.plugins)


def first_rows(model: Model, task: TrainingTask, settings: Settings) -> Tensor:
    """Install the task's token where it starts; return its row, shape (D,), or of several vectors (V, D), float32.

    Several vectors start alike: what they become differs by their places in the prompt.
    """
    if task.start is not None:
        model.add_tokens(task.start.rows)
        rows = torch.stack([task.start.rows[token] for token in vector_tokens(task.token, settings.vectors)])
        return rows[0] if settings.vectors == 1 else rows
    row = class_noun_row(model.pipeline, settings.init or task.class_noun)
    model.add_tokens(dict.fromkeys(vector_tokens(task.token, settings.vectors), row))
    return row if settings.vectors == 1 else row.repeat(settings.vectors, 1)


class _Run:
    """One training: what warm-up, selection and finetuning share. Made, it has installed the token.

    Attributes:
        latents: Of the concept's images; `of_images` has the weights of their loss, by `TrainingTask.image_masks`, and
            their framings.
        prior: Of the class noun's images, see `Settings.prior`; None without any.
        row: The token's row, shape (D,), or of several vectors (V, D), float32: what is trained.
        selection: The concept neurons; None during the warm-up.
        series: Figures of each step so far.
    """

    def __init__(
        self,
        model: Model,
        task: TrainingTask,
        settings: Settings,
        report: Report,
        checkpoint: Checkpoint,
        state: TrainingState | None,
        watch: Watch,
    ) -> None:
        self.task, self.settings, self.report, self.checkpoint, self.state = task, settings, report, checkpoint, state
        self.watch, pipeline = watch, model.pipeline
        self.denoiser = Denoiser(model, training_dtype(pipeline, settings.dtype))
        row = first_rows(model, task, settings)
        self.tokens = vector_tokens(task.token, settings.vectors)
        check_read(pipeline.tokenizer, itertools.chain.from_iterable(task.prompts), self.tokens)
        latents = encode_images(pipeline, task.images)
        kept = len(latents) - settings.hold_out
        if kept < 1:
            raise SettingsError(
                f"{settings.hold_out} of {len(latents)} images held out: expected at least one to train on",
                "cns add … with more images, or a smaller --hold-out",
                name="hold_out",
            )
        masks = task.image_masks
        weights = None if masks is None else loss_weights(masks, *latents.shape[-2:])
        framings = None if task.framings is None else torch.from_numpy(task.framings)
        self.latents, self.prompts = latents[:kept], task.prompts_with_bare(settings.bare_share)[:kept]
        self.of_images = [None if one is None else one[:kept] for one in (weights, framings)]
        seen = slice(kept if settings.hold_out else 0, None)
        others = [None if one is None else one[seen] for one in (weights, framings)]
        size, length = settings.batch_size, self.denoiser.train_timesteps
        self.fixed = list(fixed_batches(latents[seen], task.prompts[seen], size, length, *others))
        self.prior = None if task.prior is None or not settings.prior else encode_images(pipeline, task.prior)
        self.row = row.to(pipeline.device).requires_grad_()
        self.ids = pipeline.tokenizer.convert_tokens_to_ids(list(self.tokens))
        self.bands = norm_bands(pipeline, self.row) if settings.norm_guard else None
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.selection: Selection | None = None
        self.basis: Tensor | None = None
        self.series = {name: list(values) for name, values in state.series.items()} if state else {}
        if state is not None:
            self._set_generator(state)

    def draw(self) -> NoisedBatch:
        """A batch of the concept's images."""
        size, steps = self.settings.batch_size, self.denoiser.train_timesteps
        return draw_batch(self.latents, self.prompts, size, steps, self.generator, *self.of_images)

    def rows(self) -> dict[str, Tensor]:
        """The row of each of the token's vectors, views of the one that is trained."""
        return dict(zip(self.tokens, self.row.reshape(len(self.tokens), -1).unbind(0), strict=True))

    def outcome(self, delta: Delta) -> ConceptWeights:
        """What the training leaves, with this change and the rows as they are now."""
        rows = {token: one.detach().float().cpu().clone() for token, one in self.rows().items()}
        return ConceptWeights(self.task.name, self.task.class_noun, rows, delta, self.task.kind)

    def loss(self, batch: NoisedBatch | None = None) -> Tensor:
        """The denoising loss of a batch, drawn now where none is given, the token's rows in their places."""
        rows = self.rows().values() if len(self.tokens) > 1 else [self.row]
        with trainable_rows(self.denoiser.pipeline, dict(zip(self.ids, rows, strict=True))):
            return self.denoiser.loss(self.draw() if batch is None else batch)

    @torch.no_grad()
    def validate(self, step: int) -> None:
        """Take the loss of the fixed batches after `step` steps, where it is time."""
        if step not in validation_steps(self.settings.steps):
            return
        total = sum(finite(self.loss(batch)) * len(batch.prompts) for batch in self.fixed)
        self.series.setdefault("validation_loss", []).append(total / draws_of(self.settings.batch_size))

    def prior_loss(self) -> Tensor:
        """The denoising loss of the class noun's images: what DreamBooth adds, with weight 1, against language drift.

        Source: Ruiz et al., "DreamBooth" (CVPR 2023), eq. 2, lambda = 1.
        """
        assert self.prior is not None
        prompts = [[prompt] for prompt in self.task.prior_prompts]
        size, steps = self.settings.batch_size, self.denoiser.train_timesteps
        return self.denoiser.loss(draw_batch(self.prior, prompts, size, steps, self.generator))

    def guard(self) -> None:
        """Keep the rows' lengths within the band, where that was asked for."""
        if self.bands is not None:
            keep_norms(self.row, self.bands)

    def warm_up(self) -> None:
        """Train the token's row alone."""
        if self._saved("finetuning"):
            return
        optimizer = torch.optim.AdamW([self.row], lr=WARMUP_RATE * self.settings.token_lr, weight_decay=0.0)
        losses, steps = self.series.setdefault("warmup_loss", []), self.settings.warmup_steps
        for step in range(self._begin("token warm-up", {"row": self.row}, optimizer), steps):
            loss = self.loss()
            (self.row.grad,) = torch.autograd.grad(loss, [self.row])
            optimizer.step()
            self.guard()
            losses.append(finite(loss))
            self._keep("token warm-up", step + 1, {"row": self.row}, optimizer, due=step + 1 == steps)
            self.report("token warm-up", step + 1, steps, loss=losses[-1])

    def select(self, constraints: TrainingConstraints) -> Selection:
        """Score the concept's weights and fill the budget; or take the masks of a state that has them."""
        for parameter in kv_parameters(self.denoiser.pipeline).values():
            parameter.requires_grad_(True)
        if saved := self._saved("finetuning"):
            self.selection = self._selected(saved, constraints.general)
            return self.selection
        if (start := self.task.start) is not None:
            shapes = {name: weight.shape for name, weight in self.denoiser.model.base.items()}
            masks = {
                name: mask_of(start.delta[name]) if name in start.delta else torch.zeros(shape, dtype=torch.bool)
                for name, shape in shapes.items()
            }
            self.selection = Selection(masks, dict(constraints.general), 0.0, 0.0, self.settings.budget)
            return self.selection
        self.denoiser.model.add_tokens({token: row.detach() for token, row in self.rows().items()})
        prompts = sorted({prompt for choices in self.prompts for prompt in choices})
        batches = [self.draw() for _ in range(SCORE_BATCHES)]
        self.report("selection", 0, 1)
        if self.settings.directions:
            whole = {
                name: torch.ones_like(weight, dtype=torch.bool) for name, weight in self.denoiser.model.base.items()
            }
            self.selection = Selection(whole, dict(constraints.general), 0.0, 0.0, self.denoiser.model.kv_size)
            return self.selection
        scores = score_named(self.settings.score)(self.denoiser, prompts, batches)
        vote = self.settings.past_vote
        held = None if vote is None or not constraints.masks else voted(constraints.masks, vote)
        budget, ratio = self.settings.budget, self.settings.general_ratio
        self.selection = select_concept_neurons(scores, constraints.general, budget, ratio, held)
        self.report("selection", 1, 1, neurons=self.selection.count)
        return self.selection

    def aim(self, constraints: TrainingConstraints) -> None:
        """Fix the directions, where `Settings.directions` asks for some; or take those of a state that has them."""
        if not self.settings.directions:
            return
        if saved := self._saved("finetuning"):
            self.basis = basis_of(saved)
            return
        prompts = sorted({prompt for choices in self.prompts for prompt in choices})
        if (start := self.task.start) is not None:
            self.basis = directions.continued(self.denoiser.pipeline, prompts, self.task.token, start.delta)
            return
        past, settings = [one.moments for one in constraints.past], self.settings
        self.basis = directions.of_concept(
            self.denoiser.pipeline, prompts, self.task.token, constraints.calibration, past,
            settings.directions, settings.basis, settings.seed,
        )  # fmt: skip

    def finetune(self, history: History) -> Delta:
        """Train what may move and the token's row; return the change on the grid."""
        settings, live = self.settings, kv_parameters(self.denoiser.pipeline)
        built = regularizer_named(settings.reg)(history, settings.reg_strength, settings.anchor_strength)
        ties = built if isinstance(built, Ties) else Ties(built)
        flat = Flat(live, history.masks) if self.basis is None else Factors(live, self.basis)
        trained = {"flat": flat.values, "row": self.row}
        groups = [{"params": [flat.values]}, {"params": [self.row]}]
        optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
        losses, penalties = self.series.setdefault("loss", []), self.series.setdefault("penalty", [])
        first = self._begin("finetuning", trained, optimizer)
        if self._saved("finetuning"):
            flat.scatter()
        else:
            if self.task.start is not None:
                flat.begin_at(self.task.start.delta)
            self.validate(0)
            self._keep("finetuning", 0, trained, optimizer, due=True)
        for step in range(first, settings.steps):
            factor = learning_rate(step, settings.steps)
            for group, rate in zip(optimizer.param_groups, (settings.lr, settings.token_lr), strict=True):
                group["lr"] = rate * factor
            loss = self.loss() + self.prior_loss() if self.prior is not None else self.loss()
            extra = ties(live)
            *slopes, self.row.grad = torch.autograd.grad(loss + extra, [*live.values(), self.row])
            flat.gather(slopes)
            self._step(optimizer, flat, ties.project)
            flat.scatter()
            losses.append(finite(loss))
            penalties.append(float(extra.detach()))
            self.validate(step + 1)
            if self.watch.due(step + 1):
                self._show(step + 1, flat, history.parent)
            self._keep("finetuning", step + 1, trained, optimizer, due=step + 1 == settings.steps)
            self.report("finetuning", step + 1, settings.steps, loss=losses[-1], penalty=penalties[-1])
        if ties.finish is not None:
            flat.become(flat.start + flat.pick(ties.finish(flat.dense(flat.values.detach() - flat.start))))
            flat.scatter()
        return flat.delta(self.denoiser.model.exponents, history.parent)

    def _show(self, step: int, flat: Flat | Factors, parent: Weights) -> None:
        """Let the watch see the concept as it is, and put the live model back."""
        model = self.denoiser.model
        try:
            self.watch(step, self.outcome(flat.delta(model.exponents, parent)))
        finally:
            model.write(parent)
            flat.scatter()

    def _step(self, optimizer: torch.optim.Optimizer, flat: Flat | Factors, project: Projection | None) -> None:
        """Take the optimizer's step, or what a projection leaves of it."""
        before = flat.values.detach().clone()
        optimizer.step()
        self.guard()
        if project is None:
            return
        step = flat.values.detach() - before
        applied = flat.pick(project(flat.dense(step)))
        flat.become(before + applied)
        left = float(applied.square().sum() / step.square().sum().clamp_min(1e-30))
        self.series.setdefault("energy_left", []).append(left)

    def _saved(self, stage: Stage) -> TrainingState | None:
        """The state to go on from, if it is of this stage."""
        return self.state if self.state is not None and self.state.stage == stage else None

    def _begin(self, stage: Stage, trained: Mapping[str, Tensor], optimizer: torch.optim.Optimizer) -> int:
        """Set everything to the state to go on from, if it is of this stage; return the first step to take."""
        saved = self._saved(stage)
        if saved is None:
            return 0
        put_back(saved, trained, optimizer)
        return saved.step

    def _keep(
        self, stage: Stage, step: int, trained: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, *, due: bool
    ) -> None:
        """Hand over the state after `step` steps of a stage."""
        tensors = {"generator": self.generator.get_state(), **take(trained, optimizer)}
        state = TrainingState(stage, step, tensors, {name: list(values) for name, values in self.series.items()})
        if self.basis is not None:
            tensors[BASIS] = self.basis
        if self.selection is not None:
            shares = (self.selection.general_share, self.selection.general_overlap)
            state = replace(state, masks=self.selection.masks, shares=shares)
        self.checkpoint(state, due=due)

    def _set_generator(self, state: TrainingState) -> None:
        try:
            self.generator.set_state(state.tensors["generator"])
        except (KeyError, RuntimeError, TypeError) as error:
            raise CodecError(f"the training state has no random generator that works: {error}") from error

    def _selected(self, state: TrainingState, general: Mapping[str, Tensor]) -> Selection:
        shapes = {name: weight.shape for name, weight in self.denoiser.model.base.items()}
        if {name: mask.shape for name, mask in state.masks.items()} != shapes:
            raise CodecError("the training state has masks of other matrices than this base model's")
        return Selection(dict(state.masks), dict(general), *state.shares, self.settings.budget)
