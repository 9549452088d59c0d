"""The training that all peers share: batches of the concept's pictures, the denoising loss, torch's AdamW.

Batches are drawn as CNS draws them, from the same seed. Which weights train, and what is added to the loss, is the
peer's part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.concept_stream import Concept
from benchmarks.method import Footprint
from benchmarks.trainer import Trainer
from cns.denoising import Denoiser, draw_batch, encode_images
from cns.flat import finite, learning_rate
from cns.precision import training_dtype
from cns.text import class_noun_row, install_tokens, trainable_rows
from cns_cli.porcelain.learning.subject import Subject, training_prompts


@dataclass(frozen=True)
class Recipe:
    """How a peer trains.

    Attributes:
        lr: Learning rate of its weights; of the token's row, if that is all it trains.
        steps: Batches.
    """

    lr: float
    steps: int


def train(
    trainer: Trainer,
    concept: Concept,
    seed: int,
    recipe: Recipe,
    weights: Sequence[torch.nn.Parameter],
    penalty: Callable[[], Tensor] | None = None,
) -> dict[str, Tensor]:
    """Train some weights in place, and the concept's token.

    Args:
        trainer: Its live model is trained; earlier concepts' tokens are installed.
        concept: What to learn.
        seed: Of the batches.
        recipe: Learning rate and steps.
        weights: What trains beside the token; may be empty.
        penalty: Added to the loss at each step.

    Returns:
        The token's row, by token, float32.

    Raises:
        MethodError: The training diverged.
    """
    pipeline, defaults = trainer.model.pipeline, trainer.defaults
    row = class_noun_row(pipeline, concept.noun).requires_grad_()
    install_tokens(pipeline, {concept.token: row.detach()})
    subject = Subject(concept.name, concept.noun, None, concept.token, concept.images)
    prompts = training_prompts(trainer.base, subject)
    latents = encode_images(pipeline, concept.images.pixels)
    denoiser = Denoiser(trainer.model, training_dtype(pipeline))
    token_id = pipeline.tokenizer.convert_tokens_to_ids(concept.token)
    token_rate = defaults.token_lr if weights else recipe.lr
    groups = [{"params": [row], "lr": token_rate, "weight_decay": 0.0}, {"params": list(weights), "lr": recipe.lr}]
    optimizer = torch.optim.AdamW(groups if weights else groups[:1])
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate(step, recipe.steps))
    generator = torch.Generator().manual_seed(seed)
    for _ in range(recipe.steps):
        batch = draw_batch(latents, prompts, defaults.batch_size, denoiser.train_timesteps, generator)
        with trainable_rows(pipeline, {token_id: row}):
            loss = denoiser.loss(batch)
        if penalty is not None:
            loss = loss + penalty()
        finite(loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    rows = {concept.token: row.detach()}
    install_tokens(pipeline, rows)
    return rows


def install(trainer: Trainer, rows: Mapping[str, Tensor]) -> None:
    """Install token rows that were trained."""
    install_tokens(trainer.model.pipeline, rows)


def footprint(count: int, rows: Mapping[str, Tensor]) -> Footprint:
    """What a concept cost that trained `count` weights and the last of the rows, all of it stored in float32."""
    return Footprint(count, 4 * (count + list(rows.values())[-1].numel()), {})


def size_of(tensors: Mapping[str, Tensor]) -> int:
    """Number of values in some tensors."""
    return sum(tensor.numel() for tensor in tensors.values())
