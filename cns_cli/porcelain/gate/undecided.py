"""What it takes to decide what a check could not: images, time, and the command that draws them.

Knows the request that is answered and what is stored. Does not know how anything is decided.
"""

from __future__ import annotations

import shlex

from cns_cli import figures
from cns_cli.porcelain.options import CheckOptions


def way_out(options: CheckOptions, concept: str | None, needed: int, more: int, seconds: float | None) -> str:
    """Say what would probably decide a row: "about 600 more images, 1 min 10 s: cns check --images 64".

    Args:
        options: The request.
        concept: The row's concept; None for the row of the whole tree.
        needed: Images of each prompt that it takes.
        more: Images that have to be drawn for that.
        seconds: What one took in this check; None where none was drawn.
    """
    digits = 10 ** max(0, len(str(more)) - 2)
    time = "" if seconds is None else f", {figures.duration(seconds * more)}"
    return f"about {round(more / digits) * digits:,} more images{time}: {command(options, concept, needed)}"


def command(options: CheckOptions, concept: str | None, images: int) -> str:
    """The command that checks a concept again with so many images of each prompt, all else as it was asked."""
    words = ["cns", "check", *([] if options.rev == "HEAD" else [options.rev])]
    limits = {"--max-drop": options.max_drop, "--min": options.minimum}
    given = {
        "--since": options.since,
        "--metric": ",".join(options.metrics),
        "--prompts": options.prompts,
        "--seed": options.seed,
        "--device": None if options.device == "auto" else options.device,
        "--dtype": None if options.dtype == "auto" else options.dtype,
        "--encoder": options.encoder,
        "--jobs": None if options.jobs == 1 else options.jobs,
        "--devices": ",".join(options.devices),
        "--engine": None if options.engine == "processes" else options.engine,
        "--images": images,
    }
    for name in (concept,) if concept else options.concepts:
        words += ["--concept", name]
    words += [f"{flag}={_limit(*one)}" for flag, values in limits.items() for one in values.items()]
    for flag, value in given.items():
        words += [] if value in (None, "") else [flag, str(value)]
    return shlex.join(words)


def _limit(metric: str, value: float) -> str:
    return f"{metric}={value:g}" if metric else f"{value:g}"
