"""Scoring a concept's images: the images of the judge prompts, their scores, and their place in the registry.

The same (prompt, index) has the same seed in every tree, so two trees are compared image by image. Scores are stored as
evaluations under the digest of their protocol: what has been computed once is not computed again, and scores made under
another protocol are never compared. How many images were made is not part of the protocol: more images extend the rows.

This is what `cns add` needs of it; a whole check makes its images in `evaluator.py`, a tree at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cns.errors import MetricError
from cns.imagescores import Scores
from cns.metrics import Metric, image_similarities, text_similarities
from cns.sampling import Pixels
from cns.templates import Kind, fill_template, fill_templates
from cns_cli.porcelain.models.base import LoadedBase
from cns_cli.porcelain.scoring.protocol import Protocol, image_seed

Features = dict[str, NDArray[np.float32]]
"""Encoder name -> (N, D), float32, unit rows."""


def protocol_of(base: LoadedBase, seed: int) -> Protocol:
    """How a loaded base judges objects under a seed, on the family's own prompts; see `Protocol.of_kind`."""
    templates = base.family.objects.judge
    return Protocol(base.folder, base.family, seed, base.device.type, templates, base.encoder, dtype=base.dtype)


ALONE = ("a {}",)
"""The prompt that people type first, without a background: no judge template is it. Judged beside them, never among."""


def judge_images(
    base: LoadedBase,
    phrase: str,
    first: int,
    last: int,
    seed: int,
    kind: Kind = "object",
    templates: Sequence[str] = (),
) -> Pixels:
    """Images number first..last-1 of every judge prompt, or of other templates, prompt by prompt.

    Returns:
        Shape (P * n, R, R, 3), uint8.
    """
    prompts = fill_templates(templates or base.family.templates(kind).judge, phrase)
    pairs = [(prompt, image_seed(seed, row, k)) for row, prompt in enumerate(prompts) for k in range(first, last)]
    return base.images([prompt for prompt, _ in pairs], [one for _, one in pairs])


def score_images(
    base: LoadedBase,
    images: Pixels,
    class_noun: str,
    references: Features,
    kind: Kind = "object",
    templates: Sequence[str] = (),
) -> Scores:
    """Score images that `judge_images` made.

    Args:
        base: The base and its judges.
        images: P * n images, prompt by prompt.
        class_noun: Stands in the prompts for CLIP-T.
        references: Features of the training images, by encoder.
        kind: What the concept is.
        templates: What the images were made of; none = the judge prompts.
    """
    generated, texts = features_of(base, images, class_noun, kind, templates)
    return score_features(generated, references, texts)


def features_of(
    base: LoadedBase, images: Pixels, class_noun: str, kind: Kind = "object", templates: Sequence[str] = ()
) -> tuple[Features, NDArray[np.float32]]:
    """Features of images that `judge_images` made, by encoder (P, n, D), and of their prompts' texts in CLIP (P, D)."""
    texts = fill_templates(templates or base.family.templates(kind).judge, class_noun)
    features = {name: encoder.image_features(images) for name, encoder in base.encoders.items()}
    shaped = {name: found.reshape(len(texts), -1, found.shape[1]) for name, found in features.items()}
    return shaped, base.clip.text_features(texts)


def told_by_prompt(generated: Features, texts: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which images CLIP finds nearer to their own prompt than to the others of the set: whether it is followed.

    All of these prompts name the same noun, so that it does not matter how like others of its class the thing looks,
    on which CLIP-T hangs as much as on the background.

    Args:
        generated: Encoder name -> (P, n, D).
        texts: Features of the P prompts' texts in CLIP, shape (P, D).

    Returns:
        Shape (P, n).
    """
    return (generated["clip"] @ texts.T).argmax(-1) == np.arange(len(texts))[:, None]


def score_features(generated: Features, references: Features, texts: NDArray[np.float32]) -> Scores:
    """Score images by their features.

    Args:
        generated: Encoder name -> (P, n, D).
        references: Encoder name -> (M, D); an encoder without references gives no score against them.
        texts: Features of the P prompts' texts in CLIP, shape (P, D).
    """
    shape = generated["clip"].shape[:2]
    flat = {name: features.reshape(-1, features.shape[-1]) for name, features in generated.items()}
    to_references = {
        name: image_similarities(flat[name], references[name]).reshape(shape) for name in flat if name in references
    }
    to_text = text_similarities(flat["clip"], np.repeat(texts, shape[1], axis=0)).reshape(shape)
    return Scores(to_references.get("identity"), to_references.get("clip"), to_text)


def nouns_called(base: LoadedBase, features: NDArray[np.float32], wanted: Sequence[str]) -> NDArray[np.str_]:
    """The noun that CLIP calls each picture by, among those of the base and those that are wanted.

    Args:
        base: The base and its judges.
        features: Of pictures in CLIP, shape (..., D).
        wanted: Nouns that need not be the base's own.

    Returns:
        Shape (...).
    """
    nouns = list(dict.fromkeys((*base.nouns, *wanted)))
    texts = base.clip.text_features([fill_template("a {}", noun) for noun in nouns])
    return np.array(nouns)[(features @ texts.T).argmax(-1)]


def foreign_scores(
    name: str, metric: Metric, generated: Features, references: Features, texts: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Score images by the metric of another package.

    Args:
        name: The metric's name.
        metric: The metric.
        generated: Encoder name -> (P, n, D).
        references: Encoder name -> (M, D).
        texts: Features of the P prompts' texts in CLIP, shape (P, D).

    Returns:
        Shape (P, n), float64.

    Raises:
        MetricError: A judge that it needs is not there, it raises, or it returns no finite number for each image.
    """
    against = references if metric.against == "references" else {"clip": texts}
    if metric.encoder not in generated or metric.encoder not in against:
        raise MetricError(
            f"{metric.label} needs features of {metric.encoder!r} to compare with {metric.against}, and there are none",
            metric=name,
        )
    images = generated[metric.encoder]
    flat, target = images.reshape(-1, images.shape[-1]), against[metric.encoder]
    if metric.against == "text":
        target = np.repeat(target, images.shape[1], axis=0)
    try:
        scores = np.asarray(metric.per_image(flat, target), np.float64)
    except Exception as error:  # it is the plugin's; the other metrics stand
        raise MetricError(f"it raised {type(error).__name__}: {error}", metric=name) from error
    if scores.shape != (len(flat),) or not np.isfinite(scores).all():
        raise MetricError(
            f"it returned shape {scores.shape}, or none that is finite: expected one for each of {len(flat)} images",
            metric=name,
        )
    return scores.reshape(images.shape[:2])
