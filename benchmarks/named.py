"""Concepts that each learn on the bare base; a prompt sees the base plus the concepts that it names.

What is learned hangs on nothing but the concept, its seed and the settings, so it is kept between cells: another way of
drawing it costs no training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.concept_stream import Concept
from benchmarks.head_start import HeadStart
from benchmarks.method import Footprint
from benchmarks.ours import stored
from benchmarks.trainer import Trainer
from benchmarks.trial_scores import trial_scores
from cns import codec
from cns.compose import ConceptWeights
from cns.drift import Moments
from cns.named import Mention, Reach, last_named, whole_prompt
from cns.regularizers import PastConcept
from cns.text import encode_prompts
from cns.tokens import content_positions, token_ids
from cns_cli.porcelain.learning.subject import Subject

FROZEN = 1e-12
"""Learning rate of a token that stays: a rate must be positive."""

TIED = ("noun", "words")
"""Positions of prompts that name two things: the other noun's, or those of all words."""


def until_next(mentions: Sequence[Mention], length: int) -> Sequence[frozenset[str]]:
    """As `last_named`, but that what stands before the first token sees the base."""
    first = min((place for place, _ in mentions), default=length)
    return [acting if place >= first else frozenset() for place, acting in enumerate(last_named(mentions, length))]


REACHES: dict[str, Reach] = {
    "whole prompt": whole_prompt,
    "until next": until_next,
    "last named": last_named,
}

Concepts = dict[str, ConceptWeights]
"""Name -> concept, the newest last."""


class Named:
    """CNS where prompts see what they name.

    Args:
        name: As tables show it.
        keeps_general: Whether general neurons may be chosen too.
        frozen: Whether the token stays what its warm-up made it.
        tied: What of prompts of two things is tied to the base, of `TIED`; "" = nothing.
        reach: Where in a prompt a concept acts, of `REACHES`.
        company: Share of its change that acts beside others.
        changes: Settings other than the baseline's.
    """

    is_independent = True

    def __init__(
        self,
        name: str,
        *,
        keeps_general: bool = False,
        frozen: bool = False,
        tied: str = "",
        reach: str = "whole prompt",
        company: float = 1.0,
        **changes: Any,
    ) -> None:
        self.name, self.keeps_general, self.tied, self.reach = name, keeps_general, tied, reach
        self.company = company
        self.changes = {**changes, **({"token_lr": FROZEN} if frozen else {})}
        self.learned: dict[str, Any] = {**self.changes, "keeps_general": keeps_general}
        if tied:
            self.learned["tied"] = tied
        self.settings: Mapping[str, Any] = {
            **self.learned, "compose": "named", "reach": reach, **({"company": company} if company != 1 else {})
        }  # fmt: skip

    def learn(self, trainer: Trainer, state: Concepts | None, concept: Concept, seed: int) -> Concepts:
        """Learn on the bare base, or take what an earlier cell has learned so."""
        trainer.reset()
        key = f"learned alone {concept.token} {seed} {sorted(self.learned.items())} {concept.images.pixels.sum()}"
        weights = unpacked(concept, *trainer.kept(key, partial(self._learned, trainer, concept, seed)))
        return {**(state or {}), concept.name: weights}

    def _learned(self, trainer: Trainer, concept: Concept, seed: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        subject = Subject(concept.name, concept.noun, None, concept.token, concept.images)
        settings = trainer.settings(**{**self.changes, "seed": seed})
        general = trainer.no_general_neurons() if self.keeps_general else trainer.general(settings)
        start = HeadStart.of(trainer, concept, seed, settings.bare_share)
        tied = partial(beside, trainer, concept, self.tied) if self.tied else tuple
        with start.scores(), trial_scores(seed, concept.token, trainer.calibrated()):
            learned = trainer.learn_subject(
                subject, [], settings, general, tied=tied, checkpoint=start.keep, state=start.state
            )
        return packed(learned.weights)

    def put(self, trainer: Trainer, state: Concepts, _names: Sequence[str]) -> None:
        """Let prompts see those of all concepts that they name."""
        trainer.reset()
        trainer.model.set_named(list(state.values()), REACHES[self.reach], self.company)

    def footprint(self, state: Concepts) -> Footprint:
        """The newest concept."""
        return Footprint(*stored(list(state.values())[-1]), {})

    def fused_bytes(self, _state: Concepts, _names: Sequence[str]) -> int:
        """Nothing is fused: keys and values are computed once a prompt."""
        return 0


def beside(trainer: Trainer, concept: Concept, where: str) -> list[PastConcept]:
    """Prompts of the concept beside other things, as something that is to see what the base makes of it.

    Args:
        trainer: The base; the token is installed, at its class noun.
        concept: What is learned.
        where: Of `TIED`.
    """
    pipeline, nouns = trainer.model.pipeline, [noun for noun in trainer.base.nouns if noun != concept.noun]
    prompts = [f"a {concept.phrase} and a {noun}" for noun in nouns]
    prompts += [f"a {noun} and a {concept.phrase}" for noun in nouns]
    with torch.no_grad():
        features = encode_prompts(pipeline, prompts).float().cpu()  # (B, T, D)
    ids = token_ids(pipeline.tokenizer, prompts)
    names = pipeline.tokenizer(concept.phrase, add_special_tokens=False).input_ids
    others = content_positions(pipeline.tokenizer, prompts)
    if where == "noun":
        small = pipeline.tokenizer("a and", add_special_tokens=False).input_ids
        others &= ~torch.isin(ids, torch.tensor([*names, *small]))
    centred = features - features.mean(1, keepdim=True)
    key, value = (one[others] for one in (centred, features))
    moments = Moments(key.T @ key / len(key), value.T @ value / len(value))
    return [PastConcept(trainer.model.base, moments, {})]


def packed(weights: ConceptWeights) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A concept as tensors: the bytes in which a registry stores its change; its rows."""
    parts = zip(("mask", "delta"), codec.encode(weights.delta), strict=True)
    return {name: torch.frombuffer(bytearray(data), dtype=torch.uint8) for name, data in parts}, dict(weights.rows)


def unpacked(concept: Concept, delta: Mapping[str, Tensor], rows: Mapping[str, Tensor]) -> ConceptWeights:
    """What `packed` has laid out."""
    mask, steps = (delta[name].numpy().tobytes() for name in ("mask", "delta"))
    return ConceptWeights(concept.name, concept.noun, rows, codec.decode(mask, steps))
