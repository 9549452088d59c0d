"""Concepts whose deltas are written by hand, so that every figure about them can be worked out."""

from __future__ import annotations

from typing import Any

import numpy as np

from cns import codec
from registry.objects import Blob, Concept, Record, References, Tree
from registry.repository import Committed
from registry.trees import with_concept
from tests.cli.conftest import Lineage

MATRIX = "mid.attn2.to_k"
SHAPE = (4, 4)
EXPONENT = -1


def delta(steps: dict[int, int]) -> codec.SparseDelta:
    """A change of half a unit a step: {row-major position: steps}."""
    positions = np.asarray(sorted(steps), np.int64)
    return codec.SparseDelta(SHAPE, positions, np.asarray([steps[at] for at in sorted(steps)], np.int16), EXPONENT)


def learn(lineage: Lineage, name: str, steps: dict[int, int], *, on: Tree | None = None, **metrics: float) -> Committed:
    """Commit a concept, or a name taught anew, with this change of the base's one matrix.

    Args:
        lineage: The registry.
        name: Its name.
        steps: {row-major position: steps}.
        on: The tree that it was trained on; HEAD's when None.
        metrics: What was recorded.
    """
    put, repo = lineage.repo.objects.put, lineage.repo
    tree = on or repo.tree_of(repo.head().commit)
    mask, integers = (put(Blob(data)) for data in codec.encode({MATRIX: delta(steps)}))
    row = put(Blob(codec.encode_rows({f"<{name}>": np.full(4, lineage.time, np.float32)})))
    references = put(References(None, (None,), 1, 64, {}))
    concept = put(Concept(name, "dog", (f"<{name}>",), row, mask, integers, {"templates": None}, references, put(tree)))
    record: dict[str, Any] = {"metrics": {"neurons": len(steps), "share_kv": len(steps) / 16, **metrics}}
    return lineage.commit(
        "add", name, f"add {name}", Record(record), lambda tip: with_concept(tip, name, concept, overwrite=True)
    )
