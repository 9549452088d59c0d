"""What trainings of one concept on the bare base share, whatever their other settings: the token's warm-up and scores.

Both are kept between cells, so that another strength, rate or budget costs the finetuning alone. The outcome is the
same bit for bit: the state of a training holds its random generator.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file, save

from benchmarks.concept_stream import Concept
from benchmarks.trainer import Trainer
from cns import resume, selection
from cns.denoising import Denoiser, NoisedBatch
from cns.resume import TrainingState
from cns.selection import Score, Scores
from registry import fsio

KEPT = ("gradient",)
"""Scores that are worth keeping; the others are cheap."""


@dataclass(frozen=True)
class HeadStart:
    """Where one concept's warm-up is kept.

    Attributes:
        path: Of its file, or None to keep nothing.
    """

    path: Path | None

    @classmethod
    def of(cls, trainer: Trainer, concept: Concept, seed: int, bare_share: float) -> HeadStart:
        """The warm-up of a concept with the trainer's defaults, but for the share of the phrase alone."""
        if trainer.cache is None:
            return cls(None)
        text = f"{trainer.defaults} {concept.token} {seed} {concept.images.pixels.sum()}"
        text += f" bare {bare_share}" if bare_share else ""
        return cls(trainer.cache / f"warm-{hashlib.sha256(text.encode()).hexdigest()[:24]}")

    @property
    def state(self) -> TrainingState | None:
        """The state after the warm-up; None where nobody has been there."""
        return resume.decode(self.path.read_bytes()) if self.path is not None and self.path.exists() else None

    def keep(self, state: TrainingState, *, due: bool) -> None:
        """Keep a state if it is the warm-up's last."""
        if self.path is not None and due and state.stage == "token warm-up":
            fsio.replace(self.path, resume.encode(state))

    @contextmanager
    def scores(self) -> Iterator[None]:
        """Within the context a score of this training is computed once and kept."""
        before = {name: selection.SCORES[name] for name in KEPT}
        selection.SCORES.update({name: self._kept(name, score) for name, score in before.items()})
        try:
            yield
        finally:
            selection.SCORES.update(before)

    def _kept(self, name: str, score: Score) -> Score:
        def scored(denoiser: Denoiser, prompts: Sequence[str], batches: Sequence[NoisedBatch]) -> Scores:
            if self.path is None:
                return score(denoiser, prompts, batches)
            path = self.path.with_suffix(f".{name}")
            if not path.exists():
                scores = score(denoiser, prompts, batches)
                fsio.replace(path, save({matrix: one.contiguous() for matrix, one in scores.items()}))
            return load_file(path)

        return scored
