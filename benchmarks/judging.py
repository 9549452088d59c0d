"""The scores of a concept's images: identity, CLIP-I, CLIP-T, and CLIP-I's like in a network that the base never met.

Raw cosines by `cns.metrics`. CLIP-T reads the prompt with the special token taken out. Features of references and of
the base's own images are computed once.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.concept_stream import Concept, Stream
from benchmarks.lite import LiteEncoder
from benchmarks.trainer import Pixels, Trainer
from cns import metrics
from cns.precision import training_dtype
from cns.templates import AN
from cns.windows import best_similarities

IMAGE_SCORES = {"identity": "identity", "clip_i": "clip", "lite_i": "lite"}
"""Score -> encoder; `lite` shares nothing with the base."""
SCORES = (*IMAGE_SCORES, "clip_t")
BARE = 8
"""Images of the bare prompt."""

Features = NDArray[np.float32]
Scores = dict[str, float]


class Judge:
    """The judges of one stream.

    Args:
        trainer: The base and its two judges.
        stream: Whose concepts are judged.
        lite: The third judge; None leaves its score out.
        mixed: Draw in mixed precision where the device computes faster so; `cns generate` does not.
    """

    def __init__(self, trainer: Trainer, stream: Stream, lite: LiteEncoder | None, *, mixed: bool = False) -> None:
        self.trainer, self.stream = trainer, stream
        self._dtype = training_dtype(trainer.model.pipeline) if mixed else None
        self.encoders: dict[str, Callable[[Pixels], Features]] = {
            name: encoder.image_features for name, encoder in trainer.base.encoders.items()
        }
        if lite is not None:
            self.encoders["lite"] = lite.image_features
        self._references: dict[str, dict[str, Features]] = {}
        self._base: dict[str, Scores] = {}
        self._untouched: dict[str, Features] | None = None

    @property
    def image_scores(self) -> dict[str, str]:
        """Image scores that there are judges for."""
        return {score: name for score, name in IMAGE_SCORES.items() if name in self.encoders}

    def references(self, concept: Concept) -> dict[str, Features]:
        """Features of a concept's references, by encoder."""
        if concept.name not in self._references:
            pixels = concept.images.pixels
            self._references[concept.name] = {name: embed(pixels) for name, embed in self.encoders.items()}
        return self._references[concept.name]

    def ceiling(self, concept: Concept) -> Scores:
        """The references against each other: what a perfect copy would score."""
        found = self.references(concept)
        return {score: round(metrics.ceiling(found[name]), 4) for score, name in self.image_scores.items()}

    def scores(self, concept: Concept, more: bool = False) -> Scores:
        """Draw a concept from the live model and score it.

        Args:
            concept: Its token is installed.
            more: Diversity of the images and their distance to the nearest reference too, both in CLIP.
        """
        prompts = self.stream.prompts(concept.phrase)
        images = self._judged(prompts)
        found = self.of_images(images, prompts, concept)
        if more:
            features = self.encoders["clip"](images)
            found["diversity"] = metrics.diversity(features)
            found["copying"] = float(metrics.copying(features, self.references(concept)["clip"]).mean())
        return _rounded(found)

    def bare_scores(self, concept: Concept) -> Scores:
        """The scores of "a <rex> dog" alone, which no judge template is."""
        prompts = [f"a {concept.phrase}"] * BARE
        return _rounded(self.of_images(self._judged(prompts), prompts, concept))

    def base_scores(self, concept: Concept) -> Scores:
        """b_j: the class noun alone on the bare base, which the live model must be when this is first asked."""
        if concept.name not in self._base:
            prompts = self.stream.prompts(concept.noun)
            self._base[concept.name] = _rounded(self.of_images(self._judged(prompts), prompts, concept))
        return self._base[concept.name]

    def of_images(self, images: Pixels, prompts: Sequence[str], concept: Concept) -> Scores:
        """Scores of images against a concept's references and their own prompts."""
        references = self.references(concept)
        found = {
            score: metrics.image_similarity(self.encoders[name](images), references[name])
            for score, name in self.image_scores.items()
        }
        return {**found, "clip_t": self.text_score(images, prompts, [concept])}

    def text_score(self, images: Pixels, prompts: Sequence[str], concepts: Sequence[Concept]) -> float:
        """CLIP-T: mean cosine to the prompts without the concepts' tokens."""
        tokens = [concept.token for concept in concepts]
        texts = self.trainer.base.clip.text_features([without_tokens(prompt, tokens) for prompt in prompts])
        return metrics.clip_t(self.encoders["clip"](images), texts)

    def in_windows(self, images: Pixels, concept: Concept) -> NDArray[np.float64]:
        """Identity of the best window of each image, shape (N,): is the concept anywhere in it?"""
        (best,) = best_similarities(images, self.encoders["identity"], [self.references(concept)["identity"]])
        return best

    def remember_base(self) -> None:
        """Take what is only to be had from the bare base, which the live model is now."""
        if self._untouched is None:
            images = self._judged(self.stream.zero_shot)
            self._untouched = {name: self.encoders[name](images) for name in ("identity", "clip")}

    def zero_shot(self) -> Scores:
        """How far images of other things moved from the base's: mean of 1 - cosine, same seeds."""
        assert self._untouched is not None, "remember_base() comes first"
        images = self._judged(self.stream.zero_shot)
        return _rounded(
            {
                name: float(metrics.zero_shot_drift(before, self.encoders[name](images)).mean())
                for name, before in self._untouched.items()
            }
        )

    def draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> Pixels:
        """Draw with the live model."""
        mixed = torch.autocast(self.trainer.model.pipeline.device.type, self._dtype) if self._dtype else None
        with mixed or contextlib.nullcontext():
            return self.trainer.base.images(prompts, seeds)

    def _judged(self, prompts: Sequence[str]) -> Pixels:
        return self.draw(prompts, self.stream.seeds(len(prompts)))


def without_tokens(prompt: str, tokens: Iterable[str]) -> str:
    """A prompt as a judge may read it: special tokens taken out, class nouns left, the article put right.

    A judge's tokenizer does not know a concept's token and would cut it into pieces with a meaning of their own.
    """
    for token in tokens:
        prompt = re.sub(rf"(?<!\w){re.escape(token)}(?!\w)", "", prompt, flags=re.IGNORECASE)
    words = prompt.split()
    for place, (word, after) in enumerate(itertools.pairwise(words)):
        if word.lower() in ("a", "an"):
            words[place] = word[0] + ("n" if AN.match(after) else "")
    return " ".join(words)


def _rounded(scores: Scores) -> Scores:
    """Four digits: noise over images is a hundred times that."""
    return {name: round(float(value), 4) for name, value in scores.items()}
