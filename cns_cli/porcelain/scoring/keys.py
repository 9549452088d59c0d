"""Evaluation keys: what a check asks about a tree, by which the stored evaluation is found again. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cns.families import COMPANY
from cns.imagescores import Array, Scores
from cns.templates import Kind
from cns_cli.porcelain.scoring.names import package_of
from cns_cli.porcelain.scoring.protocol import Protocol, ProtocolPlan, digest_of
from cns_cli.porcelain.scoring.scores import EvaluationStore
from registry.objects import Evaluation, Tree

BASE_NAME = "base"
"""Concept name of evaluations that are about a whole tree; their concept id is the base's."""


@dataclass(frozen=True)
class EvaluationKey:
    """One evaluation that is asked for.

    Attributes:
        kind: "concept": scores of the concept's phrase; "class": of its class noun alone; "zero-shot": change of
            pictures of other things since the base; "erased": which pictures of erased nouns are still called so;
            "drift": K/V drift on the concept's prompts; "metric": a plugin's metric of images of the concept's phrase;
            "pair": its identity in pictures of it and another.
        tree: The model.
        concept_id: The concept; of "zero-shot" and "erased" the base.
        name: Its name in the tree, for progress.
        images: Images of each prompt, at least.
        others: Ids of concepts whose references the images are compared with, too.
        baseline: Of "drift": the tree that it is measured from.
        since: Of "drift": `baseline` is not the concept's birth, so it is part of the plan.
        metric: Of "metric": its name.
        beside: Of "pair": id of the other concept.
        of: What the concept is; styles are judged on prompts of their own.
    """

    kind: Literal["concept", "class", "zero-shot", "erased", "drift", "metric", "pair"]
    tree: Tree
    concept_id: str
    name: str
    images: int = 0
    others: tuple[str, ...] = ()
    baseline: Tree | None = None
    since: bool = False
    metric: str = ""
    beside: str = ""
    of: Kind = "object"

    @property
    def pictures(self) -> tuple[str, Tree, frozenset[str]]:
        """What tells its pictures from those of other keys."""
        kind = "concept" if self.kind == "metric" else self.kind
        return kind, self.tree, frozenset(filter(None, (self.concept_id, self.beside)))

    def plan(self, protocol: Protocol) -> ProtocolPlan:
        """The protocol that its evaluation names, of a check's protocol."""
        protocol = protocol.of_kind(self.of)
        if self.kind == "drift":
            return protocol.kv_drift(self.baseline.id if self.since and self.baseline else None)
        if self.kind == "metric":  # another version of the package that brings it is another protocol
            return {**protocol.scores, "metric": {"name": self.metric, "package": package_of(self.metric)}}
        if self.kind == "pair":
            company = {"company": COMPANY} if self.tree.compose == "named" else {}
            return {**protocol.scores, "subject": "pair", "beside": self.beside, **company}
        if self.kind == "erased":
            return protocol.erased_nouns
        return {"concept": protocol.scores, "class": protocol.class_noun, "zero-shot": protocol.zero_shot}[self.kind]


class Evaluations:
    """The stored evaluations of one protocol, by key.

    Args:
        store: The evaluations.
        protocol: How the check judges.
    """

    def __init__(self, store: EvaluationStore, protocol: Protocol) -> None:
        self.store = store
        self.protocol = protocol
        self._digests: dict[tuple[str | None, ...], str] = {}

    def digest(self, key: EvaluationKey) -> str:
        """Digest of a key's plan."""
        baseline = key.baseline.id if key.since and key.baseline else None
        what = (key.kind, baseline, key.metric, key.beside, key.of, key.tree.compose)
        if what not in self._digests:
            self._digests[what] = digest_of(key.plan(self.protocol))
        return self._digests[what]

    def scores(self, key: EvaluationKey, *, others: bool = True) -> Scores | None:
        """The largest stored scores of a "concept" or a "class" key, with its others unless told not to."""
        wanted = key.others if others else ()
        return self.store.scores(key.tree.id, key.concept_id, self.digest(key), wanted)

    def value(self, key: EvaluationKey) -> Array | None:
        """The stored value of a "drift" (one number), or of a key of another kind than scores, (P, n)."""
        name = key.metric or key.kind.replace("-", "_")
        return self.store.value(key.tree.id, key.concept_id, self.digest(key), name)

    def add(self, key: EvaluationKey, name: str, scores: dict[str, Any]) -> None:
        """Store what was computed for a key, see `EvaluationStore.add`; `name` is the concept's own."""
        plan = key.plan(self.protocol)
        self.store.add(key.tree, Evaluation(key.tree.id, key.concept_id, name, plan, digest_of(plan), scores))

    def pair(self, side: Sequence[EvaluationKey], images: int) -> tuple[Array, Array] | None:
        """Of what is stored as it is: the values of two keys, as many images of each prompt; None where some lack."""
        before, after = (self.value(key) for key in side)
        if before is None or after is None or min(before.shape[1], after.shape[1]) < images:
            return None
        return before[:, :images], after[:, :images]

    def images(self, key: EvaluationKey) -> int:
        """How many images of each prompt are stored for a key."""
        if key.kind in ("zero-shot", "erased", "metric", "pair"):
            found = self.value(key)
            return 0 if found is None or found.ndim != 2 else int(found.shape[1])
        scores = self.scores(key)
        return 0 if scores is None else scores.images

    def pictures(self, keys: Iterable[EvaluationKey], *, lacking: bool = False) -> int:
        """How many pictures keys rest on, or how many of them have to be drawn; what keys share counts once."""
        drawn: dict[object, int] = {}
        for key in keys:
            of_tree = {
                "zero-shot": 2 * len(self.protocol.zero_shot_prompts),
                "erased": len(self.protocol.erased_prompts),
            }
            prompts = of_tree.get(key.kind, len(self.protocol.of_kind(key.of).prompts))
            images = key.images - (self.images(key) if lacking else 0)
            drawn[key.pictures] = max(drawn.get(key.pictures, 0), prompts * images)
        return sum(drawn.values())

    def has(self, key: EvaluationKey) -> bool:
        """Whether nothing must be computed for a key."""
        return self.value(key) is not None if key.kind == "drift" else self.images(key) >= key.images
