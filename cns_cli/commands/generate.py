"""`cns generate PROMPT`: make images with the model of a revision."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cns_cli import figures
from cns_cli.options import DeviceOption, JsonFlag, SeedOption, file_to_write
from cns_cli.output import Output
from cns_cli.porcelain.options import GenerateOptions
from cns_cli.progress import open_progress
from cns_cli.settings import request_settings

EXAMPLES = (
    'cns generate "a <rex> dog in the snow"',
    'cns generate "a <rex> dog beside a <tom> cat" -n 4 --seed 7 -o both.png',
    'cns generate "a <rex> dog" --at HEAD~2',
)


def generate(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What to show; special tokens name concepts.")],
    n: Annotated[int, typer.Option("-n", metavar="N", min=1, max=1000, help="How many images.", show_default=True)] = 1,
    seed: SeedOption = 0,
    steps: Annotated[int | None, typer.Option("--steps", metavar="N", min=1, help="Denoising steps.")] = None,
    guidance: Annotated[
        float | None, typer.Option("--guidance", metavar="X", min=0, help="How strictly the prompt is followed.")
    ] = None,
    negative: Annotated[
        str | None, typer.Option("--negative", metavar="PROMPT", help="What to keep away from.")
    ] = None,
    at: Annotated[
        str, typer.Option("--at", metavar="REV", help="Use the model of this revision.", show_default=True)
    ] = "HEAD",
    out_file: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", metavar="FILE", callback=file_to_write, help="Where to write; numbered for -n > 1."
        ),
    ] = None,
    device: DeviceOption = "auto",
    as_json: JsonFlag = False,
) -> None:
    """Make images of a prompt; image i of n takes the seed plus i."""
    options = GenerateOptions(
        prompt=prompt, n=n, seed=seed, steps=steps, guidance=guidance, negative=negative, at=at, out=out_file,
        device=device, **request_settings(),
    )  # fmt: skip
    from cns_cli.porcelain.revision import require

    require(options.start, at)
    out = Output(as_json=as_json)
    with open_progress() as progress:
        progress.stage("load libraries")
        from cns_cli.porcelain.generate import generate as generate_images

        result = generate_images(options, progress)
    for warning in result.warnings:
        out.warn(warning)
    out.answer(result.to_json(), [figures.place(path) for path in result.paths])
    made = figures.plural(len(result.paths), "image")
    seeds = f"seed {seed}" if n == 1 else f"seeds {seed} to {seed + n - 1}"
    out.note(f"{made} at {figures.short_id(result.commit)}, {seeds}, took {figures.duration(result.elapsed_s)}")
