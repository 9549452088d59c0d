"""`cns generate PROMPT`: make images with the model of a revision."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cns_cli import figures
from cns_cli.options import DeviceOption, JsonFlag, SeedOption, file_to_write, finite
from cns_cli.output import Output
from cns_cli.porcelain.options import GenerateOptions
from cns_cli.progress import open_progress
from cns_cli.settings import request_settings

if TYPE_CHECKING:
    from cns_cli.porcelain.answers import GenerateResult

EXAMPLES = (
    'cns generate "a <rex> dog in the snow"',
    'cns generate "a <rex> dog beside a <tom> cat" -n 4 --seed 7 -o both.png',
    'cns generate "a <rex> dog" --at HEAD~2',
    'cns generate "a <rex> dog" --at main~3..main -n 4 -o history.png',
    'cns generate "a <rex> dog and a <tom> cat" --region rex@0.5,0,1,1',
)


def _regions(values: list[str]) -> list[str]:
    """Accept regions that have a box.

    Raises:
        typer.BadParameter: one has none.
    """
    for text in values or ():
        from cns_cli.porcelain.pictures.plan import region_problem

        if problem := region_problem(text):
            raise typer.BadParameter(problem)
    return values


def generate(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What to show; special tokens name concepts.")],
    n: Annotated[int, typer.Option("-n", metavar="N", min=1, max=1000, help="How many images.", show_default=True)] = 1,
    seed: SeedOption = 0,
    steps: Annotated[int | None, typer.Option("--steps", metavar="N", min=1, max=1000, help="Denoising steps.")] = None,
    guidance: Annotated[
        float | None,
        typer.Option("--guidance", metavar="X", min=0, callback=finite, help="How strictly the prompt is followed."),
    ] = None,
    negative: Annotated[
        str | None, typer.Option("--negative", metavar="PROMPT", help="What to keep away from.")
    ] = None,
    at: Annotated[
        str,
        typer.Option(
            "--at",
            metavar="REV",
            help="Use this revision's model; A..B: a sheet of all from A to B.",
            show_default=True,
        ),
    ] = "HEAD",
    region: Annotated[
        list[str],
        typer.Option(
            "--region",
            metavar="NAME@BOX",
            callback=_regions,
            help="What is to be seen in x0,y0,x1,y1, fractions of the image; a prompt may stand for NAME.",
        ),
    ] = [],  # noqa: B006  typer's way to say "none"
    grid: Annotated[bool, typer.Option("--grid", help="Write one sheet of all images instead of files.")] = False,
    batch: Annotated[
        int | None, typer.Option("--batch", metavar="N", min=1, max=256, help="Images at a time; memory grows.")
    ] = None,
    out_file: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            metavar="FILE",
            callback=file_to_write,
            help="Replaced if there; numbered for -n > 1. Else named after the prompt, never replacing.",
        ),
    ] = None,
    device: DeviceOption = "auto",
    as_json: JsonFlag = False,
) -> None:
    """Make images of a prompt; image i of n takes the seed plus i.

    Each picture says how it was made: see cns show PICTURE.
    """
    options = GenerateOptions(
        prompt=prompt, n=n, seed=seed, steps=steps, guidance=guidance, negative=negative, at=at, out=out_file,
        device=device, regions=tuple(region), grid=grid, batch=batch, **request_settings(),
    )  # fmt: skip
    from cns_cli.porcelain.generate import generate as generate_images

    out = Output(as_json=as_json)
    with open_progress() as progress:
        result = generate_images(options, progress)
    for warning in result.warnings:
        out.warn(warning)
    out.answer(result.to_json(), [figures.place(path) for path in result.paths])
    out.note(_summary(result))


def _summary(result: GenerateResult) -> str:
    """What was made, in one line."""
    first, last = result.seeds[0], result.seeds[-1]
    seeds = f"seed {first}" if first == last else f"seeds {first} to {last}"
    where = figures.short_id(result.commit)
    if result.commits:
        where = f"{figures.plural(len(result.commits), 'commit')} up to {where}"
    return f"{figures.plural(result.made, 'image')} at {where}, {seeds}, took {figures.duration(result.elapsed_s)}"
