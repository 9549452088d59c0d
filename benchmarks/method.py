"""What a method must offer to be measured: learn one more concept on top of a state, and draw from a state.

A state is whatever the method keeps; nobody but the method looks into it. States are values: learning returns a new one
and leaves the old one as it was, so that a benchmark may go back to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from benchmarks.concept_stream import Concept
from benchmarks.trainer import Trainer


@dataclass(frozen=True)
class Footprint:
    """What the last concept of a state cost.

    Attributes:
        weights: How many weights of the denoiser, or of adapters, it changed or added.
        size_bytes: What must be stored for it beside the base, so that this commit can be had again.
        figures: Other figures of its training, by name.
    """

    weights: int
    size_bytes: int
    figures: Mapping[str, float]


class Method(Protocol):
    """One row of the tables."""

    @property
    def name(self) -> str:
        """As tables show it."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything that its outcome hangs on; part of the key of its cells."""
        ...

    @property
    def is_independent(self) -> bool:
        """Whether a concept's images cannot depend on the concepts learned after it, because each is kept apart.

        Such rows need not be drawn again.
        """
        ...

    def learn(self, trainer: Trainer, state: Any, concept: Concept, seed: int) -> Any:
        """Learn a concept on top of a state; None is the bare base."""
        ...

    def put(self, trainer: Trainer, state: Any, names: Sequence[str]) -> None:
        """Make the live pipeline ready to draw these concepts of a state; the pipeline may be in any state."""
        ...

    def footprint(self, state: Any) -> Footprint:
        """What the last concept cost."""
        ...

    def fused_bytes(self, state: Any, names: Sequence[str]) -> int:
        """Bytes to be held beside one model in order to draw these concepts together; 0 = nothing is to be fused."""
        ...
