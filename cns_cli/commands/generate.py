"""`cns generate PROMPT`: make images with the model of a revision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cns_cli import figures
from cns_cli.options import JsonFlag, takes
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


@takes(GenerateOptions, out="batch", device="out")
def generate(as_json: JsonFlag = False, **given: Any) -> None:
    """Make images of a prompt; image i of n takes the seed plus i.

    Each picture says how it was made: see cns show PICTURE.
    """
    given["regions"] = tuple(given["regions"] or ())
    options = GenerateOptions(**given, **request_settings())
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
