"""Scores of one concept in a tree, made and stored by the functions that `cns add` judges with."""

from __future__ import annotations

from cns.imagescores import Scores
from cns.templates import Kind
from cns_cli.porcelain.models.base import LoadedBase
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.scoring.judging import judge_images, protocol_of, score_images
from cns_cli.porcelain.scoring.keys import EvaluationKey, Evaluations
from cns_cli.porcelain.scoring.protocol import digest_of
from cns_cli.porcelain.scoring.scores import EvaluationStore
from registry.objects import Tree


def protocol_digest(base: LoadedBase, seed: int, kind: Kind = "object") -> str:
    """SHA-256 hex of the protocol: scores of two digests are never compared."""
    return digest_of(protocol_of(base, seed).of_kind(kind).scores)


def evaluate(session: Session, tree: Tree, concept_id: str, images: int, seed: int) -> Scores:
    """Score a concept in a tree, from the registry or by making images.

    Args:
        session: Its live model is set to `tree` when images are needed.
        tree: Any tree that holds the concept.
        concept_id: The concept.
        images: Images of each judge prompt.
        seed: First seed of the protocol.
    """
    concept = session.concept(concept_id)
    best = EvaluationStore(session.repo).scores(tree.id, concept_id, protocol_digest(session.base, seed, concept.kind))
    if best is not None and best.images >= images:
        return best.first(images)
    session.set_tree(tree)
    made = judge_images(session.base, concept.phrase, best.images if best else 0, images, seed, concept.kind)
    references = dict(session.references(concept_id))
    scores = score_images(session.base, made, concept.class_noun, references, concept.kind)
    scores = best.joined(scores) if best else scores
    evaluations = Evaluations(EvaluationStore(session.repo), protocol_of(session.base, seed))
    evaluations.add(
        EvaluationKey("concept", tree, concept_id, concept.name, of=concept.kind), concept.name, scores.to_json()
    )
    return scores
