"""Pictures of the gate's benchmarks. matplotlib comes with mlflow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

TOP = 0.15
"""Drops above it are drawn at the upper edge: what matters lies around the limit."""


def drift_against_drop(
    points: Sequence[tuple[float, float, bool]], max_drop: float, max_drift: float, file: Path
) -> None:
    """Draw how far a concept's score fell against its K/V drift, with both limits.

    Args:
        points: (drift, drop in cosine, it is a commit and no scaled change).
        max_drop: Limit of the drop.
        max_drift: Limit of the drift.
        file: PNG to write.
    """
    figure, axes = plt.subplots(figsize=(6.4, 4.2), dpi=120)
    for real, marker, colour, label in ((False, "o", "#9aa5b1", "changes scaled"), (True, "D", "#1f6feb", "commits")):
        chosen = [(max(drift, 1e-5), drop) for drift, drop, is_real in points if is_real is real]
        x, y = [drift for drift, _ in chosen], [min(drop, TOP) for _, drop in chosen]
        axes.scatter(x, y, s=22, marker=marker, color=colour, label=label, alpha=0.85, linewidths=0)
    axes.axhline(max_drop, color="#c0392b", linewidth=1, label=f"limit of the drop, {max_drop:g}")
    axes.axvline(max_drift, color="#c0392b", linewidth=1, linestyle="--", label=f"limit of the drift, {max_drift:g}")
    axes.set_xscale("log")
    axes.set_xlabel("K/V drift since birth (relative, squared)")
    axes.set_ylabel("larger drop of identity and CLIP-I (cosine)")
    axes.set_ylim(-0.01, 1.04 * TOP)
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, metadata={"Software": None})
    plt.close(figure)
