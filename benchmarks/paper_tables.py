"""The tables of the paper's figures on our base, made of the cells that exist; a missing one is shown as missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import figure3, paper_plots, singles, stream
from benchmarks.lineup import OURS, PEERS, ROWS
from benchmarks.paper_stats import MISSING, half_width, marked, shown
from benchmarks.report import Cell, Report, Table
from benchmarks.tuning import criterion
from cns import continual

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
                points.append((name, settings, summary["gain"], summary["bwt identity"], order, is_chosen))
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


FRONTIER = ("gain", "bwt identity", "bwt clip_i", "final identity", "final clip_t", "zero-shot", "criterion")


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


def stream_report(paper: Paper) -> Report:
    """Forgetting over the stream, and what a commit costs."""
    cells = {name: paper.cells(name, stream.job) for name in ROWS}
    summaries = {name: [lineage_figures(cell) for cell in row] for name, row in cells.items()}
    columns: dict[str, dict[str, str]] = {}
    for key in ("final identity", "bwt identity", "bwt clip_i", "bwt lite_i", "retention", "gain", "final clip_t"):
        if any(key in row for values in summaries.values() for row in values):
            columns[key] = marked(
                {name: [row[key] for row in values if key in row] for name, values in summaries.items()}
            )
    for key in ("forgetting", "zero-shot"):
        columns[key] = {name: shown([row[key] for row in values]) for name, values in summaries.items()}
    rows: list[list[Cell]] = [
        [name, *(columns[key][name] for key in columns), f"{len(cells[name])} of {paper.lab.size.orders}"]
        for name in ROWS
    ]
    note = (
        f"{paper.lab.size.stream} concepts. {INTERVALS.format(paper.lab.size.orders)} "
        "*Final*: after the last concept. *BWT*: final less when learned, mean over all but the last; *forgetting*: "
        "best of the scores that were drawn less the final one. *Retention*: what is left of the gain. *Zero-shot*: "
        "how far images of other things moved from the base's, 1 - cosine of identity."
    )
    curves = {name: _first_curves(row) for name, row in cells.items() if row}
    picture = paper_plots.first_concept(curves) if curves and paper.keeps else ""
    figures: dict[str, Cell] = {
        f"{name}: {key}": float(np.mean([row[key] for row in values]))
        for name, values in summaries.items()
        for key in ("bwt identity", "bwt clip_i", "retention")
        if values and all(key in row for row in values)
    }
    table = Table("Twenty concepts in a row", ["method", *columns, "orders"], rows, note + picture)
    return Report("stream", [table, _cost_table(cells)], [], figures)


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


def lineage_figures(cell: dict[str, Any]) -> dict[str, float]:
    """BWT, forgetting, retention and gain of one stream's cell, by `cns.continual`."""
    found = {
        "gain": _gain({"scores": cell["diagonal"], "base": cell["base"]}),
        "zero-shot": cell["zero_shot"]["identity"],
    }
    for score in cell["diagonal"][0]:
        matrix = _matrix(cell, score)
        found[f"final {score}"] = float(matrix[-1].mean())
        if len(matrix) > 1:
            found[f"bwt {score}"] = continual.bwt(matrix)
        else:
            found[f"bwt {score}"] = 0.0
    matrix, base = _matrix(cell, "identity"), np.asarray([row["identity"] for row in cell["base"]])
    found["forgetting"] = continual.forgetting(matrix) if len(matrix) > 1 else 0.0
    if found["gain"] > 0:
        found["retention"] = continual.retention(matrix, base)
    found["criterion"] = criterion(cell)
    return found


def _matrix(cell: dict[str, Any], score: str) -> Any:
    """R of one score; what was not drawn (between diagonal and last row) repeats the diagonal."""
    count = len(cell["diagonal"])
    matrix = np.zeros((count, count))
    for concept in range(count):
        matrix[concept:, concept] = cell["diagonal"][concept][score]
    matrix[:, 0] = [row[score] for row in cell["first"]]
    matrix[-1] = [row[score] for row in cell["final"]]
    return matrix


def _cost_table(cells: dict[str, list[Any]]) -> Table:
    """What a commit changes and stores."""
    rows: list[list[Cell]] = []
    for name, row in cells.items():
        counts = [value for cell in row for value in cell["weights"]]
        sizes = [value for cell in row for value in cell["size_bytes"]]
        left = [cell["figures"][key][-1] for cell in row for key in cell["figures"] if "energy" in key]
        if not counts:
            rows.append([name, MISSING, MISSING, MISSING, "", ""])
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
                shown(left) if left else "",
            ]
        )
    columns = ["method", "of the denoiser", "against K/V", "a commit", "a training", "energy left"]
    note = (
        "Weights that one concept changes or adds, and what must be stored for it. The paper: 0.13 % of the model. "
        "*Energy left*: share of the last concept's step that the projection lets through. Seconds of one thread."
    )
    return Table("What a concept costs", columns, rows, note)


KV_SIZE, DENOISER_SIZE = 442_368, 10_667_124  # of emoji-64-v1; a test compares them with the base


def _gain(cell: dict[str, Any]) -> float:
    pairs = zip(cell["scores"], cell["base"], strict=True)
    return float(np.mean([row["identity"] - base["identity"] for row, base in pairs]))


def _mean(rows: Sequence[dict[str, float]], score: str) -> float:
    return float(np.mean([row[score] for row in rows]))


def _first_curves(cells: Sequence[Any]) -> tuple[list[float], list[float]]:
    """Mean and half interval of the first concept's identity, as a share of its learned gain, commit by commit."""
    shares = []
    for cell in cells:
        base, learned = cell["base"][0]["identity"], cell["diagonal"][0]["identity"]
        gained = max(learned - base, 1e-6)
        shares.append([(row["identity"] - base) / gained for row in cell["first"]])
    columns = list(zip(*shares, strict=True))
    means = [float(np.mean(column)) for column in columns]
    return means, [half_width(column) if len(column) > 1 else 0.0 for column in columns]


REPORTS: dict[str, Callable[[Paper], Report]] = {
    "figure3": figure3_report,
    "frontier": frontier_report,
    "singles": singles_report,
    "stream": stream_report,
    "multi": multi_report,
}
