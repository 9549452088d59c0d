"""Images of prompts, by the model of any revision: files, one sheet, or a sheet of a whole range of history.

Of many prompts, each is a request of its own; all are made by one model that is loaded once.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from cns_cli.porcelain.answers import GenerateResult
from cns_cli.porcelain.options import GenerateOptions
from cns_cli.porcelain.pictures.plan import Plan, plan_of
from cns_cli.progress import Progress
from registry.errors import RegistryError

if TYPE_CHECKING:
    from cns_cli.porcelain.models.session import Session


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
    (result,) = generate_all([options], progress)
    return result


def generate_many(options: GenerateOptions, progress: Progress) -> Iterator[GenerateResult]:
    """Make the images of each prompt of the file `options.prompts`, one prompt after another.

    Raises:
        BadPromptFile: nothing was made.
        As `generate`; what cannot be meant by any prompt is refused before the first image.
    """
    from cns_cli.porcelain.pictures.prompts import requests_in

    assert options.prompts is not None
    requests = requests_in(options.prompts, options)
    plans = [plan_of(request) for request in requests]
    paths = [path for plan in plans for path in plan.paths]
    if options.out is not None and (twice := [path for path, count in Counter(paths).items() if count > 1]):
        reason = f"{paths.count(twice[0])} pictures would be '{twice[0]}'; expected a name of its own for each"
        raise RegistryError(reason, "cns generate … -o '{prompt}-{seed}.png'")
    total = sum(request.n * _trees(plan) for request, plan in zip(requests, plans, strict=True))
    yield from generate_all(requests, progress, total)


def generate_all(
    requests: Iterable[GenerateOptions], progress: Progress, total: int | None = None
) -> Iterator[GenerateResult]:
    """Make the images of each request as it comes; all stand on one registry and one device. Raises as `generate`.

    Args:
        requests: What to make.
        progress: Told of progress.
        total: Images of all requests; None: nobody knows, and each is a stage of its own.
    """
    session: Session | None = None
    before = 0
    for options in requests:
        began = time.monotonic()
        plan = plan_of(options)
        if session is None:
            progress.stage("load libraries")
            from cns_cli.porcelain.models.session import Session

            progress.stage("load the model")
            session = Session.open(plan.repo, options.device, dtype=options.dtype)
            if total is not None:
                progress.stage("generate", total)
        if total is None:
            progress.stage("generate", options.n * _trees(plan))
        result = _made(options, plan, session, progress, began, before)
        before += result.made if total is not None else 0
        yield result


def _trees(plan: Plan) -> int:
    """How many models make the images; one that comes again is not asked again."""
    return len({stop.commit.tree for stop in plan.stops})


def _made(
    options: GenerateOptions, plan: Plan, session: Session, progress: Progress, began: float, before: int
) -> GenerateResult:
    from cns_cli.porcelain.pictures.run import GenerateRun

    run = GenerateRun(options, plan, session, progress, before)
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
