"""Scores of one concept in one tree, and where they are kept: read, joined and chosen without torch.

How many images were made is not part of a protocol, so evaluations of one protocol differ in their number of images
only: the largest one that has what is asked for is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cns.errors import MetricError
from registry.objects import Evaluation
from registry.refs import EVALUATIONS
from registry.repository import Repository

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """Cosines of generated images; each (P, n): P judge prompts, n images of each.

    Attributes:
        identity: With the references, in the identity encoder; None where there is none, or no references in it.
        clip_i: With the references, in CLIP; None where there are no references in it.
        clip_t: With the prompt's text, special token taken out.
        others: Concept id -> with that concept's references, in CLIP; only where it was asked for.
    """

    identity: Array | None
    clip_i: Array | None
    clip_t: Array
    others: Mapping[str, Array] = field(default_factory=dict)

    @property
    def main(self) -> Array:
        """The base's main score: identity where it has that judge, else CLIP-I.

        Raises:
            MetricError: there is neither.
        """
        if self.identity is None and self.clip_i is None:
            raise MetricError("no score against the references: expected features of an encoder", metric="id")
        return self.clip_i if self.identity is None else self.identity  # type: ignore[return-value]

    @property
    def images(self) -> int:
        """Images of each prompt."""
        return int(self.clip_t.shape[1])

    @property
    def prompts(self) -> int:
        """Judge prompts."""
        return int(self.clip_t.shape[0])

    def first(self, images: int) -> Scores:
        """The scores of the first `images` images of each prompt."""
        return self._each(lambda one, _: one[:, :images], self)

    def joined(self, more: Scores) -> Scores:
        """These scores followed by those of further images; what only one of them has is left out."""
        return self._each(lambda one, two: np.concatenate([one, two], axis=1), more)

    def to_json(self) -> dict[str, Any]:
        """Plain values, as an evaluation stores them."""
        named = {"identity": self.identity, "clip_i": self.clip_i, "clip_t": self.clip_t}
        plain: dict[str, Any] = {name: scores.tolist() for name, scores in named.items() if scores is not None}
        if self.others:
            plain["others"] = {concept: scores.tolist() for concept, scores in self.others.items()}
        return plain

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Scores:
        """Read back what `to_json` gave.

        Raises:
            MetricError: it is not that: another shape, or a value that is no cosine.
        """
        others = data.get("others", {})
        if not isinstance(others, Mapping):
            raise _damaged("others")
        text = _matrix(data.get("clip_t"), None)
        assert text is not None
        return cls(
            _matrix(data["identity"], text.shape) if "identity" in data else None,
            _matrix(data["clip_i"], text.shape) if "clip_i" in data else None,
            text,
            {str(concept): _matrix(scores, text.shape) for concept, scores in others.items()},
        )

    def _each(self, join: Any, more: Scores) -> Scores:
        def both(one: Array | None, two: Array | None) -> Array | None:
            return None if one is None or two is None else join(one, two)

        return Scores(
            both(self.identity, more.identity),
            both(self.clip_i, more.clip_i),
            join(self.clip_t, more.clip_t),
            {name: join(one, more.others[name]) for name, one in self.others.items() if name in more.others},
        )


class EvaluationStore:
    """The stored evaluations of a registry, each read at most once.

    Args:
        repo: The registry.
    """

    def __init__(self, repo: Repository) -> None:
        self.repo = repo
        self._read: dict[str, list[Evaluation]] = {}
        self._names: dict[str, list[str]] | None = None

    def scores(self, tree_id: str, concept_id: str, digest: str, others: Iterable[str] = ()) -> Scores | None:
        """The largest stored scores of a concept in a tree under a protocol that hold `others`; None without any.

        What another program stored under this name and is no matrix of cosines counts as not stored.
        """
        wanted, best = set(others), None
        for evaluation in self.find(tree_id, concept_id, digest):
            try:
                found = Scores.from_json(evaluation.scores)
            except MetricError:
                continue
            if wanted <= found.others.keys() and (best is None or found.images > best.images):
                best = found
        return best

    def value(self, tree_id: str, concept_id: str, digest: str, name: str) -> Array | None:
        """The largest stored values under one name, such as "drift" (one number) or "zero_shot" (P, n)."""
        found = []
        for evaluation in self.find(tree_id, concept_id, digest):
            values = np.asarray(evaluation.scores.get(name, ()), dtype=object)
            if values.size and all(isinstance(one, (int, float)) for one in values.flat):
                found.append(values.astype(np.float64))
        return max(found, key=lambda one: one.size, default=None)

    def find(self, tree_id: str, concept_id: str, digest: str) -> list[Evaluation]:
        """All evaluations of a concept in a tree under a protocol, by their ids."""
        return [one for one in self._of(tree_id) if (one.concept, one.protocol_digest) == (concept_id, digest)]

    def add(self, evaluation: Evaluation) -> None:
        """Store an evaluation, durably."""
        known = self._of(evaluation.tree)
        self.repo.add_evaluation(evaluation)
        known.append(evaluation)

    def _of(self, tree_id: str) -> list[Evaluation]:
        if self._names is None:
            self._names = {}
            for name in self.repo.refs.names(EVALUATIONS):
                self._names.setdefault(name.removeprefix(EVALUATIONS).partition("/")[0], []).append(name)
        if tree_id not in self._read:
            names = self._names.get(tree_id, [])
            self._read[tree_id] = [self.repo.objects.get(self.repo.refs.get(name) or "", Evaluation) for name in names]
        return self._read[tree_id]


def stored_scores(repo: Repository, tree_id: str, concept_id: str, digest: str) -> Scores | None:
    """The stored scores of a concept in a tree under a protocol, or None; nothing is computed.

    Args:
        repo: The registry.
        tree_id: Id of a tree that holds the concept; of the empty tree for the base's scores.
        concept_id: Id of the concept.
        digest: `protocol.digest_of` a plan, as `check.protocol_for` makes it: its `scores`, or its `class_noun`.
    """
    return EvaluationStore(repo).scores(tree_id, concept_id, digest)


def _matrix(values: Any, shape: tuple[int, ...] | None) -> Array:
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise _damaged(values) from error
    if found.ndim != 2 or found.size == 0 or (shape is not None and found.shape != shape):
        raise _damaged(values)
    if not (np.isfinite(found).all() and np.abs(found).max() <= 1.01):
        raise _damaged(values)
    return found


def _damaged(values: object) -> MetricError:
    return MetricError(f"stored scores {str(values)[:40]}: expected (P, n) cosines of one shape", metric="scores")
