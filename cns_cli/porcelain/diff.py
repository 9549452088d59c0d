"""`diff`: how the models of two commits differ, in concepts, recorded scores and pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cns_cli.porcelain.pictures.plan import Stop
from cns_cli.progress import Progress
from registry.dag import merge_bases
from registry.errors import RegistryError, UnknownRevision
from registry.repository import Repository
from registry.trees import bare, seen

if TYPE_CHECKING:  # numpy costs 0.1 s
    from cns_cli.porcelain.views.difference import DiffResult, ScoreChange


def diff(start: Path, a: str, b: str | None = None) -> DiffResult:
    """Compare two models.

    Args:
        start: Folder to look for the registry from.
        a: A revision; alone also a range: `A..B` is A and B, `A...B` the merge base of both and B.
        b: A revision; None: HEAD.

    Raises:
        NotARegistry, UnknownRevision, AmbiguousRevision: before anything is compared.
    """
    repo = Repository.discover(start)
    one, other, warnings = sides(repo, a, b)
    from cns_cli.porcelain.views.difference import difference

    found = difference(repo, one, other)
    scores, unread = _scores(repo, found)
    return replace(found, scores=scores, warnings=(*warnings, *unread))


def sheet(start: Path, result: DiffResult, *, n: int, seed: int, device: str, progress: Progress) -> bytes:
    """Draw every concept of the two models with the same prompt and seeds, A's pictures on the left, and return a PNG.

    Args:
        start: Folder to look for the registry from.
        result: What `diff` found.
        n: Pictures of each concept in each model.
        seed: Of the first; picture k takes seed + k.
        device: auto, cpu, cuda or mps.
        progress: Told of progress.

    Raises:
        RegistryError: the two models, or one of them and that of HEAD, stand on different bases, or neither holds a
            concept.
    """
    repo = Repository.discover(start)
    stops = [Stop(one, repo.commit_of(one), repo.tree_of(one)) for one in (result.a.id, result.b.id)]
    if {stop.tree.base for stop in stops} != {repo.tree_of(repo.head().commit).base}:
        raise RegistryError(
            "the models stand on other base models than HEAD; expected one base to draw with", "cns log"
        )
    if not any(stop.tree.concepts for stop in stops):
        raise RegistryError("neither model holds a concept: there is nothing to draw", "cns status")
    progress.stage("load libraries")
    from cns_cli.porcelain.models.session import Session
    from cns_cli.porcelain.pictures.comparison import comparison

    progress.stage("load the model")
    session = Session.open(repo, device, dtype="auto")
    return comparison(session, stops, n=n, seed=seed, progress=progress)


def sides(repo: Repository, a: str, b: str | None) -> tuple[str, str, tuple[str, ...]]:
    """Return the ids of the two commits that are meant, and what the user should know.

    Raises:
        UnknownRevision, AmbiguousRevision: one of the words; of `A...B` also where the two share no commit.
    """
    if b is not None or ".." not in a:
        return repo.resolve(a), repo.resolve(b or "HEAD"), ()
    left, dots, right = a.partition("...") if "..." in a else a.partition("..")
    one, other = repo.resolve(left or "HEAD"), repo.resolve(right or "HEAD")
    if dots == "..":
        return one, other, ()
    bases = merge_bases(one, other, repo.index.parents)
    if not bases:
        reason = "the two share no commit; expected two histories with a merge base"
        raise UnknownRevision(a, reason, f"cns diff {left}..{right}")
    said = f"{left}...{right} has {len(bases)} merge bases, of which {bases[0][:10]} is taken"
    return bases[0], other, (said,) * (len(bases) > 1)


def _scores(repo: Repository, found: DiffResult) -> tuple[tuple[ScoreChange, ...], tuple[str, ...]]:
    """Scores that are stored of both sides under one protocol, and what cannot be read."""
    before, now = (repo.tree_of(one.id) for one in (found.a, found.b))
    both = sorted(before.concepts.keys() & now.concepts.keys())
    pairs = {name: tuple((seen(tree, [name]).id, tree.concepts[name]) for tree in (before, now)) for name in both}
    pairs = {name: (one, other) for name, (one, other) in pairs.items() if one != other}
    if not pairs or before == now:
        return (), ()
    from cns_cli.porcelain.reporting.scores import read_scores
    from cns_cli.porcelain.views.difference import ScoreChange

    stored = read_scores(repo, [pair for two in pairs.values() for pair in two], bare(now).id)
    rows: list[ScoreChange] = []
    for name, (one, other) in pairs.items():
        left, right = stored.by_pair.get(one, {}), stored.by_pair.get(other, {})
        for metric in (metric for metric in left if metric in right):
            images = min(left[metric].shape[1], right[metric].shape[1])
            a, b = (float(side[metric][:, :images].mean()) for side in (left, right))
            count = images * len(left[metric])
            rows.append(ScoreChange(concept=name, metric=metric, a=a, b=b, change=b - a, images=count))
        if one in stored.drift and other in stored.drift:
            a, b = stored.drift[one], stored.drift[other]
            rows.append(ScoreChange(concept=name, metric="drift", a=a, b=b, change=b - a, images=0))
    return tuple(rows), stored.warnings
