"""Images of a prompt, by the model of any revision: files, one sheet, or a sheet of a whole range of history."""

from __future__ import annotations

import time

from cns_cli.porcelain.answers import GenerateResult
from cns_cli.porcelain.options import GenerateOptions
from cns_cli.porcelain.pictures.plan import plan_of
from cns_cli.progress import Progress


def generate(options: GenerateOptions, progress: Progress) -> GenerateResult:
    """Make `options.n` images, of each commit of a range, and write them.

    Args:
        options: Prompt, seeds, sampler settings, revision or range, regions, file.
        progress: Told of progress.

    Raises:
        UnknownRevision, UnknownConcept, RegionError, RegistryError: As `pictures.plan.plan_of`.
        RegionError: A box holds no cell at the model's resolution.
        Interrupted: A signal came; single images made before it are written.
    """
    began = time.monotonic()
    plan = plan_of(options)
    progress.stage("load libraries")
    from cns_cli.porcelain.models.session import Session
    from cns_cli.porcelain.pictures.run import GenerateRun

    progress.stage("load the model")
    run = GenerateRun(options, plan, Session.open(plan.repo, options.device), progress)
    trees = {stop.commit.tree for stop in plan.stops}
    progress.stage("generate", options.n * len(trees))
    run.write_sheet() if options.grid or plan.is_range else run.write_files()
    return GenerateResult.of(
        run,
        prompt=options.prompt,
        commit=plan.stops[-1].commit_id,
        commits=tuple(stop.commit_id for stop in plan.stops) if plan.is_range else (),
        concepts=tuple(run.used),
        elapsed_s=time.monotonic() - began,
        warnings=(*plan.warnings, *run.warnings()),
    )
