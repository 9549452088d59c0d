"""Scoring a concept's images: the protocol, the images, the scores, and their place in the registry.

The same (prompt, index) has the same seed in every tree, so two trees are compared image by image. Scores are stored as
evaluations under the digest of their protocol: what has been computed once is not computed again, and scores made under
another protocol are never compared. How many images were made is not part of the protocol: more images extend the rows.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import diffusers
import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from cns.metrics import image_similarities, text_similarities
from cns.prompts import prompts_digest
from cns.sampling import Pixels
from cns.templates import fill_templates
from cns_cli.porcelain.session import Session
from cns_cli.porcelain.workbench import Workbench
from registry.objects import Evaluation, Tree

PROMPT_SEEDS = 1000
"""Seeds of a prompt's images lie this far apart, so that prompts share none."""

Features = dict[str, NDArray[np.float32]]
"""Encoder name -> (N, D), float32, unit rows."""


@dataclass(frozen=True)
class Scores:
    """Cosines of generated images; each (P, n): P judge prompts, n images of each.

    Attributes:
        identity: With the references, in the identity encoder; None where the base has none.
        clip_i: With the references, in CLIP.
        clip_t: With the prompt's text, special token taken out.
    """

    identity: NDArray[np.float64] | None
    clip_i: NDArray[np.float64]
    clip_t: NDArray[np.float64]

    @property
    def main(self) -> NDArray[np.float64]:
        """The base's main score: identity where it has that judge, else CLIP-I."""
        return self.clip_i if self.identity is None else self.identity

    @property
    def images(self) -> int:
        """Images of each prompt."""
        return int(self.clip_i.shape[1])

    def first(self, images: int) -> Scores:
        """The scores of the first `images` images of each prompt."""
        identity = None if self.identity is None else self.identity[:, :images]
        return Scores(identity, self.clip_i[:, :images], self.clip_t[:, :images])

    def joined(self, more: Scores) -> Scores:
        """These scores followed by those of further images."""
        identity = None
        if self.identity is not None and more.identity is not None:
            identity = np.concatenate([self.identity, more.identity], axis=1)
        return Scores(
            identity,
            np.concatenate([self.clip_i, more.clip_i], axis=1),
            np.concatenate([self.clip_t, more.clip_t], axis=1),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values, as an evaluation stores them."""
        named = {"identity": self.identity, "clip_i": self.clip_i, "clip_t": self.clip_t}
        return {name: scores.tolist() for name, scores in named.items() if scores is not None}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Scores:
        """Read back what `to_json` gave."""
        identity = np.asarray(data["identity"]) if "identity" in data else None
        return cls(identity, np.asarray(data["clip_i"]), np.asarray(data["clip_t"]))


def protocol(bench: Workbench, seed: int) -> dict[str, Any]:
    """Everything that a score depends on, besides the weights and the number of images."""
    defaults = bench.family.defaults
    return {
        "prompts": prompts_digest(bench.family.judge_templates),
        "seed": seed,
        "sampler": type(bench.model.pipeline.scheduler).__name__,
        "steps": defaults.sampler_steps,
        "guidance": defaults.guidance,
        "resolution": bench.resolution,
        "dtype": str(bench.model.pipeline.unet.dtype),
        "device": bench.device.type,
        "encoders": {name: encoder.digest for name, encoder in bench.encoders.items()},
        "versions": {
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
            "transformers": transformers.__version__,
        },
    }


def judge_images(bench: Workbench, phrase: str, first: int, last: int, seed: int) -> Pixels:
    """Images number first..last-1 of every judge prompt, prompt by prompt, shape (P * n, R, R, 3), uint8."""
    prompts = fill_templates(bench.family.judge_templates, phrase)
    pairs = [(prompt, seed + PROMPT_SEEDS * row + k) for row, prompt in enumerate(prompts) for k in range(first, last)]
    return bench.images([prompt for prompt, _ in pairs], [one for _, one in pairs])


def score_images(bench: Workbench, images: Pixels, class_noun: str, references: Features) -> Scores:
    """Score images that `judge_images` made.

    Args:
        bench: The base and its judges.
        images: P * n images, prompt by prompt.
        class_noun: Stands in the prompts for CLIP-T.
        references: Features of the training images, by encoder.
    """
    texts = fill_templates(bench.family.judge_templates, class_noun)
    shape = (len(texts), len(images) // len(texts))
    features = {name: encoder.image_features(images) for name, encoder in bench.encoders.items()}
    to_references = {name: image_similarities(features[name], references[name]).reshape(shape) for name in features}
    wanted = np.repeat(bench.clip.text_features(texts), shape[1], axis=0)
    to_text = text_similarities(features["clip"], wanted).reshape(shape)
    return Scores(to_references.get("identity"), to_references["clip"], to_text)


def evaluate(
    session: Session,
    tree: Tree,
    concept_id: str,
    images: int,
    seed: int,
) -> Scores:
    """Score a concept in a tree, from the registry or by making images.

    Args:
        session: Its live model is set to `tree` when images are needed.
        tree: Any tree that holds the concept.
        concept_id: The concept.
        images: Images of each judge prompt.
        seed: First seed of the protocol.
    """
    tree_id = session.repo.objects.put(tree)
    digest = protocol_digest(session.bench, seed)
    stored = [Scores.from_json(one.scores) for one in session.repo.evaluations(tree_id, concept_id, digest)]
    best = max(stored, key=lambda one: one.images, default=None)
    if best is not None and best.images >= images:
        return best.first(images)
    concept = session.concept(concept_id)
    session.set_tree(tree)
    made = judge_images(session.bench, concept.phrase, best.images if best else 0, images, seed)
    scores = score_images(session.bench, made, concept.class_noun, dict(session.references(concept_id)))
    scores = best.joined(scores) if best else scores
    store_scores(session, tree, concept_id, seed, scores)
    return scores


def store_scores(session: Session, tree: Tree, concept_id: str, seed: int, scores: Scores) -> None:
    """Put scores into the registry as an evaluation of a concept in a tree."""
    plan, digest = protocol(session.bench, seed), protocol_digest(session.bench, seed)
    name = session.concept(concept_id).name
    tree_id = session.repo.objects.put(tree)
    session.repo.add_evaluation(Evaluation(tree_id, concept_id, name, plan, digest, scores.to_json()))


def protocol_digest(bench: Workbench, seed: int) -> str:
    """SHA-256 hex of the protocol: scores of two digests are never compared."""
    return hashlib.sha256(json.dumps(protocol(bench, seed), sort_keys=True).encode()).hexdigest()
