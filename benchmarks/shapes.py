"""Every family at the shapes that people use: what it holds, and what an add needs. Nothing is loaded or timed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from benchmarks.real_shapes import BASES, imagined
from benchmarks.report import Report, Table
from cns.denoiser import denoiser_of
from cns.files.pipelines import latent_side
from cns.precision import compute_in
from cns_cli.porcelain.learning.learn import settings_for
from cns_cli.porcelain.learning.needs import Needs, needs_of
from cns_cli.porcelain.models.base import LoadedBase
from cns_cli.porcelain.options import AddOptions

IMAGES = 5
DTYPES = ("float32", "bfloat16")
HOLDS = (
    "Random weights on fake tensors, which have shapes and no memory: real configs, no hub. *A concept*: what it may "
    "change of keys and values, by the family's defaults."
)
NEEDS = (
    "Defaults, 5 images of the base's own side, a first add; activations kept. *Of the steps*: all that is computed, "
    "pictures and scores too, against the training's steps alone. *Memory*: libraries, weights but for the judges', "
    "and what a step or the VAE makes; or what it takes to read the denoiser in float32 and to cast it, where that is "
    "more."
)


@dataclass(frozen=True)
class Found:
    """What was counted of a base: see the tables."""

    matrices: int
    kv: int
    denoiser: int
    budget: int
    side: int
    needs: dict[str, Needs]


def run(quick: bool) -> Report:
    """Count each base; `quick` takes the first alone."""
    libraries = psutil.Process().memory_info().rss
    return report({name: found(imagined(name)) for name in [*BASES][: 1 if quick else None]}, libraries)


def found(base: LoadedBase) -> Found:
    """Count a base on fake tensors; its denoiser is in a shorter format then."""
    model = base.model
    side = latent_side(denoiser_of(model.pipeline).config) * model.pipeline.vae_scale_factor
    options = AddOptions(name="rex", images=Path("photos"), class_noun="dog", gradient_checkpointing=False)
    needs = {}
    for dtype in DTYPES:
        compute_in(denoiser_of(model.pipeline), getattr(torch, dtype))
        settings = settings_for(base, AddOptions(**vars(options) | {"dtype": dtype}), "named", IMAGES)
        needs[dtype] = needs_of(base, options, settings, IMAGES, side, False)
    return Found(len(model.base), model.kv_size, model.denoiser_size, settings.budget, side, needs)


def report(bases: dict[str, Found], libraries: int) -> Report:
    """The tables, and the figures behind them."""
    holds = [
        (
            name,
            f"{one.denoiser / 1e6:,.1f} M",
            one.matrices,
            f"{one.kv / 1e6:,.1f} M",
            f"{one.kv / one.denoiser:.1%}",
            f"{one.budget / one.kv:.1%}",
        )
        for name, one in bases.items()
    ]
    needs = [
        (
            name,
            f"{one.side}",
            f"{one.needs['float32'].image.step / 1e12:.2f} TFLOP",
            f"{(work := one.needs['float32'].work).steps / 1e12:,.0f} TFLOP",
            f"{work.share:.2f} x",
            *(f"{(libraries + one.needs[dtype].memory_bytes) / 2**30:.1f} GiB" for dtype in DTYPES),
        )
        for name, one in bases.items()
    ]
    tables = [
        Table(
            "Bases at their real shapes", ["base", "denoiser", "matrices", "K/V", "share", "a concept"], holds, HOLDS
        ),
        Table(
            "What an add on them needs",
            [
                "base",
                "pixels",
                "an image of a step",
                "the steps",
                "of the steps",
                *(f"memory, {one}" for one in DTYPES),
            ],
            needs,
            NEEDS,
        ),
    ]
    return Report("shapes", tables, ["cns init --base FOLDER", "cns add rex photos/ --dry-run"], dict(_figures(bases)))


def _figures(bases: dict[str, Found]) -> Iterator[tuple[str, float]]:
    for name, one in bases.items():
        yield f"{name} matrices", one.matrices
        yield f"{name} K/V", one.kv
        yield f"{name} denoiser", one.denoiser
        for dtype, needs in one.needs.items():
            yield f"{name} {dtype} steps", needs.work.steps
            yield f"{name} {dtype} memory", needs.memory_bytes
