"""The forgetting gate: every concept of a revision against its own baseline, image by image.

A concept's baseline is the tree that it was trained on plus itself, found by content. Both are scored under one
protocol with the same seeds. While the gate is undecided the images are doubled, up to a cap, so fewer images can never
make an answer greener.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cns.gate import Outcome, Verdict, decide, paired_drop
from cns_cli.porcelain.judging import Scores, evaluate, protocol_digest
from cns_cli.porcelain.learning import drift_since_birth
from cns_cli.porcelain.options import CheckOptions, CheckResult, CheckRow, Score
from cns_cli.porcelain.session import Session
from cns_cli.progress import NullProgress, Progress
from registry.errors import UnknownConcept
from registry.objects import Tree
from registry.repository import Repository

DOUBLINGS = 2
"""How often an undecided check doubles its images before it says so."""

METRICS = ("identity", "clip_i")
"""What the gate decides on; each must be kept."""

Pair = tuple[Scores, Scores]


def check(options: CheckOptions, progress: Progress | None = None, session: Session | None = None) -> CheckResult:
    """Check a revision for forgetting.

    Args:
        options: Revision, concepts, images, largest drop allowed.
        progress: Told of progress.
        session: An open session to use; opened when None.

    Raises:
        UnknownRevision, UnknownConcept.
        MetricError: A score cannot be computed; the check must then count as failed.
    """
    began = time.monotonic()
    progress = progress or NullProgress()
    repo = session.repo if session else Repository.discover(options.start)
    commit = repo.resolve(options.rev)
    tree = repo.tree_of(commit)
    chosen = _chosen(tree, options.concepts)
    if not chosen:
        return CheckResult(commit=commit, rows=(), passed=True, max_drop=options.max_drop or 0.0, images=0)
    if session is None:
        progress.stage("load the model")
        session = Session.open(repo, options.device)
    defaults = session.bench.family.defaults
    max_drop = defaults.max_drop if options.max_drop is None else options.max_drop
    images = options.images or defaults.check_images
    pairs = {name: _pair(session, tree, concept, images, options.seed, progress) for name, concept in chosen.items()}
    verdicts = _verdicts(pairs, max_drop)
    for _ in range(DOUBLINGS):
        undecided = [name for name in chosen if _outcome(verdicts[name]) is Outcome.INCONCLUSIVE]
        if not undecided:
            break
        for name in undecided:
            twice = 2 * pairs[name][0].images
            pairs[name] = _pair(session, tree, chosen[name], twice, options.seed, progress)
        verdicts = _verdicts(pairs, max_drop)
    now = session.set_tree(tree)
    drift = drift_since_birth(session, chosen, now)
    rows = tuple(_row(name, pairs[name], verdicts[name], drift[name], max_drop) for name in chosen)
    return CheckResult(
        commit=commit,
        rows=rows,
        passed=all(row.verdict == "kept" for row in rows),
        max_drop=max_drop,
        images=max(before.clip_i.size for before, _ in pairs.values()),
        protocol=protocol_digest(session.bench, options.seed),
        elapsed_s=time.monotonic() - began,
    )


def _chosen(tree: Tree, names: tuple[str, ...]) -> dict[str, str]:
    for name in names:
        if name not in tree.concepts:
            raise UnknownConcept(name, list(tree.concepts))
    return {name: tree.concepts[name] for name in sorted(names or tree.concepts)}


def _pair(session: Session, tree: Tree, concept_id: str, images: int, seed: int, progress: Progress) -> Pair:
    """Scores of a concept on its baseline and in the tree."""
    name = session.concept(concept_id).name
    progress.stage(f"judge {name}", 2)
    before = evaluate(session, session.birth_tree(concept_id), concept_id, images, seed)
    progress.step(1)
    after = evaluate(session, tree, concept_id, images, seed)
    progress.step(2)
    return before, after


def _verdicts(pairs: Mapping[str, Pair], max_drop: float) -> dict[str, dict[str, Verdict]]:
    """For each concept and metric, the gate's answer; all concepts of a metric are judged together."""
    by_metric = {}
    for metric in METRICS:
        drops = {name: drop for name, pair in pairs.items() if (drop := _drop(pair, metric)) is not None}
        by_metric[metric] = decide(drops, max_drop) if drops else {}
    return {name: {m: found[name] for m, found in by_metric.items() if name in found} for name in pairs}


def _drop(pair: Pair, metric: str) -> NDArray[np.float64] | None:
    before, after = (getattr(scores, metric) for scores in pair)
    return None if before is None else paired_drop(before, after)


def _outcome(verdicts: Mapping[str, Verdict]) -> Outcome:
    """A concept is kept when every metric says so, and forgotten when one does."""
    outcomes = {verdict.outcome for verdict in verdicts.values()}
    if Outcome.FORGOT in outcomes:
        return Outcome.FORGOT
    return Outcome.INCONCLUSIVE if Outcome.INCONCLUSIVE in outcomes else Outcome.KEPT


def _row(name: str, pair: Pair, verdicts: Mapping[str, Verdict], drift: float, max_drop: float) -> CheckRow:
    scores = {metric: _score(pair, metric, verdicts.get(metric)) for metric in METRICS}
    outcome = _outcome(verdicts)
    reasons = [
        f"{metric.replace('_', '-')} fell by {verdict.drop:.3f}, between {verdict.low:.3f} and {verdict.high:.3f}; "
        f"allowed: {max_drop:g}"
        for metric, verdict in verdicts.items()
        if verdict.outcome is outcome and outcome is not Outcome.KEPT
    ]
    return CheckRow(
        concept=name,
        verdict=outcome.value,
        identity=scores["identity"],
        clip_i=scores["clip_i"],
        drift=drift,
        why="; ".join(reasons),
    )


def _score(pair: Pair, metric: str, verdict: Verdict | None) -> Score | None:
    before, after = (getattr(scores, metric) for scores in pair)
    if before is None or verdict is None:
        return None
    return Score(
        now=float(after.mean()), baseline=float(before.mean()), drop=verdict.drop, low=verdict.low, high=verdict.high
    )
