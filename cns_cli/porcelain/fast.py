"""`cns check --fast`: the weight gates beside the K/V drift, on rows that a check has decided without an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cns_cli.porcelain.answers import CheckRow
from cns_cli.porcelain.baselines import tree_id
from cns_cli.porcelain.examining import Examiner
from cns_cli.porcelain.weights_gate import densities, weight_gates
from registry.objects import Tree


def with_weight_gates(rows: Sequence[CheckRow], examiner: Examiner, tree: Tree, name: str) -> list[CheckRow]:
    """Add to each row what its concept changes, and a row of the exact conditions on the whole tree.

    Args:
        rows: One a concept.
        examiner: Its session holds the base.
        tree: What was checked.
        name: Of the new row.
    """
    examiner.activate(tree)
    gates = weight_gates(examiner.session, tree, examiner.weights(tree))
    sizes = densities(examiner.session, tree)
    broken = [demand for demand, holds in gates.items() if not holds]
    whole = CheckRow(
        concept=name,
        concept_id=tree.base,
        verdict="forgot" if broken else "kept",
        metrics=(),
        baseline_tree=tree_id(Tree(tree.base, {})),
        why="; ".join(f"not so: {demand}" for demand in broken),
        gates=gates,
    )
    known = [replace(row, share_kv=sizes[row.concept].share_kv, overlap=sizes[row.concept].overlap) for row in rows]
    return [*known, whole]
