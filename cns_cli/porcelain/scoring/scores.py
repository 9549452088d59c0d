"""Where scores are kept: the evaluations of a registry, each read at most once. No torch.

How many images were made is not part of a protocol, so evaluations of one protocol differ in their number of images
only: the largest one that has what is asked for is taken.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable

import numpy as np

from cns.errors import MetricError
from cns.imagescores import Array, Scores
from registry.errors import DiskFailed
from registry.objects import Evaluation, Tree
from registry.refs import EVALUATIONS
from registry.repository import Repository

READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}


class EvaluationStore:
    """The stored evaluations of a registry, each read at most once.

    Args:
        repo: The registry.

    Attributes:
        unstored: Why evaluations are known to this store alone; empty where all are in the registry.
    """

    def __init__(self, repo: Repository) -> None:
        self.repo = repo
        self.unstored = ""
        self.forget()

    def forget(self) -> None:
        """Forget what was read: others have stored something since."""
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
        return [one for one in self.of(tree_id) if (one.concept, one.protocol_digest) == (concept_id, digest)]

    def add(self, tree: Tree, evaluation: Evaluation) -> None:
        """Store an evaluation of a tree, durably; where nothing may be written it is known here, and the answer stands.

        Raises:
            DiskFailed: the disk is full or broken.
        """
        known = self.of(evaluation.tree)
        try:
            self.repo.objects.put(tree)
            self.repo.add_evaluation(evaluation)
        except DiskFailed as error:
            if error.errno not in READ_ONLY:
                raise
            self.unstored = error.message
        known.append(evaluation)

    def of(self, tree_id: str) -> list[Evaluation]:
        """All evaluations of a tree."""
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
