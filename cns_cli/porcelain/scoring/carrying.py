"""Scores of a concept that is called otherwise: its pictures are the same bits, so that none is drawn again.

Its token is another word with the same embedding rows, and integers add up to the same weights in whatever order. What
may read the words themselves is left out: a plugin's metric is given the prompt, and a pair's prompts name the two by
the order of their words. So is a drift from another revision than its birth, whose tree is named in the protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cns_cli.porcelain.scoring.scores import EvaluationStore
from registry.objects import Evaluation, Tree
from registry.repository import Repository
from registry.trees import bare, birth, seen


def carry_scores(repo: Repository, before: Tree, after: Tree, old: str, new: str) -> None:
    """Store the scores that hold of a tree and of one in which a concept has another name.

    Args:
        repo: The registry.
        before: A tree that holds `old`.
        after: The same, with `new` in its place.
        old: The concept's name.
        new: Its new name.

    Raises:
        DiskFailed: the disk is full or broken; what was stored stays.
    """
    store, was, now = EvaluationStore(repo), before.concepts[old], after.concepts[new]
    places = {
        before: after,
        seen(before, [old]): seen(after, [new]),
        seen(before, []): seen(after, []),
        bare(before): bare(after),
        birth(repo.objects, was): birth(repo.objects, now),
    }
    for place, other in places.items():
        for one in tuple(store.of(place.id)):
            if not _reads_words(one.protocol) and (other != place or one.concept == was):
                store.add(other, _moved(one, other, was, now, new))


def _reads_words(protocol: Mapping[str, Any]) -> bool:
    return "metric" in protocol or "baseline" in protocol or protocol.get("subject") == "pair"


def _moved(one: Evaluation, tree: Tree, was: str, now: str, name: str) -> Evaluation:
    """An evaluation of the tree after the renaming."""
    scores = dict(one.scores)
    if isinstance(others := scores.get("others"), Mapping):
        scores["others"] = {now if concept == was else concept: found for concept, found in others.items()}
    made = replace(one, tree=tree.id, scores=scores)
    return replace(made, concept=now, concept_name=name) if one.concept == was else made
