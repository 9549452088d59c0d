"""Computing what a check asks for: images, features and weights become evaluations of the registry.

All keys of one round are computed together: their images are made a tree at a time, whatever concept they are of; the
features of references and of texts are computed once; no tree is composed twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cns.compose import ConceptWeights, Weights
from cns.drift import Moments, kv_drift, prompt_moments
from cns.errors import MetricError, SettingsError
from cns.imagescores import Array, Scores
from cns.metrics import Metric, image_similarities, metric_named, zero_shot_drift
from cns.templates import fill_template, fill_templates
from cns.tokens import count_over
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.scoring.features import FeatureCache, ImageSpan
from cns_cli.porcelain.scoring.judging import Features, foreign_scores, nouns_called, score_features
from cns_cli.porcelain.scoring.keys import BASE_NAME, EvaluationKey, Evaluations
from cns_cli.porcelain.scoring.pairs import Pair, pair_prompts, pair_scores
from cns_cli.porcelain.scoring.protocol import Protocol, digest_of
from cns_cli.progress import Progress, Stages
from registry.objects import Tree

WEIGHTS_KEPT = 10**9
"""Bytes of composed weights that one check keeps: 13 trees of Stable Diffusion 1.x."""


class Evaluator:
    """Computes evaluations and stores them.

    Args:
        session: The registry with its base loaded, under the protocol's judges.
        evaluations: Where evaluations are looked up and put.
        stages: Told how long each stage took.
        progress: Told of images.
    """

    def __init__(self, session: Session, evaluations: Evaluations, stages: Stages, progress: Progress) -> None:
        self.session = session
        self._evaluations, self._stages, self._progress = evaluations, stages, progress
        self._composed: dict[Tree, Weights] = {}
        self._live: Tree | None = None
        self._references: dict[str, dict[str, NDArray[np.float32]]] = {}
        self._texts: dict[tuple[str, ...], NDArray[np.float32]] = {}
        self._metrics: dict[str, Metric] = {}
        self._features = FeatureCache(
            session.base, self.activate, evaluations.protocol.seed, session.cache / "generated", stages, self._count
        )
        self._pairs_made = 0
        self.stored: list[str] = []
        self.failed: dict[tuple[str, str], str] = {}
        """Why a metric that is stored as it is could not be computed, by its name and the concept's id."""

    @property
    def images_made(self) -> int:
        """Images that were generated."""
        return self._features.made + self._pairs_made

    def evaluate(self, keys: Sequence[EvaluationKey]) -> None:
        """Compute and store what the store lacks of these keys."""
        lacking = [key for key in keys if not self._evaluations.has(key)]
        for name in {key.metric for key in lacking if key.kind == "metric"}:
            self._metrics[name] = metric_named(name)  # a plugin that cannot be loaded must not cost images
        lacking.sort(key=lambda one: -one.images)  # the base's own score may be part of a larger one
        plans = [(key, self._spans(key)) for key in lacking if key.kind not in ("drift", "pair")]
        spans = [span for _, found in plans for span in found]
        pairs = self._pairs(lacking)
        if missing := self._features.missing(spans) + sum(one.images for one in pairs):
            told = self._progress.extend if self.images_made else partial(self._progress.stage, "generate and judge")
            told(self.images_made + missing)
        self._features.prepare(spans)
        for pair in pairs:
            self._answer_pair(pair)
        with self._stages.measure("encode"):
            for key, found in plans:
                self._answer(key, found)
        with self._stages.measure("load"):
            self._drifts([key for key in lacking if key.kind == "drift"])

    def weights(self, tree: Tree) -> Weights:
        """Composed weights of a tree, without touching the live model."""
        found = self._composed.get(tree)
        if found is None:
            found = self.session.base.model.compose(self.session.parts(tree))
            self._remember(tree, found)
        return found

    def activate(self, tree: Tree) -> None:
        """Make the live model a tree."""
        with self._stages.measure("load"):
            if self._live == tree:
                return
            if tree in self._composed:
                self.session.write(tree, self._composed[tree])
            else:
                self._remember(tree, self.session.set_tree(tree))
            self._live = tree

    def _remember(self, tree: Tree, weights: Weights) -> None:
        size = sum(weight.numel() * weight.element_size() for weight in weights.values())
        if size * (len(self._composed) + 1) <= WEIGHTS_KEPT:
            self._composed[tree] = weights

    def _count(self, made: int) -> None:
        self._progress.step(made + self._pairs_made)

    def _pairs(self, keys: Sequence[EvaluationKey]) -> list[Pair]:
        """The pictures of two concepts that keys lack; what is judged of both has them once."""
        wanted: dict[object, list[EvaluationKey]] = {}
        for key in keys:
            if key.kind == "pair":
                wanted.setdefault(key.pictures, []).append(key)
        templates = self._evaluations.protocol.prompts
        pairs = []
        for found in wanted.values():
            both = [self.session.concept(one) for one in (found[0].concept_id, found[0].beside)]
            self._refuse_unread(found[0].tree, templates, " and a ".join(map(written_out, both)))
            span = range(min(map(self._evaluations.images, found)), max(key.images for key in found))
            pairs.append(Pair(tuple(found), tuple(pair_prompts(templates, *both)), span))
        return pairs

    def _answer_pair(self, pair: Pair) -> None:
        """Draw a pair, and store the identity of each of its two concepts that was asked for."""
        self.activate(pair.keys[0].tree)
        references = [self._references_of(key.concept_id).get("identity") for key in pair.keys]
        try:
            with self._stages.measure("generate"):
                found = pair_scores(
                    self.session.base, pair.prompts, pair.span, self._evaluations.protocol.seed, references
                )
        except MetricError as error:
            self.failed |= {("pair", key.concept_id): error.message for key in pair.keys}
            return
        self._pairs_made += pair.images
        self._count(self._features.made)
        for key, scores in zip(pair.keys, found, strict=True):
            stored = self._evaluations.value(key) if pair.span.start else None
            whole = scores if stored is None else np.concatenate([stored[:, : pair.span.start], scores], axis=1)
            self._store(key, {"pair": whole.tolist()})

    def _spans(self, key: EvaluationKey) -> list[ImageSpan]:
        """The images that a key lacks; of "zero-shot" those of the base, too."""
        protocol = self._evaluations.protocol
        if key.kind == "zero-shot":
            digest = self._evaluations.digest(key)
            empty = Tree(key.tree.base, {})
            return [ImageSpan(one, protocol.zero_shot_prompts, 0, key.images, digest) for one in (empty, key.tree)]
        if key.kind == "erased":
            return [ImageSpan(key.tree, protocol.erased_prompts, 0, key.images, digest_of(protocol.scores))]
        concept, judged = self.session.concept(key.concept_id), protocol.of_kind(key.of)
        phrase = concept.class_noun if key.kind == "class" else concept.phrase
        self._refuse_unread(key.tree, judged.prompts, phrase if key.kind == "class" else written_out(concept))
        prompts = tuple(fill_templates(judged.prompts, phrase))
        if key.kind == "metric":
            return [ImageSpan(key.tree, prompts, 0, key.images, digest_of(protocol.scores))]
        stored, whole = self._evaluations.scores(key), self._evaluations.scores(key, others=False)
        first = stored.images if stored else 0
        last = max(key.images, whole.images if whole else 0)  # what has been judged before stays in the answer
        return [ImageSpan(key.tree, prompts, first, last, digest_of(protocol.scores))]

    def _refuse_unread(self, tree: Tree, templates: Sequence[str], words: str) -> None:
        """Refuse prompts whose pictures cannot show what they name: it stands beyond what the text encoder reads."""
        tokenizer = self.session.base.model.pipeline.tokenizer
        upto = [fill_template(template.partition("{}")[0] + "{}", words) for template in templates]
        if any(over := count_over(tokenizer, upto)):  # a token that is not in the vocabulary yet counts as its letters
            self.activate(tree)
            over = count_over(tokenizer, upto)
        for template, count in zip(templates, over, strict=True):
            if count:
                raise SettingsError(
                    f"the judge prompt {template[:60]!r} names the concept beyond the {tokenizer.model_max_length} "
                    f"tokens that the text encoder reads: its pictures cannot show {words}",
                    "Shorten the prompt, or name the concept nearer to its beginning",
                    name="prompts",
                    value=template,
                )

    def _answer(self, key: EvaluationKey, spans: Sequence[ImageSpan]) -> None:
        if key.kind == "zero-shot":
            before, after = (self._features.features(span)["clip"] for span in spans)
            flat = zero_shot_drift(before.reshape(-1, before.shape[-1]), after.reshape(-1, after.shape[-1]))
            self._store(key, {"zero_shot": flat.reshape(before.shape[:2]).tolist()}, BASE_NAME)
            return
        if key.kind == "erased":
            self._answer_erased(key, self._features.features(spans[0])["clip"])
            return
        if key.kind == "metric":
            self._answer_plugin(key, self._features.features(spans[0]))
            return
        if self._evaluations.has(key):
            return  # a larger one of the same scores has just been stored
        scores, first = self._score(key, self._features.features(spans[0])), spans[0].first
        stored = self._evaluations.scores(key) if first else None
        self._store(key, (stored.first(first).joined(scores) if stored else scores).to_json())

    def _answer_erased(self, key: EvaluationKey, features: NDArray[np.float32]) -> None:
        """Store which pictures of erased nouns, features (P, n, D), are called by them among all nouns of the base."""
        erased = self._evaluations.protocol.erased
        named = nouns_called(self.session.base, features, erased)
        own = np.repeat(erased, len(features) // len(erased))
        self._store(key, {"erased": (named == own[:, None]).astype(float).tolist()}, BASE_NAME)

    def _answer_plugin(self, key: EvaluationKey, features: Features) -> None:
        """Store a plugin's metric, or remember why it has no answer."""
        metric = self._metrics[key.metric]
        texts = self._texts_of(key.concept_id)
        try:
            scores = foreign_scores(key.metric, metric, features, self._references_of(key.concept_id), texts)
        except MetricError as error:
            self.failed[key.metric, key.concept_id] = error.message
            return
        self._store(key, {key.metric: scores.tolist()})

    def _texts_of(self, concept_id: str) -> NDArray[np.float32]:
        """Features in CLIP of the judge prompts with the class noun alone."""
        concept = self.session.concept(concept_id)
        prompts = tuple(fill_templates(self._evaluations.protocol.of_kind(concept.kind).prompts, concept.class_noun))
        if prompts not in self._texts:
            self._texts[prompts] = self.session.base.clip.text_features(prompts)
        return self._texts[prompts]

    def _score(self, key: EvaluationKey, features: Features) -> Scores:
        scores = score_features(features, self._references_of(key.concept_id), self._texts_of(key.concept_id))
        return Scores(scores.identity, scores.clip_i, scores.clip_t, self._to_others(key, features["clip"]))

    def _to_others(self, key: EvaluationKey, features: NDArray[np.float32]) -> dict[str, Array]:
        """CLIP-I of a concept's images with the references of others, as far as those have any in CLIP."""
        flat = features.reshape(-1, features.shape[-1])
        references = {other: self._references_of(other).get("clip") for other in key.others}
        return {
            other: image_similarities(flat, found).reshape(features.shape[:2])
            for other, found in references.items()
            if found is not None
        }

    def _references_of(self, concept_id: str) -> dict[str, NDArray[np.float32]]:
        if concept_id not in self._references:
            found = self.session.references_found(concept_id)
            self._references[concept_id] = {
                name: features for name, features in found.items() if not isinstance(features, MetricError)
            }
        return self._references[concept_id]

    def _drifts(self, keys: Sequence[EvaluationKey]) -> None:
        moments: dict[tuple[Tree, str], Moments] = {}
        for key in keys:  # all moments of a tree first: they need its tokens in the live model
            self.activate(key.tree)
            templates = self._evaluations.protocol.of_kind(key.of).prompts
            prompts = fill_templates(templates, self.session.concept(key.concept_id).phrase)
            moments[key.tree, key.concept_id] = prompt_moments(self.session.base.model.pipeline, prompts)
        for key in keys:
            assert key.baseline is not None
            now, then = self.weights(key.tree), self.weights(key.baseline)
            drift = kv_drift(now, then, moments[key.tree, key.concept_id])
            if math.isfinite(drift):  # what is no number is not stored, and so cannot be decided on
                self._store(key, {"drift": drift})

    def _store(self, key: EvaluationKey, scores: dict[str, object], name: str = "") -> None:
        self._evaluations.add(key, name or self.session.concept(key.concept_id).name, scores)
        self.stored.append(key.tree.id)


def written_out(concept: ConceptWeights) -> str:
    """A concept's phrase as it is read: all vectors of its token, and the noun."""
    return " ".join((*concept.rows, concept.class_noun))


def open_evaluator(
    session: Session | None, opened: partial[Session], evaluations: Evaluations, stages: Stages, progress: Progress
) -> Evaluator:
    """An evaluator on an open session or, where there is none, on one that is opened now."""
    protocol: Protocol = evaluations.protocol
    if session is None:
        progress.stage("load the model")
        with stages.measure("load"):
            session = opened()
            _ = session.base.encoders
    return Evaluator(session.judged_by(protocol.encoder), evaluations, stages, progress)
