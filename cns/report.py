"""How the method tells how far it is. It prints nothing itself: the caller hands it a `Report`."""

from __future__ import annotations

from typing import Protocol


class Report(Protocol):
    """Told how far a stage has come."""

    def __call__(self, stage: str, done: int, total: int, **numbers: float) -> None:
        """`done` of `total` steps of `stage`; numbers such as the loss."""
        ...
