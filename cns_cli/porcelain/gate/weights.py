"""What can be said about forgetting without an image: exact conditions on the weights, and sizes of what changed.

Outside every concept's mask the composed weights must be the base's, bit for bit; the live model must hold exactly the
composed weights, or the base's where prompts bring their own; in the text encoder no row but those of the concepts' own
tokens may differ from the base's. How much a concept changes and how far its weights are shared with others is told,
and limited by nothing here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from cns.compose import ConceptWeights, Weights, kv_parameters
from cns.errors import MetricError
from cns.files.models import weight_files
from cns.files.tensors import read_header, read_tensor
from cns.overlap import overlap
from cns.text import ENCODERS, embeddings
from cns_cli.porcelain.answers import CheckRow
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.scoring.evaluator import Evaluator
from registry.objects import Tree
from registry.trees import bare

OUTSIDE = "outside the masks the weights are the base's"
LIVE = "the model holds the composed weights"
ROWS = "no row of the text encoder changed but those of the tokens"
EMBEDDINGS = ("token_embedding.weight", "shared.weight", "embed_tokens.weight")


@dataclass(frozen=True)
class Density:
    """Sizes of one concept.

    Attributes:
        share_kv: Share of the K/V weights that it changes.
        overlap: Other concept -> share of this one's weights that the other changes, too.
    """

    share_kv: float
    overlap: Mapping[str, float]


def weight_gates(session: Session, tree: Tree, weights: Weights) -> dict[str, bool]:
    """Check the exact conditions on a tree that the live model holds.

    Args:
        session: Its live model is the tree.
        tree: The tree.
        weights: Its composed weights.

    Returns:
        What is demanded -> whether it is so.
    """
    concepts = session.concepts(tree)
    base = session.base.model.compose(session.erasure(tree))
    return {
        OUTSIDE: outside_is_base(base, weights, concepts),
        LIVE: live_is_composed(session, base if tree.compose == "named" else weights),
        ROWS: rows_are_base(session, concepts),
    }


def densities(session: Session, tree: Tree) -> dict[str, Density]:
    """Share of the K/V weights and overlap with each other concept, by name."""
    concepts = session.concepts(tree)
    size = session.base.model.kv_size
    return {
        name: Density(
            sum(len(sparse.positions) for sparse in concept.delta.values()) / size,
            {other: overlap(concept.delta, one.delta).share for other, one in concepts.items() if other != name},
        )
        for name, concept in concepts.items()
    }


def outside_is_base(base: Weights, weights: Weights, concepts: Mapping[str, ConceptWeights]) -> bool:
    """Whether weights that no mask holds have the base's bits (so that -0.0 and NaN count, too)."""
    for name, weight in base.items():
        free = np.ones(weight.numel(), dtype=bool)
        for concept in concepts.values():
            if name in concept.delta:
                free[concept.delta[name].positions] = False
        before, after = (one.contiguous().view(torch.int32).numpy().ravel()[free] for one in (weight, weights[name]))
        if not np.array_equal(before, after):
            return False
    return True


def live_is_composed(session: Session, weights: Weights) -> bool:
    """Whether the pipeline's K/V matrices are the composed ones, cast to its own dtype."""
    live = kv_parameters(session.base.model.pipeline)
    return live.keys() == weights.keys() and all(
        torch.equal(live[name].detach().cpu(), weights[name].to(live[name].dtype)) for name in live
    )


def rows_are_base(session: Session, concepts: Mapping[str, ConceptWeights]) -> bool:
    """Whether the embedding is the base's, and each concept's tokens have their own rows."""
    pipeline = session.base.model.pipeline
    live = [weight.cpu().float() for weight in embeddings(pipeline)]
    words = pipeline.tokenizer.vocab_size  # an embedding may have room beyond them, where the first new tokens go
    new = [one for one in pipeline.tokenizer.get_added_vocab().values() if one >= words]
    for part, weight in zip(ENCODERS, live, strict=False):
        base = _base_embedding(session, part)
        kept = np.setdiff1d(np.arange(len(base)), new)
        if not np.array_equal(weight.numpy()[kept], base[kept]):
            return False
    rows = {token: row for concept in concepts.values() for token, row in concept.rows.items()}
    ids = {token: pipeline.tokenizer.convert_tokens_to_ids(token) for token in rows}
    return all(torch.equal(torch.cat([one[ids[token]] for one in live]), row) for token, row in rows.items())


def _base_embedding(session: Session, part: str) -> np.ndarray:
    """The embedding of a text encoder as the base's file has it, shape (V, D), float32."""
    for path in weight_files(session.base.folder, part):
        header = read_header(path)
        for name in header:
            if name.endswith(EMBEDDINGS):
                return np.asarray(read_tensor(path, header[name]), np.float32)
    raise MetricError(f"the base's {part} has no {EMBEDDINGS[0]}", metric="weights")


def with_weight_gates(rows: Sequence[CheckRow], evaluator: Evaluator, tree: Tree, name: str) -> list[CheckRow]:
    """Add to each row what its concept changes, and a row of the exact conditions on the whole tree.

    Args:
        rows: One a concept.
        evaluator: Its session holds the base.
        tree: What was checked.
        name: Of the new row.
    """
    evaluator.activate(tree)
    gates = weight_gates(evaluator.session, tree, evaluator.weights(tree))
    sizes = densities(evaluator.session, tree)
    broken = [demand for demand, holds in gates.items() if not holds]
    whole = CheckRow(
        concept=name,
        concept_id=tree.base,
        verdict="forgot" if broken else "kept",
        metrics=(),
        baseline_tree=bare(tree).id,
        why="; ".join(f"not so: {demand}" for demand in broken),
        gates=gates,
    )
    known = [replace(row, share_kv=sizes[row.concept].share_kv, overlap=sizes[row.concept].overlap) for row in rows]
    return [*known, whole]
