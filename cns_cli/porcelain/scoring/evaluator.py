"""Answering what a check wants to know: images, features and weights become evaluations of the registry.

All wants of one round are answered together: their images are made a tree at a time, whatever concept they are of, so
that a batch is always full; the features of references and of texts are computed once; no tree is composed twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cns.compose import Weights
from cns.drift import Moments, kv_drift, prompt_moments
from cns.errors import MetricError
from cns.metrics import Metric, image_similarities, metric_named, zero_shot_drift
from cns.templates import fill_templates
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.models.stored import tree_id
from cns_cli.porcelain.scoring.features import Gallery, Shot
from cns_cli.porcelain.scoring.judging import Features, foreign_scores, score_features
from cns_cli.porcelain.scoring.keys import BASE_NAME, Desk, Want
from cns_cli.porcelain.scoring.protocol import Protocol, digest_of
from cns_cli.porcelain.scoring.scores import Array, Scores
from cns_cli.progress import Progress, Stages
from registry.objects import Evaluation, Tree

WEIGHTS_KEPT = 10**9
"""Bytes of composed weights that one check keeps: 13 trees of Stable Diffusion 1.x."""


class Examiner:
    """Computes evaluations and stores them.

    Args:
        session: The registry with its base loaded, under the protocol's judges.
        desk: Where evaluations are looked up and put.
        stages: Told how long each stage took.
        progress: Told of images.
    """

    def __init__(self, session: Session, desk: Desk, stages: Stages, progress: Progress) -> None:
        self.session = session
        self._desk, self._stages, self._progress = desk, stages, progress
        self._composed: dict[str, Weights] = {}
        self._live = ""
        self._references: dict[str, dict[str, NDArray[np.float32]]] = {}
        self._texts: dict[tuple[str, ...], NDArray[np.float32]] = {}
        self._metrics: dict[str, Metric] = {}
        self._total = 0
        self._gallery = Gallery(
            session.bench, self.activate, desk.protocol.seed, session.cache / "generated", stages, self._count
        )
        self.stored: list[str] = []
        self.failed: dict[tuple[str, str], str] = {}
        """Why a plugin's metric could not be computed, by its name and the concept's id."""

    @property
    def images_made(self) -> int:
        """Images that were generated."""
        return self._gallery.made

    def examine(self, wants: Sequence[Want]) -> None:
        """Compute and store what the desk lacks of these wants."""
        lacking = [want for want in wants if not self._desk.has(want)]
        for name in {want.metric for want in lacking if want.kind == "metric"}:
            self._metrics[name] = metric_named(name)  # a plugin that cannot be loaded must not cost images
        lacking.sort(key=lambda want: -want.images)  # the base's own score may be part of a larger want
        plans = [(want, self._shots(want)) for want in lacking if want.kind != "drift"]
        shots = [shot for _, found in plans for shot in found]
        self._total = self._gallery.made + self._gallery.missing(shots)
        if self._total > self._gallery.made:
            self._progress.stage("generate and judge", self._total)
        self._gallery.prepare(shots)
        with self._stages.measure("encode"):
            for want, found in plans:
                self._answer(want, found)
        with self._stages.measure("load"):
            self._drifts([want for want in lacking if want.kind == "drift"])

    def weights(self, tree: Tree) -> Weights:
        """Composed weights of a tree, without touching the live model."""
        found = self._composed.get(tree_id(tree))
        if found is None:
            found = self.session.bench.model.compose(list(self.session.concepts(tree).values()))
            self._remember(tree, found)
        return found

    def activate(self, tree: Tree) -> None:
        """Make the live model a tree."""
        with self._stages.measure("load"):
            if self._live == tree_id(tree):
                return
            if tree_id(tree) in self._composed:
                self.session.write(tree, self._composed[tree_id(tree)])
            else:
                self._remember(tree, self.session.set_tree(tree))
            self._live = tree_id(tree)

    def _remember(self, tree: Tree, weights: Weights) -> None:
        size = sum(weight.numel() * weight.element_size() for weight in weights.values())
        if size * (len(self._composed) + 1) <= WEIGHTS_KEPT:
            self._composed[tree_id(tree)] = weights

    def _count(self, made: int) -> None:
        self._progress.step(made)

    def _shots(self, want: Want) -> list[Shot]:
        """The images that a want lacks; of "zero-shot" those of the base, too."""
        protocol = self._desk.protocol
        if want.kind == "zero-shot":
            digest = self._desk.digest(want)
            empty = Tree(want.tree.base, {})
            return [Shot(one, protocol.zero_shot_prompts, 0, want.images, digest) for one in (empty, want.tree)]
        concept, judged = self.session.concept(want.concept_id), protocol.of_kind(want.of)
        if want.kind == "metric":
            prompts = tuple(fill_templates(judged.prompts, concept.phrase))
            return [Shot(want.tree, prompts, 0, want.images, digest_of(protocol.scores))]
        phrase = concept.phrase if want.kind == "concept" else concept.class_noun
        stored, whole = self._desk.scores(want), self._desk.scores(want, others=False)
        first = stored.images if stored else 0
        last = max(want.images, whole.images if whole else 0)  # what has been judged before stays in the answer
        prompts = tuple(fill_templates(judged.prompts, phrase))
        return [Shot(want.tree, prompts, first, last, digest_of(protocol.scores))]

    def _answer(self, want: Want, shots: Sequence[Shot]) -> None:
        if want.kind == "zero-shot":
            before, after = (self._gallery.features(shot)["clip"] for shot in shots)
            flat = zero_shot_drift(before.reshape(-1, before.shape[-1]), after.reshape(-1, after.shape[-1]))
            self._store(want, {"zero_shot": flat.reshape(before.shape[:2]).tolist()}, BASE_NAME)
            return
        if want.kind == "metric":
            self._answer_plugin(want, self._gallery.features(shots[0]))
            return
        if self._desk.has(want):
            return  # a larger want of the same scores has just been answered
        scores, first = self._score(want, self._gallery.features(shots[0])), shots[0].first
        stored = self._desk.scores(want) if first else None
        self._store(want, (stored.first(first).joined(scores) if stored else scores).to_json())

    def _answer_plugin(self, want: Want, features: Features) -> None:
        """Store a plugin's metric, or remember why it has no answer."""
        metric = self._metrics[want.metric]
        texts = self._texts_of(want.concept_id)
        try:
            scores = foreign_scores(want.metric, metric, features, self._references_of(want.concept_id), texts)
        except MetricError as error:
            self.failed[want.metric, want.concept_id] = error.message
            return
        self._store(want, {want.metric: scores.tolist()})

    def _texts_of(self, concept_id: str) -> NDArray[np.float32]:
        """Features in CLIP of the judge prompts with the class noun alone."""
        concept = self.session.concept(concept_id)
        prompts = tuple(fill_templates(self._desk.protocol.of_kind(concept.kind).prompts, concept.class_noun))
        if prompts not in self._texts:
            self._texts[prompts] = self.session.bench.clip.text_features(prompts)
        return self._texts[prompts]

    def _score(self, want: Want, features: Features) -> Scores:
        scores = score_features(features, self._references_of(want.concept_id), self._texts_of(want.concept_id))
        return Scores(scores.identity, scores.clip_i, scores.clip_t, self._to_others(want, features["clip"]))

    def _to_others(self, want: Want, features: NDArray[np.float32]) -> dict[str, Array]:
        """CLIP-I of a concept's images with the references of others, as far as those have any in CLIP."""
        flat = features.reshape(-1, features.shape[-1])
        references = {other: self._references_of(other).get("clip") for other in want.others}
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

    def _drifts(self, wants: Sequence[Want]) -> None:
        moments: dict[tuple[str, str], Moments] = {}
        for want in wants:  # all moments of a tree first: they need its tokens in the live model
            self.activate(want.tree)
            templates = self._desk.protocol.of_kind(want.of).prompts
            prompts = fill_templates(templates, self.session.concept(want.concept_id).phrase)
            moments[want.tree_id, want.concept_id] = prompt_moments(self.session.bench.model.pipeline, prompts)
        for want in wants:
            assert want.baseline is not None
            now, then = self.weights(want.tree), self.weights(want.baseline)
            drift = kv_drift(now, then, moments[want.tree_id, want.concept_id])
            if math.isfinite(drift):  # what is no number is not stored, and so cannot be decided on
                self._store(want, {"drift": drift})

    def _store(self, want: Want, scores: dict[str, object], name: str = "") -> None:
        plan = want.plan(self._desk.protocol)
        put = self.session.repo.objects.put
        name = name or self.session.concept(want.concept_id).name
        evaluation = Evaluation(put(want.tree), want.concept_id, name, plan, digest_of(plan), scores)
        self._desk.shelf.add(evaluation)
        self.stored.append(evaluation.tree)


def open_examiner(
    session: Session | None, opened: partial[Session], desk: Desk, stages: Stages, progress: Progress
) -> Examiner:
    """An examiner on an open session or, where there is none, on one that is opened now."""
    protocol: Protocol = desk.protocol
    if session is None:
        progress.stage("load the model")
        with stages.measure("load"):
            session = opened()
            _ = session.bench.encoders
    return Examiner(session.judged_by(protocol.encoder), desk, stages, progress)
