"""Earlier concepts as a training and its report see them: protected prompts, calibration, drift since birth."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from torch import Tensor

from cns.compose import ConceptWeights, Weights
from cns.drift import Moments, kv_drift, prompt_moments
from cns.masks import mask_of
from cns.regularizers import PastConcept
from cns.templates import Named, fill_templates
from cns_cli.porcelain.models.base import LoadedBase
from cns_cli.porcelain.models.session import Session


def past_concepts(session: Session, concepts: Mapping[str, str], new: Named) -> list[PastConcept]:
    """Earlier concepts as a regularizer sees them: weights at birth, and features of their protected prompts.

    Args:
        session: The live model's text encoder must hold the tokens of these concepts and of the new one.
        concepts: Name -> concept id.
        new: The concept to be learned: a token changes the features of every later one, so prompts that hold both are
            protected too.
    """
    past = []
    for name, concept_id in concepts.items():
        concept = session.concept(concept_id)
        beside = [session.concept(other) for key, other in concepts.items() if key != name]
        prompts = protected_prompts(session.base, concept, [*beside, new])
        moments = prompt_moments(session.base.model.pipeline, prompts)
        past.append(PastConcept(session.birth_weights(concept_id), moments, masks_of(concept)))
    return past


def protected_prompts(base: LoadedBase, concept: Named, others: Sequence[Named]) -> list[str]:
    """Prompts on which a concept must not drift: alone in every regularization template, and beside other concepts.

    A style stands before an object ("a <mona> style <rex> dog") or another style.
    """
    phrase = concept.phrase
    alone = fill_templates(base.family.templates(concept.kind).regularization, phrase)
    objects = [other.phrase for other in others if other.kind == "object"]
    styles = [other.phrase for other in others if other.kind == "style"]
    if concept.kind == "style":
        drawn = (f"a {phrase} {other}" for other in objects)
        mixed = ((f"a {phrase} {one} picture", f"a {one} {phrase} picture") for one in styles)
        return [*alone, *drawn, *itertools.chain.from_iterable(mixed)]
    pairs = ((f"a {phrase} and a {other}", f"a {other} and a {phrase}") for other in objects)
    return [*alone, *itertools.chain.from_iterable(pairs), *(f"a {style} {phrase}" for style in styles)]


def judged_moments(base: LoadedBase, concept: Named) -> Moments:
    """Moments on the judge's prompts, which no regularizer saw: for the K/V drift that is printed."""
    prompts = fill_templates(base.family.templates(concept.kind).judge, concept.phrase)
    return prompt_moments(base.model.pipeline, prompts)


def calibration_moments(base: LoadedBase) -> Moments:
    """Moments of general prompts, the empty one (unconditional guidance) among them."""
    return prompt_moments(base.model.pipeline, [*base.calibration.selection, ""])


def drift_since_birth(session: Session, others: Mapping[str, str], now: Weights) -> dict[str, float]:
    """K/V drift of concepts (name -> concept id) since birth: relative, squared, on the judge's prompts."""
    return {
        name: kv_drift(now, session.birth_weights(one), judged_moments(session.base, session.concept(one)))
        for name, one in others.items()
    }


def masks_of(concept: ConceptWeights) -> dict[str, Tensor]:
    """The weights that a concept may change: matrix name -> shape (O, I), bool, CPU."""
    return {name: mask_of(sparse) for name, sparse in concept.delta.items()}
