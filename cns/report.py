"""How the method tells how far it is, and shows what it has. It prints nothing itself: the caller hands it both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # the class is for annotations; importing it costs seconds
    from cns.compose import ConceptWeights


class Report(Protocol):
    """Told how far a stage has come."""

    def __call__(self, stage: str, done: int, total: int, **numbers: float) -> None:
        """`done` of `total` steps of `stage`; numbers such as the loss."""
        ...


class Watch(Protocol):
    """Shown the concept between two finetuning steps."""

    def due(self, step: int, /) -> bool:
        """Whether to be shown what it is after `step` steps."""
        ...

    def __call__(self, step: int, weights: ConceptWeights, /) -> None:
        """Take what a training that ended here would leave; the live model may be made anything, and is put back."""
        ...


class Unwatched:
    """Nobody looks."""

    def due(self, _step: int, /) -> bool:
        """Never."""
        return False

    def __call__(self, _step: int, _weights: ConceptWeights, /) -> None:
        """Do nothing."""
