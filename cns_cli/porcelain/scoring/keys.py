"""What a check wants to know about a tree: each want is one evaluation, by which it is found again. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from cns.templates import Kind
from cns_cli.porcelain.models.stored import tree_id
from cns_cli.porcelain.scoring.names import package_of
from cns_cli.porcelain.scoring.protocol import Plan, Protocol, digest_of
from cns_cli.porcelain.scoring.scores import Array, Scores, Shelf
from registry.objects import Tree

BASE_NAME = "base"
"""Concept name of evaluations that are about a whole tree; their concept id is the base's."""


@dataclass(frozen=True)
class Want:
    """One evaluation that is wanted.

    Attributes:
        kind: "concept": scores of the concept's phrase; "class": of its class noun alone; "zero-shot": change of
            pictures of other things since the base; "drift": K/V drift on the concept's prompts; "metric": a plugin's
            metric of images of the concept's phrase.
        tree: The model.
        concept_id: The concept; of "zero-shot" the base.
        name: Its name in the tree, for progress.
        images: Images of each prompt, at least.
        others: Ids of concepts whose references the images are compared with, too.
        baseline: Of "drift": the tree that it is measured from.
        since: Of "drift": `baseline` is not the concept's birth, so it is part of the plan.
        metric: Of "metric": its name.
        of: What the concept is; styles are judged on prompts of their own.
    """

    kind: Literal["concept", "class", "zero-shot", "drift", "metric"]
    tree: Tree
    concept_id: str
    name: str
    images: int = 0
    others: tuple[str, ...] = ()
    baseline: Tree | None = None
    since: bool = False
    metric: str = ""
    of: Kind = "object"

    @cached_property
    def tree_id(self) -> str:
        """Id of the tree."""
        return tree_id(self.tree)

    def plan(self, protocol: Protocol) -> Plan:
        """The protocol that its evaluation names, of a check's protocol."""
        protocol = protocol.of_kind(self.of)
        if self.kind == "drift":
            return protocol.kv_drift(tree_id(self.baseline) if self.since and self.baseline else None)
        if self.kind == "metric":  # another version of the package that brings it is another protocol
            return {**protocol.scores, "metric": {"name": self.metric, "package": package_of(self.metric)}}
        return {"concept": protocol.scores, "class": protocol.class_noun, "zero-shot": protocol.zero_shot}[self.kind]


class Desk:
    """Looks wants up among the stored evaluations.

    Args:
        shelf: The evaluations.
        protocol: How the check judges.
    """

    def __init__(self, shelf: Shelf, protocol: Protocol) -> None:
        self.shelf = shelf
        self.protocol = protocol
        self._digests: dict[tuple[str | None, ...], str] = {}

    def digest(self, want: Want) -> str:
        """Digest of a want's plan."""
        baseline = tree_id(want.baseline) if want.since and want.baseline else None
        key = (want.kind, baseline, want.metric, want.of)
        if key not in self._digests:
            self._digests[key] = digest_of(want.plan(self.protocol))
        return self._digests[key]

    def scores(self, want: Want, *, others: bool = True) -> Scores | None:
        """The largest stored scores of a "concept" or a "class" want, with its others unless told not to."""
        wanted = want.others if others else ()
        return self.shelf.scores(want.tree_id, want.concept_id, self.digest(want), wanted)

    def value(self, want: Want) -> Array | None:
        """The stored value of a "drift" (one number), a "zero-shot" or a "metric" want, (P, n)."""
        name = {"drift": "drift", "zero-shot": "zero_shot"}.get(want.kind, want.metric)
        return self.shelf.value(want.tree_id, want.concept_id, self.digest(want), name)

    def pair(self, side: Sequence[Want], images: int) -> tuple[Array, Array] | None:
        """Of a plugin's metric: the stored values of two wants, as many images of each prompt; None where some lack."""
        before, after = (self.value(want) for want in side)
        if before is None or after is None or min(before.shape[1], after.shape[1]) < images:
            return None
        return before[:, :images], after[:, :images]

    def images(self, want: Want) -> int:
        """How many images of each prompt are stored for a want."""
        if want.kind in ("zero-shot", "metric"):
            found = self.value(want)
            return 0 if found is None or found.ndim != 2 else int(found.shape[1])
        scores = self.scores(want)
        return 0 if scores is None else scores.images

    def has(self, want: Want) -> bool:
        """Whether nothing must be computed for a want."""
        return self.value(want) is not None if want.kind == "drift" else self.images(want) >= want.images
