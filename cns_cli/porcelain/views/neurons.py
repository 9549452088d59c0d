"""`show --neurons`: where a concept's neurons sit, and how many of them other concepts hold, too.

A neuron is one weight W[o, i] of a key or value projection. Where it sits is told by layer, by K or V, and by its input
i, which is one of the text encoder's features: the budget is spent row by row, so outputs hold about as many each, and
it is over the inputs that a concept gathers. All from the stored masks: no weight of a model is read, and no torch.

Chance: masks of the same size, matrix by matrix, laid at random, would share the product of their densities.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cns import codec
from cns.factors import FactorDelta
from cns.overlap import overlap
from cns_cli.porcelain.models.deltas import stored_delta
from cns_cli.porcelain.models.stored import kv_weights
from cns_cli.porcelain.result import Result
from cns_cli.porcelain.views.commits import changes_of
from registry.errors import UnknownRevision
from registry.objects import Base
from registry.repository import Repository

BINS = 24
"""Parts of the inputs that are told apart: as many characters as two matrices and their figures leave in 80 columns."""

_LAYER = re.compile(
    r"^(down|mid|up)_block(?:s\.(\d+))?\.attentions\.(\d+)\.transformer_blocks\.(\d+)\.attn2\.to_([kv])\b"
)
_BLOCK = re.compile(r"^transformer_blocks\.(\d+)\.attn2\.to_([kv])\b")
_ORDER = {"down": 0, "mid": 1, "up": 2}


@dataclass(frozen=True, kw_only=True)
class MatrixNeurons(Result):
    """A concept's neurons in one matrix.

    Attributes:
        matrix: Its name in the UNet; `layer` in short, `down 1.0`; `kind` is K or V.
        weights: How many it has; `neurons`: how many of them are the concept's.
        bins: Share of the weights of each of `BINS` runs of inputs that are the concept's, 0 to 1.
    """

    matrix: str
    layer: str
    kind: str
    weights: int
    neurons: int
    bins: tuple[float, ...]

    @property
    def share(self) -> float:
        """Share of the matrix that is the concept's, 0 to 1."""
        return self.neurons / max(1, self.weights)


@dataclass(frozen=True, kw_only=True)
class SharedNeurons(Result):
    """What a concept has in common with another: `share` of its own neurons, where chance would give `chance`."""

    name: str
    shared: int
    share: float
    chance: float


@dataclass(frozen=True, kw_only=True)
class NeuronsResult(Result):
    """Where a concept's neurons sit.

    Attributes:
        concept_id: Its id.
        commit: The commit in whose tree it is compared with others.
        share_kv: Share of all K/V weights; `share_denoiser`: of the denoiser's parameters.
        matrices: In the order in which a picture meets them, K before V.
        overlaps: With every other concept of the tree, the largest first.
        rank: Of its change where it acts along directions, and so on every weight; 0 where it has a mask.
    """

    name: str
    concept_id: str
    commit: str
    neurons: int
    share_kv: float
    share_denoiser: float
    matrices: tuple[MatrixNeurons, ...]
    overlaps: tuple[SharedNeurons, ...]
    rank: int = 0


def show_neurons(start: Path, rev: str) -> NeuronsResult:
    """Look at one concept.

    Args:
        start: Folder to look for the registry from.
        rev: A concept of HEAD, by name (`concept:NAME` where a branch is called so, too); else a commit, which means
            the concept that it brought in.

    Raises:
        UnknownRevision: No commit is meant, or one that brought in no concept, or more than one.
        ObjectMissing, ObjectCorrupt, CodecError: A mask cannot be read.
    """
    repo = Repository.discover(start)
    name, commit = chosen_concept(repo, rev)
    tree = repo.tree_of(commit)
    base = repo.objects.get(tree.base, Base)
    mine = stored_delta(repo, tree.concepts[name])
    overlaps = [
        _shared(other, mine, stored_delta(repo, concept_id))
        for other, concept_id in sorted(tree.concepts.items())
        if other != name
    ]
    neurons = codec.count_weights(mine)
    return NeuronsResult(
        name=name,
        concept_id=tree.concepts[name],
        commit=commit,
        neurons=neurons,
        share_kv=neurons / max(1, kv_weights(base)),
        share_denoiser=neurons / max(1, base.denoiser_parameters),
        matrices=tuple(_matrix(matrix, mine[matrix]) for matrix in sorted(mine, key=place_of)),
        overlaps=tuple(sorted(overlaps, key=lambda one: -one.share)),
        rank=codec.rank_of(mine),
    )


def chosen_concept(repo: Repository, rev: str) -> tuple[str, str]:
    """The concept that a revision means, and the commit in whose tree it is looked at.

    Raises:
        UnknownRevision: As `show_neurons`.
    """
    bare = rev.removeprefix("concept:")
    head = repo.head().commit
    commit = repo.resolve(rev)  # which refuses a name that is a branch's, too
    if bare in repo.tree_of(head).concepts and bare not in {*repo.branches(), *repo.tags(), *repo.aliases()}:
        return bare, head
    brought = changes_of(repo, commit).brought
    if bare in brought:
        return bare, commit
    if len(brought) != 1:
        what = f"it brought in {', '.join(brought)}" if brought else "it brought in no concept"
        known = ", ".join(sorted(repo.tree_of(commit).concepts)) or "none"
        raise UnknownRevision(rev, f"{what}; expected one concept, by name: {known}", "cns status")
    return brought[0], commit


def _shared(name: str, mine: codec.Delta, other: codec.Delta) -> SharedNeurons:
    found = overlap(mine, other)
    return SharedNeurons(name=name, shared=found.shared, share=found.share, chance=found.chance / max(1, found.one))


def _matrix(matrix: str, sparse: codec.SparseDelta | FactorDelta) -> MatrixNeurons:
    rows, columns = sparse.shape
    layer, kind = layer_and_kind(matrix)
    counts = np.bincount(sparse.positions % columns * BINS // columns, minlength=BINS)
    sizes = np.bincount(np.arange(columns) * BINS // columns, minlength=BINS) * rows
    bins = tuple(float(count / size) if size else 0.0 for count, size in zip(counts, sizes, strict=True))
    return MatrixNeurons(
        matrix=matrix, layer=layer, kind=kind, weights=rows * columns, neurons=sparse.count, bins=bins
    )  # fmt: skip


def layer_and_kind(matrix: str) -> tuple[str, str]:
    """Return a short name of a matrix's layer, and K or V: `("up 2.0", "K")`."""
    if at := _BLOCK.match(matrix):
        return f"block {at[1]}", at[2].upper()
    found = _LAYER.match(matrix)
    if found is None:
        return matrix[:12], "V" if "to_v" in matrix else "K"
    side, block, attention, inner, kind = found.groups()
    place = f"{block}.{attention}" if block else attention
    return f"{side} {place}" + (f".{inner}" if inner != "0" else ""), kind.upper()


def place_of(matrix: str) -> tuple[int, tuple[int, ...], str]:
    """Return where a picture meets a matrix, as a key to sort by: down, middle, up; numbers as numbers."""
    side = matrix.partition("_")[0]
    return _ORDER.get(side, 3), tuple(map(int, re.findall(r"\d+", matrix))), matrix
