"""Several concepts in one prompt: what pictures of these pairs are known to look like, and how to give each a place.

Knows the scores that are stored. Does not know a pixel, and computes nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from cns.boxes import Box
from cns_cli import figures
from cns_cli.porcelain.scoring.protocol import digest_of
from cns_cli.porcelain.scoring.scores import EvaluationStore
from registry.objects import Tree
from registry.repository import Repository
from registry.trees import seen

TOP, BOTTOM = 0.2, 0.95
"""Of the boxes that are offered: things of a pair stand there."""


def about_pairs(repo: Repository, tree: Tree, names: Sequence[str]) -> str:
    """What to say to somebody whose prompt names several things: "rex 0.62 (alone 0.84), tom 0.55 (alone 0.81)".

    Args:
        repo: The registry.
        tree: What draws.
        names: The concepts that are named, from left to right; at least two, none of them a style.
    """
    store, said = EvaluationStore(repo), []
    for pair in itertools.combinations(names, 2):
        parts = [part for one, two in (pair, pair[::-1]) for part in _in_pair(store, tree, one, two)]
        said += [f"{' beside '.join(pair)}: {', '.join(parts)}"] if parts else []
    known = f"identity in pictures of two, {'; '.join(said)}" if said else f"not measured here ({_command(names)})"
    return f"concepts in one prompt may blend, or one be missing: {known}. A place for each: {regions(names)}"


def regions(names: Sequence[str]) -> str:
    """The options that put concepts side by side."""
    width = 1 / len(names)
    boxes = [Box(round(k * width, 2), TOP, round((k + 1) * width, 2), BOTTOM) for k in range(len(names))]
    return " ".join(f"--region {name}@{box}" for name, box in zip(names, boxes, strict=True))


def _in_pair(store: EvaluationStore, tree: Tree, name: str, other: str) -> Iterator[str]:
    """The identity of a concept beside another, and alone under the same protocol, where they are stored."""
    concept, beside = tree.concepts[name], tree.concepts[other]
    found = [
        one
        for one in store.of(seen(tree, (name, other)).id)
        if one.concept == concept and (one.protocol.get("subject"), one.protocol.get("beside")) == ("pair", beside)
    ]
    if found:
        best = max(found, key=lambda one: np.size(one.scores["pair"]))
        alone = {key: value for key, value in best.protocol.items() if key not in ("subject", "beside")}
        scores = store.scores(seen(tree, (name,)).id, concept, digest_of(alone))
        known = (
            "" if scores is None or scores.identity is None else f" (alone {figures.cosine(scores.identity.mean())})"
        )
        yield f"{name} {figures.cosine(float(np.mean(best.scores['pair'])))}{known}"


def _command(names: Sequence[str]) -> str:
    return " ".join(("cns check --metric pair", *(f"--concept {name}" for name in names)))
