"""`cns add --dry-run`: what a training would take, measured on a few of its own steps."""

from __future__ import annotations

import math
import resource
import sys
import time

from cns.basefiles import describe_base, resolve_base
from cns.classnoun import CANDIDATES
from cns.images import load_images
from cns.timing import time_steps
from cns_cli.porcelain import teaching
from cns_cli.porcelain.init import DEFAULT_BASE
from cns_cli.porcelain.learning import JUDGED_IMAGES
from cns_cli.porcelain.options import AddOptions, DryRun
from cns_cli.porcelain.session import Session
from cns_cli.porcelain.workbench import Workbench
from cns_cli.progress import Progress
from registry.repository import Repository

MASK_AND_VALUE_BITS = 15
"""Bits that a changed weight costs at most (docs/benchmarks.md)."""


def estimate(options: AddOptions, repo: Repository | None, progress: Progress) -> DryRun:
    """Measure what `cns add` would take; nothing is written.

    Time: a few steps and a few images are timed and multiplied. Memory: the process's peak so far.
    """
    began = time.monotonic()
    progress.stage("load the model")
    if repo is None:
        folder = resolve_base(DEFAULT_BASE)
        bench = Workbench.of_facts(folder, describe_base(folder), options.device)
    else:
        bench = Session.open(repo, options.device).bench
    images = load_images(options.images, options.resolution or bench.resolution)
    settings = teaching.settings_for(bench, options)
    settings.check()
    nouns: tuple[tuple[str, float], ...] = ()
    if options.class_noun is None:
        chances = bench.clip.label(images.pixels, bench.nouns)
        ranked = sorted(zip(bench.nouns, chances.tolist(), strict=True), key=lambda pair: -pair[1])
        nouns = tuple(ranked[:CANDIDATES])
    loaded = time.monotonic() - began
    progress.stage("time a few steps")
    noun = options.class_noun or nouns[0][0]
    per_step = time_steps(bench.model, images.pixels, noun, settings)
    prompts = bench.family.judge_templates
    start = time.monotonic()
    bench.images([f"a {noun}"] * 4, range(4))
    per_image = (time.monotonic() - start) / 4
    steps = settings.steps + settings.warmup_steps
    judged = 2 * JUDGED_IMAGES * len(prompts) * per_image
    return DryRun(
        name=options.name,
        images=len(images.images),
        steps=steps,
        seconds=loaded + steps * per_step + judged,
        memory_bytes=_peak_memory_bytes(),
        disk_bytes=math.ceil(settings.budget * MASK_AND_VALUE_BITS / 8)
        + (images.pixels.nbytes if options.keep_images else 0),
        device=str(bench.device),
        class_nouns=nouns,
        warnings=(images.warning,) if images.warning else (),
    )


def _peak_memory_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
