"""CNS as the tables measure it, whole and without parts: the same learning rates, steps and seeds, one thing differs.

What is learned here is what `cns add` learns, by the same functions (`Trainer.learn_subject`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import zstandard

from benchmarks.concept_stream import Concept
from benchmarks.method import Footprint
from benchmarks.trainer import LearnedConcept, Trainer
from benchmarks.trial_scores import trial_scores
from cns import codec
from cns.compose import ConceptWeights
from cns.drift import Moments
from cns_cli.porcelain.learning.subject import Subject

STORED_LEVEL = 3  # of zstd, as the registry stores objects
SERIES_OF_EVERY_TRAINING = ("warmup_loss", "loss", "penalty", "validation_loss")


class Ours:
    """CNS with some settings changed.

    Args:
        name: As tables show it.
        keeps_general: Whether general neurons may be chosen too.
        shared: Whether the strength a is shared among the earlier concepts, a / J each, instead of a each.
        changes: Settings other than the baseline's.
    """

    is_independent = False

    def __init__(self, name: str, *, keeps_general: bool = False, shared: bool = False, **changes: Any) -> None:
        self.name, self.keeps_general, self.shared, self.changes = name, keeps_general, shared, changes
        self.settings: dict[str, Any] = {**changes, "keeps_general": keeps_general}
        if shared:
            self.settings["shared"] = True

    def learn(
        self, trainer: Trainer, state: Sequence[LearnedConcept] | None, concept: Concept, seed: int
    ) -> list[LearnedConcept]:
        """Learn on top of what the state holds."""
        if state is None:
            trainer.reset()
        subject = Subject(concept.name, concept.noun, None, concept.token, concept.images)
        settings = trainer.settings(**{**self.changes, "seed": seed})
        if self.shared and state:
            settings = replace(settings, reg_strength=settings.reg_strength / len(state))
        general = trainer.no_general_neurons() if self.keeps_general else None
        earlier = list(state or [])

        def past() -> list[Moments]:
            return [trainer.past(one, earlier, subject).moments for one in earlier]

        with trial_scores(seed, concept.token, trainer.calibrated(), past):
            return [*earlier, trainer.learn_subject(subject, earlier, settings, general)]

    def put(self, trainer: Trainer, state: Sequence[LearnedConcept], _names: Sequence[str]) -> None:
        """Compose the concepts of the state."""
        trainer.reset()
        trainer.model.set_concepts([one.weights for one in state])

    def footprint(self, state: Sequence[LearnedConcept]) -> Footprint:
        """Weights that moved by at least one step of the grid, and the stored size of mask, steps and row."""
        series = {name: values for name, values in state[-1].series.items() if name not in SERIES_OF_EVERY_TRAINING}
        figures = {name: float(values[-1]) for name, values in series.items() if values}
        return Footprint(*stored(state[-1].weights), figures)

    def fused_bytes(self, _state: Sequence[LearnedConcept], _names: Sequence[str]) -> int:
        """All concepts live in one model."""
        return 0


def stored(weights: ConceptWeights) -> tuple[int, int]:
    """How many weights moved by at least a step of the grid, and the bytes of mask, steps and row, compressed."""
    moved = sum(int((part.steps != 0).sum()) for part in weights.delta.values())
    parts = [
        *codec.encode(weights.delta),
        codec.encode_rows({key: row.numpy() for key, row in weights.rows.items()}),
    ]
    return moved, sum(len(zstandard.ZstdCompressor(level=STORED_LEVEL).compress(part)) for part in parts)
