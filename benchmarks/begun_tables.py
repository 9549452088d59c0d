"""Rows of the stream that lack an order, beside a few others in the orders that they have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.lineage_figures import gains_over, largest_drops, lineage_figures
from benchmarks.paper_stats import Cells, means, on_common_orders, table_rows
from benchmarks.report import Table

TOKEN_ALONE = "textual inversion"
BESIDE = ("CNS union", "dreambooth", "LoRA each, set_adapters", TOKEN_ALONE)
GROUPS = ("pairs", "pairs, regions", "triples", "triples, regions")


def begun_table(every: Cells, begun: Cells) -> Table:
    """What was learned and forgotten in the orders that are finished, and several concepts.

    Args:
        every: All rows with all their orders.
        begun: Those that lack one.
    """
    rows = on_common_orders({name: every[name] for name in (*begun, *BESIDE) if every.get(name)})
    orders = {order for row in rows.values() for order in row}
    found = {
        name: {order: _figures(cell, every[TOKEN_ALONE][order]) for order, cell in row.items()}
        for name, row in rows.items()
    }
    heads = list(next(iter(next(iter(found.values())).values())))
    columns = [
        means({name: {order: one[head] for order, one in row.items()} for name, row in found.items()}) for head in heads
    ]
    note = (
        f"Mean over the orders that the first row has: {len(orders)}, too few for intervals; the tables "
        "above and below wait for the others. *9th to 20th*: identity when learned less the token's alone."
    )
    title = "Twenty concepts in a row: the orders that are finished"
    return Table(title, ["method", *heads], table_rows([*rows], columns), note)


def _figures(cell: Mapping[str, Any], token: Mapping[str, Any]) -> dict[str, float]:
    """Head -> figure of one order."""
    found = lineage_figures(cell)
    figures = {
        "gain": found["gain identity"],
        "final": found["final identity"],
        "BWT": found["bwt identity"],
        "largest drop": largest_drops(cell, "identity")[0],
        "CLIP-I": found["final clip_i"],
        "CLIP-T": found["final clip_t"],
        "zero-shot": abs(found["zero-shot"]),
        "9th to 20th": gains_over(cell, token, 9, 20),
    }
    for kind in GROUPS:
        for score, label in (("identity", "identity"), ("clip_t", "CLIP-T")):
            figures[f"{kind}: {label}"] = cell["together"][kind][score]
    return figures
