"""Curves of the paper's figures on our base, PNG by matplotlib (which comes with mlflow).

Each function writes docs/images/NAME.png and returns the Markdown that shows it under a table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from benchmarks.paper_stats import LEAST_ORDERS, half_width

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
COLOURS = [plt.get_cmap("tab20")(place) for place in range(20)]  # in pairs of a dark and a light one
FAR_APART = [*COLOURS[::2], *COLOURS[1::2]]
LEAST_SHARE = -0.3  # shown of a concept's gain; merged adapters fall to many times below
ABOVE = 0.05  # of a share, above the highest curve
OURS_WIDTH, PEER_WIDTH = 2.0, 1.2


def overlap(counts: Sequence[int], curves: Mapping[str, Sequence[float]], paper: float) -> str:
    """Draw the share of base neurons that are general against the number of calibration prompts."""
    figure, axes = plt.subplots(figsize=(6.4, 4.0), dpi=120)
    for colour, (name, curve) in zip(COLOURS, curves.items(), strict=False):
        axes.plot(counts, curve, marker="o", markersize=4, color=colour, label=name)
    axes.axhline(paper, color="#555555", linestyle="--", linewidth=1, label=f"the paper, about {paper:.0%}")
    axes.set_xscale("log")
    axes.set_xlabel("calibration prompts")
    axes.set_ylabel("share of base neurons that are general")
    axes.set_ylim(0, 1)
    return _save(figure, [axes], "figure3.png", "Overlap of base and general neurons")


def first_concept(panels: Mapping[str, Mapping[str, Sequence[Sequence[float]]]]) -> str:
    """Draw what is left of the first concept's gain over the stream, one line a method, with its interval for CNS.

    Args:
        panels: Score -> method -> shares after each concept, one list an order.
    """
    figure, several = plt.subplots(1, len(panels), figsize=(5.4 * len(panels), 4.6), dpi=120, sharey=True)
    for axes, (score, curves) in zip(several, panels.items(), strict=True):
        for colour, (name, shares) in zip(FAR_APART, curves.items(), strict=False):
            columns = list(zip(*shares, strict=True))
            places, means = range(1, len(columns) + 1), [fmean(column) for column in columns]
            ours = name.startswith("CNS")
            axes.plot(places, means, color=colour, linewidth=OURS_WIDTH if ours else PEER_WIDTH, label=name)
            if name == "CNS" and len(shares) >= LEAST_ORDERS:
                halves = [half_width(column) for column in columns]
                low = [mean - half for mean, half in zip(means, halves, strict=True)]
                high = [mean + half for mean, half in zip(means, halves, strict=True)]
                axes.fill_between(places, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.set_title(score, fontsize=10)
        axes.set_xlabel("concepts learned")
        axes.xaxis.get_major_locator().set_params(integer=True)
    several[0].set_ylabel("the first concept: share of its gain that is left")
    least = min(axes.dataLim.y0 for axes in several)
    most = max(axes.dataLim.y1 for axes in several)
    several[0].set_ylim(max(LEAST_SHARE, min(0.0, least)), most + ABOVE)
    return _save(figure, several, "stream.png", "What is left of the first concept")


def frontier(points: Sequence[tuple[str, Mapping[str, Any], float, float, int, bool]]) -> str:
    """Draw what was gained against what was forgotten, one mark a setting: of all methods, and of CNS from near.

    Args:
        points: (method, settings, gain, BWT of identity, order, does it stand in the tables: such are ringed).
    """
    figure, (wide, near) = plt.subplots(1, 2, figsize=(11.0, 5.0), dpi=120)
    names = list(dict.fromkeys(point[0] for point in points))
    for colour, name in zip(FAR_APART, names, strict=False):
        own = [point for point in points if point[0] == name and point[4] == 0]
        ours = name.startswith("CNS")
        for axes in (wide, near) if ours else (wide,):
            forgotten, gained = [-point[3] for point in own], [point[2] for point in own]
            axes.plot(forgotten, gained, "-o" if ours else "x", color=colour, markersize=4, linewidth=1, label=name)
            for _name, settings, gain, bwt, _order, is_used in own:
                if is_used:
                    axes.plot([-bwt], [gain], "o", markersize=10, markerfacecolor="none", color=colour)
                if axes is near and "reg_strength" in settings:
                    text, place = f"{settings['reg_strength']:g}", (-bwt, gain)
                    axes.annotate(text, place, xytext=(4, 3), textcoords="offset points", fontsize=7, color=colour)
    wide.set_title("all methods, order 0", fontsize=10)
    near.set_title("CNS under its regularizers, by strength a", fontsize=10)
    for axes in (wide, near):
        axes.set_xlabel("forgotten: - BWT of identity (left is better)")
    wide.set_ylabel("learned: gain of identity (up is better)")
    return _save(figure, [wide, near], "frontier.png", "What was learned against what was forgotten")


def _save(figure: Any, several: Sequence[Any], name: str, words: str) -> str:
    keys, labels = several[0].get_legend_handles_labels()
    figure.legend(keys, labels, loc="outside right upper", frameon=False, fontsize=7)
    for axes in several:
        axes.spines[["top", "right"]].set_visible(False)
    figure.set_layout_engine("constrained")
    IMAGES.mkdir(parents=True, exist_ok=True)
    figure.savefig(IMAGES / name, metadata={"Software": None})
    plt.close(figure)
    return f"\n\n![{words}](images/{name})"
