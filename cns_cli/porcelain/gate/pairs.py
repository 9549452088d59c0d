"""What a check of pairs compares: each concept beside each other one that is checked, before and now.

Knows keys and trees. Does not know how a pair is drawn or scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cns.imagescores import Array
from cns.templates import Kind
from cns_cli.porcelain.scoring.keys import EvaluationKey
from registry.objects import Tree
from registry.trees import seen, with_concept

Sides = dict[str, tuple[EvaluationKey, ...]]
NO_COMPANY = "no other concept is checked that could stand beside it: expected at least two that are no styles"


def pair_sides(name: str, images: int, tree: Tree, baselines: Mapping[str, Tree], kinds: Mapping[str, Kind]) -> Sides:
    """The keys of a concept beside each other one, by the other's name: before, and now.

    Args:
        name: The concept.
        images: Images of each prompt, at least.
        tree: The tree that is checked.
        baselines: Checked concept -> its baseline.
        kinds: Checked concept -> what it is.
    """
    sides = {}
    for other in baselines:
        if other == name or {kinds[name], kinds[other]} != {"object"}:
            continue
        one, two = tree.concepts[name], tree.concepts[other]
        places = (seen(_baseline(tree, baselines, (name, other)), (name, other)), seen(tree, (name, other)))
        sides[f"beside {other}"] = tuple(
            EvaluationKey("pair", place, one, name, images, beside=two) for place in places
        )
    return sides


def joined(pairs: Sequence[tuple[Array, Array] | str]) -> tuple[Array, Array] | str:
    """Scores before and now of a concept in its pairs, the prompts of one after those of another; else why not."""
    known = [pair for pair in pairs if not isinstance(pair, str)]
    if not pairs or len(known) < len(pairs):
        return next((pair for pair in pairs if isinstance(pair, str)), NO_COMPANY)
    images = min(before.shape[1] for before, _ in known)
    before, after = (np.concatenate([one[:, :images] for one in side]) for side in zip(*known, strict=True))
    return before, after


def _baseline(tree: Tree, baselines: Mapping[str, Tree], names: tuple[str, str]) -> Tree:
    """The baseline of the younger of two, which holds both; of two that never met, one's with the other put to it."""
    ids = {tree.concepts[name] for name in names}
    for name in names:
        if ids <= {*baselines[name].concepts.values()}:
            return baselines[name]
    return with_concept(baselines[names[0]], names[1], tree.concepts[names[1]], overwrite=True)
