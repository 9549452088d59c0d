"""How full the model of a commit is, as far as can be told without torch.

`cns add` records it. Where the set of concepts is no longer the one that was recorded (after a removal, a merge), what
concepts hold is counted from their masks, which costs numpy; what is general then stays as it was recorded.
"""

from __future__ import annotations

from collections.abc import Sequence

from cns_cli.porcelain.models.stored import kv_weights
from cns_cli.porcelain.views.commits import numbers, record_data
from registry.objects import Base
from registry.repository import Repository
from registry.trees import birth

NAMES = ("capacity_held", "general_share", "capacity_free")


def capacity_of(repo: Repository, commit_id: str, born: Sequence[str]) -> dict[str, float]:
    """Shares of all key and value weights: held by concepts, general, free. Empty where nothing was recorded.

    Args:
        repo: The registry.
        commit_id: The commit whose model is meant.
        born: Commits that brought in its concepts, the newest last.
    """
    commit = repo.commit_of(commit_id)
    recorded = {one: _recorded(repo, one) for one in {commit_id, *born}}
    source = commit_id if recorded[commit_id] or not born or not all(recorded[one] for one in born) else born[-1]
    found, tree = recorded[source], repo.tree_of(commit_id)
    if not found:
        return {}
    births = (birth(repo.objects, concept_id) for concept_id in tree.concepts.values())
    if repo.commit_of(source).tree == commit.tree and any(one.concepts == tree.concepts for one in births):
        return found  # one of the concepts was learned on top of exactly the others: no other commit came in between
    from cns.capacity import held_share
    from cns_cli.porcelain.models.deltas import stored_delta

    deltas = [stored_delta(repo, concept_id) for concept_id in tree.concepts.values()]
    held = held_share(deltas, kv_weights(repo.objects.get(tree.base, Base)))
    return {"capacity_held": held, "general_share": found["general_share"]}


def _recorded(repo: Repository, commit_id: str) -> dict[str, float]:
    metrics = numbers(record_data(repo, repo.commit_of(commit_id)).get("metrics"))
    return {name: metrics[name] for name in NAMES} if all(name in metrics for name in NAMES) else {}
