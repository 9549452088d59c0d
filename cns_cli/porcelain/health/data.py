"""What the bytes of concepts and evaluations mean: decoded with numpy alone, and compared with the base's matrices.

A file that hashes to its id is what was written; this finds what was written wrongly, or by somebody else's program: a
mask of another shape, an integer out of range, a model whose integers together leave the range in which float32 is
exact. It makes no image and needs no base model, only the base object.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from cns import codec
from cns.errors import MethodError
from cns.factors import FINER
from cns.grid import MAX_CHANGE, MAX_TOTAL
from cns_cli.porcelain.models.deltas import delta_of
from registry.errors import RegistryError
from registry.health.findings import Finding, Graph
from registry.objects import Base, Blob, Concept, Erasure, Evaluation, References, Tree
from registry.store import DiskStore

FIX = "cns rm NAME, or cns mlflow restore"


def check_data(folder: Path, graph: Graph, step: Callable[[int], None]) -> tuple[int, list[Finding]]:
    """Decode every concept, sum every tree, and look at the scores of every evaluation.

    Args:
        folder: The `.cns` folder.
        graph: Of the objects that are whole.
        step: Told how many concepts are done.

    Returns:
        How many concepts were decoded, and what is wrong.
    """
    data = _Data(DiskStore(folder / "objects"))
    findings: list[Finding] = []
    checks = {"concept": data.concept, "erasure": data.erasure, "tree": data.tree, "evaluation": data.evaluation}
    for kind, check in checks.items():
        chosen = sorted(known for known, found in graph.kinds.items() if found == kind)
        for done, known in enumerate(chosen, 1):
            findings += [_finding(graph, known, kind, fault) for fault in _faults(check, known)]
            if kind == "concept":
                step(done)
    return sum(graph.kinds[known] == "concept" for known in data.peaks), findings


def _faults(check: Callable[[str], Iterator[str]], known: str) -> list[str]:
    try:
        return list(check(known))
    except RegistryError:
        return []  # a part of it is damaged or missing, which is told already
    except (MethodError, SafetensorError, ValueError, KeyError, TypeError) as error:
        return [str(error)]


def _finding(graph: Graph, known: str, kind: str, fault: str) -> Finding:
    name = graph.names.get(known, "")
    what = f"{kind} {known[:10]}{f' ({name})' if name else ''}: {fault}"
    path = f"objects/{known[:2]}/{known[2:]}"
    fix = FIX.replace("NAME", name or "NAME")
    return Finding("error", "data-invalid", what, path, fix, known, kind, graph.reach(known))


class _Data:
    """Decodes one object after another; of each concept it keeps one number a matrix.

    Attributes:
        peaks: {id of a concept or an erasure: (id of its base, largest |n| of each matrix of that base, in the order of
            their names)}, in steps of the finest grid that a change may have.
    """

    def __init__(self, store: DiskStore) -> None:
        self.store = store
        self.peaks: dict[str, tuple[str, NDArray[np.int64]]] = {}
        self._base = cache(lambda wanted: store.get(wanted, Base))

    def concept(self, known: str) -> Iterator[str]:
        """Yield what is wrong with a concept."""
        stored = self.store.get(known, Concept)
        yield from self._delta(known, delta_of(self.store, stored), self.store.get(stored.trained_on, Tree).base)
        rows = codec.decode_rows(self._blob(stored.embedding))
        if set(rows) != set(stored.tokens):
            yield f"its embedding has rows for {sorted(rows)}: expected {sorted(stored.tokens)}"
        yield from self._references(self.store.get(stored.references, References))

    def erasure(self, known: str) -> Iterator[str]:
        """Yield what is wrong with an erasure."""
        stored = self.store.get(known, Erasure)
        yield from self._delta(known, delta_of(self.store, stored), stored.base)

    def _delta(self, known: str, delta: codec.Delta, base_id: str) -> Iterator[str]:
        """Yield what is wrong with a change, and keep its largest integers."""
        matrices = self._base(base_id).matrices
        peaks = dict.fromkeys(sorted(matrices), 0)
        for name, sparse in delta.items():
            facts = matrices.get(name)
            if facts is None:
                yield f"its delta changes '{name}', which is no matrix of its base"
                continue
            if list(sparse.shape) != list(facts["shape"]):
                yield f"its mask of {name} is for shape {sparse.shape}: expected {tuple(facts['shape'])}, as the base's"
            if sparse.matrix_exponent != facts["exponent"]:
                found = sparse.matrix_exponent
                yield f"its grid exponent of {name} is {found}: expected {facts['exponent']}, as the base's"
            peak = int(np.abs(sparse.steps.astype(np.int64)).max(initial=0))
            peaks[name] = peak << (sparse.exponent - sparse.matrix_exponent + FINER)
            if peaks[name] > MAX_CHANGE << FINER:
                yield f"it changes a weight of {name} by {peaks[name] >> FINER} steps: expected at most {MAX_CHANGE}"
        self.peaks[known] = (base_id, np.array(list(peaks.values()), np.int64))

    def tree(self, known: str) -> Iterator[str]:
        """Yield what is wrong with a model as a sum: mixed bases, or integers that float32 cannot hold.

        The sum of each concept's largest |n| bounds every |N|. Only where that bound is too large it is summed exactly.
        """
        stored = self.store.get(known, Tree)
        parts = [self.peaks[one] for one in (*stored.concepts.values(), stored.erasure) if one in self.peaks]
        if any(base != stored.base for base, _ in parts):
            yield "something in it was trained on another base"
        elif parts and int(np.sum([peaks for _, peaks in parts], axis=0).max(initial=0)) >= MAX_TOTAL:
            yield from self._exact(stored)

    def evaluation(self, known: str) -> Iterator[str]:
        """Yield what is wrong with scores: no number, or not finite."""
        stored = self.store.get(known, Evaluation)
        tree = self.store.get(stored.tree, Tree)
        # On the empty tree a concept's class noun is scored: what the base gives without it.
        if tree.concepts and stored.concept not in (tree.base, *tree.concepts.values()):
            yield f"it scores concept {stored.concept[:10]}, which its tree does not hold"
        if not stored.scores:
            yield "it has no scores"
        for name, value in stored.scores.items():
            if not _is_finite(value):
                yield f"its score '{name}' holds what is no finite number"

    def _exact(self, stored: Tree) -> Iterator[str]:
        deltas = [delta_of(self.store, self.store.get(concept, Concept)) for concept in stored.concepts.values()]
        deltas += [delta_of(self.store, self.store.get(one, Erasure)) for one in (stored.erasure,) if one]
        for name, facts in self._base(stored.base).matrices.items():
            rows, columns = facts["shape"]
            total = codec.total_steps([delta[name] for delta in deltas if name in delta], (rows, columns))
            largest = int(np.abs(total).max(initial=0))
            if largest >= MAX_TOTAL:
                yield f"its parts change a weight of {name} by {largest} steps together: expected less than 2**24"

    def _references(self, stored: References) -> Iterator[str]:
        if len(stored.captions) != stored.count:
            yield f"its references have {len(stored.captions)} captions for {stored.count} images"
        if stored.images is not None:
            images = load(self._blob(stored.images))["images"]
            expected = (stored.count, stored.resolution, stored.resolution, 3)
            if images.dtype != np.uint8 or images.shape != expected:
                yield f"its images are {images.dtype} {images.shape}: expected uint8 {expected}"
        for encoder, blob in stored.features.items():
            features = load(self._blob(blob))["features"]
            if features.ndim != 2 or len(features) != stored.count or not np.isfinite(features).all():
                yield f"its features of encoder {encoder[:10]} are {features.shape}: expected {stored.count} rows"

    def _blob(self, wanted: str) -> bytes:
        return self.store.get(wanted, Blob).data


def _is_finite(value: Any) -> bool:
    """Whether a value, or all that a list or table holds, is a finite number."""
    if isinstance(value, dict):
        return _is_finite(list(value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(_is_finite, value))
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
