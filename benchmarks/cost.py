"""What `cns add` computes at Stable Diffusion 1.5's shapes, counted, against its training's steps alone.

Those steps are what a training loop of diffusers computes, with as many images: each a forward and a backward pass of
the denoiser and the text encoder. Nothing is loaded and nothing runs: the arithmetic is that of `cns.cost`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import real_shapes
from benchmarks.report import Report, Table
from cns.cost import ImageCost, image_cost
from cns.families import SD_1
from cns.files.pipelines import latent_side
from cns.task import Settings
from cns_cli.porcelain.learning.work import Work, work_of
from cns_cli.porcelain.models.base import LoadedBase
from cns_cli.porcelain.options import AddOptions

IMAGES = 5
FIRST_BAR, LATER_BAR = 1.35, 1.2
NOTE = (
    "Defaults, 5 images, 512 pixels. *A first add* must find the base's general neurons, a later one has them. *As it "
    "was*: a score by gradients, 24 pictures before, 24 after and 8 of the phrase alone, activations computed again "
    "whatever memory was free. Of the judges, under a thousandth, nothing is counted."
)


def run(_quick: bool) -> Report:
    """Count, which takes seconds in any case."""
    base = real_shapes.imagined("Stable Diffusion 1.5")
    cost = image_cost(base.model.pipeline, latent_side(base.model.pipeline.unet.config))
    shares = {known: _work(base, cost, known).share for known in (False, True)}
    was = {known: _as_it_was(base, cost, known) for known in (False, True)}
    rows = [
        ("a first add", f"{shares[False]:.2f} x", f"{FIRST_BAR} x", f"{was[False]:.2f} x"),
        ("a later add", f"{shares[True]:.2f} x", f"{LATER_BAR} x", f"{was[True]:.2f} x"),
        ("the steps alone", f"{_work(base, cost, True).steps / 1e12:,.0f} TFLOP", "", ""),
        ("a forward pass of an image", f"{cost.forward / 1e9:,.0f} GFLOP", "", ""),
        ("activations kept, an image", f"{cost.kept_bytes / 2**30:.2f} GiB in float32", "", ""),
    ]
    table = Table(
        "What an add computes at the size of Stable Diffusion 1.5", ["what", "counted", "bar", "as it was"], rows, NOTE
    )
    figures = {"first": shares[False], "later": shares[True], "forward": cost.forward, "kept bytes": cost.kept_bytes}
    return Report("cost", [table], ["cns add rex photos/ --dry-run"], figures)


def _work(base: LoadedBase, cost: ImageCost, known: bool, *, recomputed: bool = False, **changes: Any) -> Work:
    options = AddOptions(name="rex", images=Path("photos"), class_noun="dog", preview=changes.pop("preview", None))
    settings = Settings(**SD_1.defaults.shared(), budget=1, seed=0)
    return work_of(base, options, replace(settings, **changes), cost, cost, IMAGES, known, recomputed)


def _as_it_was(base: LoadedBase, cost: ImageCost, known: bool) -> float:
    return _work(base, cost, known, recomputed=True, preview=24, score="gradient").share
