"""What the scores mean: every figure that is computed from the features of pictures.

Features are unit rows from `encoders.py`, so a product is a cosine. All cosines are raw:
papers print CLIP-T as CLIPScore, 100 * 2.5 * max(cosine, 0) (Hessel et al. 2021, arXiv 2104.08718).

What follows from scores over a lineage (backward transfer, forgetting, plasticity) is in `continual.py`, whether a drop
is real in `gate.py`. numpy alone: no torch, no images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cns import extensions
from cns.errors import MetricError
from cns.gate import paired_drops

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Metric:
    """A score of each generated image.

    Attributes:
        label: As people read it.
        encoder: Which judge makes the features: "identity" or "clip".
        against: What an image is compared with: "references" or "text".
        per_image: (generated features, target features) -> one cosine for each image.
    """

    label: str
    encoder: str
    against: str
    per_image: Callable[[Floats, Floats], NDArray[np.float64]]


def image_similarities(generated: Floats, references: Floats) -> NDArray[np.float64]:
    """ID or CLIP-I of each image: its mean cosine to the references.

    s[n] = 1/M sum_m <generated[n], references[m]>

    Args:
        generated: Unit rows of N generated images, shape (N, D).
        references: Unit rows of M reference images, shape (M, D).

    Returns:
        Shape (N,), float64, in [-1, 1].

    Raises:
        MetricError: no image, rows of another width, or NaN.
    """
    generated, references = _features("image similarity", generated, references)
    return (generated @ references.T).mean(1)


def image_similarity(generated: Floats, references: Floats) -> float:
    """ID or CLIP-I of a set of images: the mean cosine over all pairs of `image_similarities`."""
    return float(image_similarities(generated, references).mean())


def text_similarities(generated: Floats, texts: Floats) -> NDArray[np.float64]:
    """CLIP-T of each image: its cosine to the features of its own prompt, the special token taken out of it.

    s[n] = <generated[n], texts[n]>

    Args:
        generated: Unit rows of N images, shape (N, D).
        texts: Unit rows of their N prompts, shape (N, D).

    Returns:
        Shape (N,), float64, a raw cosine.

    Raises:
        MetricError: not one text for each image, or NaN.
    """
    generated, texts = _features("clip-t", generated, texts)
    if len(generated) != len(texts):
        raise MetricError(
            f"{len(generated)} images and {len(texts)} texts: expected one text an image", metric="clip-t"
        )
    return (generated * texts).sum(1)


def clip_t(generated: Floats, texts: Floats) -> float:
    """CLIP-T of a set of images: the mean of `text_similarities`, a raw cosine."""
    return float(text_similarities(generated, texts).mean())


def ceiling(references: Floats) -> float:
    """r_j, what a perfect copy of the concept would score: mean cosine of different references.

    r = 1/(M (M - 1)) sum_{m != n} <references[m], references[n]>

    Raises:
        MetricError: fewer than two references.
    """
    return 1 - diversity(references)


def diversity(images: Floats) -> float:
    """Mean pairwise cosine distance, 1 - cosine, of different images; 0 = all alike.

    Args:
        images: Unit rows, shape (N, D), N >= 2.

    Raises:
        MetricError: fewer than two images, or NaN.
    """
    images, _ = _features("diversity", images, images)
    count = len(images)
    if count < 2:
        raise MetricError(f"diversity of {count} image: expected at least 2", metric="diversity")
    cosines = images @ images.T
    return float(1 - (cosines.sum() - np.trace(cosines)) / (count * (count - 1)))


def copying(generated: Floats, references: Floats) -> NDArray[np.float64]:
    """Distance of each generated image to its nearest reference, 1 - max_m cosine; near 0 = a memorised photo.

    Args:
        generated: Unit rows, shape (N, D).
        references: Unit rows, shape (M, D).

    Returns:
        Shape (N,), float64, in [0, 2].
    """
    generated, references = _features("copying", generated, references)
    return 1 - (generated @ references.T).max(1)


def confusion_margins(own: Floats, others: Sequence[Floats]) -> NDArray[np.float64]:
    """The margin of one concept image by image: its CLIP-I minus that with the concept it is most like as a set.

    Args:
        own: CLIP-I of its images with its own references, shape (P, n).
        others: CLIP-I of the same images with each other concept's references, each (P, n).

    Returns:
        Shape (P, n), float64; negative = looks more like another concept.

    Raises:
        MetricError: no other concept, or other shapes.
    """
    own = np.asarray(own, np.float64)
    tables = [np.asarray(table, np.float64) for table in others]
    if not tables or any(table.shape != own.shape for table in tables):
        raise MetricError(
            f"margin to {len(tables)} other concepts: expected at least one, each with scores of {own.shape}",
            metric="margin",
        )
    return own - max(tables, key=lambda table: float(table.mean()))


def class_drift(before: Floats, after: Floats) -> NDArray[np.float64]:
    """How far the class noun alone has grown toward the concept, image by image; it should stay at 0.

    drift[p, n] = after[p, n] - before[p, n], scores as of `image_similarities` with the concept's references

    Args:
        before: Scores of the base's images of the class noun alone, shape (P, n).
        after: The same prompts and seeds now, shape (P, n).

    Returns:
        Shape (P, n), float64; positive = toward the concept.

    Raises:
        MetricError: see `cns.gate.paired_drops`.
    """
    return -paired_drops(before, after)


def zero_shot_drift(before: Floats, after: Floats) -> NDArray[np.float64]:
    """How far pictures of other things have moved: 1 - <before[n], after[n]>, same prompt and seed.

    Args:
        before: Unit rows of images of held-out calibration prompts on the base, shape (N, D).
        after: The same prompts and seeds now, shape (N, D).

    Returns:
        Shape (N,), float64, in [0, 2]; 0 = the same picture.
    """
    before, after = _features("zero-shot", before, after)
    if len(before) != len(after):
        raise MetricError(
            f"zero-shot: {len(before)} images before and {len(after)} after: expected pairs", metric="zero-shot"
        )
    return 1 - (before * after).sum(1)


def _features(metric: str, first: Floats, second: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two sets of features as float64, checked."""
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or 0 in a.shape or 0 in b.shape:
        raise MetricError(
            f"{metric}: features of shapes {a.shape} and {b.shape}: expected (N, D) and (M, D), not empty",
            metric=metric,
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise MetricError(f"{metric}: a feature is NaN or infinite", metric=metric)
    return a, b


METRICS: dict[str, Metric] = {
    "id": Metric("identity", "identity", "references", image_similarities),
    "clip-i": Metric("CLIP-I", "clip", "references", image_similarities),
    "clip-t": Metric("CLIP-T", "clip", "text", text_similarities),
}


def metric_named(name: str) -> Metric:
    """A metric of `METRICS`, or one of another package, see `cns.extensions.find`."""
    return extensions.find(extensions.METRICS, name, METRICS, lambda found: isinstance(found, Metric))
