"""The tables of the stream: what is learned and forgotten, where in the stream, and what a concept costs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np

from benchmarks import figure3, paper_plots, stream
from benchmarks.compared_methods import ABLATIONS, OURS, ROWS
from benchmarks.experiment_setup import DEFAULTS
from benchmarks.lineage_figures import (
    GAINS,
    first_concept_curve,
    gains_by_fifth,
    gains_over,
    largest_drops,
    lineage_figures,
)
from benchmarks.paper import Paper
from benchmarks.paper_stats import (
    LEAST_ORDERS,
    MISSING,
    Cells,
    figures_of,
    finished,
    marked,
    means,
    on_common_orders,
    plain,
    shown,
    table_rows,
)
from benchmarks.report import Cell, Report, Table

IMAGE_NAMES = {"identity": "identity", "clip_i": "CLIP-I", "lite_i": "EfficientNet", "clip_t": "CLIP-T"}
TOGETHER_NAMES = {"identity": "identity", "all_there": "all there", **IMAGE_NAMES}
LINEAGE = ("gain {}", "final {}", "bwt {}", "bwt {} / gain", "retention {}")
ENERGY = "energy_left"
ENERGY_PLACES = (2, 3, 5, 10, 15, 20)
"""The first concept has nothing to be kept from."""

PLACES = {
    "1st": (1, 1),
    "2nd to 4th": (2, 4),
    "5th to 8th": (5, 8),
    "9th to 12th": (9, 12),
    "13th to 16th": (13, 16),
    "17th to 20th": (17, 20),
    "9th to 20th": (9, 20),
}
"""Label -> first and last place, counted from 1."""

KV_SIZE, DENOISER_SIZE = 442_368, 10_667_124  # of emoji-64-v1; a test compares them with the base
TOKEN_ALONE = "textual inversion"
OURS_NAMES = {"CNS", *ABLATIONS, *(tunable.name for tunable in OURS)}


def intervals(cells: Cells, paper: Paper) -> str:
    """How many orders a table is of, and what its marks mean."""
    orders = {order for row in cells.values() for order in row}
    counted = f"Mean over {len(orders)} of {paper.setup.size.orders} orders and seeds"
    if len(orders) < LEAST_ORDERS:
        return f"{counted}: too few for an interval, so nothing is marked."
    return (
        f"{counted} ± half of Student's 95 % interval. Bold: best; =: not significantly below it, pair by pair, "
        "uncorrected for the number of comparisons; it does not say that they are equal. The intervals are of orders "
        "and seeds: they say nothing about other concepts."
    )


def stream_report(paper: Paper) -> Report:
    """Forgetting over the stream, and what a commit costs."""
    found = {name: paper.cells(name, stream.job) for name in ROWS}
    cells = on_common_orders(finished(found, paper.setup.size.orders))
    summaries = figures_of(cells, lineage_figures)
    figures: dict[str, Cell] = {
        f"{name}: {key}": float(np.mean([row[key] for row in values.values()]))
        for name, values in summaries.items()
        for key in ("gain identity", "final identity", "bwt identity", "bwt clip_i", "retention identity", "zero-shot")
        if values and all(key in row for row in values.values())
    }
    figures |= _of_every_order(cells)
    note = (
        f"{paper.setup.size.stream} concepts. {intervals(cells, paper)} *Gain*: when learned, less the noun alone on "
        "the base. *Final*: after the last concept. *BWT*: final less when learned, mean over all but the last, and as "
        "a share of the gain. *Retention*: what is left of the gain."
    )
    tables = []
    for score in GAINS:
        columns = _columns(summaries, [key.format(score) for key in LINEAGE])
        heads = [key.replace(f" {score}", "") for key in columns]
        rows = table_rows(ROWS, columns.values())
        tables.append(Table(f"Twenty concepts in a row: {IMAGE_NAMES[score]}", ["method", *heads], rows, note))
    tables += [_rest(paper, cells, summaries), *_bare_tables(cells), _places_table(cells)]
    tables += [_over_token_table(cells), _cost_table(cells)]
    energy = energy_table(cells)
    return Report("stream", [*tables, energy] if energy else tables, [], figures)


def _rest(paper: Paper, cells: Cells, summaries: Cells) -> Table:
    """Other scores, and the plot of the first concept."""
    columns = _columns(summaries, ["final lite_i", "bwt lite_i", "final clip_t", "bwt clip_t"])
    drift = plain(figures_of(summaries, lambda row: row["zero-shot"]))
    rows = table_rows(ROWS, [*columns.values(), drift])
    heads = [key.replace("lite_i", "EfficientNet").replace("clip_t", "CLIP-T") for key in columns]
    told = paper.setup.stream(figure3.STREAM)
    nouns = re.compile("|".join(rf"\b{concept.noun}\b" for concept in told.concepts.values()))
    note = (
        f"*Zero-shot*: how far images of {len(told.zero_shot)} held-out prompts moved from the base's, 1 - cosine of "
        f"identity; {sum(nouns.search(prompt) is not None for prompt in told.zero_shot)} of them name a class that the "
        "stream teaches. CNS ties general prompts of the same kind (other ones) to the base; the peers run without the "
        "prior images by which some of their papers do. An adapter each is drawn with its own adapter, or with none: "
        "that it forgets nothing is by construction. The plot: each order begins with another concept."
    )
    curves = {
        IMAGE_NAMES[score]: {name: first_concept_curve(row.values(), score) for name, row in cells.items() if row}
        for score in GAINS
    }
    picture = paper_plots.first_concept(curves) if any(cells.values()) and paper.keeps else ""
    return Table("Twenty concepts in a row: the rest", ["method", *heads, "zero-shot"], rows, note + picture)


def _bare_tables(cells: Cells) -> list[Table]:
    """The phrase alone as a prompt, of the methods that were asked for it; cells of before it was asked have none."""
    asked = {name: {order: cell for order, cell in row.items() if "bare" in cell} for name, row in cells.items()}
    asked = {name: row for name, row in asked.items() if row}
    if not asked:
        return []
    columns = [plain(figures_of(asked, partial(_mean_identity, key=key))) for key in ("diagonal", "bare")]
    less = plain(figures_of(asked, lambda cell: _mean_identity(cell, "diagonal") - _mean_identity(cell, "bare")))
    note = 'Identity when learned: by the judge\'s prompts, which name a background, and by "a <rex> dog" alone.'
    heads = ["method", "judge's prompts", "the phrase alone", "less by"]
    return [Table("Twenty concepts in a row: the phrase alone", heads, table_rows([*asked], [*columns, less]), note)]


def _mean_identity(cell: Mapping[str, Any], key: str) -> float:
    return float(np.mean([row["identity"] for row in cell[key]]))


def _places_table(cells: Cells) -> Table:
    """Where in the stream is less learned, and how much single concepts lose."""
    limit = DEFAULTS.max_drop
    names = ("first fifth", "second", "third", "fourth", "last fifth")
    fifths = figures_of(cells, lambda cell: gains_by_fifth(cell, "identity"))
    gains = [means(figures_of(fifths, itemgetter(place))) for place in range(len(names))]
    worst = plain(figures_of(cells, lambda cell: largest_drops(cell, "identity")[0]))
    beyond = {
        name: [sum(drop > limit for drop in largest_drops(cell, "identity")) for cell in row.values()]
        for name, row in cells.items()
    }
    rows = table_rows([*cells], [*gains, worst, {name: shown(counts, digits=1) for name, counts in beyond.items()}])
    note = (
        "Gain of identity when learned, by the concept's place in the stream (other concepts in each order, so that no "
        "interval is given: compare within a column); the largest drop of a single concept at the end, and how many "
        f"concepts dropped by more than {limit:g}, the limit of `cns check`."
    )
    return Table(
        "Twenty concepts in a row: by place", ["method", *names, "largest drop", f"drops > {limit:g}"], rows, note
    )


def _of_every_order(cells: Cells) -> dict[str, Cell]:
    """Figures of the bars: the largest drop of any concept in any order, places over the token alone, stored bytes."""
    found: dict[str, Cell] = {}
    for name, row in cells.items():
        if row:
            found[f"{name}: orders"] = len(row)
            found[f"{name}: largest drop"] = max(largest_drops(cell, "identity")[0] for cell in row.values())
            found[f"{name}: KiB a concept"] = float(np.mean([cell["size_bytes"] for cell in row.values()])) / 1024
        for place, values in _over_token(cells, name).items():
            found[f"{name}: {place} over the token alone"] = float(np.mean([*values.values()]))
    return found


def _over_token(cells: Cells, name: str) -> dict[str, dict[int, float]]:
    """Gain over the token alone by place and order; nothing where one of the two was not learned."""
    row, token = cells[name], cells.get(TOKEN_ALONE, {})
    return {
        label: {order: gains_over(cell, token[order], *places) for order, cell in row.items()}
        for label, places in PLACES.items()
        if row and all(order in token and len(cell["diagonal"]) >= places[1] for order, cell in row.items())
    }


def _over_token_table(cells: Cells) -> Table:
    """What is learned beyond the token, by place."""
    rows: list[list[Cell]] = []
    for name in cells:
        found = _over_token(cells, name)
        rows.append([name, *(shown(found[label].values()) if label in found else MISSING for label in PLACES)])
    note = (
        "Identity when learned less that of the same concept in the same order by Textual Inversion, which trains the "
        "token and no weight: what the weights add. Mean over the places and orders, with its interval over orders."
    )
    return Table("Twenty concepts in a row: over the token alone, by place", ["method", *PLACES], rows, note)


def _cost_table(cells: Cells) -> Table:
    """What a concept trains, moves and stores."""
    rows: list[list[Cell]] = []
    for name, row in cells.items():
        moved = np.asarray([cell["weights"] for cell in row.values()])  # (orders, concepts)
        if not moved.size:
            rows.append([name, *[MISSING] * 5])
            continue
        trained = DEFAULTS.budget(KV_SIZE, DENOISER_SIZE) if name in OURS_NAMES else moved.mean()
        shares = [f"{count / DENOISER_SIZE:.2%}" for count in (trained, moved.mean(), moved[:, -1].mean())]
        size = np.mean([cell["size_bytes"] for cell in row.values()])
        rows.append([name, *shares, f"{moved.mean() / KV_SIZE:.1%}", f"{size / 1024:.0f} KiB"])
    note = (
        "Shares of the denoiser, and of K/V; a token's row comes on top. *Trained*: weights that a concept may change "
        "or adds. *Moved*: those that end at least one step of the grid away, which the integers of a commit hold; "
        "less and less as the stream goes on. *A commit*: what must be stored for a concept, of CNS compressed "
        "integers, as the registry stores them, of the others float32. The paper's 0.13 % of the model is what it "
        f"finetunes: {DEFAULTS.budget(KV_SIZE, DENOISER_SIZE) / KV_SIZE:.1%} of the K/V weights of Stable Diffusion "
        "1.5, the same share as here, of which K/V are a larger part."
    )
    columns = ["method", "trained", "moved", "moved by the last", "moved, of K/V", "a commit"]
    return Table("What a concept costs", columns, rows, note)


def energy_table(cells: Cells) -> Table | None:
    """What a projection leaves of a training's last step, over the stream; None where nothing was projected."""
    curves = {
        name: [cell["figures"][ENERGY] for cell in row.values() if ENERGY in cell["figures"]]
        for name, row in cells.items()
    }
    measured = {name: list(zip(*found, strict=True)) for name, found in curves.items() if found}
    if not measured:
        return None
    count = len(next(iter(measured.values())))
    places = [place for place in ENERGY_PLACES if place <= count]
    rows: list[list[Cell]] = [
        [name, *(shown(columns[place - 1]) for place in places)] for name, columns in measured.items()
    ]
    note = "Share of the last step's squared length that is left, mean over the orders, with its interval."
    heads = [{2: "2nd", 3: "3rd"}.get(place, f"{place}th") for place in places]
    return Table("Energy left under the projection, by the number of the concept", ["method", *heads], rows, note)


def _columns(summaries: Cells, keys: Sequence[str]) -> dict[str, dict[str, str]]:
    """One marked column a key, where any row has it."""
    columns = {}
    for key in keys:
        values: Mapping[str, Mapping[int, Any]] = {
            name: {order: row[key] for order, row in rows.items() if key in row} for name, rows in summaries.items()
        }
        if any(values.values()):
            columns[key] = marked(values)
    return columns
