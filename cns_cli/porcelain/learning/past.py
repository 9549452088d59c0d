"""Earlier concepts as a training and its report see them: protected prompts, calibration, drift since birth."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from cns.compose import ConceptWeights, Weights
from cns.drift import Moments, kv_drift, prompt_moments
from cns.regularizers import PastConcept
from cns.templates import Kind, fill_templates
from cns_cli.porcelain.models.base import LoadedBase
from cns_cli.porcelain.models.session import Session


def past_concepts(
    session: Session, concepts: Mapping[str, str], new_phrase: str, new_kind: Kind = "object"
) -> list[PastConcept]:
    """Earlier concepts as a regularizer sees them: weights at birth, and features of their protected prompts.

    Args:
        session: The live model's text encoder must hold the tokens of these concepts and of the new one.
        concepts: Name -> concept id.
        new_phrase: "<token> noun" of the concept to be learned: a token changes the features of every later one, so
            prompts that hold both are protected too.
        new_kind: What it is.
    """
    base = session.base
    past = []
    for name, concept_id in concepts.items():
        concept = session.concept(concept_id)
        beside = [session.concept(other) for key, other in concepts.items() if key != name]
        others = [*((one.phrase, one.kind) for one in beside), (new_phrase, new_kind)]
        objects = [phrase for phrase, kind in others if kind == "object"]
        styles = [phrase for phrase, kind in others if kind == "style"]
        prompts = protected_prompts(base, concept.phrase, objects, styles, concept.kind)
        past.append(
            PastConcept(
                birth=session.birth_weights(concept_id),
                moments=prompt_moments(base.model.pipeline, prompts),
                masks=_masks(concept),
            )
        )
    return past


def protected_prompts(
    base: LoadedBase, phrase: str, others: Sequence[str], styles: Sequence[str] = (), kind: Kind = "object"
) -> list[str]:
    """Prompts on which a concept must not drift: alone in every regularization template, and beside other concepts.

    Args:
        base: The base, whose family has the templates.
        phrase: How prompts call the concept.
        others: Phrases of the other objects.
        styles: Phrases of the other styles.
        kind: What the concept is: a style stands before an object ("a <mona> style <rex> dog") or another style.
    """
    alone = fill_templates(base.family.templates(kind).regularization, phrase)
    if kind == "style":
        drawn = (f"a {phrase} {other}" for other in others)
        mixed = itertools.chain.from_iterable(
            (f"a {phrase} {one} picture", f"a {one} {phrase} picture") for one in styles
        )
        return [*alone, *drawn, *mixed]
    pairs = itertools.chain.from_iterable(
        (f"a {phrase} and a {other}", f"a {other} and a {phrase}") for other in others
    )
    return [*alone, *pairs, *(f"a {style} {phrase}" for style in styles)]


def judged_moments(base: LoadedBase, phrase: str, kind: Kind = "object") -> Moments:
    """Moments on the judge's prompts, which no regularizer saw: for the K/V drift that is printed."""
    return prompt_moments(base.model.pipeline, fill_templates(base.family.templates(kind).judge, phrase))


def calibration_moments(base: LoadedBase) -> Moments:
    """Moments of general prompts, the empty one (unconditional guidance) among them."""
    return prompt_moments(base.model.pipeline, [*base.calibration.selection, ""])


def drift_since_birth(session: Session, others: Mapping[str, str], now: Weights) -> dict[str, float]:
    """K/V drift of concepts (name -> concept id) since birth: relative, squared, on the judge's prompts."""
    drift = {}
    for name, concept_id in others.items():
        concept = session.concept(concept_id)
        moments = judged_moments(session.base, concept.phrase, concept.kind)
        drift[name] = kv_drift(now, session.birth_weights(concept_id), moments)
    return drift


def _masks(concept: ConceptWeights) -> dict[str, Tensor]:
    masks = {}
    for name, sparse in concept.delta.items():
        mask = torch.zeros(sparse.shape, dtype=torch.bool)
        mask.view(-1)[torch.from_numpy(sparse.positions)] = True
        masks[name] = mask
    return masks
