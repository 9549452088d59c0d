"""The tables of the paper's figures on our base, made of the cells that exist; a missing one is shown as missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import figure3, paper_plots, singles, stream
from benchmarks.lineage_figures import GAINS, first_concept_curve, lineage_figures
from benchmarks.lineup import OURS, PEERS, ROWS
from benchmarks.paper_stats import MISSING, marked, shown
from benchmarks.report import Cell, Report, Table

if TYPE_CHECKING:
    from benchmarks.paper import Paper

# x100, from the paper's table of results: single CLIP-I, single CLIP-T (CLIPScore), multi CLIP-I, multi CLIP-T, MB, s.
PAPER = {
    "CNS": (74.88, 76.95, 67.21, 79.22, "0/0", 0),
    "textual inversion": (72.76, 72.69, 65.30, 65.00, "0/0", 0),
    "custom diffusion": (67.88, 74.92, 65.87, 68.70, "3547/0", 10),
    "C-LoRA": (71.82, 66.12, 66.15, 60.30, "2461/4747", 10),
}
PAPER_OVERLAP = 0.53
PEER = "custom diffusion"
IMAGE_NAMES = {"identity": "identity", "clip_i": "CLIP-I", "lite_i": "EfficientNet", "clip_t": "CLIP-T"}
INTERVALS = (
    "Mean ± half of Student's 95 % interval over {} orders and seeds. Bold: best; =: not significantly below it."
)


def figure3_report(paper: Paper) -> Report:
    """Overlap of base and general neurons against the number of calibration prompts."""
    found = {job.settings["score"]: paper.cell(job) for job in figure3.plan(paper.lab)}
    curves = {
        f"{score}, {vote}": figure3.mean_curve(cell, vote)
        for score, cell in found.items()
        if cell
        for vote in figure3.VOTES
    }
    counts = list(paper.lab.size.calibration)
    rows: list[list[Cell]] = [
        [count, *(f"{curve[place]:.2f}" for curve in curves.values())] for place, count in enumerate(counts)
    ]
    picture = paper_plots.overlap(counts, curves, PAPER_OVERLAP) if curves and paper.keeps else ""
    note = (
        f"Share of a concept's base neurons that are general, mean of {paper.lab.size.singles} concepts. *All*: in the "
        "top quarter of their row for every prompt; *half*: for at least half of the prompts, as we select. "
        f"The paper's curve levels off at about {PAPER_OVERLAP:.0%}."
    )
    figures = {f"overlap, {name}": curve[-1] for name, curve in curves.items()}
    return Report(
        "figure3", [Table("Base neurons that are general", ["prompts", *curves], rows, note + picture)], [], figures
    )


def frontier_report(paper: Paper) -> Report:
    """Every setting that was tried on the tuning stream."""
    sweeps, points, rows = paper.tuning, [], []
    for name in ["CNS, no L_reg", *(contender.name for contender in (*OURS, *PEERS))]:
        chosen = sweeps.chosen(name) if name != "CNS, no L_reg" else None
        for order in range(paper.lab.size.tuning_orders):
            for settings, cell in sweeps.found(name, order):
                summary = lineage_figures(cell)
                text = ", ".join(f"{key} {value}" for key, value in settings.items() if key != "reg")
                is_chosen = settings == chosen
                points.append((name, settings, summary["gain identity"], summary["bwt identity"], order, is_chosen))
                rows.append(
                    [name, text, order, *(f"{summary[key]:.3f}" for key in FRONTIER), "yes" if is_chosen else ""]
                )
    picture = paper_plots.frontier(points) if points and paper.keeps else ""
    columns = ["method", "settings", "order", *FRONTIER, "chosen"]
    note = (
        f"{paper.lab.size.tuning} concepts of the tuning stream. *Gain*: identity when learned less the noun alone on "
        "the base. *Criterion*: mean of identity and CLIP-T over what was just learned and what is left at the end; "
        "the best in order 0 is chosen for the tables (CNS itself keeps the family's defaults)."
    )
    return Report("frontier", [Table("The settings that were tried", columns, rows, note + picture)])


FRONTIER = ("gain identity", "bwt identity", "bwt clip_i", "final identity", "final clip_t", "zero-shot", "criterion")


def singles_report(paper: Paper) -> Report:
    """Single concepts."""
    cells = {name: paper.cells(singles.SAME_AS.get(name, name), singles.job) for name in ROWS}
    columns: dict[str, dict[str, str]] = {}
    gains = {name: [_gain(cell) for cell in row] for name, row in cells.items()}
    columns["gain"] = marked(gains)
    ratios = {name: [gain / peer for gain, peer in zip(row, gains[PEER], strict=False)] for name, row in gains.items()}
    columns[f"gain / {PEER}'s"] = {name: shown(values) for name, values in ratios.items()}
    for score, label in IMAGE_NAMES.items():
        columns[label] = marked({name: [_mean(cell["scores"], score) for cell in row] for name, row in cells.items()})
    for score in ("diversity", "copying"):
        columns[score] = {name: shown([_mean(cell["scores"], score) for cell in row]) for name, row in cells.items()}
    rows: list[list[Cell]] = [
        [name, *(columns[key][name] for key in columns), *(f"{value:.2f}" for value in PAPER[name][:2])]
        if name in PAPER
        else [name, *(columns[key][name] for key in columns), "", ""]
        for name in ROWS
    ]
    note = (
        f"{paper.lab.size.singles} concepts, each learned on the bare base. {INTERVALS.format(paper.lab.size.orders)} "
        "*Gain*: identity less the noun alone on the base. Cosines are raw; the paper's columns are 100 x cosine "
        "(CLIP-I) and 250 x cosine (CLIP-T) on Stable Diffusion and another CLIP: compare within a column only. "
        "*Diversity*: mean distance of two images; *copying*: distance to the nearest reference (small = copied); "
        "both in CLIP."
    )
    figures: dict[str, Cell] = {}
    if ratios["CNS"]:
        figures[f"gain against {PEER}"] = float(np.mean(ratios["CNS"]))
    table = Table("Single concepts", ["method", *columns, "paper CLIP-I", "paper CLIP-T"], rows, note)
    return Report("singles", [table], [], figures)


LINEAGE = ("gain {}", "final {}", "bwt {}", "bwt {} / gain", "retention {}", "forgetting {}")


def stream_report(paper: Paper) -> Report:
    """Forgetting over the stream, and what a commit costs."""
    cells = {name: paper.cells(name, stream.job) for name in ROWS}
    summaries = {name: [lineage_figures(cell) for cell in row] for name, row in cells.items()}
    note = (
        f"{paper.lab.size.stream} concepts. {INTERVALS.format(paper.lab.size.orders)} *Gain*: when learned, less the "
        "noun alone on the base. *Final*: after the last concept. *BWT*: final less when learned, mean over all but "
        "the last, and as a share of the gain; *forgetting*: best of the scores that were drawn less the final one. "
        "*Retention*: what is left of the gain."
    )
    tables = []
    for score in GAINS:
        columns = _columns(summaries, [key.format(score) for key in LINEAGE])
        rows: list[list[Cell]] = [
            [name, *(column[name] for column in columns.values()), f"{len(cells[name])} of {paper.lab.size.orders}"]
            for name in ROWS
        ]
        heads = [key.replace(f" {score}", "") for key in columns]
        tables.append(
            Table(f"Twenty concepts in a row: {IMAGE_NAMES[score]}", ["method", *heads, "orders"], rows, note)
        )
    columns = _columns(summaries, ["final lite_i", "bwt lite_i", "final clip_t", "bwt clip_t"])
    drift = {name: shown([row["zero-shot"] for row in values]) for name, values in summaries.items()}
    rows = [[name, *(column[name] for column in columns.values()), drift[name]] for name in ROWS]
    heads = [key.replace("lite_i", "EfficientNet").replace("clip_t", "CLIP-T") for key in columns]
    more = "*Zero-shot*: how far images of other things moved from the base's, 1 - cosine of identity."
    curves = {
        IMAGE_NAMES[score]: {name: first_concept_curve(row, score) for name, row in cells.items() if row}
        for score in GAINS
    }
    picture = paper_plots.first_concept(curves) if any(cells.values()) and paper.keeps else ""
    tables.append(Table("Twenty concepts in a row: the rest", ["method", *heads, "zero-shot"], rows, more + picture))
    figures: dict[str, Cell] = {
        f"{name}: {key}": float(np.mean([row[key] for row in values]))
        for name, values in summaries.items()
        for key in ("bwt identity", "bwt clip_i", "retention identity")
        if values and all(key in row for row in values)
    }
    tables += [table for table in (_cost_table(cells), energy_table(cells)) if table]
    return Report("stream", tables, [], figures)


def _columns(summaries: dict[str, list[dict[str, float]]], keys: Sequence[str]) -> dict[str, dict[str, str]]:
    """One column a key, where any row has it. The best is marked, but not for forgetting, where less is better."""
    columns = {}
    for key in keys:
        values = {name: [row[key] for row in rows if key in row] for name, rows in summaries.items()}
        if any(values.values()):
            plain = {name: shown(row) for name, row in values.items()}
            columns[key] = plain if key.startswith("forgetting") else marked(values)
    return columns


def multi_report(paper: Paper) -> Report:
    """Several concepts in one picture."""
    cells = {name: [cell["together"] for cell in paper.cells(name, stream.job) if "together" in cell] for name in ROWS}
    tables = []
    for kind in ("pairs", "pairs, regions", "triples", "triples, regions"):
        columns = {
            label: marked({name: [cell[kind][score] for cell in row] for name, row in cells.items()})
            for score, label in {"identity": "identity", "all_there": "all there", **IMAGE_NAMES}.items()
        }
        rows: list[list[Cell]] = [[name, *(columns[key][name] for key in columns)] for name in ROWS]
        tables.append(Table(f"Several concepts: {kind}", ["method", *columns], rows, ""))
    rows = []
    for name in ROWS:
        own = [
            shown([cell["fuse_bytes"] / 2**20 for cell in cells[name]]),
            shown([cell["fuse_s"] for cell in cells[name]]),
        ]
        rows.append([name, *own, *(PAPER[name][2:] if name in PAPER else ("", "", "", ""))])
    columns_ = ["method", "MB", "s", "paper CLIP-I", "paper CLIP-T", "paper MB (GPU/CPU)", "paper s"]
    note = (
        "*MB*, *s*: what must be held and done before a group can be drawn, beyond one model. After all concepts. "
        "*Identity* in the best window of each picture; *all there*: of the worst concept of each. "
        + INTERVALS.format(paper.lab.size.orders)
    )
    return Report("multi", [*tables, Table("Getting several concepts ready", columns_, rows, note)])


def _cost_table(cells: dict[str, list[Any]]) -> Table:
    """What a commit changes and stores."""
    rows: list[list[Cell]] = []
    for name, row in cells.items():
        counts = [value for cell in row for value in cell["weights"]]
        sizes = [value for cell in row for value in cell["size_bytes"]]
        if not counts:
            rows.append([name, *[MISSING] * 4])
            continue
        share, kv = np.mean(counts) / DENOISER_SIZE, np.mean(counts) / KV_SIZE
        seconds = np.mean([cell["seconds_a_concept"] for cell in row])
        rows.append(
            [
                name,
                f"{share:.2%}",
                f"{kv:.1%}",
                f"{np.mean(sizes) / 1024:.0f} KiB",
                f"{seconds:.0f} s",
            ]
        )
    columns = ["method", "of the denoiser", "against K/V", "a commit", "a training"]
    note = (
        "Weights that one concept changes or adds, and what must be stored for it. The paper: 0.13 % of the model. "
        "Seconds of one thread."
    )
    return Table("What a concept costs", columns, rows, note)


def energy_table(cells: Mapping[str, Sequence[Mapping[str, Any]]]) -> Table | None:
    """What a projection leaves of a training's last step, over the stream; None where nothing was projected."""
    curves = {
        name: [cell["figures"][ENERGY] for cell in row if ENERGY in cell["figures"]] for name, row in cells.items()
    }
    measured = {name: list(zip(*found, strict=True)) for name, found in curves.items() if found}
    if not measured:
        return None
    count = len(next(iter(measured.values())))
    places = [place for place in ENERGY_PLACES if place <= count]
    rows: list[list[Cell]] = [
        [name, *(shown(columns[place - 1]) for place in places)] for name, columns in measured.items()
    ]
    note = "Share of the last step's squared length that is left, mean ± half of the 95 % interval over orders."
    heads = [{2: "2nd", 3: "3rd"}.get(place, f"{place}th") for place in places]
    return Table("Energy left under the projection, by the number of the concept", ["method", *heads], rows, note)


ENERGY = "energy_left"
ENERGY_PLACES = (2, 3, 5, 10, 15, 20)
"""The first concept has nothing to be kept from."""


KV_SIZE, DENOISER_SIZE = 442_368, 10_667_124  # of emoji-64-v1; a test compares them with the base


def _gain(cell: dict[str, Any]) -> float:
    pairs = zip(cell["scores"], cell["base"], strict=True)
    return float(np.mean([row["identity"] - base["identity"] for row, base in pairs]))


def _mean(rows: Sequence[dict[str, float]], score: str) -> float:
    return float(np.mean([row[score] for row in rows]))


REPORTS: dict[str, Callable[[Paper], Report]] = {
    "figure3": figure3_report,
    "frontier": frontier_report,
    "singles": singles_report,
    "stream": stream_report,
    "multi": multi_report,
}
