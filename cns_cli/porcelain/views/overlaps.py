"""What the deltas of two concepts have in common, as `diff` and `blame` show it: in all, and matrix by matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from cns import codec
from cns.overlap import Overlap, overlaps, total
from cns_cli.porcelain.result import Result
from cns_cli.porcelain.views.neurons import layer_and_kind, place_of


@dataclass(frozen=True, kw_only=True)
class OverlapView(Result):
    """Two deltas, of which the first is called this one.

    Attributes:
        neurons: This one's; `others`: the other's; `shared`: in both masks.
        share: Share of this one's neurons that are shared, 0 to 1; `chance`: the share that chance would give.
        energy: Squared change that the other adds on the shared neurons, relative to this one's own there; None
            where this one has none there.
        cosine: Of the two whole changes, -1 to 1; None where one of them changes nothing.
    """

    neurons: int
    others: int
    shared: int
    share: float
    chance: float
    energy: float | None
    cosine: float | None


@dataclass(frozen=True, kw_only=True)
class MatrixOverlap(OverlapView):
    """The same in one matrix, by its name in the UNet."""

    matrix: str

    @property
    def place(self) -> str:
        """Where it is, in short: `up 2.0 K`."""
        return " ".join(layer_and_kind(self.matrix))


def overlap_views(one: codec.Delta, other: codec.Delta) -> tuple[OverlapView, tuple[MatrixOverlap, ...]]:
    """Compare two deltas, and matrix by matrix in the order in which a picture meets them."""
    found = overlaps(one, other)
    parts = (_view(MatrixOverlap, found[matrix], matrix=matrix) for matrix in sorted(found, key=place_of))
    return _view(OverlapView, total(found.values())), tuple(parts)


_View = TypeVar("_View", bound=OverlapView)


def _view(kind: type[_View], found: Overlap, **more: str) -> _View:
    return kind.of(
        found, neurons=found.one, others=found.other, chance=found.chance / max(1, found.one),
        energy=found.relative_energy, **more,
    )  # fmt: skip
