"""What the paper's experiments share: one loaded base, the judges of both streams, how large a run is.

Loaded when a cell is first computed, so that making tables costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from diffusers.models.attention_processor import AttnProcessor

from benchmarks.concept_stream import Stream, load_stream
from benchmarks.judging import Judge
from benchmarks.lite import LiteEncoder
from benchmarks.trainer import Trainer
from cns.families import FAMILIES, Defaults

Row = TypeVar("Row")
DRAWN_MIXED = ("report",)
"""Streams whose judged images are drawn in mixed precision, in half the time."""
CACHE = Path(__file__).resolve().parent.parent / ".bench"
BASELINE: dict[str, Any] = {
    "score": "gradient",
    "reg": "features",
    "reg_strength": 10.0,
    "anchor_strength": 1.0,
    "steps": 250,
    "warmup_steps": 60,
    "lr": 3e-3,
    "token_lr": 5e-3,
    "batch_size": 10,
    "general_ratio": 0.25,
    "general_vote": 0.5,
    "budget_share_kv": 0.058,
    "budget_share_denoiser": None,
    "resolution": 64,
    "guidance": 2.0,
    "sampler_steps": 15,
    "check_images": 4,
    "max_drop": 0.02,
    "max_kv_drift": 0.002,
    "max_class_drift": 0.1,
    "max_zero_shot": 0.05,
    "min_class_probability": 0.5,
}
"""The settings that every cell is built on, and its key hashes: the family's defaults when the first was computed.

They stay what they are when the family's change: a row of the tables says what it changes of them.
"""
DEFAULTS = replace(FAMILIES["emoji-64"].defaults, **BASELINE)


@dataclass(frozen=True)
class Size:
    """How large a run is.

    Attributes:
        orders: Orders (and seeds) of the reporting stream.
        stream: Concepts of a stream.
        tuning: Concepts of the tuning stream.
        tuning_orders: Orders of it on which our own regularizers are swept.
        singles: Concepts that are learned alone.
        calibration: Numbers of calibration prompts.
        prompts: Judge templates and groups of concepts; None = all.
        zero_shot: Images of other things; None = all.
        trials: About how many rows of a table of trials; None = all.
        steps: Training steps after the warm-up, for every method.
        warmup_steps: Steps of the warm-up; peers, which have none, take them as further training steps.
    """

    orders: int = 3
    stream: int = 20
    tuning: int = 3
    tuning_orders: int = 2
    singles: int = 5
    calibration: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 100)
    prompts: int | None = None
    zero_shot: int | None = None
    trials: int | None = None
    steps: int = 100
    warmup_steps: int = 30

    def some(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Rows of a table of trials: all, or some of each part of it."""
        return rows if self.trials is None else rows[:: max(1, len(rows) // self.trials)]


FULL = Size()
QUICK = Size(1, 2, 1, 1, 1, calibration=(1, 2), prompts=1, zero_shot=1, trials=6, steps=3, warmup_steps=1)


class Setup:
    """The base, loaded when it is needed.

    Args:
        size: How large the run is.
        folder: Another base than the embedded one, for tests.
        cache: Folder for what several cells need, or None.
    """

    def __init__(self, size: Size = FULL, folder: Path | None = None, cache: Path | None = CACHE) -> None:
        self.size, self._folder, self._cache = size, folder, cache
        self._judges: dict[str, Judge] = {}
        self._streams: dict[str, Stream] = {}

    @cached_property
    def trainer(self) -> Trainer:
        """The base, for every method with diffusers' plain attention: one thread trains a sixth faster than with SDPA.

        The two differ by rounding alone.
        """
        trainer = Trainer(folder=self._folder, cache=self._cache, defaults=self.defaults)
        trainer.model.pipeline.unet.set_attn_processor(AttnProcessor())
        return trainer

    @cached_property
    def _lite(self) -> LiteEncoder:
        return LiteEncoder()

    def stream(self, name: str) -> Stream:
        """A stream."""
        if name not in self._streams:
            whole = load_stream(name)
            first = self.size.prompts
            self._streams[name] = replace(
                whole,
                templates=whole.templates[:first],
                pairs=whole.pairs[:first],
                triples=whole.triples[:first],
                together_templates=whole.together_templates[:first],
                zero_shot=whole.zero_shot[: self.size.zero_shot],
            )
        return self._streams[name]

    def judge(self, name: str) -> Judge:
        """The judge of a stream."""
        if name not in self._judges:
            self._judges[name] = Judge(self.trainer, self.stream(name), self._lite, mixed=self.drawing(name) == "mixed")
        return self._judges[name]

    def drawing(self, stream: str) -> str:
        """The precision that a stream's judged images are drawn in: "mixed" or "full"."""
        return "mixed" if stream in DRAWN_MIXED else "full"

    @property
    def defaults(self) -> Defaults:
        """The cells' own, but for the length of a training."""
        return replace(DEFAULTS, steps=self.size.steps, warmup_steps=self.size.warmup_steps)

    @property
    def peer_steps(self) -> int:
        """Batches of a peer: as many as ours take for warm-up and finetuning."""
        return self.size.steps + self.size.warmup_steps

    def trains_twice(self, settings: Mapping[str, Any]) -> bool:
        """Whether a method's settings ask for more batches than that, which is twice as many."""
        return bool(settings.get("steps", 0) > self.peer_steps)

    def facts(self, stream: str, **more: Any) -> dict[str, Any]:
        """What every cell hangs on besides its method: the stream's file and the default settings."""
        defaults = {name: getattr(self.defaults, name) for name in BASELINE}
        return {"stream": self.stream(stream).digest, "defaults": defaults, **more}
