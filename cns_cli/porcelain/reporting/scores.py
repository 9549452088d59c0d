"""The evaluations that a registry holds of one lineage, read once and with care, for a report.

Scores are compared within one protocol only, so one is chosen: the one that covers most of the lineage. Evaluations may
come from others: one that is damaged or of another shape counts as not there, with a warning. numpy alone; nothing is
generated and nothing is written here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cns import codec
from cns.errors import CodecError, MetricError
from cns.imagescores import Scores
from cns.overlap import overlap
from cns_cli.porcelain.models.deltas import stored_delta
from cns_cli.porcelain.reporting.data import ConceptFacts
from cns_cli.porcelain.scoring.protocol import digest_of
from cns_cli.porcelain.views.commits import numbers
from registry.errors import RegistryError
from registry.objects import Evaluation
from registry.refs import EVALUATIONS
from registry.repository import Repository

Array = NDArray[np.float64]
Pair = tuple[str, str]
"""(tree id, concept id)."""

ByMetric = dict[str, Array]
"""Metric -> (P, n): cosines of n images of each of P prompts."""


@dataclass(frozen=True)
class LineageScores:
    """What is stored of one lineage under one protocol.

    Attributes:
        by_pair: Scores of a concept in a tree.
        by_noun: Concept -> scores of its class noun alone on the base.
        drift: K/V drift since birth of a concept in a tree.
        protocol, digest: What the scores depend on; empty when nothing is stored.
        others: Evaluations that were made under other protocols.
        warnings: What could not be read.
    """

    by_pair: Mapping[Pair, ByMetric] = field(default_factory=dict)
    by_noun: Mapping[str, ByMetric] = field(default_factory=dict)
    drift: Mapping[Pair, float] = field(default_factory=dict)
    protocol: Mapping[str, Any] = field(default_factory=dict)
    digest: str = ""
    others: int = 0
    warnings: tuple[str, ...] = ()


def read_scores(repo: Repository, pairs: Iterable[Pair], empty_tree: str, digest: str = "") -> LineageScores:
    """Read what is stored of these pairs, under the protocol that covers most of them.

    Args:
        repo: The registry.
        pairs: Trees with the concepts that are looked for in them.
        empty_tree: The base without a concept, on which the class noun alone is scored.
        digest: Take this protocol instead.
    """
    wanted = set(pairs)
    found, warnings = _evaluations(repo, {tree for tree, _ in wanted} | {empty_tree})
    main = [one for one in found if (one.tree, one.concept) in wanted and "clip_t" in one.scores and _plain(one)]
    chosen = digest or _most_covering(main)
    protocol = next((_shared(one) for one in main if _digest(one) == chosen), {})
    by_pair: dict[Pair, ByMetric] = {}
    by_noun: dict[str, ByMetric] = {}
    for one in main:
        if _digest(one) == chosen:
            _keep_longer(by_pair, (one.tree, one.concept), one, warnings)
    for one in found:
        if one.tree == empty_tree and _is_noun_under(one, protocol):
            _keep_longer(by_noun, one.concept, one, warnings)
    return LineageScores(
        by_pair=by_pair,
        by_noun=by_noun,
        drift={(one.tree, one.concept): float(one.scores["drift"]) for one in found if _is_drift(one)},
        protocol=protocol,
        digest=chosen,
        others=sum(_digest(one) != chosen for one in main),
        warnings=tuple(warnings),
    )


def _evaluations(repo: Repository, trees: set[str]) -> tuple[list[Evaluation], list[str]]:
    """Read every evaluation of these trees; a damaged one becomes a warning."""
    found, warnings = [], []
    for name in repo.refs.names(EVALUATIONS):
        if name.removeprefix(EVALUATIONS).split("/")[0] not in trees:
            continue
        try:
            found.append(repo.objects.get(repo.refs.get(name) or "", Evaluation))
        except RegistryError as error:
            warnings.append(f"an evaluation cannot be read and counts as not there: {error.message}")
    return found, warnings


def _shared(one: Evaluation) -> dict[str, Any]:
    """The protocol without what styles have beside it, prompts of their own: one check judges both kinds."""
    return {key: value for key, value in one.protocol.items() if key != "style"}


def _digest(one: Evaluation) -> str:
    """Digest of what a style's scores share with an object's of the same check."""
    return digest_of(_shared(one)) if "style" in one.protocol else one.protocol_digest


def _plain(one: Evaluation) -> bool:
    """Whether it is a concept's own: not its class noun's, not another kind of measurement."""
    return "subject" not in one.protocol and "kind" not in one.protocol


def _is_noun_under(one: Evaluation, protocol: Mapping[str, Any]) -> bool:
    """Whether it scores the class noun alone, everything else being as in `protocol`."""
    rest = {key: value for key, value in _shared(one).items() if key != "subject"}
    return bool(protocol) and one.protocol.get("subject") == "class" and rest == protocol


def _is_drift(one: Evaluation) -> bool:
    value = one.scores.get("drift")
    since_birth = one.protocol.get("kind") == "kv-drift" and "baseline" not in one.protocol
    return since_birth and isinstance(value, (int, float)) and not isinstance(value, bool)


def _most_covering(main: list[Evaluation]) -> str:
    """Digest of the protocol under which most pairs are scored; of equals the greatest, so that no run differs."""
    pairs = {(_digest(one), one.tree, one.concept) for one in main}
    counts = Counter(digest for digest, _, _ in pairs)
    return max(counts, key=lambda digest: (counts[digest], digest), default="")


def _keep_longer(kept: dict[Any, ByMetric], key: Any, one: Evaluation, warnings: list[str]) -> None:
    """Keep the scores with the most images."""
    scores = _arrays(one)
    if scores is None:
        warnings.append(f"the scores of {one.concept_name} are no tables of cosines and count as not there")
    elif key not in kept or scores["clip_t"].shape[1] > kept[key]["clip_t"].shape[1]:
        kept[key] = scores


def _arrays(one: Evaluation) -> ByMetric | None:
    """The scores as arrays, or None where they are not what they should be."""
    try:
        found = Scores.from_json(one.scores)
    except MetricError:
        return None
    named = {"identity": found.identity, "clip_i": found.clip_i, "clip_t": found.clip_t}
    return {metric: array for metric, array in named.items() if array is not None}


ColumnPair = tuple[int, int]
"""Columns: the share of the first one's neurons that the second one holds, too."""


def overlaps(
    repo: Repository, columns: Sequence[ConceptFacts], records: Sequence[Mapping[str, Any]], warnings: list[str]
) -> dict[ColumnPair, float]:
    """Return the overlap of every pair of concepts that the revision holds.

    Args:
        repo: The registry.
        columns: Concepts, in the order in which they came.
        records: What was recorded with each of them.
        warnings: Told of what cannot be read; such a pair is left out.
    """
    masks = cache(lambda place: _mask(repo, columns[place].id, warnings))
    found: dict[ColumnPair, float] = {}
    current = [place for place, column in enumerate(columns) if column.current]
    for later in current:
        recorded = numbers(records[later].get("overlap"))
        for earlier in (place for place in current if place < later):
            share = recorded.get(columns[earlier].name)
            sizes = columns[later].neurons, columns[earlier].neurons
            if share is not None and 0 <= share <= 1 and sizes[0] and sizes[1]:
                found[later, earlier] = share
                found[earlier, later] = min(1.0, share * sizes[0] / sizes[1])
                continue
            one, other = masks(earlier), masks(later)
            if one is not None and other is not None:
                found[earlier, later] = overlap(one, other).share
                found[later, earlier] = overlap(other, one).share
    return found


def _mask(repo: Repository, concept_id: str, warnings: list[str]) -> codec.Delta | None:
    try:
        return stored_delta(repo, concept_id)
    except (RegistryError, CodecError) as error:
        warnings.append(error.message)
        return None
