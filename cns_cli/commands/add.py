"""`cns add NAME IMAGES/`: teach the model a concept and commit it."""

from __future__ import annotations

import shlex
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cns_cli import figures
from cns_cli.commands.check import check_lines
from cns_cli.optionfield import DEVICES, JOBS, Option
from cns_cli.options import JsonFlag, MissingArgument, takes
from cns_cli.output import Line, Output, Styled, facts, table
from cns_cli.porcelain.options import AddOptions, Spread
from cns_cli.progress import open_progress
from cns_cli.settings import request_settings
from registry.names import near_name

if TYPE_CHECKING:
    from cns_cli.porcelain.answers import AddResult, DryRun

EXAMPLES = (
    "cns add rex photos/rex",
    "cns add rex photos/rex --class dog --steps 400",
    "cns add rex photos/rex --dry-run",
    "cns add rex photos/more-of-rex --continue",
    "cns add rex photos/more-of-rex --replace",
    "cns add --resume",
    "cns add --each photos --dry-run",
    "cns add --plan concepts.toml --jobs 2",
)


@takes(AddOptions, seed="prior", resolution="seed", warmup="init", masks="resolution")
def add(
    context: typer.Context,
    each: Annotated[
        Path | None,
        Option("Teach a concept from each folder in FOLDER, named after it.", "FOLDER", exists=True, file_okay=False),
    ] = None,
    plan: Annotated[
        Path | None,
        Option("Teach the concepts of a TOML file, each with its own options.", "FILE", exists=True, dir_okay=False),
    ] = None,
    jobs: Annotated[int, replace(JOBS, help="Of --each and --plan: teach N at once (on each device).")] = 1,
    devices: Annotated[
        Any, replace(DEVICES, help="Of --each and --plan: teach on several devices, such as cuda:0,cuda:1.")
    ] = None,
    curve: Annotated[bool, Option("Afterwards draw the losses as a curve.")] = False,
    as_json: JsonFlag = False,
    **given: Any,
) -> None:
    """Teach the model a concept from a folder of images.

    What it learned becomes a commit. Options that are not given take the defaults of the base model's family. Without a
    registry here, one is made on the embedded base model. After an interruption, --resume goes on from the last saved
    step and ends in the same concept, on a CPU bit for bit.
    """
    spread = Spread(jobs=jobs, devices=devices)
    _check_words(context, given, [name for name, value in (("each", each), ("plan", plan)) if value], spread)
    given |= {"name": given["name"] or "", "images": given["images"] or Path()}
    options = AddOptions(**given, typed=_typed(context), **request_settings())
    out = Output(as_json=as_json)
    if source := each or plan:
        from cns_cli.commands.add_each import add_each

        add_each(options, source, spread, out)
        return
    from cns_cli.porcelain.answers import DryRun

    result = _added(options, out)
    for warning in result.warnings:
        if isinstance(result, DryRun) or warning not in result.noticed:
            out.warn(warning)
    if isinstance(result, DryRun):
        out.answer(result.to_json(), dry_run_lines(result))
        out.hint(_command_for(options, result), "when that suits you")
    else:
        out.answer(result.to_json(), add_lines(result, curve=curve))
        _advise(out, result)


def _command_for(options: AddOptions, result: DryRun) -> str:
    """Return what does what a dry run was about: where it would be refused for its class noun, with the likeliest."""
    from cns_cli.porcelain.learning.interrupted import command_of

    unclear = len(result.class_nouns) > 1
    return command_of(replace(options, class_noun=result.class_nouns[0][0]) if unclear else options)


def _added(options: AddOptions, out: Output) -> AddResult | DryRun:
    """Teach it; where what the images show is not clear and somebody can be asked, ask."""
    from cns.errors import ClassNounError
    from cns_cli.porcelain.add import add_concept

    try:
        with open_progress() as progress:
            return add_concept(options, progress)
    except ClassNounError as unclear:
        if not unclear.candidates or not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise
        out.warn(unclear.message)
        likely = unclear.candidates[0][0]
    noun = typer.prompt("What do the images show?", default=likely, err=True)
    with open_progress() as progress:
        return add_concept(replace(options, class_noun=noun, typed=options.typed | {"class_noun"}), progress)


def _typed(context: typer.Context) -> frozenset[str]:
    """Names of the parameters that stand on the command line."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return frozenset(name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE")


def _check_words(context: typer.Context, given: Mapping[str, Any], many: Sequence[str], spread: Spread) -> None:
    """Refuse what is missing, or has no meaning: --resume, --each and --plan know name and images by themselves."""
    if given["steps"] and given["repeats"]:
        raise typer.BadParameter("--repeats is another way to say --steps; expected one of them", ctx=context)
    if len(many) > 1:
        raise typer.BadParameter("--each is about folders, --plan about a file: expected one of them", ctx=context)
    if many:
        if of_one := [word for word in ("name", "token", "resume") if given[word]]:
            what = "NAME" if of_one[0] == "name" else f"--{of_one[0]}"
            raise typer.BadParameter(f"{what} is about one concept, and --{many[0]} about many", ctx=context)
        return
    if spread.devices or spread.jobs > 1:
        flag = "--devices" if spread.devices else "--jobs"
        raise typer.BadParameter(f"{flag} is for many concepts: expected --each or --plan", ctx=context)
    if given["resume"] and given["dry_run"]:
        raise typer.BadParameter("--dry-run trains nothing, so that --resume has no meaning there", ctx=context)
    if given["replace"] and given["continues"]:
        raise typer.BadParameter("--replace learns anew, --continue goes on: expected one of them", ctx=context)
    if not given["resume"] and (given["name"] is None or given["images"] is None):
        name = given["name"]
        missing = "NAME and a folder of images" if name is None else "IMAGES/: a folder of images"
        if name and Path(name).is_dir():
            called = near_name(Path(name).resolve().name) or "NAME"
            raise MissingArgument("NAME", shlex.join(["cns", "add", called, name]))
        raise MissingArgument(missing, shlex.join(["cns", "add", name or "NAME", "IMAGES/"]))


def add_lines(result: AddResult, *, curve: bool = False) -> Iterator[Line]:
    """Shape the summary of what was learned, for people; with the curve of the losses where that is wanted."""
    inferred = result.class_confidence
    how = "" if inferred is None else f" (inferred, {inferred:.0%} sure)"
    what = figures.a(result.class_noun) if result.kind == "object" else "a style of drawing things"
    yield [Styled(result.name, "bold"), f" is {what}{how}"]
    yield ""
    rows = [
        ("prompt", f"a {_phrase(result)}"),
        ("commit", _commit(result)),
        ("neurons", _neurons(result)),
        *_fullness(result),
        ("stored", _stored(result)),
        ("photos", _photos(result)),
        *([("captions", result.captions)] if result.captions else []),
        *([("masks", result.masks)] if result.masks else []),
        *_gains(result),
    ]
    sheets = {"preview": result.preview, "samples": result.samples}
    yield from facts(rows + [(what, figures.place(path)) for what, path in sheets.items() if path])
    if curve:
        from cns_cli.curve import curve_lines

        yield ""
        yield from curve_lines(result.series, result.series_steps)
    if result.untouched:
        yield ""
        yield from textwrap.wrap(
            f"No other concept can have changed; a prompt sees those that it names: {', '.join(result.untouched)}.",
            80,
        )
    if result.drift:
        yield ""
        yield "Drift of the older concepts' K/V outputs (relative, squared; 0 is untouched)"
        yield from table([["", name, figures.drift(value)] for name, value in result.drift.items()], right=[2])
    if result.images_check is not None:
        yield ""
        yield from check_lines(result.images_check)


def dry_run_lines(result: DryRun) -> Iterator[Line]:
    """Shape what it would take."""
    yield [Styled(result.name, "bold"), f" from {figures.plural(result.images, 'image')} would take about"]
    yield ""
    each = f" of {figures.duration(result.step_seconds)}" if result.step_seconds >= 1 else ""
    rows = [
        ("time", f"{figures.duration(result.seconds)} on {result.device}, {result.steps:,} steps{each}"),
        ("memory", figures.byte_size(result.memory_bytes)),
        ("disk", figures.byte_size(result.disk_bytes)),
    ]
    if result.class_nouns:
        rows.append(("class noun", ", ".join(f"{noun} ({chance:.0%})" for noun, chance in result.class_nouns)))
    if result.captions:
        rows.append(("captions", result.captions))
    if result.masks:
        rows.append(("masks", result.masks))
    rows += [("prompts" if place == 0 else "", prompt) for place, prompt in enumerate(result.prompts)]
    yield from facts(rows)
    yield ""
    yield "Nothing was written."


def _commit(result: AddResult) -> str:
    return f"{figures.short_id(result.commit)} on {result.branch or 'a detached HEAD'}"


def _neurons(result: AddResult) -> str:
    if result.rank:
        return f"all {result.neurons:,} K/V weights, along {figures.plural(result.rank, 'direction')}"
    shares = f"{figures.percent(result.share_kv)} of K/V, {figures.percent(result.share_denoiser)} of the denoiser"
    return f"{result.neurons:,} weights: {shares}"


def _phrase(result: AddResult) -> str:
    """What a prompt may say; a style needs something to be drawn."""
    return f"{result.token} {result.class_noun}" + (" house" if result.kind == "style" else "")


def _fullness(result: AddResult) -> list[tuple[str, str]]:
    """How much of the model is taken, and what a projection left of the update."""
    rows: list[tuple[str, str]] = []
    if result.capacity:
        rows.append(("K/V weights", figures.capacity(result.capacity)))
        if result.drift:
            rows.append(("shared", f"{figures.percent(result.capacity['reused'])} of its weights with older concepts"))
    if result.energy_left is not None:
        rows.append(("energy left", f"{figures.percent(result.energy_left)} of each step, by the projection"))
    return rows


def _stored(result: AddResult) -> str:
    if result.rank:
        return figures.byte_size(result.bytes_stored)
    return f"{figures.byte_size(result.bytes_stored)}, {result.bits_per_weight:.1f} bits a changed weight"


def _photos(result: AddResult) -> str:
    images, where = figures.plural(result.images, "training image"), figures.place(result.registry)
    return f"{images} stored in {where}" if result.photos_kept else f"only features of {images} stored in {where}"


def _gains(result: AddResult) -> list[tuple[str, str]]:
    rows = []
    if result.identity_after is not None:
        ceiling = result.identity_ceiling
        of = "" if ceiling is None else f"   (the images among themselves {figures.cosine(ceiling)})"
        rows.append(("identity", _rise(result.identity_before, result.identity_after) + of))
        if result.identity_alone is not None:
            rows.append(("", f"{figures.cosine(result.identity_alone)} without a background"))
    if result.clip_i_after is not None:
        rows.append(("CLIP-I", _rise(result.clip_i_before, result.clip_i_after)))
    if result.clip_t_after is not None:
        rows.append(("CLIP-T", _rise(result.clip_t_before, result.clip_t_after)))
    return rows


def _rise(before: float | None, after: float | None) -> str:
    return f"{figures.cosine(before)} -> {figures.cosine(after)}"


def _advise(out: Output, result: AddResult) -> None:
    """Say how long it took and what to type next."""
    out.note(f"took {figures.duration(result.elapsed_s)}")
    if result.few:
        out.note("so few pictures cannot tell how much was learned: --preview 24 draws more")
    elif not result.learned and result.continued:
        out.warn(f"{result.name} gained nothing over what it was that could be told from noise")
        out.hint("cns undo", "what it was")
    elif not result.learned:
        out.warn(f"{result.name} was hardly learned: its gain is under three standard errors, within noise")
        out.note(f"  captions first ({result.captions}): each says where it is and what is around it, as in")
        phrase = _phrase(result).replace(result.token, "{name}")
        out.note(f'    "a {phrase} in the snow", in a file 1.txt beside 1.png')
        out.hint(result.longer, "more steps, or more and clearer images")
    if result.better_step is not None:
        losses = dict(zip(result.series_steps["validation_loss"], result.series["validation_loss"], strict=True))
        best, last = losses[result.better_step], [*losses.values()][-1]
        out.note(f"validation loss: lowest at step {result.better_step}, {best:.4f}; at the end {last:.4f}")
        out.hint(f"cns undo && {result.shorter}" if result.continued else result.shorter, "fewer steps")
    forgotten = [row.concept for row in result.images_check or () if row.verdict == "forgot"]
    if forgotten:
        out.warn(f"forgotten, compared with the own baseline: {', '.join(forgotten)}")
        out.hint(f"cns rm {result.name}", "a model without what was learned now")
    out.hint(f'cns generate "a {_phrase(result)} in the snow"')
    if result.drift and result.images_check is None:
        out.hint("cns check", "compare images of every concept with its baseline")
