"""`cns generate PROMPT`: make images with the model of a revision."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer

from cns_cli import figures
from cns_cli.options import JsonFlag, MissingArgument, takes
from cns_cli.output import Output
from cns_cli.porcelain.options import GenerateOptions
from cns_cli.progress import open_progress
from cns_cli.quick import QuickCommand
from cns_cli.settings import request_settings

if TYPE_CHECKING:
    from cns_cli.porcelain.answers import GenerateResult

EXAMPLES = (
    'cns generate "a <rex> dog in the snow"',
    'cns generate "a <rex> dog beside a <tom> cat" -n 4 --seed 7 -o both.png',
    'cns generate "a <rex> dog" --at HEAD~2',
    'cns generate "a <rex> dog" --at main~3..main -n 4 -o history.png',
    'cns generate "a <rex> dog and a <tom> cat" --region rex@0.5,0,1,1',
    'cns generate --prompts many.txt -o "{prompt}-{seed}.png"',
)


class Command(QuickCommand):
    """`--size 512x768` means `--width 512 --height 768`, as people type it; `--size 512` both sides.

    Words behind the prompt are taken for the rest of one that lacks its quotes.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line."""
        words = "\0".join(args).replace("--size\0", "--size=").split("\0") if args else []
        sizes = [(word, re.fullmatch(r"--size=(\d+)(?:[xX](\d+))?", word, re.ASCII)) for word in words]
        if unclear := [word.partition("=")[2] for word, size in sizes if re.match("--size(=|$)", word) and not size]:
            said = f"{unclear[0]!r} is no size; expected WIDTHxHEIGHT, such as 512x768"
            raise typer.BadParameter(said, ctx=ctx, param_hint="'--size'")
        both = (("--width", size[1], "--height", size[2] or size[1]) if size else (word,) for word, size in sizes)
        try:
            return super().parse_args(ctx, [word for words in both for word in words])
        except typer.TyperException as error:
            if "extra argument" in error.format_message():
                error.hint = 'put the prompt in quotes: cns generate "a <rex> dog"'  # type: ignore[attr-defined]
            raise


@takes(
    GenerateOptions,
    out="batch",
    device="out",
    dtype="device",
    width="prompts",
    height="width",
    force="dtype",
    mark="force",
)
def generate(as_json: JsonFlag = False, **given: Any) -> None:
    """Make images of a prompt; image i of n takes the seed plus i.

    Each picture says how it was made: see cns show PICTURE.
    """
    is_typed = given["prompt"] is not None
    given |= {"regions": tuple(given["regions"] or ()), "prompt": given["prompt"] or ""}
    options, out = GenerateOptions(**given, **request_settings()), Output(as_json=as_json)
    if is_typed and options.prompts is not None:
        raise typer.BadParameter(f"--prompts takes the place of a prompt: expected no {options.prompt!r}")
    if options.prompts is not None:
        _many(options, out)
    elif is_typed:
        _one(options, out)
    elif sys.stdin.isatty() and not as_json:
        _asked(options, out)
    else:
        raise MissingArgument("PROMPT: expected a prompt, or --prompts FILE", EXAMPLES[0])


def _one(options: GenerateOptions, out: Output) -> None:
    """Make the images of one prompt."""
    from cns_cli.porcelain.generate import generate as generate_images

    with open_progress() as progress:
        result = generate_images(options, progress)
    _warn(result, out)
    out.answer(result.to_json(), [figures.place(path) for path in result.paths])
    out.note(_summary(result))


def _many(options: GenerateOptions, out: Output) -> None:
    """Make the images of a file of prompts."""
    from cns_cli.porcelain.generate import generate_many

    results: list[GenerateResult] = []
    with open_progress() as progress:
        results.extend(generate_many(options, progress))
    for warning in dict.fromkeys(warning for result in results for warning in result.warnings):
        out.warn(warning)
    made = [figures.place(path) for result in results for path in result.paths]
    out.answer([result.to_json() for result in results], made)
    took = figures.duration(sum(result.elapsed_s for result in results))
    out.note(f"{figures.plural(len(results), 'prompt')}, {figures.plural(len(made), 'file')}, took {took}")


def _asked(options: GenerateOptions, out: Output) -> None:
    """Ask for prompts on a terminal, and make the images of each, until an empty line or the end."""
    from cns_cli.porcelain.generate import generate_all

    def typed() -> Iterator[GenerateOptions]:
        while prompt := _line():
            yield replace(options, prompt=prompt)

    out.note("a prompt a line; an empty line ends it")
    with open_progress() as progress:
        for result in generate_all(typed(), progress):
            _warn(result, out)
            out.answer({}, [figures.place(path) for path in result.paths])


def _line() -> str:
    sys.stderr.write("prompt> ")
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def _warn(result: GenerateResult, out: Output) -> None:
    for warning in result.warnings:
        out.warn(warning)


def _summary(result: GenerateResult) -> str:
    """What was made, in one line."""
    first, last = result.seeds[0], result.seeds[-1]
    seeds = f"seed {first}" if first == last else f"seeds {first} to {last}"
    where = figures.short_id(result.commit)
    if result.commits:
        where = f"{figures.plural(len(result.commits), 'commit')} up to {where}"
    return f"{figures.plural(result.made, 'image')} at {where}, {seeds}, took {figures.duration(result.elapsed_s)}"
