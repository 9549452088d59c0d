"""How the models of two commits differ: concepts that came, went or changed, and the company that they keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cns_cli.porcelain.models.deltas import stored_delta
from cns_cli.porcelain.result import Result
from cns_cli.porcelain.views.commits import CommitView, commit_view, numbers, record_data, refs_by_commit
from cns_cli.porcelain.views.concepts import ConceptView, concept_views
from cns_cli.porcelain.views.overlaps import MatrixOverlap, OverlapView, overlap_views
from registry.repository import Repository
from registry.trees import changes


@dataclass(frozen=True, kw_only=True)
class ChangedConcept(Result):
    """A name under which the two models hold two concepts.

    Attributes:
        before, now: The concept in A and in B.
        recorded: Figure that the commits of both recorded -> its values there, such as identity_after.
        overlap: The deltas, that of A being "this one"; None where A and B stand on different bases.
        matrices: The same in every matrix that one of the two changes.
    """

    name: str
    before: ConceptView
    now: ConceptView
    recorded: Mapping[str, tuple[float, float]]
    overlap: OverlapView | None
    matrices: tuple[MatrixOverlap, ...]


@dataclass(frozen=True, kw_only=True)
class ContextChange(Result):
    """A concept of both models whose company became another: what it lacks and whom it was never trained beside.

    Each is the concept as `status` shows it, in A and in B.
    """

    before: ConceptView
    now: ConceptView


@dataclass(frozen=True, kw_only=True)
class ScoreChange(Result):
    """Means of one score of a concept in the two models, over the same prompts and seeds.

    Attributes:
        metric: "identity", "clip_i", "clip_t", or "drift": the K/V drift since the concept's birth.
        change: `b` - `a`.
        images: How many images each mean is over; 0 for the drift, which needs none.
    """

    concept: str
    metric: str
    a: float
    b: float
    change: float
    images: int


@dataclass(frozen=True, kw_only=True)
class DiffResult(Result):
    """How the model of B differs from that of A.

    Attributes:
        a, b: The commits.
        same_base: Both stand on one base model.
        added: Concepts of B whose name A lacks; `removed`: concepts of A whose name B lacks.
        changed: Names that both have, with another concept.
        kept: Names of concepts that are the same, to the bit.
        context: Concepts that are the same and keep other company.
        scores: What evaluations of both models hold of concepts that both have; nothing is computed.
    """

    a: CommitView
    b: CommitView
    same_base: bool
    added: tuple[ConceptView, ...]
    removed: tuple[ConceptView, ...]
    changed: tuple[ChangedConcept, ...]
    kept: tuple[str, ...]
    context: tuple[ContextChange, ...]
    scores: tuple[ScoreChange, ...] = ()
    warnings: tuple[str, ...] = ()


def difference(repo: Repository, a: str, b: str) -> DiffResult:
    """Compare the models of two commits, but for scores.

    Raises:
        ObjectMissing, ObjectCorrupt, CodecError: A tree, a concept, or the delta of one that changed cannot be read.
    """
    refs = refs_by_commit(repo)
    trees = [repo.tree_of(one) for one in (a, b)]
    before, now = ({view.name: view for view in concept_views(repo, one)} for one in (a, b))
    found = changes(trees[0].concepts, trees[1].concepts)
    same_base = trees[0].base == trees[1].base
    kept = [name for name in now if name in before and name not in found.replaced]
    return DiffResult(
        a=commit_view(repo, a, repo.commit_of(a), refs),
        b=commit_view(repo, b, repo.commit_of(b), refs),
        same_base=same_base,
        added=tuple(view for name, view in now.items() if name in found.added),
        removed=tuple(view for name, view in before.items() if name in found.removed),
        changed=tuple(_changed(repo, before[name], now[name], same_base=same_base) for name in found.replaced),
        kept=tuple(kept),
        context=tuple(
            ContextChange(before=before[name], now=now[name])
            for name in kept
            if (before[name].missing, before[name].strangers) != (now[name].missing, now[name].strangers)
        ),
    )


def _changed(repo: Repository, before: ConceptView, now: ConceptView, *, same_base: bool) -> ChangedConcept:
    deltas = [stored_delta(repo, view.id) for view in (before, now)] if same_base else []
    overlap, matrices = overlap_views(*deltas) if deltas else (None, ())
    then, today = (_recorded(repo, view.commit) for view in (before, now))
    return ChangedConcept(
        name=now.name,
        before=before,
        now=now,
        recorded={key: (then[key], today[key]) for key in then if key in today},
        overlap=overlap,
        matrices=matrices,
    )


def _recorded(repo: Repository, commit: str | None) -> dict[str, float]:
    return numbers(record_data(repo, repo.commit_of(commit)).get("metrics")) if commit else {}
